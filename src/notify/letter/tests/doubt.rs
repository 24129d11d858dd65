//! The letters of a backup that holds far less than the ones before it.

use super::*;

fn suspicious() -> Suspicious {
    let good = recovered("shop").backups.remove(0);
    Suspicious {
        about: about("shop"),
        why: String::from("rows fell from the usual 5300 to 300; table public.orders, which always had rows (last 5000), is empty"),
        id: String::from("k3f9q2abcd"),
        since: at(21, 1, 16),
        in_row: 1,
        backup: LastGood { taken_at: at(21, 1, 15), file: String::from("shop/new.dump.zst"), ..good.clone() },
        normal_id: Some(String::from("a2b3c4d5e6")),
        normal: Some(LastGood { taken_at: at(20, 1, 15), ..good }),
        after: Some((3, Duration::from_secs(7 * 86_400))),
        next: Next::Slot { at: at(22, 1, 15), schedule: String::from("nightly") },
        reminder: Duration::from_secs(86_400),
    }
}

#[test]
fn a_suspicious_backup() {
    insta::assert_snapshot!(shown(&Letter::Suspicious(suspicious())), @r"
    [pgdumpd] SUSPICIOUS shop: rows fell from the usual 5300 to 300; table public.orders, which always had rows (last 5000), is empty

    The newest backup in project shop holds far less than the ones before it:
    rows fell from the usual 5300 to 300; table public.orders, which always had
    rows (last 5000), is empty.

    It is whole, and it is kept. But if these rows were lost on the server, the
    older backups are all that is left of them: they stay, nothing of project
    shop is pruned from now on. Watch the space.

    The suspicious backup
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/new.dump.zst

    The newest normal one
      taken  2026-11-20 02:15 CET (01:15 UTC), 24 h 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    What to type
      see its tables        pgdumpd show k3f9q2abcd --tables
      see what changed      pgdumpd diff a2b3c4d5e6 k3f9q2abcd
      put lost rows back    pgdumpd restore a2b3c4d5e6 --to shop --table TABLE --on-conflict skip
      it is meant to be so  pgdumpd accept k3f9q2abcd

    Without a word from you it ends with the next normal backup, or with 3 alike
    in a row over 7 days, which are taken for the new habit; then you get one
    more mail. Until then this one repeats every 24 h. The next backup is at
    2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.

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
}

fn normal_again(ended: DoubtEnded) -> String {
    let Suspicious { about, why: was, id, backup, next, .. } = suspicious();
    shown(&Letter::NormalAgain(NormalAgain { about, since: at(20, 1, 15), was, id, backup, ended, next }))
}

#[test]
fn a_normal_one_after_it() {
    insta::assert_snapshot!(normal_again(DoubtEnded::Normal), @r"
    [pgdumpd] OK shop: the newest backup is no longer suspicious

    The newest backup in project shop is as the ones before the doubt. Pruning
    goes on.

    It had been suspicious since 2026-11-20 02:15 CET (01:15 UTC), for
    24 h 7 min: rows fell from the usual 5300 to 300; table public.orders, which
    always had rows (last 5000), is empty.

    The newest backup
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/new.dump.zst

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
fn an_accepted_one() {
    let letter = normal_again(DoubtEnded::Accepted(String::from("root")));
    let words = letter.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("is as the one that root has accepted: what it holds is the habit now. Pruning goes on."), "{letter}");
    assert!(words.contains("There is nothing for you to do."), "{letter}");
}

#[test]
fn so_many_alike_that_they_are_the_new_habit() {
    let facts = suspicious();
    let before = facts.normal_id.zip(facts.normal);
    insta::assert_snapshot!(normal_again(DoubtEnded::NewHabit { alike: 8, first: at(13, 1, 15), last: at(21, 1, 15), before }), @r"
    [pgdumpd] NEW HABIT shop: 8 suspicious backups were alike; older ones will be pruned

    The newest backup in project shop holds as little as those before it. 8
    alike in a row over 8 days are taken for the new habit, although nobody has
    accepted them. Nothing was pruned with this backup, but from the next one on
    the older ones go, as the retention says. If these rows were lost on the
    server, keep the last backup from before, now.

    It had been suspicious since 2026-11-20 02:15 CET (01:15 UTC), for
    24 h 7 min: rows fell from the usual 5300 to 300; table public.orders, which
    always had rows (last 5000), is empty.

    The newest backup
      taken  2026-11-21 02:15 CET (01:15 UTC), 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/new.dump.zst

    The last one from before
      taken  2026-11-20 02:15 CET (01:15 UTC), 24 h 7 min ago
      size   1.2 GiB
      proof  complete when it was written; not read back since (2026-11-21
             02:20 CET (01:20 UTC))
      file   shop/shop_20261118T011500Z_full_k3f9q2.dump.zst

    What to type
      keep that one       pgdumpd pin a2b3c4d5e6
      see what changed    pgdumpd diff a2b3c4d5e6 k3f9q2abcd
      put lost rows back  pgdumpd restore a2b3c4d5e6 --to shop --table TABLE --on-conflict skip

    The next backup is at 2026-11-22 02:15 CET (01:15 UTC), by schedule nightly.

    Facts
      server    db.internal:5432
      storage   main, /var/backups/pgdumpd
      versions  pgdumpd 0.1.0
      machine   backup1
    ");
}
