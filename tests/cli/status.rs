//! `status` says how each project stands, and its exit code says whether someone must look.

use std::process::Stdio;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::bench::{Bench, snapshot};
use crate::rig::wait_until;
use crate::smtp::{Script, Server};

/// A bound, not an expectation.
const LONG: Duration = Duration::from_secs(60);

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
    // A schedule without a daemon is bad, too; the states beside it are as they are.
    snapshot!("status_new", bench.told(1, &["status"]));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "gone"]);
    bench.rig.configure(&format!("{shop}{off}{away}"));
    bench.run(0, &["pause", "shop", "--for", "2h", "--reason", "new disks"]);
    snapshot!("status_orphaned_and_paused", bench.told(1, &["status"]));
    assert!(bench.run(0, &["list", "gone"]).stdout.contains("orphaned"));
    bench.run(75, &["backup", "away"]);
    snapshot!("status_failing", bench.told(1, &["status"]));
    snapshot!("status_json", bench.told(1, &["status", "away", "--json"]));
    snapshot!("status_project", bench.told(1, &["status", "shop"]));
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
    let schema = "[[project.schedule]]\nname = \"schema\"\ncron = \"@hourly\"\ncontent = \"schema\"\nenabled = false\n";
    bench.rig.configure(&bench.project("shop", "shop", &format!("max_backup_age = \"26h\"\n{schema}")));
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

#[test]
fn schedules_without_a_daemon_are_told_first_and_fail() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", nightly()));
    bench.run(0, &["backup", "shop"]);
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.starts_with("the daemon is NOT RUNNING, so no schedule fires"), "{told}");
    assert_eq!(bench.run(1, &["status", "--json"]).json()["healthy"], false);
    let mut serving = bench.rig.serve();
    wait_until(LONG, || serving.log(), || bench.rig.run(&["status"]).code == 0);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    bench.run(1, &["status"]);
    bench.rig.configure(&bench.project("shop", "shop", "max_backup_age = \"26h\"\n"));
    let told = bench.run(0, &["status"]).stdout;
    assert!(told.starts_with("the daemon is not running; nothing is backed up by itself"), "by hand only: {told}");
}

#[test]
fn a_broken_configuration_hides_no_projects_state() {
    let bench = Bench::new();
    let (shop, other) = (bench.project("shop", "shop", nightly()), bench.project("other", "billing", nightly()));
    bench.rig.configure(&format!("{shop}{other}"));
    let mut serving = bench.rig.serve();
    wait_until(LONG, || serving.log(), || bench.rig.run(&["status"]).code == 0);
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "other"]);
    let id = |database: &str| {
        bench.rig.backups().iter().find(|row| row["database"] == database).map(|row| row["id"].to_string()).expect("a backup")
    };
    let ids = [id("shop"), id("billing")].map(|id| id.trim_matches('"').to_owned());
    bench.rig.configure(&format!("{shop}{}corn = 1\n", other.replace("connection", "conection")));
    let told = bench.run(1, &["status"]).stdout;
    let problems: Vec<&str> = told.lines().skip_while(|line| !line.starts_with("PROBLEM the configuration has")).collect();
    assert!(problems[0].ends_with("; the daemon goes on with what it read before:"), "{told}");
    assert!(problems[1..].iter().filter(|line| line.starts_with("        ") && line.contains("pgdumpd.toml:")).count() >= 3, "{told}");
    for broken in
        [format!("{shop}{other}corn = 1\n"), format!("{shop}{}", other.replace("connection", "conection")), format!("{shop}[[project\n")]
    {
        bench.rig.configure(&broken);
        let told = bench.run(1, &["status"]).stdout;
        assert!(told.contains("PROBLEM the configuration has") && told.contains("pgdumpd.toml:"), "{broken}\n{told}");
        assert!(told.contains("the daemon is serving") && told.contains("goes on with what it read before"), "{told}");
        assert!(ids.iter().all(|id| told.contains(id)) && !told.contains("orphaned"), "{broken}\n{told}");
        assert!(!told.contains("by hand only"), "of what could not be read nobody knows when it is due: {broken}\n{told}");
        assert_eq!(bench.run(1, &["status", "--json"]).json()["projects"].as_array().map(Vec::len), Some(2));
        bench.run(0, &["status", "--alive"]);
        bench.run(2, &["list"]);
    }
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

/// Dates this backup so many hours ahead, as a wrong clock would have.
fn date_ahead(bench: &Bench, id: &str, hours: i64) {
    let catalog = Connection::open(bench.rig.state().join("catalog.db")).expect("catalog");
    let changed =
        catalog.execute("UPDATE backups SET started_at = started_at + ?1 WHERE id = ?2", (hours * 3_600_000_000, id)).expect("dated");
    assert_eq!(changed, 1);
}

#[test]
fn a_backup_dated_in_the_future_is_nobodys_last_good_one() {
    let bench = Bench::new();
    let mail = Server::start(Script { offer_starttls: false, auth: "", ..Script::default() });
    let port = mail.address.port();
    let smtp =
        format!("[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n");
    bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "shop", "max_backup_age = \"26h\"\n")));
    bench.run(0, &["backup", "shop"]);
    let newest = || bench.rig.backups()[0]["id"].as_str().map(str::to_owned).expect("a backup");
    let good = newest();
    age(&bench, 27);
    bench.run(0, &["backup", "shop"]);
    let ahead = newest();
    date_ahead(&bench, &ahead, 24 * 370);
    let catalog = Connection::open(bench.rig.state().join("catalog.db")).expect("catalog");
    let long_ago = "UPDATE alerts SET state = json_set(state, '$.last_good_at', null, '$.first_seen', '2020-01-01T00:00:00Z')";
    assert_eq!(catalog.execute(long_ago, []).expect("alerts"), 1);
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.contains("STALE") && told.contains(&good) && told.contains("1 backup dated in the future"), "{told}");
    assert!(bench.run(0, &["list"]).stdout.contains("dated in the future"));
    for name in ["shop@latest", "shop/shop@latest", "latest"] {
        assert!(bench.run(0, &["show", name]).stdout.starts_with(&format!("backup     {good}")), "{name}");
    }
    let serving = bench.rig.serve();
    wait_until(LONG, || serving.log(), || mail.look(|seen| !seen.mails.is_empty()));
    bench.run(0, &["backup", "shop"]);
    wait_until(LONG, || serving.log(), || mail.look(|seen| seen.mails.len() >= 2));
    let recovered = mail.look(|seen| seen.mails[1].1.replace("=\r\n", "").replace("\r\n", " "));
    assert!(recovered.contains("It was: no good full backup of shop within max_backup_age"), "{recovered}");
    let mail = mail.look(|seen| seen.mails[0].1.replace("=\r\n", "").replace("\r\n", "\n"));
    assert!(mail.contains("X-Pgdumpd-Event: stale") && mail.contains(&good) && !mail.contains(&ahead), "{mail}");
}

#[test]
fn an_interval_is_planned_from_its_last_start() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", "[[project.schedule]]\nname = \"often\"\nevery = \"10 min\"\n"));
    let first = bench.run(0, &["plan", "shop", "--json"]).json()[0]["slots"][0].to_string();
    assert!(first.contains('T'), "{first}");
    assert!(!bench.rig.state().join("catalog.db").exists(), "a question makes no catalog");
    let serving = bench.rig.serve();
    wait_until(LONG, || serving.log(), || !bench.rig.backups().is_empty());
    std::thread::sleep(Duration::from_secs(2));
    let next = bench.run(0, &["status", "--json"]).json()["projects"][0]["next"].to_string();
    let planned = bench.run(0, &["plan", "shop", "--json"]).json();
    assert_eq!(planned[0]["slots"][0].to_string(), next, "{planned}");
}

#[test]
fn the_next_start_is_told_with_its_spread() {
    let bench = Bench::new();
    let nightly = "[[project.schedule]]\nname = \"nightly\"\ncron = \"15 2 * * *\"\nspread = \"2h\"\n";
    bench.rig.configure(&bench.project("shop", "shop", nightly));
    let next = bench.run(1, &["status", "--json"]).json()["projects"][0]["next"].to_string();
    let planned = bench.run(0, &["plan", "shop", "--json"]).json()[0]["slots"][0].to_string();
    assert_eq!(next, planned);
    assert!(!next.contains("T02:15:00"), "{next}");
}

/// Nothing is dumped while a failure is being waited out, and nobody should have to guess that from the log.
#[test]
fn a_run_that_waits_for_its_retry_says_until_when_and_why() {
    let bench = Bench::new();
    let away = |databases: &str| {
        format!(
            "[[project]]\nname = \"away\"\nconnection = \"postgresql://x@127.0.0.1:1/x\"\nlimits = {{ retries = [\"1h\", \"2h\"] }}\n{databases}\n"
        )
    };
    for (databases, named) in [("", " to try x again"), ("databases = \"all\"", " to try again")] {
        bench.rig.configure(&away(databases));
        let mut waiting =
            bench.rig.command().args(["backup", "away"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a backup");
        let waits = || bench.rig.run(&["status", "--json"]).json()["projects"][0]["waits"].clone();
        wait_until(LONG, || format!("{:?}", bench.rig.run(&["status"])), || waits().as_array().is_some_and(|waits| waits.len() == 1));
        let status = bench.rig.run(&["status"]).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let wait = waits()[0].clone();
        assert_eq!((&wait["attempt"], &wait["attempts"], &wait["what"]), (&2.into(), &3.into(), &"backup".into()), "{wait:#}");
        assert_eq!(wait["database"].as_str(), named.contains('x').then_some("x"), "{wait:#}");
        let until: chrono::DateTime<chrono::Utc> = wait["until"].as_str().expect("a time").parse().expect("a time");
        let told = format!("waits until {}{named} (attempt 2 of 3): ", until.format("%Y-%m-%d %H:%M:%S"));
        assert!(status.contains(&told) && status.contains(wait["why"].as_str().expect("why")), "{told}: {status}");
        assert!(!status.contains("dumping"), "{status}");
        rustix::process::kill_process(rustix::process::Pid::from_child(&waiting), rustix::process::Signal::TERM).expect("told to end");
        waiting.wait().expect("it ends");
        assert!(!bench.rig.run(&["status"]).stdout.contains("waits"), "it waits no longer");
    }
}

#[test]
fn the_plan_says_what_is_paused_or_disabled() {
    let bench = Bench::new();
    let shop = bench.project("shop", "shop", nightly());
    let off = bench.project("off", "shop", &format!("enabled = false\n{}", nightly().split_once('\n').expect("two").1));
    bench.rig.configure(&format!("{shop}{off}"));
    assert!(!bench.run(0, &["plan"]).stdout.contains("paused"));
    bench.run(0, &["pause", "shop", "--for", "36h", "--reason", "new disks"]);
    let told = bench.run(0, &["plan"]).stdout;
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with("shop / nightly in UTC (paused until 2") && lines[0].ends_with(": new disks)"), "{told}");
    assert!(lines[1].ends_with(" UTC, skipped") && lines[5].ends_with(" UTC"), "{told}");
    assert!(told.contains("off / nightly in UTC (disabled)"), "{told}");
    let plans = bench.run(0, &["plan", "--json"]).json();
    assert_eq!((&plans[0]["paused"], &plans[0]["pause_reason"]), (&true.into(), &"new disks".into()), "{plans:#}");
    assert!(plans[0]["paused_until"].is_string() && plans[1]["paused"] == false && plans[1]["enabled"] == false, "{plans:#}");
    bench.run(0, &["pause", "shop"]);
    let told = bench.run(0, &["plan", "shop"]).stdout;
    assert!(told.starts_with("shop / nightly in UTC (paused)") && told.lines().skip(1).all(|line| line.ends_with(", skipped")), "{told}");
}

#[test]
fn an_interval_that_never_ran_begins_at_once_in_the_plan_too() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", "[[project.schedule]]\nname = \"often\"\nevery = \"15 min\"\n"));
    let now = bench.cluster.psql("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let before: DateTime<Utc> = now.parse().expect("a time");
    let planned = bench.run(0, &["plan", "shop", "--json"]).json();
    let slots: Vec<DateTime<Utc>> =
        planned[0]["slots"].as_array().into_iter().flatten().filter_map(|slot| slot.as_str()?.parse().ok()).collect();
    assert_eq!(planned[0]["never_ran"], true, "{planned}");
    assert!(slots[0] - before < TimeDelta::minutes(10) && slots[1] - slots[0] == TimeDelta::minutes(15), "{slots:?}");
    let told = bench.run(0, &["plan", "shop"]).stdout;
    assert!(told.contains("never run yet, so it begins as soon as the daemon serves; counted from now"), "{told}");
}

#[test]
fn a_plan_that_ends_before_it_begins_is_refused() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", nightly()));
    let told = bench.run(2, &["plan", "--from", "2026-03-30", "--to", "2026-03-28"]).stderr;
    assert!(told.contains("--from 2026-03-30 00:00:00 UTC is later than --to 2026-03-28 00:00:00 UTC"), "{told}");
    let told = bench.run(2, &["plan", "--to", "2020-01-01"]).stderr;
    assert!(told.contains("--to 2020-01-01 00:00:00 UTC has passed, and without --from the plan begins now"), "{told}");
    bench.run(0, &["plan", "--from", "2026-03-28", "--to", "2026-03-30"]);
}

#[test]
fn a_single_missed_slot_has_one_time() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", nightly()));
    bench.run(0, &["backup", "shop"]);
    let catalog = Connection::open(bench.rig.state().join("catalog.db")).expect("catalog");
    let missed = "INSERT INTO slots (project, schedule, due_at, until, count, recorded_at, outcome)
        VALUES ('shop', 'nightly', ?1, ?2, ?3, ?2, 'missed')";
    let day = 86_400_000_000_i64;
    catalog.execute(missed, (20_000 * day, 20_000 * day, 1)).expect("one");
    catalog.execute(missed, (20_001 * day, 20_003 * day, 3)).expect("three");
    let told = bench.rig.run(&["status", "shop"]).stdout;
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("pgdumpd was not running")).collect();
    assert_eq!(lines.len(), 2, "{told}");
    let of = |day: &str| lines.iter().find(|line| line.starts_with(day)).copied().unwrap_or_else(|| panic!("{day}: {told}"));
    assert!(!of("2024-10-04").contains(" to "), "{told}");
    assert!(of("2024-10-05").contains(" to 2024-10-07"), "{told}");
}
