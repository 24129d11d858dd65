//! The wall clock is set, or stands still while the machine sleeps; the steady clock goes on.

use std::collections::BTreeSet;

use crate::rig::Rig;
use crate::support::{LONG, Place, Slot, WallClock, ended, now, slots, until};

const SECOND: i64 = 1_000_000;
const YEAR: i64 = 365 * 86_400 * SECOND;

fn ids(rig: &Rig) -> BTreeSet<String> {
    rig.backups().iter().map(|backup| backup["id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn run(rows: &[Slot]) -> Vec<&Slot> {
    rows.iter().filter(|slot| matches!(slot.outcome.as_str(), "ok" | "claimed")).collect()
}

#[test]
fn f28_a_clock_that_jumps_a_year_ahead_and_back_prunes_nothing_and_stops_nothing() {
    let place = Place::new();
    let schedule =
        "retention = { keep_within = \"30 days\", keep_last = 3 }\n[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n";
    place.rig.configure(&place.project("shop", schedule));
    let clock = WallClock::new(&place.rig, "+0");
    let serving = place.rig.serve_by(clock.command(&place.rig));
    until(&serving, "eight backups before", || ended(&place.rig, "shop", "ok") >= 8);
    let before = ids(&place.rig);
    let slots_before = slots(&place.rig);

    clock.set("+365d");
    serving.wait_for_log("the clock jumped", LONG);
    let ahead = |slot: &Slot| slot.due > now() * SECOND + YEAR / 2;
    until(&serving, "backups go on a year ahead", || {
        slots(&place.rig).iter().filter(|slot| ahead(slot) && slot.outcome == "ok").count() >= 2
    });
    let rows = slots(&place.rig);
    let ranges: Vec<&Slot> = rows.iter().filter(|slot| slot.outcome == "missed").collect();
    assert_eq!(ranges.len(), 1, "the year in between is one row: {ranges:?}");
    assert!(run(&rows).len() <= slots_before.len() + 30, "no storm: {} rows", rows.len());
    let gone: Vec<_> = before.difference(&ids(&place.rig)).cloned().collect();
    assert!(gone.len() <= run(&rows).len() - run(&slots_before).len() + 1, "at most one for each new one: {gone:?} of {before:?}");
    assert!(before.len() - gone.len() >= 3, "{gone:?} of {before:?}");

    clock.set("+0");
    let count = serving.log().matches("the clock jumped").count();
    until(&serving, "the way back is noticed", || serving.log().matches("the clock jumped").count() > count.min(1));
    let back = now() * SECOND;
    until(&serving, "backups go on after the way back", || {
        slots(&place.rig).iter().filter(|slot| !ahead(slot) && slot.recorded >= back - SECOND && slot.outcome == "ok").count() >= 3
    });
    let standing = place.rig.run(&["status", "--alive"]);
    assert_eq!(standing.code, 0, "a sign of life by the clock as it is now: {standing:?}");

    // And after a restart, the record of the year ahead doesn't stop it either, nor hides what is missed in truth.
    drop(serving);
    let before = slots(&place.rig).len();
    std::thread::sleep(std::time::Duration::from_secs(7));
    let serving = place.rig.serve_by(clock.command(&place.rig));
    until(&serving, "backups go on after a restart", || slots(&place.rig).len() >= before + 3);
    let rows = slots(&place.rig);
    let missed: Vec<&Slot> = rows.iter().filter(|slot| slot.outcome == "missed" && !ahead(slot)).collect();
    assert!(missed.iter().any(|slot| slot.due > back && slot.until.is_some_and(|until| until <= now() * SECOND)), "{missed:?}");
}

#[test]
fn f28_a_clock_that_falls_a_year_behind_and_comes_back_stops_nothing() {
    let place = Place::new();
    let schedule =
        "retention = { keep_within = \"30 days\", keep_last = 3 }\n[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n";
    place.rig.configure(&place.project("shop", schedule));
    let clock = WallClock::new(&place.rig, "+0");
    let serving = place.rig.serve_by(clock.command(&place.rig));
    until(&serving, "six backups before", || ended(&place.rig, "shop", "ok") >= 6);
    let before = ids(&place.rig);
    clock.set("-365d");
    let behind = |slot: &Slot| slot.due < now() * SECOND - YEAR / 2;
    until(&serving, "backups go on a year behind", || {
        slots(&place.rig).iter().filter(|slot| behind(slot) && slot.outcome == "ok").count() >= 2
    });
    assert!(before.is_subset(&ids(&place.rig)), "what was made by the right clock stays");
    until(&serving, "chores go on, the bell or not", || place_heartbeat_is_old(&place));
    let back = now() * SECOND;
    clock.set("+0");
    until(&serving, "backups go on after the way back", || {
        slots(&place.rig).iter().filter(|slot| slot.due >= back && slot.outcome == "ok").count() >= 2
    });
    let rows = slots(&place.rig);
    let missed: Vec<&Slot> = rows.iter().filter(|slot| slot.outcome == "missed").collect();
    assert!(missed.iter().all(|slot| !behind(slot)), "the year in between was not missed: {missed:?}");
    assert!(before.len() <= ids(&place.rig).len() + 1);
}

/// Whether the daemon gave its sign of life by the clock that is a year behind.
fn place_heartbeat_is_old(place: &Place) -> bool {
    let standing = place.rig.run(&["status", "--json", "--alive"]).json();
    standing["daemon"]["heartbeat"].as_str().is_some_and(|at| at < "2026") || standing["daemon"]["state"] == "silent"
}

#[test]
fn f29_after_thirty_hours_of_sleep_one_run_catches_up_and_the_rest_is_one_row() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", "[[project.schedule]]\nname = \"nightly\"\ncron = \"*/10 * * * *\"\n"));
    // A little before a slot, so that one runs before the sleep.
    let clock = WallClock::new(&place.rig, "@2026-03-02 11:59:55");
    let serving = place.rig.serve_by(clock.command(&place.rig));
    until(&serving, "a slot runs before", || ended(&place.rig, "shop", "ok") == 1);
    let first = slots(&place.rig)[0].due;
    clock.set("@2026-03-03 18:03:00");
    until(&serving, "one catches up", || ended(&place.rig, "shop", "ok") == 2);
    let rows = slots(&place.rig);
    assert_eq!(rows.len(), 3, "{rows:?}");
    let (missed, caught) = (&rows[1], &rows[2]);
    let minutes = |slot: i64| (slot - first) / SECOND / 60;
    assert_eq!((missed.outcome.as_str(), minutes(missed.due), missed.until.map(minutes)), ("missed", 10, Some(1790)), "{rows:?}");
    assert_eq!(missed.count, 179);
    assert_eq!(minutes(caught.due), 1800, "the latest one, at 18:00: {rows:?}");
    let newest = &place.rig.backups()[0];
    assert!(newest.to_string().contains("catch"), "it says that it caught up: {newest}");
}

#[test]
fn f29_what_came_due_while_nobody_served_is_caught_up_although_the_schedule_had_never_run() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", "[[project.schedule]]\nname = \"nightly\"\ncron = \"0 3 * * *\"\n"));
    let clock = WallClock::new(&place.rig, "@2026-03-02 01:00:00");
    let mut serving = place.rig.serve_by(clock.command(&place.rig));
    serving.wait_for_log("ready", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    assert!(slots(&place.rig).is_empty());
    clock.set("@2026-03-02 04:00:00");
    let serving = place.rig.serve_by(clock.command(&place.rig));
    until(&serving, "the slot at three is caught up", || ended(&place.rig, "shop", "ok") == 1);
    let rows = slots(&place.rig);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0].due % (86_400 * SECOND), 3 * 3600 * SECOND, "{rows:?}");
}
