//! The letters beside those of a single incident.

use super::*;
use crate::model::backup::RunId;
use crate::model::dump::Selection;
use crate::retention::{self, Origin};

#[test]
fn many_at_once() {
    let mut other = failing("crm");
    other.in_row = 2;
    other.databases[0].last_good = Vec::new();
    let letters =
        vec![Letter::Failing(failing("shop")), Letter::Failing(other), Letter::Stale(stale()), Letter::Recovered(recovered("wiki"))];
    insta::assert_snapshot!(shown(&Letter::Grouped(letters)), @r"
    [pgdumpd] FAILED 2 projects, STALE 1 project, OK 1 project: shop, crm, wiki

    3 projects had something to tell in the same minute and share this mail.

    2 of those that failed are on db.internal:5432: look there first.

    FAILED shop: connection to db.internal:5432 failed: connection refused
      shop: last good 2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      pgdumpd show k7pq2msh
      The next try is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.

    FAILED crm (2nd in a row): connection to db.internal:5432 failed: connection
    refused
      shop: no good backup to fall back on
      pgdumpd show k7pq2msh
      The next try is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.

    STALE shop: the last good backup is 3 days old, 26 h allowed
      Nothing happens by itself: the project is paused.
      pgdumpd status shop

    OK wiki: backups work again after 3 failures
      shop: 2026-11-21 02:15 CET (01:15 UTC), 1.2 GiB

    The backups made before are untouched, and those of a database are pruned
    only after a new one of it succeeds.
    ");
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
    insta::assert_snapshot!(shown(&Letter::Weekly(facts)), @r"
    [pgdumpd] WEEK on backup1: 2 projects, 14 backups, 1 to look at

    From 2026-11-14 08:00 CET (07:00 UTC) to 2026-11-21 08:00 CET (07:00 UTC)
    pgdumpd on backup1 made 14 backups; failed runs: 1, slots missed or skipped:
    0.

    To look at
      shop: failing since 2026-11-19: connection refused

    By project: good, failed, missed; stored; newest good and last proven
    restore (of the database that waited longest)
      shop  7, 1, 0; 25.2 GiB in 21; none; never
      crm   7, 0, 0; 25.2 GiB in 21; 6 h ago; 6 days 3 h ago

    Storage
      main: 476.8 GiB free

    If this letter ever fails to come, pgdumpd or its mail is not working: look
    at `pgdumpd status`.
    ");
}

#[test]
fn held_prune() {
    let facts = HeldPrune {
        about: about("shop"),
        before: Some(String::from("keep_daily 14, keep_monthly 12")),
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
      was           keep_daily 14, keep_monthly 12
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
fn backups_of_several_servers() {
    let origin = |identifier: &str, server: &str, day, backups| Origin {
        system_identifier: identifier.into(),
        server: Some(server.into()),
        newest: RunId(format!("{day}k3f9q2m7")),
        newest_at: at(day, 1, 15),
        backups,
    };
    let servers =
        vec![origin("7300000000000000002", "db2.internal:5432", 20, 1), origin("7300000000000000001", "db.internal:5432", 19, 14)];
    let groups = vec![retention::Divided { database: "shop".into(), selection: Selection::full(), servers }];
    insta::assert_snapshot!(shown(&Letter::Divided(Divided { about: about("shop"), groups })), @r"
    [pgdumpd] HELD shop: it has backups of 2 servers, and nothing of them is pruned

    Backups of project shop come from more than one database server. The
    retention would let the newer server's backups push out the other's, so
    nothing of what is listed here is pruned until somebody says that it is
    meant to be so.

    shop (full)
      db2.internal:5432  system identifier 7300000000000000002, 1 backup, newest
                         2026-11-20 02:15 CET (01:15 UTC), 24 h 7 min ago
                         (20k3f9q2m7)
      db.internal:5432   system identifier 7300000000000000001, 14 backups,
                         newest 2026-11-19 02:15 CET (01:15 UTC), 2 days ago
                         (19k3f9q2m7)

    Either the project was pointed at another server: then say so with the first
    line below, and the retention goes on over both. A move by pg_upgrade or by
    dump and restore changes the identifier; a promoted standby or a restored
    base backup keeps it. Or two different databases are backed up under one
    name: a second configuration, perhaps on another machine, uses this storage
    and this project name. Then give one of them another project name, or
    another storage. Until then a restore of `@latest` asks which server is
    meant; what reads, and drills, take the own server's.

    What to type
      the new server succeeds the old one  pgdumpd prune shop --confirm
      see each backup                      pgdumpd prune shop --dry-run

    Until then backups go on being made, so watch the space. This is told once,
    until another server comes.

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
        config: Some(String::from("/srv/backups.toml")),
    };
    insta::assert_snapshot!(shown(&Letter::Rebuilt(facts)), @r"
    [pgdumpd] REBUILT the catalog on backup1 from 412 backups

    pgdumpd on backup1 had to make its catalog anew: the file was not a
    database.

    All backups are safe: the storages themselves say what they hold, and 412
    backups of 9 projects were found there, with their proofs and pins.
    Schedules, retention and restores go on as before.

    What only the catalog knew is lost: the diary of runs and slots, how often a
    project had failed in a row, mails that had not gone out yet, and what was
    agreed to with `prune --confirm`. A project that still fails is told anew,
    and a pruning that must be agreed to waits for it again.

    What to type
      pgdumpd --config /srv/backups.toml list
      pgdumpd --config /srv/backups.toml status

    The old file was put aside as
    /var/lib/pgdumpd/catalog.db.damaged-20261121T012200Z. If the disk may be
    failing, look at the kernel's log.
    ");
}

#[test]
fn damaged_backup() {
    let facts = Damaged {
        about: about("shop"),
        ill: Ill::Damaged,
        id: String::from("k3f9q2"),
        backup: LastGood { proof: ProofLevel::Whole, ..good("shop") },
        problem: String::from("its stored bytes have the SHA-256 1f3a… instead of 9b0c…"),
        last_good: Some(LastGood { taken_at: at(17, 1, 15), ..good("shop") }),
    };
    insta::assert_snapshot!(shown(&Letter::Damaged(facts)), @r"
    [pgdumpd] DAMAGED shop: a backup: its stored bytes have the SHA-256 1f3a… instead of 9b0c…

    A stored backup in project shop is damaged: its stored bytes have the
    SHA-256 1f3a… instead of 9b0c…

    The damaged backup
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-18
             05:00 CET (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    It stays where it is, counts as no backup from now on, and is never deleted
    by itself: parts of it may still be readable.

    The newest good backup of shop
      taken  2026-11-17 02:15 CET (01:15 UTC), 4 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    What to type
      look again        pgdumpd verify k3f9q2 --level read
      check the others  pgdumpd verify shop
      back up now       pgdumpd backup shop
      or give it up     pgdumpd delete k3f9q2

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd restore k3f9q2 --to shop_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc shop_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    If there is a copy of the storage, put the file back from it: the next look
    takes the mark away. Bytes that change by themselves mean a failing disk, a
    failing controller, or a hand in the folder: check that machine.

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}

#[test]
fn what_is_gone_is_closed() {
    let kept = Kept {
        count: 12,
        bytes: 27_058_293_969,
        newest: Some(good("billing")),
        list: ["list", "shop", "--database", "billing"].map(String::from).to_vec(),
    };
    let ended = Ended {
        what: Some(String::from("database billing")),
        why: String::from("is not on the server"),
        undo: Undo::Restore,
        stood: vec![(at(19, 1, 21), String::from("database \"billing\" does not exist, password=tiger42"))],
        kept: Some(kept),
    };
    insta::assert_snapshot!(shown(&Letter::Closed(Closed { about: about("shop"), ended: vec![ended] })), @r#"
    [pgdumpd] CLOSED shop: database billing is not on the server

    Database billing of project shop is not on the server: it is not backed up
    any more, and no more mail comes about it.

    What was open since 2026-11-19 02:21 CET (01:21 UTC), for 2 days: database
    "billing" does not exist, password=***.

    12 backups of it, 25.2 GiB, stay: nothing is pruned of what isn't backed up.

    The newest good backup of billing
      taken  2026-11-18 02:15 CET (01:15 UTC), 3 days ago
      size   1.2 GiB
      proof  it was restored and its rows were counted (2026-11-18 05:00 CET
             (04:00 UTC))
      file   shop/billing_20261118T011500Z_full_k3f9q2.dump.zst

    If it was dropped on purpose, there is nothing for you to do. If not, bring
    it back from its newest backup.

    What to type
      see what is kept  pgdumpd list shop --database billing

    To restore it, into a database of its own (as a role that may create
    databases: --user ROLE)
      pgdumpd restore k3f9q2 --to billing_restored

    To restore it with standard tools, into a database that is there and empty
      cd /var/backups/pgdumpd/shop
      zstd -dc billing_20261118T011500Z_full_k3f9q2.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    "#);
    let ended = Ended { what: None, why: String::from("is no longer configured"), undo: Undo::Configure, stood: Vec::new(), kept: None };
    let about = About { server: String::new(), storage: String::new(), root: None, ..about("shop") };
    insta::assert_snapshot!(shown(&Letter::Closed(Closed { about, ended: vec![ended] })), @r"
    [pgdumpd] GONE shop: it is no longer configured

    Project shop is no longer configured: it is not backed up any more, and no
    more mail comes about it.

    If this was meant, there is nothing for you to do. If not, put it back into
    the configuration and reload it.

    Facts
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}

#[test]
fn a_recovery_in_part_says_what_is_still_not_well() {
    let open = |database: &str, was: Option<&str>, last_good: Option<LastGood>| Open {
        database: String::from(database),
        selection: None,
        since: at(19, 1, 21),
        was: was.map(String::from),
        last_good,
    };
    let mut facts = recovered("shop");
    facts.open = vec![
        open("billing", Some("no space, password=tiger42"), None),
        open("stock", None, Some(good("stock"))),
        Open { selection: Some(String::from("schema")), ..open("shop", Some("connection refused"), Some(good("shop"))) },
    ];
    insta::assert_snapshot!(shown(&Letter::Recovered(facts.clone())), @r"
    [pgdumpd] PARTLY OK shop: backups of shop work again after 3 failures; billing still fails, stock is still too old, shop (schema) still fails

    Part of project shop has a good backup again: shop. The trouble began at
    2026-11-19 02:21 CET (01:21 UTC) and lasted 2 days.

    It was: connection to db.internal:5432 failed: connection refused.

    Not so billing, failing since 2026-11-19 02:21 CET (01:21 UTC): no space,
    password=***. There is no good backup of it to fall back on.

    Not so stock, without a good full backup within max_backup_age since
    2026-11-19 02:21 CET (01:21 UTC). Its last good backup was taken 2026-11-18
    02:15 CET (01:15 UTC), 3 days ago.

    Not so shop (schema), failing since 2026-11-19 02:21 CET (01:21 UTC):
    connection refused. Its last good backup was taken 2026-11-18 02:15 CET
    (01:15 UTC), 3 days ago.

    New backup of shop
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    The next backup is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.

    What to type
      see how it stands  pgdumpd status shop
      back up now        pgdumpd backup shop

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
    let letters = vec![Letter::Recovered(facts.clone()), Letter::Recovered(recovered("wiki"))];
    insta::assert_snapshot!(shown(&Letter::Grouped(letters)), @r"
    [pgdumpd] PARTLY OK 1 project, OK 1 project: shop, wiki

    2 projects had something to tell in the same minute and share this mail.

    PARTLY OK shop: backups of shop work again after 3 failures; billing still
    fails, stock is still too old, shop (schema) still fails
      shop: 2026-11-21 02:15 CET (01:15 UTC), 1.2 GiB
      not so billing, failing since 2026-11-19 02:21 CET (01:21 UTC): no space, password=***. There is no good backup of it to fall back on.
      not so stock, without a good full backup within max_backup_age since 2026-11-19 02:21 CET (01:21 UTC). Its last good backup was taken 2026-11-18 02:15 CET (01:15 UTC), 3 days ago.
      not so shop (schema), failing since 2026-11-19 02:21 CET (01:21 UTC): connection refused. Its last good backup was taken 2026-11-18 02:15 CET (01:15 UTC), 3 days ago.

    OK wiki: backups work again after 3 failures
      shop: 2026-11-21 02:15 CET (01:15 UTC), 1.2 GiB
    ");
    facts.open.extend([open("a", None, None), open("b", None, None)]);
    insta::assert_snapshot!(Letter::Recovered(facts).subject(&Redactor::default()), @"[pgdumpd] PARTLY OK shop: backups of shop work again after 3 failures, those of 5 databases don't");
}
