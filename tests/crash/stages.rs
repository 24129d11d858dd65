//! Row 20: killed with SIGKILL at each stage of a backup, and mended by the next start.

use std::time::Duration;

use crate::bench::{Bench, PATIENCE};
use crate::rig::wait_until;

/// Kills a second backup at the `when`-th such call, mends, and looks. Returns the number of backups then.
fn killed(stage: &str, calls: &str, when: u32, on_lock: bool) -> usize {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    let lock = bench.lock();
    let paths = if on_lock { vec![lock.as_path()] } else { Vec::new() };
    assert!(bench.back_up_killed(calls, when, &paths), "{stage}: was not killed");
    let left = bench.rig.stored();
    bench.mend();
    bench.assert_sound(&format!("{stage} (left {left:?})"));
    bench.assert_told_once(stage);
    let count = bench.rig.backups().len();
    assert_eq!(bench.back_up().code, 0, "the next run works after {stage}");
    bench.assert_sound(&format!("{stage} and the next run"));
    count
}

#[test]
fn f20_killed_at_lock() {
    assert_eq!(killed("taking the lock", "flock", 1, true), 1);
    assert_eq!(killed("writing into the lock", "pwrite64", 1, true), 1);
}

#[test]
fn f20_killed_at_spawn() {
    assert_eq!(killed("starting pg_dump", "pwrite64", 2, true), 1);
}

#[test]
fn f20_killed_at_stream() {
    let bench = Bench::sized(200_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}"));
    assert_eq!(bench.back_up().code, 0);
    bench.hold();
    let mut child = bench.rig.command().args(["backup", "shop"]).spawn().unwrap();
    bench.wait_midway(String::new);
    let begun = || bench.rig.stored().iter().any(|file| file.contains(".pgdumpd-tmp-"));
    wait_until(PATIENCE, || format!("an unfinished file among {:?}", bench.rig.stored()), begun);
    child.kill().unwrap();
    child.wait().unwrap();
    // The orphan is still in the middle of its dump, and goes on holding the lock.
    bench.mend();
    bench.let_go();
    bench.assert_sound("streaming");
    bench.assert_told_once("streaming");
    assert_eq!(bench.rig.backups().len(), 1);
    assert_eq!(bench.back_up().code, 0);
    bench.assert_sound("streaming and the next run");
}

#[test]
fn f20_killed_at_rename() {
    assert_eq!(killed("giving the artifact its name", "renameat2", 1, false), 1);
}

#[test]
fn f20_killed_at_manifest() {
    // The artifact has its name and its hash is recorded: it is rolled forward, and nothing is pruned for it yet.
    assert_eq!(killed("giving the manifest its name", "renameat2", 2, false), 2);
}

/// Every single call of a kind, from the first to the one that the backup no longer reaches.
fn at_every(calls: &str, at_least: u32) {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    let mut when = 1;
    while bench.back_up_killed(calls, when, &[]) {
        let stage = format!("{calls} number {when}");
        let left = bench.rig.stored();
        // A start mends, and so does whoever takes the lock next.
        if when % 2 == 0 {
            bench.mend();
        } else {
            assert_eq!(bench.back_up().code, 0, "{stage}");
        }
        bench.assert_sound(&format!("{stage} (left {left:?})"));
        let count = bench.rig.backups().len();
        assert!((1..=2).contains(&count), "{count} backups after {stage}");
        when += 1;
    }
    assert!(when > at_least, "only {} calls of {calls} were seen", when - 1);
    bench.assert_sound("the last one");
}

#[test]
fn f20_killed_at_fsync() {
    // Folder, artifact, manifest, and the catalog at each change of its.
    at_every("fsync,fdatasync", 8);
}

#[test]
fn f20_killed_at_catalog() {
    at_every("pwrite64", 12);
}

#[test]
fn f20_killed_at_prune() {
    at_every("renameat2,unlinkat", 4);
}

/// The daemon tells at its tick; killed at every write of that transaction, it tells at the next start, and once.
#[test]
fn f20_killed_at_notify() {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    for when in 1..=6 {
        bench.cluster.psql("alter database shop allow_connections false");
        // Fails, and is killed before or while it tells.
        let broken = bench.rig.command().args(["backup", "shop", "--no-retry"]).output().unwrap();
        assert_ne!(broken.status.code(), Some(0));
        drop(bench.catalog("delete from outbox"));
        bench.cluster.psql("alter database shop allow_connections true");
        let told = bench.subjects().len();
        assert_eq!(told, 0);
        drop(bench.catalog("delete from alerts"));
        drop(bench.catalog("insert into untold select id from runs where status = 'failed' order by started_at desc limit 1"));
        let mut serving = bench.rig.serve_by(bench.killed_at("pwrite64", when * 2, &[]));
        // Whether it dies or not is the kernel's matter; it has had its chance after this.
        std::thread::sleep(Duration::from_secs(3));
        drop(serving.child.kill());
        drop(serving.child.wait());
        drop(serving);
        bench.mend();
        let subjects = bench.subjects();
        assert_eq!(subjects.iter().filter(|subject| subject.contains("FAILED")).count(), 1, "killed at write {}: {subjects:?}", when * 2);
    }
}

/// Killed, and then the project's backups are to go to another storage: what it left in the old one goes, or becomes a backup there.
#[test]
fn f20_what_a_killed_run_left_is_mended_in_the_storage_that_the_project_has_left() {
    for (calls, when, backups) in [("pwrite64", 2, 1), ("renameat2", 1, 1), ("renameat2", 2, 2)] {
        let bench = Bench::new("storage = [\"main\"]\n");
        assert_eq!(bench.back_up().code, 0);
        let lock = bench.lock();
        let paths = if calls == "pwrite64" { vec![lock.as_path()] } else { Vec::new() };
        assert!(bench.back_up_killed(calls, when, &paths), "{calls} {when}");
        let left = bench.rig.stored();
        let other = bench.rig.path().join("other");
        let limits = "limits = { connect = \"10s\", retries = [] }";
        bench.configure("", "", &format!("storage = [\"other\"]\n{limits}\n[storage.other]\npath = {other:?}\n"));
        assert_eq!(bench.back_up().code, 0);
        let stored = bench.rig.stored();
        assert_eq!(stored.len(), 2 * backups, "{calls} {when}: of {left:?} there is {stored:?}");
        assert!(!stored.iter().any(|file| file.contains("tmp")), "{stored:?}");
        assert_eq!(bench.rig.backups().len(), backups + 1, "{calls} {when}");
        assert_eq!(bench.catalog("select id from runs where status = 'running'"), Vec::<String>::new());
        assert_eq!(bench.rig.run(&["verify", "--all"]).code, 0);
    }
}
