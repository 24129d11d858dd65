//! Row 45: hostile names of projects, databases, roles and tables are data from end to end, up to the restore.

use std::process::Command;

use crate::cluster::Cluster;
use crate::forms::{contents, restore};
use crate::scene::Scene;

/// What people, scripts and attackers call things. PostgreSQL cuts names at 63 bytes.
fn hostile() -> Vec<String> {
    let mut names: Vec<String> = [
        "../../etc/x",
        "'; drop database shop; --",
        "a\nb",
        "-Fp",
        "--file=/tmp/x",
        "host=evil.example dbname=x",
        "postgresql://evil/x",
        "\u{202e}gpj",
        "%41%2e",
        "a'b\\c",
        "\"quoted\"",
        " space ",
        "$(touch x)",
        "`touch x`",
        "*",
        "é ü",
        "con&user=x#?",
    ]
    .map(String::from)
    .to_vec();
    names.push("x".repeat(63));
    names.push("é".repeat(31));
    names
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn f45_hostile_names_are_data_everywhere() {
    let names = hostile();
    let cluster = Cluster::start();
    let role = "'; drop role postgres; -- host=x";
    cluster.psql(&format!("create role {} login superuser", quoted(role)));
    for (number, name) in names.iter().enumerate() {
        cluster.psql(&format!("create database {}", quoted(name)));
        let table = quoted(&names[(number + 1) % names.len()]);
        let schema = quoted(&names[(number + 2) % names.len()]);
        cluster.psql_in(
            name,
            &format!(
                "create schema {schema}; create table {schema}.{table} (n int); insert into {schema}.{table} select generate_series(1, {})",
                number + 1
            ),
        );
    }
    let mut scene = Scene::bare(cluster, "databases = \"all\"\nexclude_databases = [\"postgres\", \"shop\"]\nglobals = true", "");
    scene.connect(&scene.cluster.url_as(role, "postgres"));
    scene.name("../'; drop -Fp %2e");
    scene.configure(5);
    let before: Vec<_> = std::fs::read_dir(scene.rig.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    let ended = scene.start_verb(&[], &["backup", "--all"]).finish(crate::scene::LONG);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(before.iter().all(|name| scene.rig.path().join(name).exists()));
    let backups = scene.rig.backups();
    let mut made: Vec<&str> = backups.iter().filter_map(|backup| backup["database"].as_str()).collect();
    made.sort_unstable();
    let mut expected: Vec<&str> = names.iter().map(String::as_str).chain(["globals"]).collect();
    expected.sort_unstable();
    assert_eq!(made, expected);
    let folders: Vec<_> = std::fs::read_dir(scene.rig.storage()).unwrap().flatten().filter(|entry| entry.path().is_dir()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let folder = folders[0].path();
    for (number, backup) in backups.iter().filter(|backup| backup["database"] != "globals").enumerate() {
        let target = format!("restored{number}");
        let database = backup["database"].as_str().unwrap();
        restore(&scene, &folder, backup["file"].as_str().unwrap(), &target);
        assert_eq!(contents(&scene.cluster, database), contents(&scene.cluster, &target), "{database:?}");
    }
    let touched = Command::new("find").arg(scene.rig.path()).args(["-name", "x"]).output().unwrap();
    assert!(touched.stdout.is_empty(), "{touched:?}");
}
