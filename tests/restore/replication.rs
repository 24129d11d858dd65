//! Databases that others write into or read from by logical replication, and such that a prepared transaction holds: what would break is refused
//! before a byte is written, no worker goes on in the old database, and what the restored one needs to go on is told as it is to be typed.

use std::process::Stdio;

use crate::cluster::{Cluster, Setup, bin};
use crate::rig::wait_until;
use crate::scene::{LONG, Scene};
use crate::skip::skip;

const TABLES: &str = "create table orders (id int primary key, total numeric); create table other (x int)";

/// A server that publishes `orders` with three rows.
fn publisher() -> Cluster {
    let cluster = Setup::default().setting("wal_level = logical").start();
    cluster.psql(&format!("{TABLES}; create publication p for table orders; insert into orders select i, i from generate_series(1, 3) i"));
    cluster
}

/// A database that subscribes to it, with all its rows, and a backup of that.
fn subscriber(publisher: &Cluster) -> Scene {
    let scene = Scene::bare(Setup::default().start(), TABLES);
    subscribe(&scene, publisher);
    scene.backup();
    scene
}

fn subscribe(scene: &Scene, publisher: &Cluster) {
    scene.cluster.psql_in(
        "shop",
        &format!("create subscription \"su b\" connection '{}' publication p with (slot_name = su)", publisher.url("postgres")),
    );
    let synced = || scene.cluster.psql_in("shop", "select string_agg(srsubstate::text, '') from pg_subscription_rel") == "r";
    wait_until(LONG, || scene.cluster.log(), synced);
    arrives(scene, "shop", 3);
}

fn arrives(scene: &Scene, database: &str, rows: u32) {
    let count = || scene.cluster.psql_in(database, "select count(*) from orders");
    wait_until(LONG, || format!("{rows} rows in {database}: {}\n{}", count(), scene.cluster.log()), || count() == rows.to_string());
}

fn kept(scene: &Scene) -> String {
    scene.databases().into_iter().find(|name| name.starts_with("shop_before_2")).expect("the old one is kept")
}

/// What stands between these words and the next.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let rest = text.split_once(from).unwrap_or_else(|| panic!("no {from:?} in {text}")).1;
    rest.split_once(to).unwrap_or_else(|| panic!("no {to:?} in {rest}")).0
}

/// Types lines one by one: some of them can't be in a transaction.
fn typed(cluster: &Cluster, database: &str, lines: &str) {
    lines.split("; ").for_each(|line| drop(cluster.psql_in(database, line)));
}

#[test]
fn after_a_replacement_nothing_writes_into_the_old_database_and_the_new_one_goes_on_by_what_is_told() {
    let publisher = publisher();
    let scene = subscriber(&publisher);
    let plan = scene.restored("shop", &["--replace", "--dry-run"]).stdout;
    assert!(plan.contains(": alter subscription \"su b\" disable\n"), "{plan}");
    let ended = scene.restored("shop", &["--replace"]);
    let kept = kept(&scene);
    assert!(ended.stderr.contains("the subscription su b of the old database is disabled now"), "{ended:?}");
    assert_eq!(scene.cluster.psql("select string_agg(subenabled::text, ' ') from pg_subscription"), "false false");
    wait_until(LONG, || String::from("nobody reads"), || publisher.psql("select active from pg_replication_slots") == "f");
    publisher.psql("insert into orders values (4, 4)");
    let lines = between(&ended.stderr, "it goes on by, in \"shop\"", ". What its slot \"su\" has given out").split_once(": ").unwrap().1;
    for line in lines.split("; ") {
        typed(&scene.cluster, "shop", line);
        // However slowly they are typed, nothing is passed over.
        let caught_up = "select coalesce(bool_or(replay_lsn >= pg_current_wal_lsn()), false) from pg_stat_replication";
        let began = || scene.cluster.log().contains("could not start WAL streaming") || publisher.psql(caught_up) == "t";
        wait_until(LONG, || format!("{line}: {}", scene.cluster.log()), || !line.ends_with(" enable") || began());
    }
    arrives(&scene, "shop", 4);
    arrives(&scene, &kept, 3);
    // The old one can be dropped by what is told, and the slot that the new one reads by stays.
    let told = between(&ended.stdout, "when it isn't needed any more: in it ", "\n");
    let (lines, drop) = told.split_once("; then ").expect(told);
    typed(&scene.cluster, &kept, lines);
    scene.cluster.psql(drop);
    publisher.psql("insert into orders values (5, 5)");
    arrives(&scene, "shop", 5);
    assert_eq!(scene.databases(), ["shop"]);
}

#[test]
fn the_old_database_is_dropped_with_its_subscription_and_without_the_publishers_slot() {
    let publisher = publisher();
    let scene = subscriber(&publisher);
    let ended = scene.restored("shop", &["--replace", "--drop-old"]);
    assert_eq!(scene.databases(), ["shop"], "{ended:?}");
    assert!(!ended.stderr.contains("could not be dropped"), "{ended:?}");
    assert_eq!(scene.cluster.psql("select subenabled from pg_subscription"), "f");
    assert_eq!(publisher.psql("select slot_name from pg_replication_slots"), "su");
}

#[test]
fn in_place_a_subscription_is_refused_before_a_byte_is_written() {
    let publisher = publisher();
    let scene = subscriber(&publisher);
    let refused = || {
        let ended = scene.restore("shop", &["--in-place"]);
        assert!(ended.code == 1 && ended.stderr.contains("the subscription su b of \"shop\" can't be dropped and made again"), "{ended:?}");
        assert_eq!(scene.rig.backups().len(), 1, "not even a backup of what is there was begun");
        ended.stderr
    };
    let told = refused();
    // A part that it doesn't write into is none of its business, and one that it does is.
    scene.restored("shop", &["--in-place", "--table", "other", "--no-safety-backup"]);
    let ended = scene.restore("shop", &["--in-place", "--table", "orders"]);
    assert!(ended.code == 1 && ended.stderr.contains("make it again afterwards: type in psql"), "{ended:?}");
    typed(&scene.cluster, "shop", between(&told, "type in psql in \"shop\": ", "; or restore with"));
    let ended = scene.restored("shop", &["--in-place", "--no-safety-backup"]);
    assert!(ended.stderr.contains("came back disabled"), "{ended:?}");
    assert_eq!(publisher.psql("select slot_name from pg_replication_slots"), "su", "it is still there for the one that came back");
}

#[test]
fn a_subscription_that_the_backup_does_not_know_is_refused_in_place_and_told_by_a_replacement() {
    let publisher = publisher();
    let scene = Scene::new(TABLES);
    subscribe(&scene, &publisher);
    let ended = scene.restore("shop", &["--in-place"]);
    assert!(ended.code == 1 && ended.stderr.contains("the subscription su b of \"shop\" can't be"), "{ended:?}");
    let ended = scene.restored("shop", &["--replace"]);
    assert!(ended.stderr.contains("the subscription su b of the old database is not in the backup"), "{ended:?}");
    // Who may not end it is told so before.
    let publisher = self::publisher();
    subscribe(&scene, &publisher);
    scene.cluster.psql("create role clerk login createdb; alter database shop owner to clerk");
    for (more, words) in [(&[][..], "may not disable"), (&["--drop-old"], "may not drop")] {
        let ended = scene.restore("shop", &[&["--replace", "--user", "clerk", "--no-owner"], more].concat());
        assert!(ended.code == 1 && ended.stderr.contains(&format!("has the subscription su b, which the role clerk {words}")), "{ended:?}");
    }
}

#[test]
fn slots_of_a_database_that_is_replaced_are_told_before_and_never_dropped_with_it() {
    let scene = Scene::bare(publisher(), TABLES);
    scene.cluster.psql_in("shop", "create publication p for table orders");
    scene.backup();
    let slots = || scene.cluster.psql("select string_agg(slot_name || ' ' || database, ', ' order by slot_name) from pg_replication_slots");
    for name in ["idle", "tail"] {
        scene.cluster.psql_in("shop", &format!("select pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    }
    let mut reader = std::process::Command::new(bin().join("pg_recvlogical"));
    let url = scene.cluster.url("shop") + "?application_name=the%20reader";
    let words = ["--slot", "tail", "--start", "-n", "-o", "proto_version=1", "-o", "publication_names=p", "-f", "/dev/null", "-d", &url];
    let mut reader = reader.args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    scene.cluster.wait_until("(select active from pg_replication_slots where slot_name = 'tail')");

    let ended = scene.restore("shop", &["--replace", "--drop-old"]);
    let named = "its logical replication slots, by which others read it: idle, tail (in use by the reader, pid ";
    assert!(ended.code == 1 && ended.stderr.contains(named), "{ended:?}");
    assert_eq!((scene.databases(), slots().as_str()), (vec![String::from("shop")], "idle shop, tail shop"));
    let ended = scene.restored("shop", &["--replace", "--dry-run"]);
    assert!(ended.stderr.contains("logical replication slots stay with the old database: idle, tail (in use by the reader"), "{ended:?}");
    let ended = scene.restored("shop", &["--replace"]);
    reader.wait().unwrap();
    let kept = kept(&scene);
    assert_eq!(slots(), format!("idle {kept}, tail {kept}"));
    typed(&scene.cluster, &kept, between(&ended.stderr, &format!("drops them: in \"{kept}\", "), "\n"));
    assert_eq!(slots(), "");
    // The old ones are named by the second, and the first of them is still there.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scene.restored("shop", &["--replace", "--drop-old"]);
}

#[test]
fn a_prepared_transaction_is_named_before_a_byte_is_written() {
    let scene = Scene::bare(Setup::default().setting("max_prepared_transactions = 5").setting("log_statement = 'ddl'").start(), TABLES);
    scene.backup();
    scene.cluster.psql_in("shop", "begin; insert into other values (1); prepare transaction 'it''s one'");
    for more in [&["--replace"][..], &["--replace", "--drop-old"], &["--replace", "--dry-run"], &["--in-place"]] {
        let made = scene.cluster.log().matches("create database").count();
        let ended = scene.restore("shop", more);
        assert!(ended.code == 1 && ended.stderr.contains("have ended: \"it's one\" of postgres"), "{ended:?}");
        assert!(ended.stderr.contains("commit prepared E'it''s one'; or rollback prepared E'it''s one'"), "{ended:?}");
        assert_eq!(scene.cluster.log().matches("create database").count(), made);
    }
    scene.cluster.psql_in("shop", "rollback prepared E'it''s one'");
    scene.restored("shop", &["--replace", "--drop-old"]);
}

#[test]
fn who_owns_a_subscription_that_asks_for_no_password_may_not_change_it() {
    let publisher = publisher();
    let scene = Scene::new(TABLES);
    let version: u32 = scene.cluster.psql("show server_version_num").parse().unwrap();
    if version < 160_000 {
        return skip("who_owns_a_subscription_that_asks_for_no_password_may_not_change_it", "needs PostgreSQL 16 or newer");
    }
    subscribe(&scene, &publisher);
    scene.cluster.psql("create role clerk login createdb; grant pg_create_subscription to clerk; alter database shop owner to clerk");
    scene
        .cluster
        .psql_in("shop", "alter subscription \"su b\" set (password_required = false); alter subscription \"su b\" owner to clerk");
    for (more, words) in [(&[][..], "may not disable"), (&["--drop-old"], "may not drop")] {
        let ended = scene.restore("shop", &[&["--replace", "--user", "clerk", "--no-owner", "--dry-run"], more].concat());
        assert!(ended.code == 1 && ended.stderr.contains(&format!("the subscription su b, which the role clerk {words}")), "{ended:?}");
        assert!(ended.stderr.contains("restore as a superuser with --user; or type"), "{ended:?}");
    }
}
