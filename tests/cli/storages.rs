//! Storages that are called otherwise than before, that a project has left, or that are no longer configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pgdumpd::clock::Clock;
use pgdumpd::config;
use pgdumpd::ops::{World, reindex};
use serde_json::Value;

use crate::bench::Bench;
use crate::rig::wait_until;

/// Longer than a start takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Writes a configuration with these storages (name, folder below the rig) and projects.
fn configure(bench: &Bench, storages: &[(&str, &str)], projects: &str) {
    let path = |folder: &str| bench.rig.path().join(folder);
    let storages: Vec<String> = storages
        .iter()
        .map(|(name, folder)| format!("[storage.{name}]\ntype = \"local\"\npath = {:?}\nreserve = \"0\"\n", path(folder)))
        .collect();
    let text = format!("[daemon]\nstate_dir = {:?}\n{}{projects}", bench.rig.state(), storages.concat());
    std::fs::write(bench.rig.path().join("pgdumpd.toml"), text).expect("configuration");
}

/// A project in that storage, which keeps the last two.
fn project(bench: &Bench, name: &str, database: &str, storage: &str) -> String {
    bench.project(name, database, &format!("storage = [{storage:?}]\nretention = {{ keep_last = 2 }}\n"))
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{key} in {row}"))
}

/// Id and storage of every backup that is listed, newest first.
fn listed(bench: &Bench) -> Vec<(String, String)> {
    bench.rig.backups().iter().map(|row| (word(row, "id").to_owned(), word(row, "storage").to_owned())).collect()
}

/// The look that the daemon takes.
fn look(bench: &Bench) {
    let settings = config::load(&bench.rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    let seen = reindex::reindex(&World::open(&settings, Clock::system()).expect("a world")).expect("a look");
    assert!(seen.problems.is_empty(), "{:?}", seen.problems);
}

fn renamings(bench: &Bench) -> Vec<String> {
    let log = bench.run(0, &["audit", "--json"]).json();
    let renamed = log.as_array().expect("entries").iter().filter(|entry| entry["action"] == "rename-storage");
    renamed.map(|entry| word(entry, "subject").to_owned()).collect()
}

#[test]
fn a_storage_that_is_renamed_keeps_its_backups_pins_and_proofs() {
    let bench = Bench::new();
    configure(&bench, &[("main", "backups")], &project(&bench, "shop", "shop", "main"));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "shop"]);
    let before = listed(&bench);
    let oldest = &before[1].0;
    bench.run(0, &["pin", oldest]);
    bench.run(0, &["verify", oldest, "--level", "read"]);

    configure(&bench, &[("disk", "backups")], &project(&bench, "shop", "shop", "disk"));
    let now: Vec<(String, String)> = before.iter().map(|(id, _)| (id.clone(), String::from("disk"))).collect();
    assert_eq!(listed(&bench), now);
    look(&bench);
    assert_eq!(listed(&bench), now, "no backup stands there twice");
    let row = bench.rig.backups().pop().expect("the oldest");
    assert_eq!((&row["pinned"], &row["proof"]), (&true.into(), &"read".into()), "{row}");
    bench.run(0, &["verify", "shop"]);
    bench.run(0, &["restore", "shop@latest", "--to", "copy"]);
    assert_eq!(bench.cluster.psql_in("copy", "select count(*) from orders"), "3");
    bench.run(0, &["unpin", oldest]);
    let made = bench.run(0, &["backup", "shop"]);
    assert!(made.stdout.contains("pruned 1 older backup"), "the retention goes on: {made:?}");
    assert_eq!(renamings(&bench), ["main is disk now"], "told once");
    assert_eq!(bench.run(0, &["status"]).stdout.matches("storage").count(), 0, "nothing is left elsewhere");
    let state = |name: &str| bench.rig.state().join(format!("storage-{name}.id"));
    assert!(!state("main").exists());
    let bits = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(state("disk")).expect("a note").permissions());
    assert_eq!(bits & 0o777, 0o600);

    // The old name is free for another folder.
    let both = format!("{}{}", project(&bench, "shop", "shop", "disk"), project(&bench, "billing", "billing", "main"));
    configure(&bench, &[("disk", "backups"), ("main", "more")], &both);
    bench.run(0, &["backup", "billing"]);
    assert_eq!(listed(&bench)[0].1, "main");
    assert!(bench.rig.path().join("more/billing").is_dir());
}

#[test]
fn what_an_older_version_listed_under_both_names_is_listed_once() {
    let bench = Bench::new();
    configure(&bench, &[("main", "backups")], &project(&bench, "shop", "shop", "main"));
    bench.run(0, &["backup", "shop"]);
    let catalog = rusqlite::Connection::open(bench.rig.state().join("catalog.db")).expect("catalog");
    let columns = "SELECT group_concat(iif(name = 'storage', quote('disk'), name)) FROM pragma_table_info('backups')";
    let columns: String = catalog.query_row(columns, [], |row| row.get(0)).expect("columns");
    let twice = format!(
        "INSERT INTO backups SELECT {columns} FROM backups; DELETE FROM meta WHERE key = 'storage-places'; \
         INSERT INTO meta SELECT 'storage-id:disk', value FROM meta WHERE key = 'storage-id:main'"
    );
    catalog.execute_batch(&twice).expect("rows");
    let rows = |sql: &str| catalog.query_row(sql, [], |row| row.get::<_, u32>(0)).expect("rows");
    assert_eq!(rows("SELECT count(*) FROM backups"), 2);
    configure(&bench, &[("disk", "backups")], &project(&bench, "shop", "shop", "disk"));
    assert_eq!(listed(&bench).len(), 1);
    bench.run(0, &["verify", "shop"]);
}

#[test]
fn two_storages_that_change_names_keep_their_own_backups() {
    let bench = Bench::new();
    let projects = |a: &str, b: &str| format!("{}{}", project(&bench, "shop", "shop", a), project(&bench, "billing", "billing", b));
    configure(&bench, &[("a", "one"), ("b", "two")], &projects("a", "b"));
    bench.run(0, &["backup", "--all"]);
    configure(&bench, &[("a", "two"), ("b", "one")], &projects("b", "a"));
    let storage = |name: &str| {
        let rows = bench.rig.backups();
        word(rows.iter().find(|row| row["project"] == name).expect("a backup"), "storage").to_owned()
    };
    assert_eq!((storage("shop"), storage("billing")), (String::from("b"), String::from("a")));
    look(&bench);
    assert_eq!(listed(&bench).len(), 2);
    bench.run(0, &["verify", "shop"]);
    bench.run(0, &["verify", "billing"]);
    bench.run(0, &["backup", "--all"]);
    assert_eq!((storage("shop"), storage("billing"), listed(&bench).len()), (String::from("b"), String::from("a"), 4));
}

#[test]
fn names_that_are_exchanged_make_nothing_gone_before_the_daemon_has_read_them() {
    let bench = Bench::new();
    let projects = |a: &str, b: &str| format!("{}{}", project(&bench, "shop", "shop", a), project(&bench, "billing", "billing", b));
    configure(&bench, &[("a", "one"), ("b", "two")], &projects("a", "b"));
    bench.run(0, &["backup", "--all"]);
    let mut serving = bench.rig.serve();
    wait_until(LONG, || serving.log(), || bench.rig.run(&["status"]).code == 0);
    configure(&bench, &[("a", "two"), ("b", "one")], &projects("b", "a"));
    for verb in ["list", "status"] {
        let said = bench.rig.run(&[verb]);
        assert!(!said.stdout.contains("GONE") && !said.stdout.contains("missing"), "{said:?}");
    }
    let refused = bench.run(1, &["doctor", "--accept-storage", "a"]).stderr;
    assert!(refused.contains("storage \"a\" is what was storage \"b\" before") && refused.contains("restart pgdumpd"), "{refused}");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    bench.run(0, &["verify", "--all"]);
    assert_eq!(listed(&bench).len(), 2);
}

#[test]
fn a_name_whose_own_backups_are_nowhere_is_not_given_to_another_storage() {
    let bench = Bench::new();
    let projects = |a: &str, b: &str| format!("{}{}", project(&bench, "shop", "shop", a), project(&bench, "billing", "billing", b));
    configure(&bench, &[("a", "one"), ("b", "two")], &projects("a", "b"));
    bench.run(0, &["backup", "--all"]);
    configure(&bench, &[("a", "two")], &projects("a", "a"));
    let refused = bench.run(1, &["backup", "billing"]).stderr;
    assert!(refused.contains("storage \"a\" is what was storage \"b\" before") && refused.contains("under any name"), "{refused}");
    configure(&bench, &[("a", "two"), ("c", "one")], &projects("c", "a"));
    bench.run(0, &["backup", "--all"]);
    let mut storages: Vec<String> =
        bench.rig.backups().iter().map(|row| format!("{} {}", word(row, "project"), word(row, "storage"))).collect();
    storages.sort();
    assert_eq!(storages, ["billing a", "billing a", "shop c", "shop c"]);
}

fn away(from: &Path, to: &Path) {
    rustix::fs::rename(from, to).expect("renamed");
}

#[test]
fn f29a_a_storage_that_is_renamed_while_it_is_not_mounted_is_missed_and_not_made_anew() {
    let bench = Bench::new();
    configure(&bench, &[("main", "backups")], &project(&bench, "shop", "shop", "main"));
    bench.run(0, &["backup", "shop"]);
    let (root, elsewhere): (PathBuf, PathBuf) = (bench.rig.storage(), bench.rig.path().join("elsewhere"));
    away(&root, &elsewhere);
    std::fs::create_dir(&root).expect("a mount point");
    configure(&bench, &[("disk", "backups")], &project(&bench, "shop", "shop", "disk"));
    let refused = bench.run(1, &["backup", "shop"]).stderr;
    assert!(refused.contains("storage \"disk\" has no marker file: not mounted?"), "{refused}");
    assert_eq!(std::fs::read_dir(&root).expect("the mount point").count(), 0);
    std::fs::remove_dir(&root).expect("removed");
    away(&elsewhere, &root);
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["verify", "shop"]);
    assert_eq!(listed(&bench).iter().map(|(_, storage)| storage.as_str()).collect::<Vec<_>>(), ["disk", "disk"]);
}

#[test]
fn what_a_project_left_in_another_storage_stays_and_is_told() {
    let bench = Bench::new();
    configure(&bench, &[("a", "one"), ("b", "two")], &project(&bench, "shop", "shop", "a"));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "shop"]);
    let old = listed(&bench);
    configure(&bench, &[("a", "one"), ("b", "two")], &project(&bench, "shop", "shop", "b"));
    for _ in 0..3 {
        bench.run(0, &["backup", "shop"]);
    }
    let words = "2 backups remain in storage \"a\", where no retention prunes them";
    assert!(bench.run(0, &["status"]).stdout.contains(words));
    assert_eq!(bench.run(0, &["status", "--json"]).json()["projects"][0]["elsewhere"][0]["backups"], 2);
    let told = bench.run(0, &["doctor"]).stdout;
    assert!(told.contains(&format!("warning storage \"a\": {words}")) && told.contains("pgdumpd delete BACKUP"), "{told}");
    assert!(bench.run(0, &["plan"]).stderr.contains(&format!("shop: {words}")));
    assert!(bench.run(0, &["prune", "shop", "--dry-run"]).stderr.contains(&format!("shop: {words}")));
    let list = bench.run(0, &["list"]).stdout;
    assert_eq!((list.matches("in storage a").count(), list.matches("in storage b").count()), (2, 0), "{list}");
    assert_eq!(listed(&bench).len(), 4, "the retention counts those of the new one alone");
    bench.run(0, &["restore", &old[1].0, "--to", "copy"]);
    assert_eq!(bench.cluster.psql_in("copy", "select count(*) from orders"), "3");
    for (id, _) in &old {
        bench.run(0, &["delete", id, "--confirm"]);
    }
    assert!(!bench.run(0, &["status"]).stdout.contains("storage"));
}

#[test]
fn backups_of_a_storage_that_is_no_longer_configured_are_told_with_the_way_back() {
    let bench = Bench::new();
    let both = |storage: &str| format!("{}{}", project(&bench, "shop", "shop", storage), project(&bench, "billing", "billing", "b"));
    configure(&bench, &[("a", "one"), ("b", "two")], &both("a"));
    bench.run(0, &["backup", "--all"]);
    let id = listed(&bench).into_iter().find(|(_, storage)| storage == "a").expect("a backup").0;
    configure(&bench, &[("b", "two")], &both("b"));
    let words = "1 backup lies in storage \"a\", which is no longer configured: nothing reads or prunes it";
    assert!(bench.run(0, &["status"]).stdout.contains(words));
    let told = bench.run(0, &["doctor"]).stdout;
    assert!(told.contains(&format!("warning storage \"a\": {words}")) && told.contains("under any name"), "{told}");
    assert!(bench.run(0, &["list"]).stdout.contains("in storage a, which is not configured"));
    let refused = bench.run(2, &["restore", &id, "--to", "copy"]).stderr;
    let place = bench.rig.path().join("one");
    assert!(refused.contains(&format!("the backup lies in storage \"a\" (it was {}), which is no longer", place.display())), "{refused}");
    // Nor is it forgotten where its project isn't configured any more, either.
    configure(&bench, &[("b", "two")], &project(&bench, "billing", "billing", "b"));
    assert!(bench.run(0, &["status"]).stdout.contains(&format!("shop: {words}")));
    configure(&bench, &[("old", "one"), ("b", "two")], &both("b"));
    bench.run(0, &["restore", &id, "--to", "copy"]);
}

#[test]
fn f29a_a_storage_that_vanishes_while_nothing_runs_is_told() {
    let bench = Bench::new();
    let unused = "\n[[project]]\nname = \"off\"\nenabled = false\nconnection = \"postgresql://x@127.0.0.1:1/x\"\nstorage = [\"b\"]\n";
    configure(&bench, &[("a", "one"), ("b", "two")], &format!("{}{unused}", project(&bench, "shop", "shop", "a")));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["status"]);
    let (root, elsewhere) = (bench.rig.path().join("one"), bench.rig.path().join("elsewhere"));
    away(&root, &elsewhere);
    for mount_point in [false, true] {
        if mount_point {
            std::fs::create_dir(&root).expect("a mount point");
        }
        for verb in [&["status"][..], &["status", "shop"]] {
            let told = bench.run(1, verb).stdout;
            let words = "PROBLEM storage \"a\" has no marker file: not mounted?; no backup can be made there; mount it; if the disk was";
            assert!(told.contains(words) && told.contains("--accept-storage a"), "{told}");
        }
        assert_eq!(bench.run(1, &["status", "--json"]).json()["healthy"], false);
    }
    std::fs::write(root.join(".pgdumpd-storage"), "{\"format\": 1, \"id\": \"abcdefghij\", \"created\": \"2026-11-21T00:00:00Z\"}")
        .expect("marker");
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.contains("PROBLEM storage \"a\" carries the id abcdefghij") && told.contains("another disk is mounted there"), "{told}");
    assert!(!told.contains("GONE"), "{told}");
    std::fs::remove_dir_all(&root).expect("removed");
    away(&elsewhere, &root);
    // One that nobody's backups go to may lie in a drawer.
    std::fs::remove_dir_all(bench.rig.path().join("two")).expect("removed");
    bench.run(0, &["status"]);
}

/// Nothing of a storage lies in another one: that says nothing about its files.
#[test]
fn another_disk_in_a_storages_place_is_told_by_whoever_reads_from_it() {
    let bench = Bench::new();
    let projects = [project(&bench, "shop", "shop", "main"), project(&bench, "other", "shop", "other")].concat();
    configure(&bench, &[("main", "backups"), ("other", "others")], &projects);
    bench.run(0, &["backup", "--all"]);
    let at = |folder: &str| bench.rig.path().join(folder);
    for (from, to) in [("backups", "elsewhere"), ("others", "backups")] {
        std::fs::rename(at(from), at(to)).expect("moved");
    }
    let commands: [&[&str]; 5] = [
        &["show", "shop@latest"],
        &["show", "shop@latest", "--toc"],
        &["cat", "shop@latest", "t"],
        &["diff", "shop@latest", "shop@latest"],
        &["prune", "shop", "--dry-run"],
    ];
    for words in commands {
        let told = bench.run(1, words);
        assert!(told.stderr.contains("was expected") && !told.stderr.contains("gone"), "{words:?}: {told:?}");
    }
}
