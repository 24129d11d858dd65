//! What a project covers: all databases of a server, less globs; its roles; never more than was selected.

use crate::bench::Bench;
use crate::cluster::Cluster;

#[test]
fn all_finds_a_new_database_by_itself_and_globs_leave_out() {
    let bench = Bench::new();
    bench.cluster.psql("create database scratch_1");
    bench.cluster.psql("create role backup login superuser");
    let url = bench.cluster.url_as("backup", "");
    bench.rig.configure(&format!("[[project]]\nname = \"all\"\nconnection = {url:?}\nlimits = {{ retries = [] }}\ndatabases = \"all\"\nexclude_databases = [\"scratch_*\", \"postgres\"]\n"));
    let databases = || {
        let answer = bench.run(0, &["backup", "all", "--json"]).json();
        let runs = answer["runs"].as_array().cloned().unwrap_or_default();
        runs.iter().filter_map(|run| run["run"]["database"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(databases(), ["billing", "shop"]);
    bench.cluster.psql("create database added");
    assert_eq!(databases(), ["added", "billing", "shop"]);
}

/// psql shows the one of these names as the other; in an encoding of its own the server shows a third as a fourth.
#[test]
fn a_database_whose_name_is_no_utf8_is_told_and_never_taken_for_another() {
    let bench = Bench::new();
    for (name, encoding) in [("raw", "SQL_ASCII"), ("latin", "LATIN1")] {
        bench.cluster.psql(&format!("create database {name} encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'"));
    }
    for name in ["caf", "Größe", "back\\slash"] {
        bench.cluster.psql(&format!("create database \"{name}\""));
    }
    let script = bench.rig.path().join("raw.sql");
    std::fs::write(&script, b"create database \"caf\xe9\" encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
        .expect("script");
    let made = bench.cluster.psql_command("raw").env("PGCLIENTENCODING", "SQL_ASCII").arg("-f").arg(&script).status().expect("psql");
    assert!(made.success());
    let others = ["Größe", "back\\slash", "caf", "latin", "raw"];
    let configure = |contact: &str, more: &str| {
        let url = bench.cluster.url(contact);
        let left_out = format!("exclude_databases = [\"billing\", \"shop\", \"postgres\", {more}]");
        let text =
            format!("[[project]]\nname = \"all\"\nconnection = {url:?}\nlimits = {{ retries = [] }}\ndatabases = \"all\"\n{left_out}\n");
        bench.rig.configure(&text);
    };
    for contact in ["postgres", "raw", "latin"] {
        configure(contact, "");
        let answer = bench.run(3, &["backup", "all", "--json"]).json();
        let runs = answer["runs"].as_array().cloned().unwrap_or_default();
        let database = |run: &serde_json::Value| run["run"]["database"].as_str().map(str::to_owned).unwrap_or_default();
        let (good, bad): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run["run"]["status"] == "completed");
        let mut good: Vec<String> = good.into_iter().map(database).collect();
        good.sort();
        assert_eq!(good, others, "{contact}");
        assert_eq!(bad.iter().map(|run| database(run)).collect::<Vec<_>>(), ["caf%E9"], "{contact}");
        assert!(bad[0].to_string().contains("its name isn't in UTF-8"), "{}", bad[0]);
    }
    // Nor does it keep anything else from being restored.
    bench.run(0, &["restore", "all/caf@latest", "--to", "fresh"]);
    bench.cluster.psql("drop database fresh");
    let told = bench.run(1, &["doctor"]).stdout;
    assert!(told.contains("the database \"caf%E9\" can't be backed up") && told.contains("1 problem"), "{told}");
    assert!(bench.run(1, &["status"]).stdout.contains("all/caf%E9: FAILING"));
    configure("postgres", "\"caf%E9\"");
    bench.run(0, &["backup", "all"]);
    let told = bench.run(0, &["status"]).stdout;
    assert!(!told.contains("FAILING"), "{told}");
}

#[test]
fn roles_restore_into_an_empty_server() {
    let bench = Bench::new();
    bench.cluster.psql("create role clerk login");
    bench.rig.configure(&bench.project("shop", "", "databases = [\"shop\"]\nglobals = true\n"));
    bench.run(0, &["backup", "shop"]);
    let globals = bench.rig.stored().into_iter().find(|name| name.ends_with(".sql.zst")).expect("a globals backup");
    let other = Cluster::start();
    let sql = std::process::Command::new("zstd").arg("-dc").arg(bench.rig.storage().join(globals)).output().expect("zstd");
    let text = String::from_utf8(sql.stdout).expect("text").replace("CREATE ROLE postgres;", "");
    let script = other.dir().join("globals.sql");
    std::fs::write(&script, text).expect("script");
    let status = other.psql_command("postgres").arg("-f").arg(&script).status().expect("psql");
    assert!(status.success());
    assert_eq!(other.psql("select count(*) from pg_roles where rolname = 'clerk' and rolcanlogin"), "1");
}
