//! Each method once, on a real file. Faults are in `tests/catalog.rs`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::clock::Clock;
use crate::error::{Cause, Failure};
use crate::model::backup::{BackupRow, ProofLevel, RunId, Trigger};
use crate::model::dump::{Content, Selection};
use crate::model::run::{Run, RunStatus, SlotOutcome, SlotRow};
use crate::process::own_identity;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 123_456_000).unwrap()
}

fn minutes(count: i64) -> TimeDelta {
    TimeDelta::minutes(count)
}

fn catalog() -> (tempfile::TempDir, Clock, Catalog) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(noon());
    let catalog = Catalog::open(folder.path(), &clock).unwrap();
    (folder, clock, catalog)
}

fn run(id: &str, started_at: DateTime<Utc>) -> Run {
    Run {
        id: RunId(id.into()),
        project: "shop".into(),
        database: "shop".into(),
        content: Content::Full,
        selection: Selection::full(),
        trigger: Trigger::Scheduled,
        schedule: Some("nightly".into()),
        slot: Some(started_at),
        started_at,
        finished_at: None,
        status: RunStatus::Running,
        attempts: 1,
        failure: None,
        size: None,
        rows: None,
    }
}

fn backup(id: &str, project: &str, started_at: DateTime<Utc>, size: u64) -> BackupRow {
    BackupRow {
        id: RunId(id.into()),
        storage: "main".into(),
        project: project.into(),
        database: "shop".into(),
        content: Content::Full,
        selection: Selection::full(),
        trigger: Trigger::Scheduled,
        schedule: None,
        slot: None,
        started_at,
        finished_at: started_at + minutes(1),
        file: format!("{id}.dump.zst"),
        size,
        uncompressed_size: size * 4,
        sha256: "00".repeat(32),
        tables: 3,
        rows: Some(1000),
        pinned: false,
        proof: ProofLevel::Whole,
        proven_at: started_at + minutes(1),
        damaged: None,
        suspicious: None,
        checked_at: None,
        restored_at: None,
        restore_ms: None,
        makes_database: false,
        system_identifier: None,
        server: None,
    }
}

fn slot(schedule: &str, due_at: DateTime<Utc>) -> SlotKey {
    SlotKey { project: "shop".into(), schedule: schedule.into(), due_at }
}

#[test]
fn a_run_is_followed_from_start_to_end() {
    let (_folder, _clock, catalog) = catalog();
    let mut run = run("aaaa", noon());
    catalog.write(|tx| tx.start_run(&run)).unwrap();
    let child = own_identity();
    catalog.write(|tx| tx.set_child(&run.id, child).and_then(|()| tx.set_stage(&run.id, Stage::Streaming))).unwrap();
    let unfinished = catalog.read(Reader::unfinished_runs).unwrap();
    assert_eq!(unfinished, [UnfinishedRun { run: run.clone(), stage: Stage::Streaming, owner: own_identity(), child }]);

    run.status = RunStatus::Failed;
    run.finished_at = Some(noon() + minutes(2));
    run.failure = Some(Failure::new(Cause::DumpKilled, "pg_dump was ended by signal 9 (SIGKILL)").detail("last words"));
    catalog.write(|tx| tx.finish_run(&run)).unwrap();
    assert!(catalog.read(Reader::unfinished_runs).unwrap().is_empty());
    assert_eq!(catalog.read(|tx| tx.run(&run.id)).unwrap().as_ref(), Some(&run));
    assert_eq!(catalog.read(|tx| tx.last_run("shop", "shop", &Selection::full())).unwrap(), Some(run));
}

#[test]
fn a_backup_that_could_not_be_indexed_is_when_its_run_is_finished() {
    let (_folder, _clock, catalog) = catalog();
    let manifest = crate::manifest::tests::manifest();
    for status in [RunStatus::Failed, RunStatus::Completed] {
        let run = Run { status, ..run(manifest.backup_id.as_str(), noon()) };
        catalog.write(|tx| tx.start_run(&run).and_then(|()| tx.stage_manifest(&run.id, "main", &manifest))).unwrap();
        catalog.write(|tx| tx.finish_run(&run)).unwrap();
        let indexed = catalog.read(|tx| tx.backup(&run.id)).unwrap().map(|row| (row.storage, row.file));
        let wanted = (status == RunStatus::Completed).then(|| (String::from("main"), manifest.backup_file.clone()));
        assert_eq!(indexed, wanted, "{status:?}");
        assert_eq!(catalog.read(|tx| tx.staged_manifest(&run.id)).unwrap(), None);
    }
}

#[test]
fn runs_are_listed_by_filter_and_page_latest_first() {
    let (_folder, _clock, catalog) = catalog();
    catalog
        .write(|tx| {
            (0..10).try_for_each(|number| {
                let status = if number % 2 == 0 { RunStatus::Completed } else { RunStatus::Failed };
                tx.finish_run(&Run { status, ..run(&format!("r{number}"), noon() + minutes(number)) })
            })
        })
        .unwrap();
    let failed = RunFilter { status: Some(RunStatus::Failed), project: Some("shop".into()), ..RunFilter::default() };
    let page = catalog.read(|tx| tx.runs(&failed, Page { limit: 2, offset: 1 })).unwrap();
    assert_eq!(page.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["r7", "r5"]);
    assert!(catalog.read(|tx| tx.runs(&RunFilter { database: Some("x".into()), ..failed.clone() }, Page::all())).unwrap().is_empty());
}

#[test]
fn a_slot_is_claimed_once_and_a_missed_range_covers_its_slots() {
    let (_folder, clock, catalog) = catalog();
    let slots = [slot("nightly", noon()), slot("schema", noon())];
    assert_eq!(catalog.write(|tx| tx.claim_slots(&slots)).unwrap(), [true, true]);
    let again = [slot("nightly", noon()), slot("nightly", noon() + minutes(60))];
    assert_eq!(catalog.write(|tx| tx.claim_slots(&again)).unwrap(), [false, true]);

    let missed = SlotRow {
        project: "shop".into(),
        schedule: "schema".into(),
        due_at: noon() + minutes(60),
        until: Some(noon() + minutes(240)),
        count: 4,
        recorded_at: noon() + minutes(250),
        outcome: SlotOutcome::Missed,
    };
    clock.set(missed.recorded_at);
    assert!(catalog.write(|tx| tx.record_slot(&missed)).unwrap());
    assert!(!catalog.write(|tx| tx.record_slot(&missed)).unwrap(), "recorded twice");
    let around = [60, 120, 240, 300].map(|offset| slot("schema", noon() + minutes(offset)));
    assert_eq!(catalog.write(|tx| tx.claim_slots(&around)).unwrap(), [false, false, false, true]);
    clock.set(noon() + minutes(300));
    let last = catalog.read(Reader::last_due).unwrap();
    assert_eq!(last[&("shop".into(), "schema".into())], noon() + minutes(300));

    catalog.write(|tx| tx.finish_slot(&slots[0], SlotOutcome::Ok)).unwrap();
    let unfinished = catalog.read(Reader::unfinished_slots).unwrap();
    assert_eq!(unfinished.len(), 3);
    let counts = catalog.read(|tx| tx.slot_counts(&SlotFilter::default())).unwrap();
    assert_eq!(counts, [(SlotOutcome::Claimed, 3), (SlotOutcome::Ok, 1), (SlotOutcome::Missed, 4)].into());
    let schema = SlotFilter { schedule: Some("schema".into()), since: Some(noon() + minutes(1)), ..SlotFilter::default() };
    let listed = catalog.read(|tx| tx.slots(&schema, Page::first(10))).unwrap();
    assert_eq!(listed.iter().map(|slot| slot.outcome).collect::<Vec<_>>(), [SlotOutcome::Claimed, SlotOutcome::Missed]);
    assert_eq!(listed[1], missed);
}

#[test]
fn what_a_wrong_clock_recorded_neither_holds_a_slot_nor_counts_as_the_last_one() {
    let (_folder, clock, catalog) = catalog();
    let due = |minute: i64| slot("nightly", noon() + minutes(minute));
    let claim = |minute: i64| catalog.write(|tx| tx.claim_slots(&[due(minute)])).unwrap()[0];
    let last = || catalog.read(|tx| tx.last_due_of("shop", "nightly")).unwrap();
    assert!(claim(0));
    let year = minutes(365 * 24 * 60);
    clock.set(noon() + year);
    let range = SlotRow {
        project: "shop".into(),
        schedule: "nightly".into(),
        due_at: noon() + minutes(60),
        until: Some(noon() + year - minutes(60)),
        count: 8760,
        recorded_at: noon() + year,
        outcome: SlotOutcome::Missed,
    };
    assert!(catalog.write(|tx| tx.record_slot(&range)).unwrap());
    assert_eq!(last(), Some(noon() + year - minutes(60)));
    clock.set(noon() + minutes(30));
    assert_eq!(last(), Some(noon()), "what was recorded by the right clock");
    clock.set(noon() + minutes(60));
    assert!(claim(60), "the range's first slot");
    assert!(!claim(60), "once");
    clock.set(noon() + minutes(120));
    assert!(claim(120), "a slot within the range");
    assert_eq!(last(), Some(noon() + minutes(120)));
    assert_eq!(catalog.read(Reader::last_due).unwrap().len(), 1);
}

#[test]
fn a_schedule_counts_from_where_it_was_first_seen_or_changed() {
    let (_folder, clock, catalog) = catalog();
    let see = |timing: &str, from_now: bool| {
        let seen = SeenSchedule { project: "shop", schedule: "nightly", timing: timing.into(), from_now };
        catalog.write(|tx| tx.see_schedules(std::slice::from_ref(&seen))).unwrap();
        catalog.read(|tx| tx.last_due_of("shop", "nightly")).unwrap()
    };
    assert_eq!(see("every 60 s", false), None, "an interval has no record until it runs");
    assert_eq!(see("0 2 * * * UTC", true), Some(noon()));
    clock.set(noon() + minutes(60));
    assert_eq!(see("0 2 * * * UTC", true), Some(noon()), "seen again");
    assert_eq!(see("0 3 * * * UTC", true), Some(noon() + minutes(60)), "changed");
    catalog.write(|tx| tx.claim_slots(&[slot("nightly", noon() + minutes(60))])).unwrap();
    clock.set(noon() + minutes(90));
    assert_eq!(see("0 3 * * * UTC", true), Some(noon() + minutes(60)));
}

/// A daemon that was first started by a clock a year ahead: once that is right, nights that nobody is there for are missed nights again.
#[test]
fn a_schedule_that_a_wrong_clock_saw_first_counts_from_where_the_right_one_did() {
    let (_folder, clock, catalog) = catalog();
    let see = || {
        let seen = SeenSchedule { project: "shop", schedule: "nightly", timing: "30 2 * * * UTC".into(), from_now: true };
        catalog.write(|tx| tx.see_schedules(std::slice::from_ref(&seen))).unwrap();
        catalog.read(|tx| tx.last_due_of("shop", "nightly")).unwrap()
    };
    let year = 365 * 24 * 60;
    clock.set(noon() + minutes(year));
    assert_eq!(see(), Some(noon() + minutes(year)));
    clock.set(noon());
    assert_eq!(see(), Some(noon()));
    clock.set(noon() + minutes(24 * 60));
    assert_eq!(see(), Some(noon()), "planned anew a day later, nothing came due meanwhile");
    assert_eq!(catalog.read(Reader::last_due).unwrap().len(), 1);
    clock.set(noon() - minutes(5));
    assert_eq!(see(), Some(noon() - minutes(5)), "that clock was ahead as well");
}

#[test]
fn backups_are_found_by_prefix_file_filter_and_order() {
    let (_folder, _clock, catalog) = catalog();
    let rows = [
        backup("abc1", "shop", noon(), 300),
        BackupRow { content: Content::Schema, selection: Selection("schema".into()), ..backup("abc2", "shop", noon() + minutes(1), 100) },
        BackupRow { damaged: Some("checksum".into()), pinned: true, ..backup("abd3", "shop", noon() + minutes(2), 200) },
        backup("xyz4", "shop-staging", noon() + minutes(3), 50),
    ];
    catalog.write(|tx| rows.iter().try_for_each(|row| tx.put_backup(row))).unwrap();
    let ids = |rows: Vec<BackupRow>| rows.into_iter().map(|row| row.id.0).collect::<Vec<_>>();
    assert_eq!(ids(catalog.read(|tx| tx.backups_by_prefix("abc", 10)).unwrap()), ["abc1", "abc2"]);
    assert!(catalog.read(|tx| tx.backups_by_prefix("%", 10)).unwrap().is_empty());
    assert_eq!(catalog.read(|tx| tx.backups_by_file("abd3.dump.zst")).unwrap(), [rows[2].clone()]);
    let shop = BackupFilter { project: Some("shop".into()), ..BackupFilter::default() };
    assert_eq!(ids(catalog.read(|tx| tx.backups(&shop, Sort::Date, Page::all())).unwrap()), ["abd3", "abc2", "abc1"], "of shop alone");
    assert_eq!(ids(catalog.read(|tx| tx.backups(&shop, Sort::Size, Page { limit: 1, offset: 1 })).unwrap()), ["abd3"]);
    let good = BackupFilter { undamaged: true, content: Some(Content::Full), ..shop };
    assert_eq!(catalog.read(|tx| tx.latest_backup(&good)).unwrap(), Some(rows[0].clone()));
    assert_eq!(catalog.read(|tx| tx.count_backups(&BackupFilter::default())).unwrap(), 4);
    assert_eq!(catalog.read(|reader| reader.last_good_full(None)).unwrap()[&("shop".into(), "shop".into())], noon());
    let totals = catalog.read(Reader::totals).unwrap();
    assert_eq!(totals[0], ProjectTotals { project: "shop".into(), backups: 3, size: 600, newest: noon() + minutes(2) });

    catalog.write(|tx| tx.remove_backup("main", &rows[0].id)).unwrap();
    let elsewhere = BackupRow { storage: "other".into(), ..rows[1].clone() };
    catalog.write(|tx| tx.put_backup(&elsewhere).and_then(|()| tx.replace_storage("main", &rows[3..]))).unwrap();
    assert_eq!(ids(catalog.read(|tx| tx.backups(&BackupFilter::default(), Sort::Date, Page::all())).unwrap()), ["xyz4", "abc2"]);
}

/// What a look through a storage saw is older than what happened while it looked.
#[test]
fn indexing_leaves_alone_what_changed_meanwhile() {
    let (_folder, _clock, catalog) = catalog();
    let row = |id: &str| backup(id, "shop", noon(), 100);
    let [stays, vanished, pruned, leaving, pinned, damaged, committed, new] =
        ["stays", "vanished", "pruned", "leaving", "pinned", "damaged", "committed", "new"].map(row);
    let before = [&stays, &vanished, &pruned, &leaving, &pinned, &damaged].map(Clone::clone);
    catalog.write(|tx| before.iter().try_for_each(|row| tx.put_backup(row))).unwrap();
    // Meanwhile one was pruned, one is being removed, one was pinned, one committed; the look saw none of that, but other things.
    let pinned = BackupRow { pinned: true, ..pinned };
    catalog
        .write(|tx| {
            tx.remove_backup("main", &pruned.id)?;
            tx.begin_removal(&leaving)?;
            tx.put_backup(&pinned)?;
            tx.put_backup(&committed)
        })
        .unwrap();
    let damaged = BackupRow { damaged: Some("cut".into()), ..damaged };
    let found = [stays.clone(), pruned.clone(), leaving, BackupRow { pinned: false, ..pinned.clone() }, damaged.clone(), new.clone()];
    catalog.write(|tx| tx.merge_project("main", "shop", &before, &found)).unwrap();
    let mut rows = catalog.read(|tx| tx.project_backups("shop")).unwrap();
    rows.sort_by(|one, two| one.id.cmp(&two.id));
    assert_eq!(rows, [committed, damaged, new, pinned, stays]);
}

#[test]
fn a_slot_is_given_back_unless_a_later_one_has_its_row() {
    let (_folder, clock, catalog) = catalog();
    // A slot recorded ahead of the clock would count as made under a wrong one.
    clock.advance(minutes(60));
    let slot = |minute| SlotKey { project: "shop".into(), schedule: "often".into(), due_at: noon() + minutes(minute) };
    let before = |minute| slot(minute).due_at - TimeDelta::microseconds(1);
    let last = || catalog.read(Reader::last_due).unwrap()[&("shop".into(), "often".into())];
    catalog.write(|tx| tx.claim_slots(&[slot(1), slot(2)])).unwrap();
    assert!(!catalog.write(|tx| tx.release_slot(&slot(1), before(1))).unwrap(), "slot 2 has its row, so 1 would never be due again");
    assert!(catalog.write(|tx| tx.release_slot(&slot(2), before(2))).unwrap());
    assert_eq!(last(), before(2));
    assert_eq!(catalog.read(Reader::unfinished_slots).unwrap().len(), 1);
    assert_eq!(catalog.write(|tx| tx.claim_slots(&[slot(2)])).unwrap(), [true], "it is due again");
    catalog.write(|tx| tx.finish_slot(&slot(2), SlotOutcome::Ok)).unwrap();
    assert!(!catalog.write(|tx| tx.release_slot(&slot(2), before(2))).unwrap(), "one with an outcome keeps it");
    // The claim was lost with an earlier catalog: the outcome is recorded all the same.
    catalog.write(|tx| tx.finish_slot(&slot(9), SlotOutcome::Ok)).unwrap();
    assert_eq!(last(), slot(9).due_at);
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let (_folder, _clock, catalog) = catalog();
    let outcome = catalog.write(|tx| {
        tx.finish_run(&run("aaaa", noon()))?;
        tx.enqueue(&"mail")?;
        Err::<(), _>(Failure::new(Cause::System, "on purpose"))
    });
    assert_eq!(outcome.unwrap_err().message, "on purpose");
    assert_eq!(catalog.read(|tx| tx.run(&RunId("aaaa".into()))).unwrap(), None);
    assert!(catalog.read(|tx| tx.letters::<String>(None, Page::all())).unwrap().is_empty());
    catalog.write(|tx| tx.enqueue(&"mail").map(drop)).unwrap();
}

#[test]
fn a_letter_is_lent_deferred_delivered_or_refused() {
    let (_folder, clock, catalog) = catalog();
    let lease = Duration::from_secs(120);
    catalog.write(|tx| ["one", "two", "three"].iter().try_for_each(|text| tx.enqueue(text).map(drop))).unwrap();
    let take = |after, which| catalog.write(|tx| tx.take_letter::<String>(after, which, lease)).unwrap();
    let mut taken: Vec<Letter<String>> = Vec::new();
    while let Some(letter) = take(0, Take::Due) {
        taken.push(letter);
    }
    assert_eq!(taken.iter().map(|letter| letter.message.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(take(0, Take::Any).is_none(), "lent twice");
    catalog
        .write(|tx| {
            tx.letter_delivered(taken[0].id, &"one")?;
            tx.refuse_letter(taken[1].id, "550 no such user")?;
            tx.defer_letter(taken[2].id, noon() + minutes(30), "421 later")
        })
        .unwrap();
    assert_eq!(catalog.read(Reader::next_letter).unwrap(), Some(noon() + minutes(30)));
    let refused = catalog.read(|tx| tx.letters::<String>(Some(LetterState::Refused), Page::all())).unwrap();
    assert_eq!((refused[0].message.as_str(), refused[0].error.as_deref(), refused[0].attempts), ("two", Some("550 no such user"), 1));
    assert!(take(0, Take::Due).is_none(), "it isn't due yet");
    assert!(take(taken[2].id, Take::Any).is_none(), "it lies before that");
    assert_eq!(take(0, Take::Any).map(|letter| letter.message), Some(String::from("three")), "it goes before what is due");
    assert_eq!(catalog.read(Reader::next_letter).unwrap(), Some(noon() + minutes(30)));
    clock.advance(minutes(31));
    let later = take(0, Take::Due).unwrap();
    assert_eq!((later.message.as_str(), later.error.as_deref(), later.attempts), ("three", Some("421 later"), 2));
}

#[test]
fn alerts_notes_pauses_projects_audit_and_heartbeat_are_kept() {
    let (_folder, clock, catalog) = catalog();
    let full = Selection::full();
    catalog.write(|tx| tx.put_alert("shop", "shop", &full, &("failing", 3))).unwrap();
    assert_eq!(catalog.read(|tx| tx.alert::<(String, u32)>("shop", "shop", &full)).unwrap(), Some(("failing".into(), 3)));
    assert_eq!(catalog.read(Reader::alerts::<(String, u32)>).unwrap().len(), 1);
    catalog.write(|tx| tx.remove_alert("shop", "shop", &full)).unwrap();
    assert_eq!(catalog.read(|tx| tx.alert::<(String, u32)>("shop", "shop", &full)).unwrap(), None);

    let pause = Pause { project: "shop".into(), since: noon(), until: Some(noon() + minutes(10)), reason: "move".into() };
    catalog.write(|tx| tx.pause(&pause)).unwrap();
    assert_eq!(catalog.read(Reader::pauses).unwrap(), [pause]);
    clock.advance(minutes(10));
    assert!(catalog.read(Reader::pauses).unwrap().is_empty(), "a pause outlived its end");
    assert!(catalog.write(|tx| tx.resume("shop")).unwrap());

    catalog.write(|tx| tx.see_projects(&["shop", "blog"])).unwrap();
    clock.advance(minutes(1));
    catalog.write(|tx| tx.see_projects(&["shop"])).unwrap();
    let known = catalog.read(Reader::known_projects).unwrap();
    assert_eq!((known[0].name.as_str(), known[0].removed_at), ("blog", Some(noon() + minutes(11))));
    assert_eq!((known[1].first_seen, known[1].removed_at), (noon() + minutes(10), None));
    catalog.write(|tx| tx.see_projects(&["blog", "shop"])).unwrap();
    assert_eq!(catalog.read(Reader::known_projects).unwrap()[0].removed_at, None);

    let entry = AuditEntry {
        at: noon(),
        actor: "root".into(),
        action: "pin".into(),
        project: Some("shop".into()),
        subject: "abc".into(),
        outcome: "ok".into(),
    };
    catalog.write(|tx| tx.append_audit(&entry)).unwrap();
    assert_eq!(catalog.read(|tx| tx.audit(Some("shop"), Page::first(5))).unwrap(), [entry]);
    assert!(catalog.read(|tx| tx.audit(Some("blog"), Page::first(5))).unwrap().is_empty());
    let beat = Heartbeat {
        at: noon(),
        started_at: noon(),
        process: own_identity(),
        host: "db1".into(),
        version: "0.1.0".into(),
        waiting: 3,
        waiting_since: None,
        stopping: true,
        awaiting: None,
        running: vec![RunId("aaaa".into())],
    };
    catalog.write(|tx| tx.beat(&beat)).unwrap();
    assert_eq!(catalog.read(Reader::heartbeat).unwrap(), Some(beat));
}

#[test]
fn forgetting_spares_what_is_unfinished_and_the_last_due_time() {
    let (_folder, clock, catalog) = catalog();
    catalog
        .write(|tx| {
            tx.start_run(&run("going", noon()))?;
            tx.finish_run(&Run { status: RunStatus::Completed, ..run("done", noon()) })?;
            tx.claim_slots(&[slot("a", noon()), slot("b", noon())])?;
            tx.finish_slot(&slot("a", noon()), SlotOutcome::Ok)?;
            let id = tx.enqueue(&"old")?;
            tx.letter_delivered(id, &"old")?;
            tx.enqueue(&"waiting").map(drop)
        })
        .unwrap();
    clock.advance(minutes(60));
    let forget = || catalog.write(|tx| tx.forget_before(noon() + minutes(1), 1)).unwrap();
    assert_eq!((forget(), forget()), (3, 0));
    assert_eq!(catalog.read(Reader::unfinished_runs).unwrap().len(), 1);
    assert_eq!(catalog.read(Reader::unfinished_slots).unwrap().len(), 1);
    assert_eq!(catalog.read(|tx| tx.letters::<String>(None, Page::all())).unwrap().len(), 1);
    assert_eq!(catalog.read(Reader::last_due).unwrap().len(), 2);
}
