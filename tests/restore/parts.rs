//! Parts of a backup: a table comes with everything that belongs to it, and what can't come is named.

use crate::scene::Scene;

const PARTS: &str = "create schema other; create type mood as enum ('ok'); create sequence lone;
    create table customer (id int primary key, m mood);
    create table orders (id serial primary key, customer int references customer, total numeric check (total > 0));
    create index big on orders (total); comment on table orders is 'orders'; comment on column orders.total is 'total';
    create view totals as select sum(total) from orders;
    create function f() returns trigger language plpgsql as 'begin return new; end';
    create trigger t before insert on orders for each row execute function f();
    create table other.log (id int generated always as identity, o int references orders); create table other.\"Log\" (x int);
    create table part (at int) partition by list (at); create table part_1 partition of part for values in (1);
    insert into part values (1);
    insert into customer values (1, 'ok'); insert into orders (customer, total) values (1, 5), (1, 7);
    insert into other.log (o) values (1); insert into other.\"Log\" values (1)";

fn relations(scene: &Scene, database: &str) -> String {
    scene.cluster.psql_in(
        database,
        "select string_agg(oid::regclass::text, ' ' order by oid::regclass::text) from pg_class
         where relnamespace in ('public'::regnamespace, coalesce(to_regnamespace('other'), 'public'::regnamespace))",
    )
}

#[test]
fn a_table_comes_with_its_indexes_constraints_sequences_and_what_it_needs() {
    let scene = Scene::new(PARTS);
    let ended = scene.restored("one", &["--table", "orders"]);
    assert!(ended.stderr.contains("left out fk constraint public.orders orders_customer_fkey"), "{ended:?}");
    assert_eq!(relations(&scene, "one"), "big orders orders_id_seq orders_pkey");
    assert_eq!(scene.cluster.psql_in("one", "insert into orders (total) values (1) returning id"), "3", "the sequence goes on");
    assert_eq!(scene.cluster.psql_in("one", "select obj_description('orders'::regclass)"), "orders");
    assert_eq!(scene.cluster.psql_in("one", "select count(*) from pg_trigger where tgname = 't'"), "1");
    assert_eq!(scene.rig.backups()[0]["proof"], "whole", "a part proves nothing of the whole");
    let ended = scene.restored("both", &["--table", "ord*", "--table", "public.customer"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(scene.cluster.psql_in("both", "select count(*) from pg_constraint where contype = 'f'"), "1");
    scene.restored("parts", &["--table", "part_1"]);
    assert_eq!(scene.cluster.psql_in("parts", "select count(*) from part"), "1", "a partition comes with its parent");
}

#[test]
fn a_schema_comes_whole_and_names_are_taken_as_psql_takes_them() {
    let scene = Scene::new(PARTS);
    scene.restored("other", &["--schema", "other"]);
    assert_eq!(relations(&scene, "other"), "other.\"Log\" other.log other.log_id_seq");
    scene.restored("upper", &["--table", "other.\"Log\""]);
    assert_eq!(relations(&scene, "upper"), "other.\"Log\"");
    let ended = scene.restore("none", &["--table", "order"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("holds no table \"order\"") && ended.stderr.contains("orders"), "{ended:?}");
    let ended = scene.restore("none", &["--table", "Logg"]);
    assert!(ended.stderr.contains("did you mean 'other.\"Log\"'? As in psql"), "a name to paste: {ended:?}");
    assert!(!scene.databases().contains(&String::from("none")));
}

#[test]
fn without_a_table_goes_what_needs_it() {
    let scene = Scene::new(PARTS);
    let ended = scene.restored("less", &["--exclude-table", "orders"]);
    assert!(ended.stderr.contains("left out view public.totals"), "{ended:?}");
    assert!(ended.stderr.contains("left out fk constraint other.log log_o_fkey"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("less", "select count(*) from other.log"), "1");
    assert_eq!(scene.cluster.psql_in("less", "select to_regclass('orders') is null"), "t");
}

#[test]
fn definitions_and_rows_come_apart() {
    let scene = Scene::new(PARTS);
    let ended = scene.restored("empty_shop", &["--schema-only"]);
    assert!(ended.stdout.contains("0 tables"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("empty_shop", "select count(*) from orders"), "0");
    scene.restored("empty_shop", &["--data-only"]);
    assert_eq!(scene.fingerprint("empty_shop"), scene.fingerprint("shop"));
    let ended = scene.restore("empty_shop", &["--data-only"]);
    assert_eq!(ended.code, 1, "rows that are there are not doubled: {ended:?}");
    assert!(ended.stderr.contains("rows"), "{ended:?}");
    assert_eq!(scene.fingerprint("empty_shop"), scene.fingerprint("shop"));
    let ended = scene.restore("nowhere", &["--data-only"]);
    assert_eq!(ended.code, 1, "{ended:?}");
}

/// `pg_restore` makes event triggers first, and refreshes are commands that they see.
#[test]
fn an_event_trigger_that_takes_notes_does_not_see_what_is_refreshed() {
    let scene = Scene::new(
        "create table noted (tag text); create table t as select i from generate_series(1, 100) i;
         create materialized view sums as select sum(i) from t;
         create function note() returns event_trigger language plpgsql as $$ begin insert into noted values (tg_tag); end $$;
         create event trigger note on ddl_command_end execute function note(); comment on event trigger note is 'takes notes';
         create table u (i int); insert into noted values ('one')",
    );
    let before = scene.fingerprint("shop");
    for (to, more) in [("one", &[][..]), ("many", &["--jobs", "3"]), ("shop", &["--in-place", "--no-safety-backup"])] {
        scene.restored(to, more);
        assert_eq!(scene.fingerprint(to), before, "{to}");
    }
}

#[test]
fn a_selection_that_leaves_nothing_is_refused_and_what_belongs_to_nobody_is_named() {
    let scene = Scene::new(
        "create extension citext; create extension hstore; create schema other;
         create table picture (id int primary key, image oid); insert into picture values (1, lo_from_bytea(4711, '\\x00ff'));
         create table named (name citext primary key); insert into named values ('Anna'); create table other.log (x int);
         create table part (at int) partition by list (at); create table part_1 partition of part for values in (1)",
    );
    for named in [
        &["--table", "named", "--exclude-table", "named"][..],
        &["--table", "part_1", "--exclude-table", "part"],
        &["--table", "other.*", "--exclude-table", "l*"],
    ] {
        for to in ["none", "shop"] {
            let ended = scene.restore(to, named);
            assert_eq!(ended.code, 1, "{named:?}: {ended:?}");
            assert!(ended.stderr.contains("nothing of the backup is left to restore"), "{named:?}: {ended:?}");
        }
    }
    assert!(!scene.databases().contains(&String::from("none")));
    let objects = "left out the large objects: they belong to no table and no schema";
    let told = |to: &str, named: &[&str], words: &[&str]| {
        let ended = scene.restored(to, named);
        let warned: Vec<&str> = ended.stderr.lines().filter_map(|line| line.trim().strip_prefix("warning: ")).collect();
        assert_eq!(warned.len(), words.len(), "{named:?}: {ended:?}");
        assert!(words.iter().zip(&warned).all(|(word, line)| line.contains(word)), "{named:?}: {ended:?}");
    };
    told("pictures", &["--table", "picture"], &[objects]);
    assert_eq!(scene.cluster.psql_in("pictures", "select count(*) from pg_largeobject_metadata"), "0");
    told("shapes", &["--table", "picture", "--schema-only"], &[]);
    told("names", &["--table", "named"], &[objects]);
    assert_eq!(scene.cluster.psql_in("names", "select count(*) from named where name = 'ANNA'"), "1", "what it needs comes with it");
    told("public", &["--schema", "public"], &[objects, "left out the extension hstore: nothing that is restored needs it"]);
    told("others", &["--schema", "other"], &[objects, "left out the extension citext, hstore: nothing that is restored needs it"]);
    told("fewer", &["--exclude-table", "named"], &[]);
    assert_eq!(
        scene.cluster.psql_in("fewer", "select encode(lo_get(4711), 'hex')"),
        "00ff",
        "they come with everything that isn't left out"
    );
    // In the database that has them they stay as they are.
    scene.cluster.psql_in("shop", "delete from picture; select lo_put(4711, 0, '\\x01')");
    told("shop", &["--in-place", "--no-safety-backup", "--table", "picture"], &[objects]);
    assert_eq!(scene.cluster.psql_in("shop", "select encode(lo_get(image), 'hex') from picture"), "01ff");
}
