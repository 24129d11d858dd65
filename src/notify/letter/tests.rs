//! Each mail as its reader gets it.

use chrono::TimeZone;
use secrecy::SecretString;

use super::*;
use crate::error::Cause;

fn at(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, day, hour, minute, 0).unwrap()
}

fn about(project: &str) -> About {
    About {
        project: String::from(project),
        zone: Tz::Europe__Berlin,
        now: at(21, 1, 22),
        server: String::from("db.internal:5432"),
        machine: String::from("backup1"),
        storage: String::from("main, /var/backups/pgdumpd"),
        config: None,
    }
}

fn good(database: &str) -> LastGood {
    let file = format!("shop/{database}_20261118T011500Z_full_k3f9q2.dump.zst");
    LastGood {
        database: String::from(database),
        taken_at: at(18, 1, 15),
        size: 1_288_490_189,
        proof: ProofLevel::Restored,
        proven_at: at(18, 4, 0),
        restore: format!("zstd -dc /var/backups/pgdumpd/{file} | pg_restore -d NEWDB"),
        file,
    }
}

fn failed(database: &str, last_good: Option<LastGood>) -> FailedDatabase {
    let failure = Failure::new(Cause::Connection, "connection to db.internal:5432 failed: connection refused")
        .hint("check that PostgreSQL runs there and listens on that address")
        .detail("pg_dump: error: connection to server at \"db.internal\" (10.0.0.7), port 5432 failed: Connection refused\n\tIs the server running on that host?\npg_dump: detail: conninfo was host=db.internal password=tiger42 user=backup\n");
    FailedDatabase {
        database: String::from(database),
        selection: String::from("full"),
        run: format!("k7pq2m{}", &database[..2]),
        failure,
        started_at: at(21, 1, 15),
        ended_at: at(21, 1, 21),
        attempts: 3,
        last_good,
    }
}

fn failing(project: &str) -> Failing {
    Failing {
        about: about(project),
        told: Told::First,
        in_row: 1,
        since: at(21, 1, 21),
        databases: vec![failed("shop", Some(good("shop")))],
        fine: Vec::new(),
        slot: Some((at(21, 1, 15), String::from("nightly"))),
        next: Next::Slot { at: at(22, 1, 15), schedule: String::from("nightly") },
        reminder: Duration::from_secs(86_400),
        client: Some(String::from("17.10")),
        server_version: Some(String::from("16.14")),
    }
}

fn recovered(project: &str) -> Recovered {
    Recovered {
        about: about(project),
        since: at(19, 1, 21),
        failures: 3,
        was: String::from("connection to db.internal:5432 failed: connection refused"),
        backups: vec![LastGood { taken_at: at(21, 1, 15), proof: ProofLevel::Whole, proven_at: at(21, 1, 20), ..good("shop") }],
        next: Next::Slot { at: at(22, 1, 15), schedule: String::from("nightly") },
    }
}

fn stale() -> Stale {
    Stale {
        about: about("shop"),
        database: String::from("shop"),
        allowed: Duration::from_secs(26 * 3600),
        last_good: Some(good("shop")),
        reason: Some(String::from("the project has been paused since 2026-11-18")),
        next: Next::Nothing(String::from("the project is paused")),
        reminder: Duration::from_secs(86_400),
    }
}

/// Subject, blank line, body, as a mail program shows it.
fn shown(letter: &Letter) -> String {
    let secret = SecretString::from("tiger42");
    let redactor = Redactor::new([&secret]);
    let text = format!("{}\n\n{}", letter.subject(&redactor), letter.body(&redactor));
    for line in letter.body(&redactor).lines() {
        let whole = line.starts_with("  ");
        assert!(whole || line.chars().count() <= 78, "too wide: {line}");
        assert_eq!(line, line.trim_end());
    }
    assert!(!text.contains("tiger42"), "{text}");
    text
}

#[test]
fn first_failure() {
    insta::assert_snapshot!(shown(&Letter::Failing(failing("shop"))), @"");
}

#[test]
fn change_of_cause_in_several_databases_without_a_backup() {
    let mut facts = failing("shop");
    facts.in_row = 3;
    facts.since = at(19, 1, 21);
    facts.told = Told::CauseChanged(String::from("no space left on device"));
    facts.databases.push(failed("billing", None));
    facts.fine = vec![String::from("stock")];
    facts.about.config = Some(String::from("/srv/my backups.toml"));
    insta::assert_snapshot!(shown(&Letter::Failing(facts)), @"");
}

#[test]
fn reminder() {
    let mut facts = failing("shop");
    facts.in_row = 3;
    facts.since = at(19, 1, 21);
    facts.told = Told::Reminder;
    facts.slot = None;
    facts.client = None;
    facts.next = Next::Nothing(String::from("the project has no schedule"));
    insta::assert_snapshot!(shown(&Letter::Failing(facts)), @"");
}

#[test]
fn too_old() {
    insta::assert_snapshot!(shown(&Letter::Stale(stale())), @"");
    let mut none = stale();
    none.last_good = None;
    none.reason = None;
    insta::assert_snapshot!(shown(&Letter::Stale(none)), @"");
}

#[test]
fn recovery() {
    insta::assert_snapshot!(shown(&Letter::Recovered(recovered("shop"))), @r"
    [pgdumpd] OK shop: backups work again after 3 failures

    Project shop has a good backup again. The trouble began at 2026-11-19 02:21
    CET (01:21 UTC) and lasted 2 days.

    It was: Connection to db.internal:5432 failed: connection refused.

    New backup of shop
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21 02:20
             CET (01:20 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    The next backup is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.
    There is nothing for you to do.

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}

#[test]
fn many_at_once() {
    let mut other = failing("crm");
    other.in_row = 2;
    other.databases[0].last_good = None;
    let letters =
        vec![Letter::Failing(failing("shop")), Letter::Failing(other), Letter::Stale(stale()), Letter::Recovered(recovered("wiki"))];
    insta::assert_snapshot!(shown(&Letter::Grouped(letters)), @"");
}

#[test]
fn weekly_summary() {
    let week = |project: &str, trouble: Option<&str>| ProjectWeek {
        project: String::from(project),
        good: 7,
        failed: usize::from(trouble.is_some()),
        missed: 0,
        backups: 21,
        bytes: 27_058_293_969,
        newest: trouble.is_none().then(|| Duration::from_secs(21_600)),
        drilled: trouble.is_none().then(|| at(15, 4, 0)),
        trouble: trouble.map(String::from),
    };
    let facts = Weekly {
        zone: Tz::Europe__Berlin,
        from: at(14, 7, 0),
        until: at(21, 7, 0),
        machine: String::from("backup1"),
        projects: vec![week("crm", None), week("shop", Some("failing since 2026-11-19: connection refused"))],
        free: vec![(String::from("main"), 512_000_000_000)],
    };
    insta::assert_snapshot!(shown(&Letter::Weekly(facts)), @"");
}

#[test]
fn held_prune() {
    let facts = HeldPrune {
        about: about("shop"),
        before: String::from("keep_daily 14, keep_monthly 12"),
        after: String::from("keep_last 3"),
        remove: 23,
        keep: 3,
        bytes: 29_000_000_000,
        range: Some((at(1, 1, 15), at(17, 1, 15))),
    };
    insta::assert_snapshot!(shown(&Letter::HeldPrune(facts)), @r"
    [pgdumpd] HELD shop: pruning would remove 23 of 26 backups

    The retention of project shop was changed and would now remove 23 of 26
    backups. Nothing was removed: a change that takes more than half waits for a
    yes.

    What the new policy does
      before        keep_daily 14, keep_monthly 12
      now           keep_last 3
      would free    27.0 GiB
      would remove  23 taken between 2026-11-01 02:15 CET (01:15 UTC) and
                    2026-11-17 02:15 CET (01:15 UTC)
      would keep    3 backups

    Until then backups go on being made and none of this project is pruned, so
    watch the space.

    What to type
      see each one  pgdumpd prune shop --dry-run
      say yes       pgdumpd prune shop --confirm

    If the change was a mistake, put the old values back into the configuration;
    that is all.

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}

#[test]
fn rebuilt_catalog() {
    let facts = Rebuilt {
        machine: String::from("backup1"),
        reason: String::from("the file was not a database"),
        backups: 412,
        projects: 9,
        aside: Some(String::from("/var/lib/pgdumpd/catalog.db.damaged-20261121T012200Z")),
    };
    insta::assert_snapshot!(shown(&Letter::Rebuilt(facts)), @r"
    [pgdumpd] REBUILT the catalog on backup1 from 412 backups

    pgdumpd on backup1 had to make its catalog anew: The file was not a
    database.

    All backups are safe: the storages themselves say what they hold, and 412
    backups of 9 projects were found there, with their proofs and pins.
    Schedules, retention and restores go on as before.

    What only the catalog knew is lost: the diary of runs and slots, how often a
    project had failed in a row, and mails that had not gone out yet. A project
    that still fails is told anew.

    What to type
      pgdumpd list
      pgdumpd status

    The old file was put aside as
    /var/lib/pgdumpd/catalog.db.damaged-20261121T012200Z. If the disk may be
    failing, look at the kernel's log.
    ");
}

#[test]
fn damaged_backup() {
    let facts = Damaged {
        about: about("shop"),
        backup: LastGood { proof: ProofLevel::Whole, ..good("shop") },
        problem: String::from("its stored bytes have the SHA-256 1f3a… instead of 9b0c…"),
        last_good: Some(LastGood { taken_at: at(17, 1, 15), ..good("shop") }),
    };
    insta::assert_snapshot!(shown(&Letter::Damaged(facts)), @"");
}

#[test]
fn a_project_name_stays_on_its_line() {
    let mut facts = failing("shop\r\nBcc: thief@example.org\r\n\r\n");
    facts.databases[0].failure.message = "a\nb".repeat(400);
    let letter = Letter::Failing(facts);
    let subject = letter.subject(&Redactor::default());
    assert!(!subject.contains(['\r', '\n']) && subject.chars().count() <= 175, "{subject}");
}

#[test]
fn an_incident_is_one_thread() {
    let id = message_id("k3f9q2\r\nx", "back up1");
    assert_eq!(id, "<pgdumpd.k3f9q2x@backup1>");
    let envelope = Envelope {
        to: vec![String::from("a@b.org")],
        message_id: id,
        threads: vec![String::from("<first@backup1>")],
        written_at: at(21, 1, 22),
    };
    let message = Letter::Recovered(recovered("shop")).message(&Redactor::default(), envelope);
    assert_eq!(message.in_reply_to.as_deref(), Some("<first@backup1>"));
    assert_eq!(message.references, ["<first@backup1>"]);
    assert_eq!((message.event.as_str(), message.projects), ("recovered", vec![String::from("shop")]));
}
