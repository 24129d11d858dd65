//! Where a backup may go: a new database, an empty one, and never over one that holds something.

use crate::scene::{SHOP, Scene};

#[test]
fn a_new_database_is_made_like_the_original() {
    let scene = Scene::new(SHOP);
    let ended = scene.restored("copy", &[]);
    assert!(ended.stdout.contains("2 tables, 550 rows"), "{ended:?}");
    assert_eq!(scene.databases(), ["copy", "shop"]);
    assert_eq!(scene.fingerprint("copy"), scene.fingerprint("shop"));
    let comment = scene.cluster.psql("select shobj_description(oid, 'pg_database') is null from pg_database where datname = 'copy'");
    assert_eq!(comment, "t", "the mark of an unfinished restore is gone");
    assert!(scene.audit()[0].contains("of shop/shop to \"copy\" -> 2 tables, 550 rows in"), "{:?}", scene.audit());
    let listed = scene.rig.backups();
    assert_eq!(listed[0]["proof"], "restored");
    assert!(listed[0]["restore_ms"].as_u64().unwrap() > 0);
    let proof = scene.rig.stored().into_iter().find(|name| name.ends_with(".proof.json")).unwrap();
    let proof = std::fs::read_to_string(scene.rig.storage().join(proof)).unwrap();
    assert!(proof.contains("\"restored\"") && proof.contains("took_ms"), "{proof}");
}

#[test]
fn an_empty_database_is_filled_and_keeps_what_it_is() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database empty connection limit 7");
    scene.restored("empty", &[]);
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
    assert_eq!(scene.cluster.psql("select datconnlimit from pg_database where datname = 'empty'"), "7");
    let told = scene.restored("empty", &["--jobs", "3", "--in-place", "--no-safety-backup"]).stderr;
    assert!(told.contains("restored by one connection, not 3, as all of it is one transaction"), "{told}");
    let told = scene.restored("empty", &["--replace"]).stdout;
    assert!(told.contains(": drop database \"empty_before_") && told.trim_end().ends_with("\";"), "as psql takes it: {told}");
}

#[test]
fn an_empty_database_is_filled_by_several_connections_too() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database empty connection limit 7");
    scene.restored("empty", &["--jobs", "3"]);
    assert_eq!(scene.fingerprint("empty"), scene.fingerprint("shop"));
    assert_eq!(scene.databases(), ["empty", "shop"]);
    assert_eq!(scene.cluster.psql("select datconnlimit from pg_database where datname = 'empty'"), "7");
}

#[test]
fn the_owner_is_the_originals_where_there_is_such_a_role() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create role boss");
    scene.cluster.psql("alter database shop owner to boss");
    scene.backup();
    scene.restored("copy", &[]);
    let owner = |name: &str| scene.cluster.psql(&format!("select pg_get_userbyid(datdba) from pg_database where datname = '{name}'"));
    assert_eq!(owner("copy"), "boss");
    scene.restored("other", &["--no-owner"]);
    assert_eq!(owner("other"), "postgres");
    scene.cluster.psql("alter database shop owner to postgres; alter database copy owner to postgres; drop role boss");
    let ended = scene.restored("third", &[]);
    assert!(ended.stderr.contains("belonged to boss"), "{ended:?}");
    assert_eq!(owner("third"), "postgres");
}

#[test]
fn f47_a_database_that_is_not_empty_is_refused() {
    let scene = Scene::new(SHOP);
    for (name, sql) in [
        ("with_table", "create table t (x int)"),
        ("with_object", "select lo_create(4711)"),
        ("with_function", "create function f() returns int language sql as 'select 1'"),
        ("with_schema", "create schema s"),
        ("with_type", "create type mood as enum ('ok')"),
        ("with_extension", "create extension pgcrypto"),
    ] {
        scene.cluster.psql(&format!("create database {name}"));
        scene.cluster.psql_in(name, sql);
        let ended = scene.restore(name, &[]);
        assert_eq!(ended.code, 1, "{name}: {ended:?}");
        assert!(ended.stderr.contains("is not empty") && ended.stderr.contains("--replace"), "{name}: {ended:?}");
        assert!(scene.audit()[0].contains("refused"), "{:?}", scene.audit());
    }
    let before = scene.fingerprint("shop");
    assert_eq!(scene.restore("shop", &[]).code, 1);
    assert_eq!(scene.fingerprint("shop"), before);
    assert_eq!(scene.cluster.psql_in("with_table", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "1");
}

#[test]
fn without_a_target_the_line_to_type_is_told() {
    let scene = Scene::new(SHOP);
    let ended = scene.rig.run(&["restore", "shop@latest"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("pgdumpd restore shop@latest --to shop_restored"), "{ended:?}");
    assert_eq!(scene.audit().len(), 1);
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let scene = Scene::new(SHOP);
    let ended = scene.restored("copy", &["--dry-run"]);
    assert!(ended.stdout.contains("create database") && ended.stdout.contains("rename to \"copy\""), "{ended:?}");
    let answer = scene.restored("shop", &["--replace", "--dry-run", "--json"]).json();
    assert_eq!(answer["plan"]["way"]["kind"], "swap");
    assert_eq!(answer["plan"]["rows"], 550);
    assert_eq!(scene.databases(), ["shop"]);
    assert!(scene.audit().is_empty());
}

#[test]
fn another_server_is_reached_by_its_url() {
    let scene = Scene::new(SHOP);
    let other = crate::cluster::Cluster::start();
    scene.restored(&other.url("shop"), &[]);
    assert_eq!(other.psql_in("shop", "select count(*) from orders"), "500");
    assert_eq!(scene.databases(), ["shop"]);
}

#[test]
fn the_answer_in_json_has_the_names_that_clients_read() {
    let scene = Scene::new(SHOP);
    let answer = scene.restored("copy", &["--json"]).json();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["restoredTables"], 2);
    assert_eq!(answer["recordCount"], 550);
    assert!(answer["duration"].as_u64().unwrap() > 0);
    assert_eq!(answer["warnings"].as_array().unwrap().len(), 0);
    let answer = scene.restore("copy", &["--json"]).json();
    assert_eq!(answer["success"], false);
    assert_eq!(answer["error"]["cause"], "refused");
}

#[test]
fn a_time_names_the_backup_before_it() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql_in("shop", "insert into customer values (1000, 'late')");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let between = scene.cluster.psql("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scene.backup();
    let restore = |name: String, to: &str| scene.rig.run(&["restore", &name, "--to", to]);
    assert_eq!(restore(format!("shop@{between}"), "early").code, 0);
    assert_eq!(scene.cluster.psql_in("early", "select count(*) from customer"), "50");
    assert_eq!(restore(format!("shop/shop@{}", &between[..10]), "late").code, 0);
    assert_eq!(scene.cluster.psql_in("late", "select count(*) from customer"), "51");
    let ended = restore(String::from("shop@2001-01-01"), "never");
    assert_eq!(ended.code, 1, "{ended:?}");
}

#[test]
fn an_empty_database_in_another_encoding_is_refused_or_told() {
    let scene = Scene::bare(crate::cluster::Setup::default().start(), "select 1");
    scene.cluster.psql("drop database shop");
    let made = |name: &str, encoding: &str, locale: &str| {
        scene
            .cluster
            .psql(&format!("create database {name} template template0 encoding {encoding} lc_collate '{locale}' lc_ctype '{locale}'"));
    };
    made("shop", "UTF8", "C.UTF-8");
    scene.cluster.psql_in("shop", "set client_encoding = utf8; create table t (x text); insert into t values ('Zoë')");
    scene.backup();
    made("ascii", "SQL_ASCII", "C");
    let ended = scene.restore("ascii", &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("has the encoding SQL_ASCII, and the backup is of one in UTF8"), "{ended:?}");
    assert!(ended.stderr.contains("--to shop_restored"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("ascii", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    made("latin", "LATIN1", "C");
    let ended = scene.restored("latin", &[]);
    assert!(ended.stderr.contains("text that LATIN1 does not know ends the restore"), "{ended:?}");
    assert!(ended.stderr.contains("sorts text by C, the original did by C.UTF-8"), "{ended:?}");
    assert_eq!(scene.cluster.psql_in("latin", "select length(x) || x::bytea::text from t"), "3\\x5a6feb");
    made("same", "UTF8", "C.utf8");
    let ended = scene.restored("same", &[]);
    assert!(!ended.stderr.contains("encoding") && !ended.stderr.contains("sorts"), "{ended:?}");
}
