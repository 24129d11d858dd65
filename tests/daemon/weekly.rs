//! The summary of all projects: when it comes, and what it says.

use chrono::TimeDelta;
use pgdumpd::error::{Cause, Failure};
use pgdumpd::ops::notice;

use crate::alerts::Office;
use crate::rig::Rig;
use crate::support::{LONG, NO_MAIL, WallClock, events, outbox, until};

const MONDAY: &str = "weekly_summary = \"0 8 * * mon\"\ntime_zone = \"Europe/Berlin\"\n";

#[test]
fn the_summary_comes_once_when_it_is_due_and_says_how_the_week_went() {
    let office = Office::new(MONDAY, "");
    let weekly = || notice::weekly(&office.world, &office.desk()).expect("looked");
    let storage = &office.world.storages["main"];
    pgdumpd::ops::mount::ensure(&office.world, storage.as_ref()).expect("a storage");
    // Monday 00:00 UTC is 01:00 in Berlin: agreed on now, due at 07:00 UTC.
    assert!(!weekly());
    office.run(None);
    office.run(Some(Failure::new(Cause::Connection, "connection refused")));
    notice::tell(&office.world, &office.desk()).expect("told");
    office.pass(TimeDelta::minutes(419));
    assert!(!weekly(), "06:59");
    office.pass(TimeDelta::minutes(1));
    assert!(weekly(), "07:00 UTC");
    assert!(!weekly(), "once");
    let letters = office.letters();
    let letter = letters.last().expect("a letter");
    assert_eq!(letter.event, "weekly");
    assert!(letter.subject.contains("1 project, 1 backup, 1 to look at"), "{}", letter.subject);
    assert!(letter.body.contains("shop: failing: connection refused") && letter.body.contains("failed runs: 1"), "{}", letter.body);
    assert!(letter.body.contains("main:") && letter.body.contains("free"), "{}", letter.body);

    // Three weeks without a daemon: one letter for all of them.
    office.pass(TimeDelta::weeks(3));
    assert!(weekly());
    assert!(!weekly());
    // A clock that goes back agrees anew and doesn't wait for a year.
    office.pass(TimeDelta::days(-365));
    assert!(!weekly());
    office.pass(TimeDelta::days(7));
    assert!(weekly());
}

#[test]
fn a_project_that_has_just_recovered_is_nothing_to_look_at() {
    let office = Office::new(MONDAY, "");
    let weekly = || notice::weekly(&office.world, &office.desk()).expect("looked");
    let storage = &office.world.storages["main"];
    pgdumpd::ops::mount::ensure(&office.world, storage.as_ref()).expect("a storage");
    assert!(!weekly());
    office.run(Some(Failure::new(Cause::Connection, "connection refused")));
    notice::tell(&office.world, &office.desk()).expect("told");
    office.pass(TimeDelta::hours(7));
    // It works again; the mail about that gathers for a minute.
    office.run(None);
    assert!(weekly());
    let letters = office.letters();
    let letter = letters.last().expect("a letter");
    assert_eq!(letter.event, "weekly");
    assert!(letter.body.contains("No project is failing or stale.") && !letter.subject.contains("to look at"), "{letter:?}");
}

#[test]
fn without_the_setting_there_is_no_summary() {
    let office = Office::new("", "");
    for _ in 0..20 {
        assert!(!notice::weekly(&office.world, &office.desk()).expect("looked"));
        office.pass(TimeDelta::days(1));
    }
}

#[test]
fn the_daemon_sends_the_summary_when_its_time_comes() {
    let rig = Rig::new();
    rig.configure_with(MONDAY, NO_MAIL);
    let clock = WallClock::new(&rig, "@2026-03-01 12:00:00");
    let serving = rig.serve_by(clock.command(&rig));
    serving.wait_for_log("ready", LONG);
    until(&serving, "it turns", || {
        rig.state().join("catalog.db").exists()
            && clock.command(&rig).args(["status", "--alive"]).status().is_ok_and(|status| status.success())
    });
    std::thread::sleep(std::time::Duration::from_secs(16));
    assert!(events(&rig).is_empty(), "{:?}", outbox(&rig));
    clock.set("@2026-03-02 07:00:10");
    until(&serving, "the summary", || events(&rig) == ["weekly"]);
}
