//! A part of a backup and a database that is in use: what was named comes back, and nothing else is touched, dropped or emptied.

use crate::scene::Scene;

const LIVE: &str = "create type mood as enum ('ok'); create sequence lone; create schema other;
    create function f() returns trigger language plpgsql as 'begin return new; end';
    create table o (id int primary key, m mood); insert into o select i, 'ok' from generate_series(1, 20) i;
    create view v as select id from o; comment on view v is 'seen';
    create materialized view mv as select count(*) from o; create view vv as select count as n from mv;
    create table ev (id int default nextval('lone'), d date, o int references o, primary key (id, d)) partition by range (d);
    create index ev_by_day on ev (d); create table other.ev_1 partition of ev for values from ('2020-01-01') to ('2021-01-01');
    create table ev_2 partition of ev for values from ('2021-01-01') to ('2022-01-01') partition by list (id);
    create table ev_2a partition of ev_2 default; create trigger t before insert on ev for each row execute function f();
    insert into ev (d, o) select '2020-01-01'::date + i, 1 + i % 20 from generate_series(0, 699) i;
    create table li (id serial primary key, o int not null references o, note text); insert into li (o) select i from generate_series(1, 20) i;
    create table watched (o int); create policy p on watched using (o in (select li.id from li)); alter table watched enable row level security;
    create rule r as on insert to watched do also update li set note = 'watched' where id = new.o;
    create table base (x int); create table kid (y int) inherits (base); insert into kid values (1, 2);
    create publication p for table li; create publication all_of for all tables";

/// Restores a part in place: the database is then as it was before what was named was harmed, in all else.
fn heals(scene: &Scene, named: &[&str], harm: &str) {
    let before = scene.fingerprint("shop");
    let published = "select string_agg(p.pubname || prrelid::regclass, ' ' order by p.pubname) from pg_publication_rel join pg_publication p on p.oid = prpubid";
    let members = scene.cluster.psql_in("shop", published);
    if !harm.is_empty() {
        scene.cluster.psql_in("shop", harm);
        assert_ne!(scene.fingerprint("shop"), before, "{harm}");
    }
    let ended = scene.restored("shop", &[&["--in-place", "--no-safety-backup"], named].concat());
    assert!(!ended.stderr.contains("without its rows") && !ended.stderr.contains("fk constraint"), "{named:?}: {ended:?}");
    assert_eq!(scene.fingerprint("shop"), before, "{named:?}");
    assert_eq!(scene.cluster.psql_in("shop", published), members, "{named:?}");
}

#[test]
fn in_place_what_is_named_is_made_again_and_what_it_needs_is_left_alone() {
    let scene = Scene::new(LIVE);
    // What isn't named has gone on since the backup: another definition, other rows.
    scene.cluster.psql_in("shop", "alter type mood add value 'fine'");
    scene.cluster.psql_in(
        "shop",
        "insert into o values (21, 'fine'); alter table o add column since int default 5;
         comment on table o is 'changed'; refresh materialized view mv; select nextval('lone'); insert into base values (7)",
    );
    heals(&scene, &["--table", "v"], "drop view v");
    heals(&scene, &["--table", "v"], "");
    heals(&scene, &["--table", "mv", "--table", "vv"], "drop view vv; drop materialized view mv");
    heals(&scene, &["--table", "mv", "--table", "vv"], "");
    heals(&scene, &["--table", "ev"], "delete from ev");
    heals(&scene, &["--table", "ev"], "truncate ev_2a; drop table other.ev_1");
    heals(&scene, &["--table", "ev_1"], "delete from other.ev_1");
    heals(&scene, &["--table", "ev_2"], "drop table ev_2");
    heals(&scene, &["--table", "kid"], "truncate kid");
    scene.cluster.psql_in("shop", "truncate only base");
    heals(&scene, &["--table", "base", "--table", "kid"], "insert into base values (9); truncate kid; insert into kid values (8, 8)");
}

#[test]
fn in_place_foreign_keys_to_what_is_there_stay_and_publications_too() {
    let scene = Scene::new(LIVE);
    scene.cluster.psql_in("shop", "insert into o values (21, 'ok')");
    heals(&scene, &["--exclude-table", "o", "--exclude-table", "mv"], "delete from ev; delete from li; insert into watched values (1)");
    scene.cluster.psql_in("shop", "drop rule r on watched; drop policy p on watched");
    heals(&scene, &["--table", "li"], "delete from li; alter table li drop constraint li_o_fkey");
    heals(&scene, &["--table", "ev", "--table", "li"], "delete from ev; delete from li");
    heals(&scene, &["--schema", "other"], "delete from other.ev_1");
    // Without the table it refers to, it can't stay, and that is said.
    scene.cluster.psql_in("shop", "drop table o cascade");
    let ended = scene.restored("shop", &["--in-place", "--no-safety-backup", "--table", "li"]);
    assert!(ended.stderr.contains("left out fk constraint public.li li_o_fkey: what it refers to is not restored"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from li"), "20");
}

#[test]
fn in_place_what_depends_on_what_is_named_is_told_before_a_byte_is_written() {
    let scene = Scene::new(LIVE);
    scene.cluster.psql_in(
        "shop",
        "create table ev_3 partition of ev for values from ('2022-01-01') to ('2023-01-01'); insert into ev (d) values ('2022-02-02');
         create publication since for table o; create function taking(o) returns int language sql as 'select 1'",
    );
    for (named, words) in [
        (
            &["--table", "o"][..],
            &["constraint li_o_fkey on table public.li", "materialized view public.mv", "function public.taking(public.o)"][..],
        ),
        (&["--table", "base"], &["table public.kid"]),
        (&["--table", "li"], &["policy p on table public.watched", "rule r on table public.watched"]),
        (&["--table", "ev"], &["would drop partitions", "public.ev_3"]),
        (&["--table", "ev", "--exclude-table", "ev_1"], &["would drop partitions", "other.ev_1, public.ev_3"]),
        (&["--table", "mv"], &["view public.vv"]),
        (&[], &["would drop partitions", "public.ev_3"]),
    ] {
        for more in [&["--in-place"][..], &["--in-place", "--dry-run"]] {
            let ended = scene.restore("shop", &[more, named].concat());
            assert_eq!(ended.code, 1, "{named:?}: {ended:?}");
            assert!(words.iter().all(|word| ended.stderr.contains(word)), "{named:?}: {ended:?}");
        }
    }
    scene.cluster.psql_in("shop", "drop function taking; drop table ev, li cascade; drop view v, vv; drop materialized view mv");
    let ended = scene.restore("shop", &["--in-place", "--table", "o"]);
    assert!(ended.code == 1 && ended.stderr.contains("public.o of since"), "{ended:?}");
    assert_eq!(scene.rig.backups().len(), 1, "no safety backup was made for nothing");
}

#[test]
fn a_new_database_gets_a_partitioned_tables_rows_and_what_stays_empty_is_named() {
    let scene = Scene::new(LIVE);
    let ended = scene.restored("new", &["--table", "ev"]);
    assert!(ended.stdout.contains("2 tables, 700 rows"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("new", "select count(*) from ev"), "700");
    let ended = scene.restored("viewed", &["--table", "vv"]);
    assert!(ended.stderr.contains("warning: public.mv is made without its rows"), "{ended:?}");
    assert!(
        ended.stderr.contains(
            "warning: public.o is made without its rows: what was asked for needs the table; its rows come with --table public.o"
        ),
        "{ended:?}"
    );
    let ended = scene.restored("seen", &["--table", "v", "--dry-run"]);
    assert!(ended.stderr.contains("public.o is made without its rows"), "{ended:?}");
    let ended = scene.restored("less", &["--exclude-table", "ev"]);
    for name in ["other.ev_1", "public.ev_2", "public.ev_2a"] {
        assert!(ended.stderr.contains(&format!("left out table {name}: it is a partition of an excluded table")), "{ended:?}");
    }
    assert_eq!(scene.cluster.psql_in("less", "select count(*) from li"), "20");
}

#[test]
fn a_table_that_was_dropped_comes_back_into_the_live_database_beside_the_others() {
    let scene = Scene::new(LIVE);
    let before = scene.fingerprint("shop");
    scene.cluster.psql_in("shop", "drop table li cascade; drop view v");
    let ended = scene.restore("shop", &["--table", "li", "--on-conflict", "skip"]);
    assert!(ended.stderr.contains("without --on-conflict a table is restored with its definition"), "{ended:?}");
    let ended = scene.restored("shop", &["--table", "li", "--table", "v", "--dry-run"]);
    assert!(ended.stdout.contains("made, with what belongs to each and in one transaction"), "{ended:?}");
    let ended = scene.restored("shop", &["--table", "li", "--table", "v"]);
    assert_eq!(ended.stderr, "");
    let ended = scene.restore("shop", &["--table", "li", "--table", "o"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("of what would be restored it holds public.o, public.li") || ended.stderr.contains("public.li, "),
        "{ended:?}"
    );
    // What depended on it went with it.
    scene.cluster.psql_in(
        "shop",
        "create policy p on watched using (o in (select li.id from li)); alter publication p add table li;
         create rule r as on insert to watched do also update li set note = 'watched' where id = new.o",
    );
    assert_eq!(scene.fingerprint("shop"), before);
}

#[test]
fn rows_alone_are_no_in_place_restore() {
    let scene = Scene::new("create table t as select generate_series(1, 9) i");
    let ended = scene.restore("shop", &["--in-place", "--data-only"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    let ended = scene.restore("shop", &["--replace", "--data-only"]);
    assert!(ended.stderr.contains("into tables that are empty") && !ended.stderr.contains("or use --in-place"), "{ended:?}");
    scene.configure("content = \"data\"");
    scene.backup();
    let id = scene.rig.backups()[0]["id"].as_str().unwrap().to_owned();
    let ended = scene.rig.run(&["restore", &id, "--to", "shop", "--in-place"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("rows alone drop and make nothing"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from t"), "9");
    assert_eq!(scene.rig.backups().len(), 2, "no safety backup was made for nothing");
}

#[test]
fn in_place_no_rows_go_that_do_not_come_back() {
    let scene = Scene::new(LIVE);
    scene.cluster.psql_in(
        "shop",
        "create table bare (x int); create unlogged table light (x int); insert into light values (1);
         drop rule r on watched; drop policy p on watched",
    );
    scene.configure("options = [\"--no-unlogged-table-data\"]");
    scene.backup();
    let before = scene.fingerprint("shop");
    for (named, words) in [
        (&["--schema-only", "--table", "li"][..], &["public.li", "--schema-only brings none back", "leave out --schema-only"][..]),
        (&["--schema-only", "--table", "ev"], &["other.ev_1, public.ev_2a"]),
        (&["--schema-only", "--table", "mv", "--table", "vv"], &["public.mv"]),
        (&["--schema-only"], &["other.ev_1, public.ev_2a, public.kid, public.li, public.light, and 2 more"]),
        (&["--table", "light"], &["public.light", "the backup holds none of them", "TRUNCATE"]),
        (&[], &["would lose its rows, as the backup holds none of them: public.light"]),
    ] {
        for more in [&["--in-place"][..], &["--in-place", "--dry-run"]] {
            let ended = scene.restore("shop", &[more, named].concat());
            assert_eq!(ended.code, 2, "{named:?}: {ended:?}");
            assert!(words.iter().all(|word| ended.stderr.contains(word)), "{named:?}: {ended:?}");
        }
    }
    assert_eq!(scene.fingerprint("shop"), before);
    assert_eq!(scene.rig.backups().len(), 2, "no safety backup was made for nothing");
    // Where there are none, definitions alone are what was asked for.
    scene.cluster.psql_in("shop", "truncate li; alter table li add more int; alter table bare add y int; truncate light");
    scene.restored("shop", &["--in-place", "--no-safety-backup", "--schema-only", "--table", "li", "--table", "bare"]);
    scene.restored("shop", &["--in-place", "--no-safety-backup", "--table", "light"]);
    assert_eq!(
        scene.cluster.psql_in("shop", "select count(*) from pg_attribute where attrelid = 'li'::regclass and attname = 'more'"),
        "0"
    );
}

#[test]
fn what_else_is_in_the_database_is_not_the_restores_difference() {
    let scene = Scene::new(LIVE);
    scene.cluster.psql_in(
        "shop",
        "drop rule r on watched; drop policy p on watched; create table lame (x int); insert into lame values (1), (1); alter table lame add constraint li_o_fkey check (x > 5) not valid;
         create schema away; create table away.o (id int); insert into away.o values (1), (1)",
    );
    for index in ["create unique index concurrently lame_x on lame (x)", "create unique index concurrently o_pkey on away.o (id)"] {
        let made = scene.cluster.psql_command("shop").args(["-c", index]).output().unwrap();
        assert!(!made.status.success(), "{index}");
    }
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from pg_index where not indisvalid"), "2");
    scene.restored("shop", &["--in-place", "--no-safety-backup", "--table", "li"]);
    scene.cluster.psql_in("shop", "drop table li cascade");
    scene.restored("shop", &["--table", "li"]);
    scene.restored("shop", &["--in-place", "--no-safety-backup"]);
}

#[test]
fn a_part_that_comes_into_a_live_database_leaves_the_others_statistics_alone() {
    let scene = Scene::new(LIVE);
    scene.cluster.psql_in("shop", "drop table li cascade; drop materialized view mv cascade");
    let analyzed = "select coalesce(string_agg(relname, ' ' order by relname), '') from pg_stat_user_tables where last_analyze is not null";
    assert_eq!(scene.cluster.psql_in("shop", analyzed), "");
    scene.restored("shop", &["--table", "li", "--table", "mv"]);
    assert_eq!(scene.cluster.psql_in("shop", analyzed), "li mv");
    scene.restored("shop", &["--in-place", "--no-safety-backup", "--table", "ev_2"]);
    assert_eq!(scene.cluster.psql_in("shop", analyzed), "ev_2 ev_2a li mv");
    scene.restored("new", &["--table", "v"]);
    assert!(scene.cluster.psql_in("new", analyzed).contains('o'));
}

#[test]
fn default_privileges_of_the_database_that_is_there_are_told() {
    let scene = Scene::new(
        "create role reader; create role other; create table a (i int); create function f() returns int language sql as 'select 1'",
    );
    scene.cluster.psql_in("shop", "alter default privileges for role other grant all on tables to reader");
    let words = "whatever the role postgres makes in \"shop\" (ALTER DEFAULT PRIVILEGES)";
    let ended = scene.restored("shop", &["--in-place", "--no-safety-backup", "--table", "a"]);
    assert!(!ended.stderr.contains("DEFAULT PRIVILEGES"), "{ended:?}");
    scene.cluster.psql_in(
        "shop",
        "alter default privileges grant select on tables to reader; alter default privileges revoke execute on functions from public",
    );
    for part in [&["--table", "a"][..], &[], &["--table", "a", "--dry-run"]] {
        let ended = scene.restored("shop", &[&["--in-place", "--no-safety-backup"], part].concat());
        assert!(ended.stderr.contains(words) && ended.stderr.contains("SELECT on TABLES to reader"), "{part:?}: {ended:?}");
    }
    assert_eq!(
        scene.cluster.psql_in("shop", "select relacl::text like '%reader=r/%' from pg_class where relname = 'a'"),
        "t",
        "it is as was told"
    );
    assert!(!scene.restored("new", &[]).stderr.contains("DEFAULT PRIVILEGES"));
}
