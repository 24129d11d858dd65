//! FAULTS row 41 over days in a moment: the real catalog and notices, a clock set by hand.

use chrono::{DateTime, TimeDelta, Utc};
use pgdumpd::alert::Status;
use pgdumpd::catalog::{Page, SlotKey};
use pgdumpd::clock::Clock;
use pgdumpd::config;
use pgdumpd::error::{Cause, Failure};
use pgdumpd::model::backup::Trigger;
use pgdumpd::model::dump::{Content, DumpShape};
use pgdumpd::model::run::{Run, RunStatus, SlotOutcome};
use pgdumpd::model::settings::Settings;
use pgdumpd::notify::Message;
use pgdumpd::ops::World;
use pgdumpd::ops::notice::{self, Desk, Hands};
use pgdumpd::ops::standing;

use crate::rig::Rig;
use crate::support::{NO_MAIL, events};

/// A desk with one project, by a clock set by hand.
pub(crate) struct Office {
    pub(crate) rig: Rig,
    pub(crate) settings: Settings,
    pub(crate) world: World,
}

impl Office {
    pub(crate) fn new(daemon: &str, project: &str) -> Self {
        let rig = Rig::new();
        let text = format!("{NO_MAIL}[[project]]\nname = \"shop\"\nconnection = \"postgresql://db.internal/shop\"\n{project}");
        rig.configure_with(daemon, &text);
        let settings = config::load(&rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
        let start: DateTime<Utc> = "2026-11-16T00:00:00Z".parse().expect("a time");
        let world = World::open(&settings, Clock::manual(start)).expect("a world");
        Self { rig, settings, world }
    }

    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk { settings: &self.settings, config_file: None, hands: Hands::Daemon }
    }

    pub(crate) fn pass(&self, time: TimeDelta) {
        self.world.clock.advance(time);
    }

    /// A run that ends now.
    pub(crate) fn run(&self, failure: Option<Failure>) {
        self.run_of("shop", failure);
    }

    /// One of this database.
    pub(crate) fn run_of(&self, database: &str, failure: Option<Failure>) {
        self.run_shaped(database, &DumpShape::default(), failure);
    }

    fn run_shaped(&self, database: &str, shape: &DumpShape, failure: Option<Failure>) {
        let now = self.world.clock.now();
        let begun = Run::begin("shop", database, shape, Trigger::Scheduled, now);
        let mut run = Run { schedule: Some(String::from("s")), slot: Some(now), ..begun };
        self.world.catalog.write(|writer| writer.start_run(&run)).expect("started");
        run.finished_at = Some(now);
        run.status = if failure.is_some() { RunStatus::Failed } else { RunStatus::Completed };
        run.failure = failure;
        self.world.catalog.write(|writer| writer.finish_run(&run)).expect("finished");
    }

    pub(crate) fn letters(&self) -> Vec<Message> {
        let letters = self.world.catalog.read(|reader| reader.letters::<Message>(None, Page::all())).expect("letters");
        letters.into_iter().rev().map(|letter| letter.message).collect()
    }
}

#[test]
fn f41_a_project_that_fails_every_minute_500_times_is_told_once_reminded_and_recovered_once() {
    let office = Office::new("", "reminder = \"2h\"\n");
    for number in 0..500 {
        // Two causes in turns: each is told once, not each time.
        let cause = if number % 2 == 0 { Cause::Connection } else { Cause::LockTimeout };
        office.run(Some(Failure::new(cause, format!("no luck {}", number % 2))));
        notice::tell(&office.world, &office.desk()).expect("told");
        notice::stale(&office.world, &office.desk()).expect("looked");
        office.pass(TimeDelta::minutes(1));
    }
    let failing: Vec<String> = office.letters().into_iter().map(|letter| letter.subject).collect();
    // The first, the other cause, and after each 2 h a reminder with the other cause told anew: 500 min hold four of those.
    assert!((6..=10).contains(&failing.len()), "{failing:#?}");
    assert_eq!(failing.iter().filter(|subject| !subject.contains("in a row")).count(), 1, "one first failure: {failing:#?}");
    assert!(failing.last().is_some_and(|subject| subject.contains("in a row")), "{failing:#?}");
    office.run(None);
    notice::tell(&office.world, &office.desk()).expect("told");
    for _ in 0..10 {
        office.pass(TimeDelta::minutes(1));
        office.run(None);
        notice::tell(&office.world, &office.desk()).expect("told");
    }
    let all = events(&office.rig);
    assert_eq!(all.iter().filter(|event| *event == "recovered").count(), 1, "{all:?}");
    assert_eq!(all.len(), failing.len() + 1, "{all:?}");
    let letters = office.letters();
    let recovery = letters.last().expect("a letter");
    assert!(recovery.subject.contains("after 500 failures"), "{}", recovery.subject);
    assert!(letters.iter().skip(1).all(|letter| letter.in_reply_to.as_ref() == Some(&letters[0].message_id)), "one thread");
}

#[test]
fn f41_one_cause_500_times_is_one_alert_and_a_reminder_every_two_hours() {
    let office = Office::new("", "reminder = \"2h\"\n");
    for _ in 0..500 {
        office.run(Some(Failure::new(Cause::Connection, "connection refused")));
        notice::tell(&office.world, &office.desk()).expect("told");
        office.pass(TimeDelta::minutes(1));
    }
    let at: Vec<i64> = office.letters().iter().map(|letter| letter.written_at.timestamp() / 60).collect();
    let gaps: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [120, 120, 120, 120], "reminders at the set interval");
}

#[test]
fn f26_one_skipped_slot_between_good_ones_is_never_told() {
    let office = Office::new("", "[[project.schedule]]\nname = \"s\"\ncron = \"* * * * *\"\n");
    let slot = |outcome: SlotOutcome| {
        let key = SlotKey { project: String::from("shop"), schedule: String::from("s"), due_at: office.world.clock.now() };
        let row = pgdumpd::model::run::SlotRow {
            project: key.project.clone(),
            schedule: key.schedule.clone(),
            due_at: key.due_at,
            until: None,
            count: 1,
            recorded_at: key.due_at,
            outcome,
        };
        office.world.catalog.write(|writer| writer.record_slot(&row)).expect("recorded");
        let slots = [key];
        let (skipped, claimed): (&[SlotKey], &[SlotKey]) =
            if outcome == SlotOutcome::SkippedOverrun { (&slots, &[]) } else { (&[], &slots) };
        notice::overruns(&office.world, &office.desk(), skipped, claimed).expect("looked");
        office.pass(TimeDelta::minutes(1));
    };
    for _ in 0..20 {
        slot(SlotOutcome::Ok);
        slot(SlotOutcome::SkippedOverrun);
    }
    assert_eq!(office.letters().len(), 0);
    // Then it repeats: told once, also while single good ones lie between; over after two good ones in a row.
    slot(SlotOutcome::SkippedOverrun);
    for _ in 0..20 {
        slot(SlotOutcome::Ok);
        slot(SlotOutcome::SkippedOverrun);
        slot(SlotOutcome::SkippedOverrun);
    }
    assert_eq!(events(&office.rig), ["overrun"]);
    // Nothing runs, so that its dumps aren't what is slow.
    let told = office.letters().remove(0);
    let body = told.body.replace('\n', " ");
    assert!(told.subject.ends_with("skipped 2 slots, its runs wait too long for a place"), "{}", told.subject);
    assert!(body.contains("if not, let more go on at once") && !body.contains("dumps slow"), "{body}");
    slot(SlotOutcome::Ok);
    slot(SlotOutcome::Ok);
    slot(SlotOutcome::Ok);
    assert_eq!(events(&office.rig), ["overrun", "on-time"]);
    let subjects: Vec<String> = office.letters().into_iter().map(|letter| letter.subject).collect();
    assert!(subjects[0].contains("skipped 2 slots") && subjects[1].contains("on time again"), "{subjects:?}");
}

#[test]
fn a_row_of_failures_is_told_since_its_first_also_after_it_became_stale() {
    let office = Office::new("", "max_backup_age = \"90 min\"\nreminder = \"1h\"\n");
    for _ in 0..4 {
        office.run(Some(Failure::new(Cause::Connection, "connection refused")));
        notice::tell(&office.world, &office.desk()).expect("told");
        notice::stale(&office.world, &office.desk()).expect("looked");
        office.pass(TimeDelta::hours(1));
    }
    assert!(events(&office.rig).contains(&String::from("stale")), "{:?}", events(&office.rig));
    let last = office.letters().pop().expect("a letter");
    let body = last.body.replace(['\u{a0}', '\n'], " ");
    assert!(body.contains("for the 4th time in a row since 2026-11-16 00:00 UTC"), "{body}");
    let standing = standing::standing(&office.world, &office.settings, None).expect("a standing");
    let alert = serde_json::to_value(&standing.projects[0].alerts[0]).expect("JSON");
    assert_eq!((&alert["status"], &alert["failing_since"]), (&"stale".into(), &"2026-11-16T00:00:00Z".into()), "{alert}");
    office.run(None);
    notice::tell(&office.world, &office.desk()).expect("told");
    let body = office.letters().pop().expect("a letter").body.replace(['\u{a0}', '\n'], " ");
    assert!(body.contains("The trouble began at 2026-11-16 00:00 UTC and lasted 4 h."), "{body}");
}

#[test]
fn what_failed_and_recovered_before_anybody_was_told_is_told_as_neither() {
    let office = Office::new("", "");
    let status = || standing::standing(&office.world, &office.settings, None).expect("a standing").projects[0].status;
    let tell = || notice::tell(&office.world, &office.desk()).expect("told");
    let refused = || office.run(Some(Failure::new(Cause::Connection, "connection refused")));
    refused();
    assert_eq!(status(), Status::Failing, "it is not ok before it was told, either");
    office.pass(TimeDelta::seconds(20));
    office.run(None);
    assert_eq!(status(), Status::Ok);
    assert_eq!(tell(), 0);
    assert_eq!(events(&office.rig), Vec::<String>::new());
    // Two causes of one round are one first failure, and the recovery of what was told is told, whatever came between.
    refused();
    office.run(Some(Failure::new(Cause::Space, "no space")));
    tell();
    let body = office.letters().pop().expect("a letter").body.replace('\n', " ");
    assert!(body.contains("No backup of shop was made, for the 2nd time in a row") && !body.contains("The cause is a new one"), "{body}");
    office.run(None);
    refused();
    office.run(None);
    tell();
    assert_eq!(events(&office.rig), ["failing", "recovered"]);
}

#[test]
fn f41_a_project_that_never_had_a_backup_becomes_stale() {
    for databases in ["", "databases = \"all\"\n"] {
        let office = Office::new("", &format!("{databases}max_backup_age = \"26h\"\n"));
        let look = || notice::stale(&office.world, &office.desk()).expect("a look");
        assert_eq!(look(), 0, "it is new");
        office.pass(TimeDelta::hours(25));
        assert_eq!(look(), 0);
        office.pass(TimeDelta::hours(2));
        assert_eq!(look(), 1, "{databases}");
        office.run(None);
        assert_eq!(notice::tell(&office.world, &office.desk()).expect("told"), 1);
        assert_eq!(events(&office.rig), ["stale", "recovered"], "{databases}");
    }
}

/// What counts is all of a database, and where nothing makes that, each part that a schedule makes.
#[test]
fn a_project_that_makes_parts_alone_is_stale_by_their_age() {
    let schedules = |more: &str| {
        format!(
            "max_backup_age = \"26h\"\n{more}\n[[project.schedule]]\nname = \"s\"\ncron = \"@daily\"\ncontent = \"schema\"\n\
             [[project.schedule]]\nname = \"one\"\ncron = \"@daily\"\ncontent = \"data\"\n"
        )
    };
    let office = Office::new("", &schedules("content = \"schema\""));
    let look = || notice::stale(&office.world, &office.desk()).expect("a look");
    let tell = || notice::tell(&office.world, &office.desk()).expect("told");
    let schema = DumpShape { content: Content::Schema, ..DumpShape::default() };
    let rows = DumpShape { content: Content::Data, ..DumpShape::default() };
    office.run_shaped("shop", &schema, None);
    office.run_shaped("shop", &rows, None);
    assert_eq!((tell(), look()), (0, 0), "both are new");
    office.pass(TimeDelta::hours(25));
    office.run_shaped("shop", &rows, None);
    assert_eq!((tell(), look()), (0, 0));
    office.pass(TimeDelta::hours(2));
    // A full one by hand is nothing that anybody promised to repeat.
    office.run(None);
    assert_eq!((tell(), look()), (0, 1), "{:?}", office.letters());
    let body = office.letters()[0].body.replace('\n', " ");
    assert!(body.contains("should always have a backup (schema) that is younger than 26 h, and has none."), "{body}");
    assert!(body.contains("The next try is at 2026-11-18 00:00 UTC, by schedule s."), "{body}");
    let seen = standing::standing(&office.world, &office.settings, None).expect("a standing").projects.remove(0);
    assert_eq!((seen.status, seen.alerts.len()), (Status::Stale, 1), "{:?}", seen.alerts);
    office.run_shaped("shop", &schema, None);
    assert_eq!((tell(), look()), (1, 0), "{:?}", office.letters());
    assert_eq!(events(&office.rig), ["stale", "recovered"]);
    let whole = Office::new("", &schedules(""));
    assert_eq!(notice::stale(&whole.world, &whole.desk()).expect("a look"), 0);
    whole.run(None);
    notice::tell(&whole.world, &whole.desk()).expect("told");
    whole.pass(TimeDelta::hours(25));
    whole.run(None);
    notice::tell(&whole.world, &whole.desk()).expect("told");
    whole.pass(TimeDelta::hours(2));
    assert_eq!(
        notice::stale(&whole.world, &whole.desk()).expect("a look"),
        0,
        "what is made by hand is all of it, so that only this counts"
    );
    whole.pass(TimeDelta::hours(25));
    assert_eq!(notice::stale(&whole.world, &whole.desk()).expect("a look"), 1);
    let body = whole.letters()[0].body.replace('\n', " ");
    assert!(
        body.contains("No schedule of the project makes full backups: let a schedule make full ones; or,")
            && body.contains("say so for the project itself, not only for its schedules"),
        "{body}"
    );
}

/// Without a daemon, too: what was never made counts since it was first missed.
#[test]
fn a_part_that_was_never_made_makes_its_project_stale() {
    let mut office = Office::new("", "max_backup_age = \"26h\"\ncontent = \"schema\"\n[[project.schedule]]\ncron = \"@daily\"\n");
    let standing =
        |office: &Office| standing::standing(&office.world, &office.settings, None).expect("a standing").projects.remove(0).status;
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("a look"), 0);
    office.pass(TimeDelta::hours(27));
    assert_eq!(standing(&office), Status::Stale, "before anybody ticked");
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("a look"), 1);
    // The part gives way to all of it: the alert of the part is closed, with what it was.
    let project = std::sync::Arc::make_mut(&mut office.settings.projects[0]);
    project.shape = DumpShape::default();
    project.schedules.iter_mut().for_each(|schedule| schedule.shape = DumpShape::default());
    assert_eq!(notice::closed(&office.world, &office.desk()).expect("closed"), 1);
    let letter = office.letters().pop().expect("a letter");
    assert_eq!(letter.subject, "[pgdumpd] CLOSED shop: the backup (schema) of shop is no longer configured");
    assert!(letter.body.replace('\n', " ").contains("there was no good backup (schema) within max_backup_age."), "{}", letter.body);
    assert_eq!(standing(&office), Status::Ok);
}

#[test]
fn a_recovery_of_one_database_says_which_others_are_still_not_well() {
    let office = Office::new("", "databases = [\"shop\", \"billing\", \"stock\"]\nmax_backup_age = \"26h\"\n");
    let tell = || notice::tell(&office.world, &office.desk()).expect("told");
    office.run_of("stock", Some(Failure::new(Cause::Space, "no space left")));
    tell();
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("a look"), 0, "they are new");
    office.pass(TimeDelta::hours(27));
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("a look"), 1);
    office.run(None);
    tell();
    let letter = office.letters().pop().expect("a letter");
    assert_eq!(letter.subject, "[pgdumpd] PARTLY OK shop: backups work again; billing is still too old, stock still fails");
    let body = letter.body.replace(['\u{a0}', '\n'], " ");
    assert!(body.contains("Not so billing, without a good full backup within max_backup_age since 2026-11-17 03:00 UTC."), "{body}");
    assert!(body.contains("Not so stock, failing since 2026-11-16 00:00 UTC: no space left."), "{body}");
    assert!(!body.contains("There is nothing for you to do"), "{body}");
    office.run_of("stock", None);
    tell();
    assert!(office.letters().pop().expect("a letter").subject.ends_with("; billing is still too old"), "{:?}", office.letters());
    office.run_of("billing", None);
    tell();
    let letter = office.letters().pop().expect("a letter");
    assert_eq!(letter.subject, "[pgdumpd] OK shop: backups work again");
    assert!(letter.body.replace('\n', " ").contains("There is nothing for you to do"), "{}", letter.body);
}

#[test]
fn the_next_try_is_that_of_a_schedule_that_makes_such_a_backup() {
    let schedules = "[[project.schedule]]\nname = \"nightly\"\ncron = \"15 2 * * *\"\n\
                     [[project.schedule]]\nname = \"hourly\"\ncron = \"0 * * * *\"\ncontent = \"schema\"\n";
    let office = Office::new("", schedules);
    office.run(Some(Failure::new(Cause::Connection, "connection refused")));
    notice::tell(&office.world, &office.desk()).expect("told");
    let body = office.letters()[0].body.clone();
    assert!(body.contains("The next try is at 2026-11-16 02:15 UTC, by schedule nightly."), "{body}");
}

#[test]
fn what_the_same_job_backed_up_is_neither_another_jobs_nor_what_failed() {
    let office = Office::new("", "databases = [\"shop\", \"stock\", \"late\"]\n");
    let run = |database: &str, slot: DateTime<Utc>, failure: Option<&str>| {
        let begun = Run::begin("shop", database, &DumpShape::default(), Trigger::Scheduled, office.world.clock.now());
        let mut run = Run { schedule: Some(String::from("s")), slot: Some(slot), ..begun };
        office.world.catalog.write(|writer| writer.start_run(&run)).expect("started");
        run.finished_at = Some(office.world.clock.now());
        run.failure = failure.map(|why| Failure::new(Cause::Connection, why));
        run.status = if failure.is_some() { RunStatus::Failed } else { RunStatus::Completed };
        office.world.catalog.write(|writer| writer.finish_run(&run)).expect("finished");
    };
    let first = office.world.clock.now();
    run("late", first, None);
    office.pass(TimeDelta::minutes(1));
    let second = office.world.clock.now();
    // Told of while the third waited for its retry.
    run("stock", second, None);
    notice::tell(&office.world, &office.desk()).expect("told");
    run("shop", second, None);
    run("late", second, Some("connection refused"));
    notice::tell(&office.world, &office.desk()).expect("told");
    let letters = office.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let body = letters[0].body.replace('\n', " ");
    assert!(body.contains("Backed up in the same job: shop, stock."), "{letters:?}");
}

#[test]
fn nobody_is_told_of_an_old_backup_while_the_next_is_on_its_way() {
    let office = Office::new("", "max_backup_age = \"26h\"\n");
    let slot = || SlotKey { project: String::from("shop"), schedule: String::from("s"), due_at: office.world.clock.now() };
    notice::stale(&office.world, &office.desk()).expect("looked");
    office.pass(TimeDelta::days(3));
    let missed = slot();
    office.world.catalog.write(|writer| writer.claim_slots(std::slice::from_ref(&missed)).map(drop)).expect("claimed");
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("looked"), 0);
    office.pass(TimeDelta::minutes(61));
    assert_eq!(notice::stale(&office.world, &office.desk()).expect("looked"), 1, "it takes too long");
    assert!(office.letters()[0].subject.contains("STALE shop"), "{:?}", office.letters());
}
