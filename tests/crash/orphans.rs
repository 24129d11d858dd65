//! Row 21: a pgdumpd that is gone leaves its dump behind, waiting for a lock or stopped; the next one ends that very process.

use std::process::{Child, Stdio};

use crate::bench::{Bench, PATIENCE, kill, processes_with};
use crate::rig::wait_until;

/// Someone who holds `orders` for himself, until dropped.
struct Blocker<'a>(Child, &'a Bench);

impl<'a> Blocker<'a> {
    fn new(bench: &'a Bench) -> Self {
        let sql = "begin; lock table orders in access exclusive mode; select pg_sleep(600)";
        let child = bench.cluster.psql_command("shop").args(["-c", sql]).stderr(Stdio::null()).spawn().unwrap();
        bench.cluster.wait_until("count(*) > 0 from pg_locks where mode = 'AccessExclusiveLock' and granted and relation is not null");
        Self(child, bench)
    }
}

impl Drop for Blocker<'_> {
    fn drop(&mut self) {
        // Its backend would sleep on without it.
        self.1
            .cluster
            .psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()");
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const WAITING: &str = "count(*) > 0 from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock'";

/// The process numbers of the dumps that have the project's lock open.
fn dumps(bench: &Bench) -> Vec<u32> {
    processes_with(&bench.lock()).into_iter().filter(|(_, line)| line.contains("pg_dump")).map(|(pid, _)| pid).collect()
}

/// A daemon whose only slot is due at once, killed while its `pg_dump` waits for a lock; the orphan's number.
fn orphan(bench: &Bench) -> u32 {
    let mut serving = bench.start();
    wait_until(PATIENCE, || format!("a dump that waits: {}", serving.log()), || dumps(bench).len() == 1);
    bench.cluster.wait_until(WAITING);
    let orphan = dumps(bench)[0];
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    assert_eq!(dumps(bench), [orphan], "the dump outlives its daemon");
    orphan
}

fn backends(bench: &Bench) -> String {
    bench.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd/%'")
}

#[test]
fn f21_killed_while_pg_dump_waits_for_a_lock() {
    let bench = Bench::new("schedule = [{ name = \"often\", every = \"1h\" }]");
    let blocker = Blocker::new(&bench);
    let orphan = orphan(&bench);
    // The start ends that very process and its backend, although the table is still locked; and tells.
    let mut serving = bench.start();
    assert_eq!(dumps(&bench), Vec::<u32>::new(), "process {orphan} is still there: {}", serving.log());
    bench.cluster.wait_until("count(*) = 0 from pg_stat_activity where application_name like 'pgdumpd/%'");
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    drop(blocker);
    bench.assert_sound("an orphan that waited");
    bench.assert_told_once("an orphan that waited");
    assert_eq!(bench.catalog("select outcome from slots"), ["interrupted"]);
    assert_eq!(bench.back_up().code, 0);
}

#[test]
fn f21_no_second_dump_beside_a_stopped_orphan() {
    let bench = Bench::new("schedule = [{ name = \"often\", every = \"1h\" }]");
    let blocker = Blocker::new(&bench);
    let orphan = orphan(&bench);
    kill("STOP", orphan);
    drop(blocker);
    // Its backend has the lock now and waits for a client that doesn't read. The command line comes along before any daemon does.
    let ended = bench.back_up();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(dumps(&bench).is_empty(), "the stopped dump {orphan} is still there");
    assert_eq!(backends(&bench), "0");
    assert_eq!(bench.rig.backups().len(), 1);
    bench.mend();
    bench.assert_sound("a stopped orphan");
    assert_eq!(bench.catalog("select status from runs order by started_at"), ["failed", "completed"]);
}

/// Killed together with its dump, as the out-of-memory killer and systemd do it: the backend alone is left, and keeps its locks.
#[test]
fn f21_a_backend_without_its_dump_is_ended() {
    a_backend_without_its_dump_is_ended(|_| {});
}

fn a_backend_without_its_dump_is_ended(meanwhile: impl FnOnce(&Bench)) {
    let bench = Bench::new("schedule = [{ name = \"often\", every = \"1h\" }]");
    let _blocker = Blocker::new(&bench);
    let orphan = orphan(&bench);
    kill("KILL", orphan);
    bench.cluster.wait_until(WAITING);
    meanwhile(&bench);
    let serving = bench.start();
    bench.cluster.wait_until("count(*) = 0 from pg_stat_activity where application_name like 'pgdumpd/%'");
    drop(serving);
}

/// The server tells of all its backends in any of its databases.
#[test]
fn f21_a_backend_in_a_database_that_lets_nobody_in_any_more_is_ended() {
    a_backend_without_its_dump_is_ended(|bench| drop(bench.cluster.psql("alter database shop allow_connections false")));
}

/// The project was taken out of the configuration meanwhile.
#[test]
fn f21_an_orphan_of_a_project_no_longer_configured() {
    let bench = Bench::new("schedule = [{ name = \"often\", every = \"1h\" }]");
    let _blocker = Blocker::new(&bench);
    orphan(&bench);
    let other = bench.cluster.url("postgres");
    bench.rig.configure(&format!("[[project]]\nname = \"other\"\nconnection = \"{other}\"\n"));
    bench.mend();
    assert!(dumps(&bench).is_empty());
    assert_eq!(bench.catalog("select status from runs"), ["failed"]);
    assert_eq!(bench.catalog("select outcome from slots"), ["interrupted"]);
    assert_eq!(bench.rig.stored(), Vec::<String>::new());
    // pg_dump asks the server to cancel when it is asked to end, so that nothing is left there either.
    bench.assert_quiet("an orphan without a project");
}
