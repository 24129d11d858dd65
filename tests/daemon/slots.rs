//! What becomes of due slots: skipped, in turn, late by design.

use std::time::Duration;

use crate::support::{NO_MAIL, Place, ended, events, most_at_once, outbox, slots, until};

const SECOND: i64 = 1_000_000;

#[test]
fn f26_an_overrun_is_recorded_and_told_only_when_it_repeats() {
    let place = Place::new();
    let clients = place.held_clients();
    let schedule = format!("{clients}\n[[project.schedule]]\nname = \"often\"\ncron = \"*/4 * * * * *\"\n");
    place.rig.configure(&format!("{NO_MAIL}{}", place.project("shop", &schedule)));
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "a first slot is skipped", || ended(&place.rig, "shop", "skipped_overrun") == 1);
    assert!(!events(&place.rig).contains(&String::from("overrun")), "one skipped slot is no news: {:?}", outbox(&place.rig));
    assert!(serving.log().contains("still going"), "but the log says it:\n{}", serving.log());
    until(&serving, "it repeats", || ended(&place.rig, "shop", "skipped_overrun") >= 2);
    until(&serving, "it is told", || events(&place.rig).contains(&String::from("overrun")));
    until(&serving, "it goes on", || ended(&place.rig, "shop", "skipped_overrun") >= 4);
    let told: Vec<_> = outbox(&place.rig).into_iter().filter(|message| message["event"] == "overrun").collect();
    assert_eq!(told.len(), 1, "told once: {told:?}");
    let (subject, body) = (told[0]["subject"].as_str().unwrap(), told[0]["body"].as_str().unwrap());
    assert!(subject.starts_with("[pgdumpd] OVERRUN shop: schedule often skipped 2 slots"), "{subject}");
    assert!(body.contains("postgres, since") && body.contains(" plan shop"), "the run in the way is named: {body}");
    let status = place.rig.run(&["status"]);
    assert_eq!(status.code, 1, "{status:?}");
    assert!(status.stdout.contains("schedule often"), "{status:?}");
    let status = place.rig.run(&["status", "shop"]).stdout;
    let skipped = status.split("last skipped slots:").nth(1).unwrap_or_else(|| panic!("{status}"));
    assert!(skipped.contains("often") && skipped.contains("the run before was still going"), "{status}");

    place.release();
    until(&serving, "two slots in a row ran", || events(&place.rig).contains(&String::from("on-time")));
    let rows = slots(&place.rig);
    let ran = |outcome: &str| matches!(outcome, "ok" | "claimed");
    assert!(rows.windows(2).any(|pair| ran(&pair[0].outcome) && ran(&pair[1].outcome)), "{rows:?}");
    let on_time: Vec<_> = outbox(&place.rig).into_iter().filter(|message| message["event"] == "on-time").collect();
    assert_eq!(on_time.len(), 1);
    assert_eq!(on_time[0]["in_reply_to"], told[0]["message_id"], "it answers the first");
    assert!(!events(&place.rig).contains(&String::from("failing")), "no run failed");
}

#[test]
fn f26_a_project_that_somebody_else_holds_again_and_again_is_told_with_who_holds_it() {
    let place = Place::new();
    let schedule = "[[project.schedule]]\nname = \"often\"\ncron = \"*/3 * * * * *\"\n";
    place.rig.configure(&format!("{NO_MAIL}{}", place.project("shop", schedule)));
    let serving = place.rig.serve();
    // The daemon has held it itself, and lives.
    until(&serving, "a first slot runs", || ended(&place.rig, "shop", "ok") >= 1);
    let path = place.rig.storage().join("shop/.pgdumpd-lock");
    let lock = std::fs::File::options().write(true).open(&path).expect("the lock");
    until(&serving, "the lock is free", || rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok());
    until(&serving, "a slot is skipped", || ended(&place.rig, "shop", "skipped_locked") == 1);
    assert_eq!(events(&place.rig), Vec::<String>::new(), "one skipped slot is no news");
    until(&serving, "it is told", || events(&place.rig) == ["overrun"]);
    until(&serving, "it goes on", || ended(&place.rig, "shop", "skipped_locked") >= 4);
    let told = outbox(&place.rig);
    assert_eq!(told.len(), 1, "told once: {told:?}");
    let (subject, body) = (told[0]["subject"].as_str().unwrap(), told[0]["body"].as_str().unwrap());
    assert!(subject.starts_with("[pgdumpd] OVERRUN shop: schedule often skipped 2 slots, somebody else holds the project"), "{subject}");
    assert!(body.contains(&path.display().to_string()), "the lock is named: {body}");
    assert!(body.contains(&format!("{} (", std::process::id())), "and who holds it: {body}");
    assert!(!body.contains("Backups are still made"), "{body}");
    let status = place.rig.run(&["status", "shop"]);
    assert!(status.code == 1 && status.stdout.contains("is locked by another process"), "{status:?}");
    drop(lock);
    until(&serving, "two slots in a row ran", || events(&place.rig) == ["overrun", "on-time"]);
}

#[test]
fn a_job_that_waits_for_its_place_is_skipped_where_its_project_is_paused_meanwhile() {
    let place = Place::new();
    let clients = place.held_clients();
    let project = |name: &str| place.project(name, &format!("{clients}\n[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n"));
    place.rig.configure(&["first", "shop", "last"].map(project).concat());
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "the first runs", || place.rig.path().join("dumps").exists());
    until(&serving, "the others wait", || ["shop", "last"].iter().all(|name| ended(&place.rig, name, "claimed") == 1));
    assert_eq!(place.rig.run(&["pause", "shop"]).code, 0);
    place.release();
    until(&serving, "the others have their turns", || ended(&place.rig, "last", "ok") == 1);
    assert_eq!(ended(&place.rig, "shop", "skipped_paused"), 1, "{:?}", slots(&place.rig));
    assert!(place.rig.stored().iter().all(|file| !file.starts_with("shop")), "{:?}", place.rig.stored());
}

#[test]
fn slots_of_disabled_and_paused_projects_are_recorded_as_skipped() {
    let place = Place::new();
    let often = "[[project.schedule]]\nname = \"often\"\ncron = \"*/2 * * * * *\"\n";
    let one_off = "[[project.schedule]]\nname = \"on\"\ncron = \"*/2 * * * * *\"\n[[project.schedule]]\nname = \"off\"\ncron = \"*/2 * * * * *\"\nenabled = false\n";
    place.rig.configure(&format!(
        "{}{}{}",
        place.project("off", &format!("enabled = false\n{often}")),
        place.project("waits", often),
        place.project("half", one_off)
    ));
    assert_eq!(place.rig.run(&["pause", "waits"]).code, 0);
    let serving = place.rig.serve();
    until(&serving, "slots are skipped", || {
        ended(&place.rig, "off", "skipped_disabled") >= 2
            && ended(&place.rig, "waits", "skipped_paused") >= 2
            && ended(&place.rig, "half", "ok") >= 1
            && ended(&place.rig, "half", "skipped_disabled") >= 1
    });
    assert!(slots(&place.rig).iter().all(|slot| slot.project != "off" || slot.outcome == "skipped_disabled"));
    assert!(slots(&place.rig).iter().all(|slot| slot.project != "waits" || slot.outcome == "skipped_paused"));
    assert!(slots(&place.rig).iter().all(|slot| slot.schedule != "off" || slot.outcome == "skipped_disabled"));
    let status = place.rig.run(&["status", "waits"]).stdout;
    assert!(status.contains("last skipped slots:") && status.contains("the project was paused"), "{status}");
    let standing = place.rig.run(&["status", "waits", "--json"]).json();
    let skipped = &standing["projects"][0]["skipped"][0];
    assert_eq!((&skipped["schedule"], &skipped["outcome"], &skipped["count"]), (&"often".into(), &"skipped_paused".into(), &1.into()));
    assert!(!place.rig.run(&["status"]).stdout.contains("skipped slots"), "of all projects it would be too much");
    assert_eq!(place.rig.run(&["resume", "waits"]).code, 0);
    until(&serving, "the resumed project runs", || ended(&place.rig, "waits", "ok") >= 1);
    assert!(place.rig.backups().iter().all(|backup| backup["project"] != "off"));
}

#[test]
fn two_schedules_of_a_project_that_are_due_together_take_turns() {
    let place = Place::new();
    let clients = place.held_clients();
    let both = format!(
        "{clients}\n[[project.schedule]]\nname = \"a\"\ncron = \"*/6 * * * * *\"\n[[project.schedule]]\nname = \"b\"\ncron = \"*/6 * * * * *\"\ncontent = \"schema\"\n"
    );
    place.rig.configure_with("max_parallel = 4\nmax_parallel_per_server = 4\n", &place.project("shop", &both));
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "both are claimed", || slots(&place.rig).iter().filter(|slot| slot.outcome == "claimed").count() == 2);
    place.release();
    until(&serving, "both have run", || {
        let rows = slots(&place.rig);
        let first = rows.iter().map(|slot| slot.due).min();
        rows.iter().filter(|slot| Some(slot.due) == first && slot.outcome == "ok").count() == 2
    });
    assert_eq!(most_at_once(&place.rig, "dumps"), 1, "one after the other");
    let contents: Vec<String> = place.rig.backups().iter().map(|backup| backup["content"].to_string()).collect();
    assert!(
        contents.iter().any(|content| content.contains("full")) && contents.iter().any(|content| content.contains("schema")),
        "{contents:?}"
    );
}

#[test]
fn spread_delays_a_slot_by_a_fixed_part_of_itself() {
    let place = Place::new();
    let span = Duration::from_secs(8);
    let delay = |name: &str| pgdumpd::schedule::spread(&format!("{name}/often"), span).as_secs() as i64;
    let name = (0..100).map(|number| format!("p{number}")).find(|name| (3..=5).contains(&delay(name))).expect("a name");
    let schedule = "[[project.schedule]]\nname = \"often\"\ncron = \"*/10 * * * * *\"\nspread = \"8s\"\n";
    place.rig.configure(&place.project(&name, schedule));
    let serving = place.rig.serve();
    until(&serving, "two slots were run", || ended(&place.rig, &name, "ok") >= 2);
    for slot in slots(&place.rig) {
        assert_eq!(slot.due % (10 * SECOND), 0, "the slot keeps its own time: {slot:?}");
        assert!(slot.recorded - slot.due >= delay(&name) * SECOND, "begun {} s after it: {slot:?}", delay(&name));
        assert!(!slot.outcome.starts_with("skipped"), "{slot:?}");
    }
}

#[test]
fn an_interval_begins_at_once_and_keeps_its_pace() {
    let place = Place::new();
    place.rig.configure(&place.project("shop", "[[project.schedule]]\nname = \"steady\"\nevery = \"5s\"\n"));
    let serving = place.rig.serve();
    serving.wait_for_log("ready", crate::support::LONG);
    until(&serving, "three slots were run", || ended(&place.rig, "shop", "ok") >= 3);
    let due: Vec<i64> = slots(&place.rig).iter().map(|slot| slot.due).collect();
    assert!(due.windows(2).all(|pair| (pair[1] - pair[0]) % (5 * SECOND) == 0), "whole intervals: {due:?}");
}

#[test]
fn a_crontab_line_that_is_changed_or_new_has_missed_nothing() {
    let place = Place::new();
    let project = |cron: &str| place.project("shop", &format!("[[project.schedule]]\nname = \"s\"\ncron = \"{cron}\"\n"));
    place.rig.configure(&project("*/2 * * * * *"));
    let serving = place.rig.serve();
    until(&serving, "it runs", || ended(&place.rig, "shop", "ok") >= 1);
    place.rig.configure(&project("0 0 1 1 *"));
    serving.signal("HUP");
    serving.wait_for_log("project \"shop\" changed", crate::support::LONG);
    let before = slots(&place.rig);
    std::thread::sleep(Duration::from_secs(6));
    // Between then and now lie three slots of the line that comes back, but it was not there to be missed.
    place.rig.configure(&project("*/2 * * * * *"));
    serving.signal("HUP");
    until(&serving, "it runs again", || ended(&place.rig, "shop", "ok") > before.len());
    let rows = slots(&place.rig);
    assert!(rows.iter().all(|slot| slot.outcome != "missed"), "{rows:?}");
    let gap = rows.windows(2).map(|pair| pair[1].due - pair[0].due).max().unwrap_or(0);
    assert!(gap >= 6 * SECOND, "nothing was run for the time in between: {rows:?}");
}
