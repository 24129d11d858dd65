//! Databases that are there and hold nothing, or next to nothing: what counts, and what such a one may lack or have set.

use crate::cluster::Setup;
use crate::scene::{SHOP, Scene};

#[test]
fn whatever_somebody_has_made_is_something() {
    let scene = Scene::new(SHOP);
    for (number, (sql, name)) in [
        ("create subscription \"su b\" connection 'host=127.0.0.1 port=1' publication p with (connect = false)", "subscription \"su b\""),
        ("create publication p", "publication p"),
        ("create type pair as (a int, b int)", "type public.pair"),
        ("create type shell", "type public.shell"),
        ("create domain positive as int check (value > 0)", "type public.positive"),
        ("create cast (text as oid) with inout", "cast from text to oid"),
        ("create function f() returns event_trigger language plpgsql as 'begin end'; create event trigger e on ddl_command_end execute function f()",
            "event trigger e"),
        ("create foreign data wrapper w; create server s foreign data wrapper w", "server s"),
        ("create operator family fam using btree", "operator family public.fam for access method btree"),
        ("create text search template t (lexize = dsimple_lexize)", "text search template public.t"),
        ("create language other handler plpgsql_call_handler", "language other"),
    ]
    .into_iter()
    .enumerate()
    {
        let database = format!("target{number}");
        scene.cluster.psql(&format!("create database {database}"));
        scene.cluster.psql_in(&database, sql);
        let ended = scene.restore(&database, &[]);
        assert_eq!(ended.code, 1, "{sql}: {ended:?}");
        assert!(ended.stderr.contains(&format!("the database {database:?} is not empty: it holds ")), "{sql}: {ended:?}");
        assert!(ended.stderr.contains(name), "{sql}: {ended:?}");
    }
    // What every database has is nothing, also where somebody has made it again.
    scene.cluster.psql("create database empty");
    scene.cluster.psql_in("empty", "drop extension plpgsql; create extension plpgsql; drop schema public; create schema public");
    scene.restored("empty", &[]);
}

#[test]
fn a_database_without_the_schema_public_gets_it_where_the_backup_needs_it() {
    let scene = Scene::new(SHOP);
    let publics = |database: &str| {
        scene.cluster.psql_in(
            database,
            "select coalesce(string_agg(nspowner::regrole || ' ' || nspacl::text || ' ' || obj_description(oid, 'pg_namespace'), ''), 'none')
             from pg_namespace where nspname = 'public'",
        )
    };
    for (more, database) in [(&[][..], "empty"), (&["--schema-only"], "rowless")] {
        scene.cluster.psql(&format!("create database {database}"));
        let usual = publics(database);
        scene.cluster.psql_in(database, "drop schema public cascade");
        let plan = scene.restored(database, &[&["--dry-run"], more].concat()).stdout;
        assert!(plan.contains(&format!("- make the schema public, which {database:?} lacks\n")), "{plan}");
        assert_eq!(publics(database), "none");
        scene.restored(database, more);
        assert_eq!(publics(database), usual);
    }
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
    // A part that comes back into it, too.
    scene.cluster.psql_in("rowless", "drop schema public cascade; create schema other; create table other.t (x int)");
    scene.restored("rowless", &["--table", "customer"]);
    assert_eq!(scene.cluster.psql_in("rowless", "select count(*) from public.customer"), "50");
}

#[test]
fn a_schema_public_that_was_made_for_a_restore_goes_with_its_failure() {
    let broken = "create table a (id int primary key); create table b (id int, a int references a);
        set session_replication_role = replica; insert into b values (1, 7)";
    let scene = Scene::new(broken);
    scene.cluster.psql("create database empty");
    scene.cluster.psql_in("empty", "drop schema public cascade");
    let ended = scene.restore("empty", &[]);
    assert!(ended.code == 1 && ended.stderr.contains("b_a_fkey"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("empty", "select count(*) from pg_namespace where nspname = 'public'"), "0");
}

#[test]
fn a_backup_without_the_schema_public_leaves_a_target_without_it() {
    let scene = Scene::new("create schema app; create table app.t (x int); insert into app.t values (1); drop schema public");
    scene.cluster.psql("create database empty");
    scene.cluster.psql_in("empty", "drop schema public");
    scene.restored("empty", &[]);
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
}

#[test]
fn privileges_that_the_target_gives_to_whatever_is_made_are_told_before() {
    let scene = Scene::bare(Setup::default().start(), &format!("create function f() returns int language sql as 'select 1'; {SHOP}"));
    scene.cluster.psql("create role reader");
    scene.backup();
    scene.cluster.psql("create database empty");
    scene.cluster.psql_in(
        "empty",
        "alter default privileges grant select on tables to public; alter default privileges in schema public grant insert, update on tables to reader;
         alter default privileges grant all on sequences to reader; alter default privileges revoke execute on functions from public",
    );
    let told = scene.restored("empty", &["--dry-run"]).stderr;
    for words in [
        "whatever the role postgres makes in \"empty\" (ALTER DEFAULT PRIVILEGES)",
        "no EXECUTE on FUNCTIONS for PUBLIC",
        "SELECT on TABLES to PUBLIC",
        "INSERT, UPDATE on TABLES in schema public to reader",
        "SELECT, UPDATE, USAGE on SEQUENCES to reader",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // What takes the place of that database is a new one, for which nothing is set.
    scene.cluster.psql_in("empty", "create table mine (x int)");
    let ended = scene.restored("empty", &["--replace", "--drop-old"]);
    assert!(!ended.stderr.contains("DEFAULT PRIVILEGES"), "{ended:?}");
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
    // What is told to be typed ends it.
    scene.cluster.psql("create database other");
    scene.cluster.psql_in(
        "other",
        "alter default privileges grant select on tables to public; alter default privileges revoke execute on functions from public",
    );
    let told = scene.restored("other", &["--dry-run"]).stderr;
    let lines = told.split_once("type there first: ").expect(&told).1.lines().next().unwrap();
    scene.cluster.psql_in("other", lines);
    let ended = scene.restored("other", &[]);
    assert!(!ended.stderr.contains("DEFAULT PRIVILEGES"), "{ended:?}");
    assert_eq!(scene.fingerprint("other"), scene.fingerprint("shop"));
}
