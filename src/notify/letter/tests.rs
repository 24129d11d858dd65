//! Each mail as its reader gets it.

use chrono::TimeZone;
use secrecy::SecretString;

use super::*;
use crate::error::Cause;

mod doubt;
mod others;

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
        root: Some(String::from("/var/backups/pgdumpd")),
        config: None,
        hands: Hands::Daemon,
    }
}

fn good(database: &str) -> LastGood {
    let file = format!("shop/{database}_20261118T011500Z_full_k3f9q2.dump.zst");
    LastGood {
        id: Some(String::from("k3f9q2")),
        database: String::from(database),
        taken_at: at(18, 1, 15),
        size: 1_288_490_189,
        server: None,
        proof: ProofLevel::Restored,
        proven_at: at(18, 4, 0),
        restore: format!("zstd -dc {} | pg_restore --exit-on-error -d NEW_DATABASE", file.trim_start_matches("shop/")),
        file,
    }
}

fn failed(database: &str, last_good: Option<LastGood>) -> FailedDatabase {
    let last_good = last_good.into_iter().collect();
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

pub(in crate::notify) fn failing(project: &str) -> Failing {
    Failing {
        about: about(project),
        told: Told::First,
        in_row: 1,
        since: at(21, 1, 21),
        databases: vec![failed("shop", Some(good("shop")))],
        fine: Vec::new(),
        occasion: Occasion::Slot { at: at(21, 1, 15), schedule: String::from("nightly") },
        next: Next::Slot { at: at(22, 1, 15), schedule: String::from("nightly") },
        reminder: Duration::from_secs(86_400),
        client: Some(String::from("17.10")),
        server_version: Some(String::from("16.14")),
    }
}

pub(in crate::notify) fn recovered(project: &str) -> Recovered {
    Recovered {
        about: about(project),
        since: at(19, 1, 21),
        failures: 3,
        was: String::from("connection to db.internal:5432 failed: connection refused"),
        open: Vec::new(),
        backups: vec![LastGood { taken_at: at(21, 1, 15), proof: ProofLevel::Whole, proven_at: at(21, 1, 20), ..good("shop") }],
        next: Next::Slot { at: at(22, 1, 15), schedule: String::from("nightly") },
    }
}

pub(in crate::notify) fn stale() -> Stale {
    Stale {
        selection: None,
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
    insta::assert_snapshot!(shown(&Letter::Failing(failing("shop"))), @r#"
    [pgdumpd] FAILED shop: connection to db.internal:5432 failed: connection refused

    No backup of shop was made.

    Connection to db.internal:5432 failed: connection refused. Check that
    PostgreSQL runs there and listens on that address.

    The last good backup of shop
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    The backups made before are untouched, and those of what failed are pruned
    only after a new one of it succeeds. Nothing of the failed run was left
    under a backup's name.

    The next try is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.
    This mail repeats every 24 h until a backup succeeds; then you get one more.

    What to type
      see more          pgdumpd show k7pq2msh
      try again now     pgdumpd backup shop
      check the set-up  pgdumpd doctor shop

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd restore k3f9q2 --to shop_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc shop_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    Facts
      server    db.internal:5432, PostgreSQL 16.14
      database  shop, full, run k7pq2msh
      started   2026-11-21 02:15 CET (01:15 UTC), given up after 6 min and 3
                attempts
      slot      2026-11-21 02:15 CET (01:15 UTC), schedule nightly
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0, pg_dump 17.10
      machine   backup1

    The last words of the program that failed
      | pg_dump: error: connection to server at "db.internal" (10.0.0.7), port 5432 failed: Connection refused
      | 	Is the server running on that host?
      | pg_dump: detail: conninfo was host=db.internal password=*** user=backup
    "#);
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
    insta::assert_snapshot!(shown(&Letter::Failing(facts)), @r#"
    [pgdumpd] FAILED shop (3rd in a row): 2 of 3 databases: connection to db.internal:5432 failed: connection refused

    2 of 3 databases in project shop got no backup, for the 3rd time in a row
    since 2026-11-19 02:21 CET (01:21 UTC).

    shop, billing: connection to db.internal:5432 failed: connection refused.
    Check that PostgreSQL runs there and listens on that address.

    The cause is a new one; before, it was: no space left on device.

    The last good backup of shop
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    There is no good backup of billing to fall back on.

    The backups made before are untouched, and those of what failed are pruned
    only after a new one of it succeeds. Nothing of the failed run was left
    under a backup's name. Backed up in the same job: stock.

    The next try is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.
    This mail repeats every 24 h until a backup succeeds; then you get one more.

    What to type
      see more          pgdumpd --config '/srv/my backups.toml' show k7pq2msh
      see more          pgdumpd --config '/srv/my backups.toml' show k7pq2mbi
      try again now     pgdumpd --config '/srv/my backups.toml' backup shop
      check the set-up  pgdumpd --config '/srv/my backups.toml' doctor shop

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd --config '/srv/my backups.toml' restore k3f9q2 --to shop_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc shop_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    Facts
      server    db.internal:5432, PostgreSQL 16.14
      database  shop, full, run k7pq2msh
      started   2026-11-21 02:15 CET (01:15 UTC), given up after 6 min and 3
                attempts
      database  billing, full, run k7pq2mbi
      started   2026-11-21 02:15 CET (01:15 UTC), given up after 6 min and 3
                attempts
      slot      2026-11-21 02:15 CET (01:15 UTC), schedule nightly
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0, pg_dump 17.10
      machine   backup1

    The last words of the program that failed for shop, billing
      | pg_dump: error: connection to server at "db.internal" (10.0.0.7), port 5432 failed: Connection refused
      | 	Is the server running on that host?
      | pg_dump: detail: conninfo was host=db.internal password=*** user=backup
    "#);
}

#[test]
fn reminder() {
    let mut facts = failing("shop");
    facts.in_row = 3;
    facts.since = at(19, 1, 21);
    facts.told = Told::Reminder;
    facts.occasion = Occasion::Hand;
    facts.client = None;
    facts.next = Next::Nothing(String::from("the project has no schedule"));
    insta::assert_snapshot!(shown(&Letter::Failing(facts)), @r#"
    [pgdumpd] FAILED shop (3rd in a row): connection to db.internal:5432 failed: connection refused

    No backup of shop was made, for the 3rd time in a row since 2026-11-19
    02:21 CET (01:21 UTC).

    Connection to db.internal:5432 failed: connection refused. Check that
    PostgreSQL runs there and listens on that address.

    This is a reminder: it has been so for 2 days.

    The last good backup of shop
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    The backups made before are untouched, and those of what failed are pruned
    only after a new one of it succeeds. Nothing of the failed run was left
    under a backup's name.

    Nothing happens by itself: the project has no schedule. This mail repeats
    every 24 h until a backup succeeds; then you get one more.

    What to type
      see more          pgdumpd show k7pq2msh
      try again now     pgdumpd backup shop
      check the set-up  pgdumpd doctor shop

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd restore k3f9q2 --to shop_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc shop_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    Facts
      server    db.internal:5432, PostgreSQL 16.14
      database  shop, full, run k7pq2msh
      started   2026-11-21 02:15 CET (01:15 UTC), given up after 6 min and 3
                attempts
      slot      none; it was started by hand
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1

    The last words of the program that failed
      | pg_dump: error: connection to server at "db.internal" (10.0.0.7), port 5432 failed: Connection refused
      | 	Is the server running on that host?
      | pg_dump: detail: conninfo was host=db.internal password=*** user=backup
    "#);
}

#[test]
fn too_old() {
    insta::assert_snapshot!(shown(&Letter::Stale(stale())), @r"
    [pgdumpd] STALE shop: the last good backup is 3 days old, 26 h allowed

    Project shop should always have a full backup that is younger than 26 h, and
    has none.

    The project has been paused since 2026-11-18.

    The last good backup of shop
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    What is stored is untouched. Schema-only and partial backups don't count
    here, however new they are.

    Nothing happens by itself: the project is paused. This mail repeats every
    24 h.

    What to type
      see what ran     pgdumpd status shop
      back up now      pgdumpd backup shop
      see what is due  pgdumpd plan shop

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd restore k3f9q2 --to shop_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc shop_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
    let mut none = stale();
    none.last_good = None;
    none.reason = None;
    insta::assert_snapshot!(shown(&Letter::Stale(none)), @r"
    [pgdumpd] STALE shop: there is no good backup

    Project shop should always have a full backup that is younger than 26 h, and
    has none.

    There is no good backup of shop to fall back on.

    What is stored is untouched. Schema-only and partial backups don't count
    here, however new they are.

    Nothing happens by itself: the project is paused. This mail repeats every
    24 h.

    What to type
      see what ran     pgdumpd status shop
      back up now      pgdumpd backup shop
      see what is due  pgdumpd plan shop

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}

#[test]
fn recovery() {
    insta::assert_snapshot!(shown(&Letter::Recovered(recovered("shop"))), @r"
    [pgdumpd] OK shop: backups work again after 3 failures

    Project shop has a good backup again. The trouble began at 2026-11-19
    02:21 CET (01:21 UTC) and lasted 2 days.

    It was: connection to db.internal:5432 failed: connection refused.

    New backup of shop
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
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

#[test]
fn a_backup_of_the_future_has_no_age() {
    let good = stale().last_good.map(|good| LastGood { taken_at: at(30, 1, 15), ..good });
    let subject = Letter::Stale(Stale { last_good: good, ..stale() }).subject(&Redactor::default());
    assert!(subject.contains("the last good backup is dated in the future"), "{subject}");
}
