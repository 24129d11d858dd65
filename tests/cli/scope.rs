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
