//! What can't succeed is refused before anything is made.

use crate::cluster::{Cluster, Setup};
use crate::scene::{SHOP, Scene};
use crate::skip::skip;

fn refused(scene: &Scene, to: &str, more: &[&str], words: &[&str]) {
    let before = scene.databases();
    let ended = scene.restore(to, more);
    assert_eq!(ended.code, 1, "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word}: {ended:?}");
    }
    assert_eq!(scene.databases(), before);
    assert!(scene.audit()[0].contains("refused: "), "{:?}", scene.audit());
}

#[test]
fn a_missing_role_is_named_and_can_be_done_without_or_restored_first() {
    let scene = Scene::bare(
        Setup::default().start(),
        &format!("create role boss; create role reader; {SHOP}; alter table orders owner to boss; grant select on customer to reader"),
    );
    scene.configure("globals = true");
    scene.backup();
    let other = Cluster::start();
    let to = other.url("shop");
    refused(&scene, &to, &[], &["lacks roles", "boss, reader", "--globals", "--no-owner"]);
    refused(&scene, &to, &["--no-owner"], &["reader"]);
    assert_eq!(other.psql("select count(*) from pg_database where datname like '%shop%' or datname like 'pgdumpd%'"), "0");
    scene.restored(&other.url("without"), &["--no-owner", "--no-privileges"]);
    assert_eq!(other.psql_in("without", "select tableowner from pg_tables where tablename = 'orders'"), "postgres");
    let ended = scene.restored(&to, &["--globals"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(other.psql_in("shop", "select tableowner from pg_tables where tablename = 'orders'"), "boss");
    other.psql("alter role reader connection limit 5");
    scene.restored(&other.url("again"), &["--globals"]);
    assert_eq!(other.psql("select rolconnlimit from pg_roles where rolname = 'reader'"), "5", "a role that is there stays as it is");
}

#[test]
fn a_role_that_a_policy_names_is_not_said_to_be_needless() {
    let policy = "create role clerk; create table t (i int); create policy p on t to clerk using (true); grant select on t to clerk";
    let scene = Scene::new(policy);
    let to = Cluster::start();
    let ended = scene.restore(&to.url("copy"), &[]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("policies of row security name clerk, and can't do without") && !ended.stderr.contains("--no-owner"),
        "{ended:?}"
    );
}

#[test]
fn a_missing_extension_is_named() {
    let scene = Scene::new("create table t (c text)");
    if scene.cluster.psql("select count(*) from pg_available_extensions where name = 'citext'") == "0" {
        return skip("a_missing_extension_is_named", "the server has no citext");
    }
    scene.cluster.psql_in("shop", "create extension citext; alter table t alter c type citext");
    scene.backup();
    // The backup says it needs one that no server has.
    scene.cluster.psql_in("shop", "update pg_extension set extname = 'nowhere_to_be_had' where extname = 'citext'");
    let ended = scene.rig.run(&["backup", "shop"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    refused(&scene, "copy", &[], &["lacks what the backup needs", "nowhere_to_be_had"]);
}

#[test]
fn too_few_rights_or_connections_are_told() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create role clerk login");
    refused(&scene, "copy", &["--user", "clerk", "--no-owner"], &["clerk", "CREATEDB"]);
    scene.cluster.psql("alter role clerk createdb");
    refused(&scene, "shop", &["--user", "clerk", "--no-owner", "--replace"], &["doesn't own", "--user postgres"]);
    let ended = scene.restore("copy", &["--user", "clerk"]);
    assert!(ended.code == 1 && ended.stderr.contains("--no-owner"), "{ended:?}");
    scene.restored("copy", &["--user", "clerk", "--no-owner"]);
    assert_eq!(scene.cluster.psql("select pg_get_userbyid(datdba) from pg_database where datname = 'copy'"), "clerk");
    // Who owns a database and may make others can replace it: no right on the default tablespace is asked for.
    scene.restored("copy", &["--user", "clerk", "--no-owner", "--replace", "--drop-old"]);
    assert_eq!(scene.databases(), ["copy", "shop"]);
    scene.cluster.psql("alter role clerk connection limit 2");
    refused(&scene, "other", &["--user", "clerk", "--no-owner", "--jobs", "4"], &["connections to spare", "--jobs"]);
}

#[test]
fn an_older_server_is_refused_with_both_versions() {
    let scene = Scene::new(SHOP);
    // The backup says that it was made of a later release.
    let manifest = scene.rig.stored().into_iter().find(|name| name.contains(".json")).unwrap();
    let path = scene.rig.storage().join(manifest);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find("\"postgresql_version_num\": ").unwrap();
    let number = &text[begin..][..text[begin..].find(',').unwrap()];
    std::fs::write(&path, text.replace(number, "\"postgresql_version_num\": 990001")).unwrap();
    let major = scene.cluster.psql("select current_setting('server_version_num')::int / 10000");
    refused(&scene, "copy", &[], &["PostgreSQL 99", &format!("PostgreSQL {major}")]);
}

#[test]
fn a_globals_backup_is_no_database() {
    let scene = Scene::bare(Setup::default().start(), SHOP);
    scene.configure("globals = true");
    scene.backup();
    let globals = scene.rig.backups().into_iter().find(|row| row["content"] == "globals").unwrap();
    let ended = scene.rig.run(&["restore", globals["id"].as_str().unwrap(), "--to", "copy"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("roles and tablespaces"), "{ended:?}");
}

#[test]
fn a_name_that_fits_several_databases_is_not_guessed() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database billing");
    scene
        .rig
        .configure(&format!("[[project]]\nname = \"shop\"\nconnection = {:?}\ndatabases = [\"shop\", \"billing\"]", scene.cluster.url("")));
    scene.backup();
    let ended = scene.restore("copy", &[]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("shop/billing@latest, shop/shop@latest"), "{ended:?}");
}

#[test]
fn another_role_without_a_password_is_told_how_to_give_one() {
    let hba = "host all postgres all trust\nhost all all all scram-sha-256\n";
    let scene = Scene::bare(Setup::default().hba(hba).start(), SHOP);
    scene.backup();
    scene.cluster.psql("create role maker login superuser password 'a word'");
    let asked: [&[&str]; 3] = [
        &["--to", "copy", "--user", "maker"],
        &["--to", "copy", "--user", "maker", "--dry-run"],
        &["--to", "shop", "--user", "maker", "--table", "orders", "--on-conflict", "skip"],
    ];
    for more in asked {
        let ended = scene.rig.run(&[&["restore", "shop@latest"], more].concat());
        assert_eq!(ended.code, 1, "{ended:?}");
        let told = "the project's password is for its own role alone; give \"maker\" one by PGPASSWORD";
        assert!(ended.stderr.contains(told) && ended.stderr.contains("HOST:PORT:*:maker:PASSWORD"), "{ended:?}");
    }
    let mut command = scene.rig.command();
    command.env("PGPASSWORD", "a word").args(["restore", "shop@latest", "--to", "copy", "--user", "maker"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A password that was given and is wrong needs no word on how to give one.
    let output = command.env("PGPASSWORD", "another").output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("PGPASSWORD"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_servers_own_databases_and_names_that_are_too_long_are_refused() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database pattern is_template true");
    for (to, more, words) in [
        ("template1", &["--replace"][..], "is a template"),
        ("template1", &["--in-place"], "is a template"),
        ("template1", &[], "is a template"),
        ("template0", &["--replace"], "is a template"),
        ("pattern", &["--replace"], "is a template"),
        ("postgres", &["--replace"], "the server's own database"),
        ("postgres", &["--in-place"], "the server's own database"),
        (&"x".repeat(64), &[], "has 64 bytes, and PostgreSQL takes 63"),
    ] {
        let ended = scene.restore(to, more);
        assert_eq!(ended.code, 1, "{to} {more:?}: {ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains("--to"), "{to} {more:?}: {ended:?}");
    }
    assert_eq!(scene.rig.backups().len(), 1, "nothing was even backed up for it");
    assert_eq!(scene.cluster.psql_in("template1", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    scene.restored(&"x".repeat(63), &[]);
}
