//! Roles and tablespaces: read in whichever database lets the role in, told as a failure of their own, and never quietly without passwords.

use std::sync::Arc;

use pgdumpd::clock::Clock;
use pgdumpd::jobs::scheduled::{self, Order, Setting};
use pgdumpd::jobs::{Board, Open};
use pgdumpd::model::backup::{Manifest, Trigger};
use pgdumpd::model::run::{Run, SlotOutcome};
use pgdumpd::ops::World;
use pgdumpd::process::{Cancel, CancelReason};

use crate::bench::Bench;
use crate::cluster::Cluster;

/// The last run of the roles, as the diary has it.
fn last_of_globals(bench: &Bench) -> serde_json::Value {
    let told = bench.rig.run(&["status", "shop", "--json"]).json();
    let runs = told["projects"][0]["recent"].as_array().cloned().unwrap_or_default();
    runs.into_iter().find(|run| run["database"] == "globals").unwrap_or_else(|| panic!("no run of globals: {told}"))
}

#[test]
fn roles_are_backed_up_although_the_first_database_is_gone() {
    let bench = Bench::new();
    for (databases, code) in [("[\"gone\", \"shop\"]", 3), ("[\"gone\"]", 3)] {
        bench.rig.configure(&bench.project("shop", "", &format!("databases = {databases}\nglobals = true\n")));
        let before = bench.rig.backups().len();
        let told = bench.run(code, &["backup", "shop"]);
        assert!(told.stderr.contains("shop/gone: ") && told.stdout.contains("shop/globals: "), "{told:?}");
        let made: Vec<String> = bench.rig.backups().iter().map(|row| row["database"].to_string()).collect();
        assert!(made.len() > before && made.contains(&String::from("\"globals\"")), "{databases}: {made:?}");
        assert_eq!(last_of_globals(&bench)["status"], "completed", "{databases}");
    }
    let shown = bench.run(0, &["show", "shop/globals@latest"]).stdout;
    assert!(shown.starts_with("backup     ") && shown.contains("of shop/globals (globals)"), "{shown}");
    bench.run(0, &["verify", "shop/globals@latest"]);
}

#[test]
fn roles_that_cannot_be_read_are_a_failure_of_their_own() {
    let bench = Bench::new();
    bench.cluster.psql("create role backup login in role pg_read_all_data");
    for database in ["postgres", "template1", "billing"] {
        bench.cluster.psql(&format!("revoke connect on database {database} from public"));
    }
    let project = |databases: &str| {
        let url = bench.cluster.url_as("backup", "");
        format!(
            "[[project]]\nname = \"shop\"\nconnection = {url:?}\ndatabases = {databases}\nglobals = true\nlimits = {{ retries = [] }}\n"
        )
    };
    bench.rig.configure(&project("[\"billing\"]"));
    let told = bench.rig.run(&["backup", "shop"]);
    assert!(told.code != 0 && told.stderr.contains("shop/billing: ") && told.stderr.contains("shop/globals: "), "{told:?}");
    let failure = &last_of_globals(&bench)["failure"];
    let words = failure["message"].as_str().unwrap_or_default();
    assert_eq!(failure["cause"], "login", "{failure}");
    assert!(words.contains("none of the databases billing, postgres, template1 lets the role in; the first says: "), "{words}");
    assert!(words.contains("permission denied for database \"billing\""), "{words}");
    // One that lets it in is enough, wherever it stands, and for `doctor` as well.
    bench.rig.configure(&project("[\"billing\", \"shop\"]"));
    assert!(bench.run(3, &["backup", "shop"]).stdout.contains("shop/globals: "));
    let doctor = bench.run(1, &["doctor", "shop"]).stdout;
    assert!(doctor.contains("PROBLEM project \"shop\", database \"billing\"") && doctor.contains("database \"shop\": "), "{doctor}");
}

#[test]
fn roles_without_their_passwords_are_said_to_be_so_wherever_it_counts() {
    let bench = Bench::new();
    bench.cluster.psql("create role backup login; create role app login password 'opensesame'; create role idle nologin");
    bench.cluster.psql_in("shop", "grant usage on schema public to backup; grant select on all tables in schema public to backup");
    let url = bench.cluster.url_as("backup", "shop");
    bench.rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {url:?}\nglobals = true\nlimits = {{ retries = [] }}\n"));
    let words = "without role passwords, as the role \"backup\" can't read pg_authid in the database \"shop\"";
    let grant = "GRANT SELECT ON pg_catalog.pg_authid TO \"backup\"";
    let doctor = bench.run(0, &["doctor", "shop"]).stdout;
    assert!(doctor.contains(&format!("they are backed up {words}")) && doctor.contains(grant), "{doctor}");
    let told = bench.run(0, &["backup", "shop"]);
    assert!(told.stderr.contains(&format!("warning: {words}: ")) && told.stderr.contains(grant), "{told:?}");
    let shown = bench.run(0, &["show", "shop/globals@latest"]).stdout;
    assert!(shown.contains(&format!("warning    {words}")), "{shown}");
    let manifest = bench.run(0, &["show", "shop/globals@latest", "--json"]).json();
    assert!(manifest["warnings"][0].as_str().is_some_and(|warning| warning.contains(words)), "{manifest}");

    let other = Cluster::start();
    let warning =
        "holds no password of the roles app, backup: they can't log in by one before it is set anew, as by psql's \\password \"app\"";
    let planned = bench.run(0, &["restore", "shop/shop@latest", "--to", &other.url("shop"), "--globals", "--dry-run"]);
    assert!(planned.stderr.contains(warning), "{planned:?}");
    let restored = bench.run(0, &["restore", "shop/shop@latest", "--to", &other.url("shop"), "--globals"]);
    assert!(restored.stderr.contains(warning), "{restored:?}");
    assert_eq!(other.psql("select rolpassword is null from pg_authid where rolname = 'app'"), "t");
    let again = bench.run(0, &["restore", "shop/shop@latest", "--to", &other.url("again"), "--globals"]);
    assert!(!again.stderr.contains("password"), "they are there: {again:?}");

    bench.cluster.psql_in("shop", grant);
    let told = bench.run(0, &["backup", "shop"]);
    assert!(!told.stderr.contains("password"), "{told:?}");
    assert!(!bench.run(0, &["doctor", "shop"]).stdout.contains("password"));
    let third = Cluster::start();
    let restored = bench.run(0, &["restore", "shop/shop@latest", "--to", &third.url("shop"), "--globals"]);
    assert!(restored.stderr.contains("no password of the roles backup"), "it never had one: {restored:?}");
    assert_eq!(third.psql("select rolpassword like 'SCRAM%' from pg_authid where rolname = 'app'"), "t");

    // Who may read all data may read these.
    bench.cluster.psql_in("shop", "revoke select on pg_catalog.pg_authid from backup");
    assert!(bench.run(0, &["backup", "shop"]).stderr.contains("without role passwords"));
    bench.cluster.psql("grant pg_read_all_data to backup");
    let told = bench.run(0, &["backup", "shop"]);
    assert!(!told.stderr.contains("password"), "{told:?}");
    let fourth = Cluster::start();
    bench.run(0, &["restore", "shop/shop@latest", "--to", &fourth.url("shop"), "--globals"]);
    assert_eq!(fourth.psql("select rolpassword like 'SCRAM%' from pg_authid where rolname = 'app'"), "t");
}

/// Ended between the last database and the roles: the slot isn't served by what was made before.
#[test]
fn a_job_that_is_ended_before_the_roles_is_not_called_whole() {
    let bench = Bench::new();
    bench.rig.configure(&bench.project("shop", "shop", "globals = true\n"));
    let settings = pgdumpd::config::load(&bench.rig.path().join("pgdumpd.toml"), &|_| None).expect("the configuration");
    let world = World::open(&settings, Clock::system()).expect("a world");
    let project = Arc::clone(&settings.projects[0]);
    let (shape, only) = (project.shape.clone(), Vec::new());
    let order = Order { project, shape, trigger: Trigger::Manual, schedule: None, slot: None, only };
    let cancel = Cancel::new();
    let ended = |_: &Run, _: Option<&Manifest>| cancel.cancel(CancelReason::Signalled("SIGTERM"));
    let setting = Setting { cancel: &cancel, board: &Board::default(), gate: &Open, said: None, ended: Some(&ended) };
    let report = scheduled::run(&world, &order, &setting);
    assert_eq!((report.runs.len(), report.cut_short, report.outcome), (1, true, SlotOutcome::Interrupted));
}
