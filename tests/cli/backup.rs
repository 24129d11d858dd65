//! `backup`, `list`, `show`, `pin`, `pause`, `plan`, `check`: their answers and exit codes.

use std::process::Stdio;
use std::time::Duration;

use crate::bench::{Bench, snapshot};
use crate::rig::wait_until;

const SHOP: &str = "databases = [\"shop\", \"billing\"]\nglobals = true\n[[project.schedule]]\nname = \"nightly\"\ncron = \"15 2 * * *\"\n";

#[test]
fn a_backup_is_made_listed_shown_and_pinned() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "", SHOP));
    snapshot!("check", bench.told(0, &["check"]));
    snapshot!("backup", bench.told(0, &["backup", "shop"]));
    snapshot!("backup_json", bench.told(0, &["backup", "shop", "-d", "billing", "--json"]));
    snapshot!("list", bench.told(0, &["list"]));
    snapshot!("list_json", bench.told(0, &["list", "--json", "--limit", "1"]));
    snapshot!("show", bench.told(0, &["show", "shop/shop@latest", "--tables"]));
    let shown = bench.run(0, &["show", "shop/billing@latest", "--json"]).json();
    assert_eq!((shown["total_rows"].as_u64(), shown["database_name"].as_str()), (Some(2), Some("billing")));
    let id = shown["backup_id"].as_str().expect("an id").to_owned();
    assert_eq!(bench.run(0, &["pin", &id[..6], "--json"]).json()["pinned"], true);
    assert!(bench.run(0, &["list"]).stdout.contains("pinned"));
    assert_eq!(bench.run(0, &["unpin", &id, "--json"]).json()["pinned"], false);
    let me = format!("uid {}", std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("proc")));
    snapshot!("audit_json", bench.told(0, &["audit", "shop", "--json"]).replace(&me, "uid ME"));
    assert!(bench.run(0, &["audit", "--limit", "1"]).stderr.contains("the newest 1; --limit shows more"));
    assert!(bench.run(2, &["audit", "shpo"]).stderr.contains("did you mean \"shop\"?"));
    let path = bench.run(0, &["backup", "shop", "-d", "shop", "--json"]).json()["runs"][0]["outputPath"].as_str().map(str::to_owned);
    assert!(std::path::Path::new(&path.expect("a path")).is_file());
}

#[test]
fn latest_is_never_a_schema_only_backup() {
    let bench = Bench::new();
    let schema = "[[project.schedule]]\nname = \"schema\"\ncron = \"@hourly\"\ncontent = \"schema\"\n";
    bench.rig.configure(&bench.project("shop", "shop", schema));
    bench.run(0, &["backup", "shop", "--schedule", "schema"]);
    assert!(bench.run(1, &["show", "shop@latest"]).stderr.contains("there is no backup"));
    bench.run(0, &["backup", "shop"]);
    bench.run(0, &["backup", "shop", "--schedule", "schema"]);
    for name in ["latest", "shop@latest"] {
        assert_eq!(bench.run(0, &["show", name, "--json"]).json()["selection"], "full", "{name}");
    }
}

#[test]
fn each_kind_of_end_has_its_exit_code() {
    let bench = Bench::new();
    let away = "[[project]]\nname = \"away\"\nconnection = \"postgresql://x@127.0.0.1:1/x\"\nlimits = { retries = [] }\n";
    let half = bench.project("half", "", "databases = [\"shop\", \"missing\"]\n");
    bench.rig.configure(&format!("{}{half}{away}", bench.project("shop", "", SHOP)));
    snapshot!("mistyped_project", bench.told(2, &["backup", "shpo"]));
    snapshot!("mistyped_database", bench.told(2, &["backup", "shop", "-d", "shp"]));
    snapshot!("mistyped_schedule", bench.told(2, &["backup", "shop", "--schedule", "x"]));
    snapshot!("no_project", bench.told(2, &["backup"]));
    snapshot!("mistyped_list", bench.told(2, &["list", "shp"]));
    snapshot!("no_such_backup", bench.told(1, &["show", "zzzz"]));
    snapshot!("partly", bench.told(3, &["backup", "half"]));
    snapshot!("unreachable", bench.told(75, &["backup", "away"]));
    snapshot!("unreachable_json", bench.told(75, &["backup", "away", "--json"]));
    let run = bench.run(1, &["status", "away", "--json"]).json()["projects"][0]["recent"][0]["id"].as_str().map(str::to_owned);
    let run = run.expect("a run");
    snapshot!("failed_run", bench.told(0, &["show", &run]).replace(&run, "RUN"));
    assert_eq!(bench.run(0, &["show", &run, "--json"]).json()["run"]["failure"]["cause"], "connection");
    bench.rig.configure("[[project]]\nname = \"shop\"\nconection = \"x\"\n");
    snapshot!("broken_configuration", bench.told(2, &["check"]));
    snapshot!("broken_configuration_elsewhere", bench.told(2, &["backup", "shop"]));
}

#[test]
fn a_second_one_is_locked_out_and_a_signal_ends_the_first_in_good_order() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let bench = Bench::new();
        bench.rig.configure(&bench.project("shop", "shop", ""));
        let mut blocker = bench.cluster.psql_command("shop").stdin(Stdio::piped()).spawn().expect("psql");
        std::io::Write::write_all(blocker.stdin.as_mut().expect("stdin"), b"begin; lock table orders;\n").expect("lock");
        bench.cluster.wait_until("exists (select from pg_locks where mode = 'AccessExclusiveLock')");
        let child = bench.rig.command().args(["backup", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("pgdumpd");
        bench.cluster.wait_until("exists (select from pg_stat_activity where wait_event_type = 'Lock')");
        let second = bench.told(11, &["backup", "shop"]);
        assert!(second.contains("shop") && second.contains(&child.id().to_string()), "{second}");
        assert_eq!(bench.run(11, &["backup", "shop", "--json"]).json()["error"]["cause"], "locked");
        let status = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        assert!(status.success());
        let output = child.wait_with_output().expect("end");
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        drop(blocker.stdin.take());
        blocker.wait().expect("psql ends");
        assert!(bench.rig.backups().is_empty() && bench.rig.stored().is_empty());
        bench.run(0, &["backup", "shop"]);
    }
}

#[test]
fn a_retry_is_told_and_can_be_refused() {
    let bench = Bench::new();
    bench.rig.configure("[[project]]\nname = \"away\"\nconnection = \"postgresql://x@127.0.0.1:1/x\"\nlimits = { retries = [\"2s\"] }\n");
    let told = bench.run(75, &["backup", "away"]).stderr;
    assert!(told.contains("trying again in"), "{told}");
    let refused = bench.run(75, &["backup", "away", "--no-retry"]).stderr;
    assert!(!refused.contains("trying again in"), "{refused}");
}

#[test]
fn beside_a_daemon_it_works_the_same() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", ""));
    let mut daemon = bench.rig.serve();
    wait_until(Duration::from_secs(30), || daemon.log(), || bench.rig.run(&["status", "--alive"]).code == 0);
    bench.run(0, &["backup", "shop"]);
    assert_eq!(bench.rig.backups().len(), 1);
    assert_eq!(bench.run(0, &["doctor", "--json"]).json()["success"], true);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(Duration::from_secs(30)), 0);
    snapshot!("not_alive", bench.told(1, &["status", "--alive"]));
}

#[test]
fn the_wrong_user_is_told_what_to_type() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("the_wrong_user_is_told_what_to_type", "needs root, to become another user");
    }
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", ""));
    bench.run(0, &["backup", "shop"]);
    let by_nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_pgdumpd")]);
        command.args(arguments).env_clear().envs(bench.rig.env.iter().map(|(key, value)| (key, value)));
        let output = command.output().expect("setpriv");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).replace(&bench.rig.path().display().to_string(), "RIG"))
    };
    let as_nobody = || by_nobody(&["backup", "shop"]);
    let (code, closed) = as_nobody();
    assert_eq!((code, closed.contains("type: sudo -u root pgdumpd --config RIG/pgdumpd.toml backup shop")), (Some(2), true), "{closed}");
    let config = bench.rig.path().join("pgdumpd.toml");
    std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mode");
    let (code, open) = as_nobody();
    assert_eq!((code, open.contains("belongs to user root, and this is user nobody")), (Some(2), true), "{open}");
    assert!(open.contains("type: sudo -u root pgdumpd --config RIG/pgdumpd.toml backup shop"), "{open}");
    // The line that is told is this very one, but for its password.
    let (code, secret) = by_nobody(&["restore", "latest", "--to", "postgresql://me:geheim@db/shop"]);
    assert!(code == Some(2) && secret.contains("restore latest --to 'postgresql://me:***@db/shop'"), "{secret}");
    assert!(!secret.contains("geheim"), "{secret}");
}

#[test]
fn plans_name_slots_and_what_would_be_kept() {
    let bench = Bench::new();
    let more = "time_zone = \"Europe/Berlin\"\nretention = { keep_daily = 2 }\ndrill = \"0 4 * * 0\"\n[[project.schedule]]\nname = \"nightly\"\ncron = \"30 2 * * *\"\n";
    bench.rig.configure(&bench.project("shop", "shop", more));
    let plan = bench.run(0, &["plan", "shop", "--from", "2026-03-28", "--to", "2026-03-30", "--days", "5"]).stdout;
    insta::assert_snapshot!("plan", plan);
    let plan = bench.run(0, &["plan", "--from", "2026-03-28", "--count", "1", "--json"]).stdout;
    insta::assert_snapshot!("plan_json", plan);
    let from_a_slot = bench.run(0, &["plan", "--from", "2026-03-28 02:30", "--count", "1", "--json"]).json();
    assert!(from_a_slot[0]["slots"][0].as_str().unwrap().starts_with("2026-03-28T01:30:00"), "{from_a_slot}");
    snapshot!("plan_nonsense", bench.told(2, &["plan", "--from", "soon"]));
}

/// The lock of a run that is going on lies on the disk it began on; what is mounted there instead has one that is free.
#[test]
fn a_run_on_a_disk_that_was_exchanged_is_not_declared_dead() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", ""));
    let mut blocker = bench.cluster.psql_command("shop").stdin(Stdio::piped()).spawn().expect("psql");
    std::io::Write::write_all(blocker.stdin.as_mut().expect("stdin"), b"begin; lock table orders;\n").expect("lock");
    bench.cluster.wait_until("exists (select from pg_locks where mode = 'AccessExclusiveLock')");
    let child = bench.rig.command().args(["backup", "shop"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("pgdumpd");
    bench.cluster.wait_until("exists (select from pg_stat_activity where wait_event_type = 'Lock')");
    let storage = bench.rig.storage();
    std::fs::rename(&storage, storage.with_extension("old")).expect("taken away");
    std::fs::create_dir(&storage).expect("an empty one");
    bench.run(0, &["doctor", "--accept-storage", "main"]);
    let second = bench.run(11, &["backup", "shop"]).stderr;
    assert!(second.contains(&format!("process {}", child.id())), "{second}");
    let running = bench.run(0, &["status", "shop", "--json"]).json();
    assert_eq!(running["projects"][0]["recent"][0]["status"], "running", "{running}");
    drop(blocker.stdin.take());
    blocker.wait().expect("psql ends");
    let output = child.wait_with_output().expect("end");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!told.contains("the connection to the server ended"), "{told}");
    bench.run(0, &["backup", "shop"]);
}

#[test]
fn a_name_that_is_none_of_the_projects_databases_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    bench.cluster.psql("create database scratch");
    bench.cluster.psql("create database closed");
    bench.cluster.psql("alter database closed allow_connections false");
    let all = "databases = \"all\"\nexclude_databases = [\"scr*\", \"postgres\"]\n";
    bench.rig.configure(&format!("{}{}", bench.project("one", "shop", ""), bench.project("all", "postgres", all)));
    for (arguments, words) in [
        (["backup", "one", "-d", "billing"], "project \"one\" has no database \"billing\"\n  it has: shop"),
        (["backup", "all", "-d", "shp"], "project \"all\" has no database \"shp\"\n  it has: shop, billing"),
        (["backup", "all", "-d", "scratch"], "the database \"scratch\" is left out of project \"all\" by exclude_databases"),
        (["backup", "all", "-d", "closed"], "the database \"closed\" lets nobody connect, so it can't be backed up"),
    ] {
        let told = bench.run(2, &arguments).stderr;
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    let standing = bench.run(0, &["status", "all", "--json"]).json();
    assert!(standing["projects"][0]["recent"].is_null(), "nothing was recorded of it: {standing}");
    bench.run(0, &["backup", "one", "-d", "shop"]);
    bench.run(0, &["backup", "all", "-d", "billing"]);
    assert!(!bench.run(0, &["list"]).stdout.contains("orphaned"));
    // What was there is tried where nobody can be asked, so that its failure is told as every other.
    bench.cluster.stop_immediate();
    bench.run(75, &["backup", "all", "-d", "billing"]);
    assert_eq!(bench.rig.run(&["status", "all", "--json"]).json()["projects"][0]["recent"].as_array().map(Vec::len), Some(2));
    bench.run(75, &["backup", "all", "-d", "unheard"]);
    assert_eq!(bench.rig.run(&["status", "all", "--json"]).json()["projects"][0]["recent"].as_array().map(Vec::len), Some(2));
    bench.cluster.start_again();
}

#[test]
fn a_table_that_is_gone_is_not_found_and_said_with_what_to_do() {
    let bench = Bench::new();
    for format in ["custom", "plain", "directory"] {
        bench.cluster.psql_in("shop", "create table if not exists \"Cart\" (i int)");
        let part = format!("tables = [\"orders\", '\"Cart\"']\nformat = {format:?}\n");
        bench.rig.configure(&bench.project("shop", "shop", &part));
        bench.run(0, &["backup", "shop"]);
        bench.cluster.psql_in("shop", "drop table \"Cart\"");
        let told = bench.run(1, &["backup", "shop", "--json"]).json();
        let failure = &told["runs"][0]["run"]["failure"];
        assert_eq!(failure["cause"], "not-found", "{format}: {failure}");
        let words = failure["message"].as_str().unwrap_or_default();
        assert_eq!(words, "nothing in the database \"shop\" matches \"\\\"Cart\\\"\" in tables, so pg_dump made no dump", "{format}");
        assert!(failure["hint"].as_str().is_some_and(|hint| hint.starts_with("correct the name in tables, or take it out")), "{failure}");
        assert!(failure["detail"].as_str().is_some_and(|detail| detail.contains("no matching tables were found")), "{failure}");
    }
}

#[test]
fn a_catalog_that_takes_no_note_of_one_project_costs_the_others_no_backup() {
    let bench = Bench::new();
    let configure = |retention: &str| {
        let both = [bench.project("shop", "shop", retention), bench.project("zoo", "billing", "enabled = true\n")];
        bench.rig.configure(&both.concat());
    };
    configure("retention = { keep_last = 9 }\n");
    for _ in 0..6 {
        bench.run(0, &["backup", "shop"]);
    }
    configure("retention = { keep_last = 1 }\n");
    let catalog = rusqlite::Connection::open(bench.rig.state().join("catalog.db")).expect("the catalog");
    let refuses =
        "create trigger refuses before insert on meta when new.key like 'held-told:%' begin select raise(abort, 'a bad sector'); end";
    catalog.execute_batch(refuses).expect("a trigger");
    let told = bench.run(3, &["backup", "--all"]);
    assert!(told.stderr.contains("pruning is held") && told.stderr.contains("a bad sector"), "{told:?}");
    assert_eq!(bench.rig.backups().iter().filter(|row| row["project"] == "zoo").count(), 1, "{told:?}");
}
