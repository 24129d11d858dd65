//! `status` says how each project stands, and its exit code says whether someone must look.

use rusqlite::Connection;

use crate::bench::{Bench, snapshot};

fn nightly() -> &'static str {
    "max_backup_age = \"26h\"\n[[project.schedule]]\nname = \"nightly\"\ncron = \"15 2 * * *\"\n"
}

#[test]
fn every_state_is_told_and_only_bad_ones_fail() {
    let bench = Bench::new();
    let away = "[[project]]\nname = \"away\"\nconnection = \"postgresql://x@127.0.0.1:1/x\"\nlimits = { retries = [] }\n";
    let shop = bench.project("shop", "shop", nightly());
    let off = bench.project("off", "shop", "enabled = false\n");
    let gone = bench.project("gone", "billing", "");
    bench.rig.configure(&format!("{shop}{off}{gone}"));
    snapshot!("status_new", bench.told(0, &["status"]));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "gone"]);
    bench.rig.configure(&format!("{shop}{off}{away}"));
    bench.run(0, &["pause", "shop", "--for", "2h", "--reason", "new disks"]);
    snapshot!("status_orphaned_and_paused", bench.told(0, &["status"]));
    assert!(bench.run(0, &["list", "gone"]).stdout.contains("orphaned"));
    bench.run(75, &["backup", "away"]);
    snapshot!("status_failing", bench.told(1, &["status"]));
    snapshot!("status_json", bench.told(1, &["status", "away", "--json"]));
    snapshot!("status_project", bench.told(0, &["status", "shop"]));
    assert!(bench.run(0, &["resume", "shop"]).stdout.contains("runs again"));
}

/// Makes every backup and run this much older than it is.
fn age(bench: &Bench, hours: i64) {
    let catalog = Connection::open(bench.rig.state().join("catalog.db")).expect("catalog");
    let kind: String = catalog.query_row("SELECT typeof(started_at) FROM backups", [], |row| row.get(0)).expect("a backup");
    assert_eq!(kind, "integer", "times are numbers");
    let micros = hours * 3_600_000_000;
    catalog.execute("UPDATE backups SET started_at = started_at - ?1", [micros]).expect("older");
}

#[test]
fn an_old_backup_is_stale_without_a_daemon_and_a_schema_only_one_does_not_help() {
    let bench = Bench::new();
    let schema = "[[project.schedule]]\nname = \"schema\"\ncron = \"@hourly\"\ncontent = \"schema\"\n";
    bench.rig.configure(&bench.project("shop", "shop", &format!("{}{schema}", nightly())));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["status"]);
    age(&bench, 27);
    bench.run(0, &["backup", "shop", "--schedule", "schema"]);
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.contains("STALE"), "{told}");
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["status"]);
}

#[test]
fn what_left_the_configuration_cannot_fail_for_ever() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "", "databases = [\"shop\", \"missing\"]\n"));
    bench.run(3, &["backup", "shop"]);
    bench.run(1, &["status"]);
    bench.rig.configure(&bench.project("shop", "", "databases = [\"shop\"]\n"));
    bench.run(0, &["status"]);
}
