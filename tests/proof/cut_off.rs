//! Drills by schedule that pgdumpd's own end cuts off: none of them is silent.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Serving, wait_until};
use crate::stage::{LONG, Stage};

/// A check that the server works at for longer than a test waits.
const SLEEPS: &str = "[[project.check]]\nname = \"slow\"\nsql = \"select pg_sleep(55) is not null\"";

fn drill(cron: &str, on: &Cluster) -> String {
    format!("drill = {{ cron = {cron:?}, on = {:?} }}", on.url("postgres"))
}

fn at_work(server: &Cluster) -> bool {
    server.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1"
}

/// Kills the daemon while a check is being asked; what it left on the server ends.
fn killed(mut serving: Serving, server: &Cluster) {
    wait_until(LONG, || serving.log(), || at_work(server));
    serving.signal("KILL");
    assert_eq!(serving.wait(LONG), -1);
    server.psql("select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'");
    let gone = || server.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd%'") == "0";
    wait_until(LONG, || String::from("the sessions of the killed one end"), gone);
}

fn drills(stage: &Stage) -> Vec<Value> {
    let entries = stage.run(&["audit", "shop", "--json"], 0).json().as_array().cloned().unwrap();
    entries.into_iter().filter(|entry| entry["action"] == "drill").map(|entry| entry["outcome"].clone()).collect()
}

#[test]
fn a_drill_that_a_kill_cuts_off_is_told_by_the_next_start_as_one_that_failed() {
    let stage = Stage::new("");
    let id = stage.backup();
    let other = Cluster::start();
    stage.configure(&format!("{}\n{SLEEPS}", drill("*/2 * * * * *", &other)));
    killed(stage.rig.serve(), &other);
    assert!(stage.mails("").is_empty());
    stage.configure(&drill("@yearly", &other));
    for starts in [2, 3] {
        let mut serving = stage.rig.serve();
        wait_until(LONG, || serving.log(), || serving.log().matches(" ready").count() == starts);
        wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 1);
        serving.signal("TERM");
        assert_eq!(serving.wait(LONG), 0);
    }
    let mails = stage.mails("");
    assert_eq!(mails.len(), 1, "it is told once: {mails:?}");
    let mail = mails[0].replace('\n', " ");
    for words in ["pgdumpd ended while this drill was going on", "Nothing is left of the scratch database", &format!("drill {id}")] {
        assert!(mail.contains(words), "{words}: {mail}");
    }
    assert_eq!(stage.slots("drill", "interrupted"), 1);
    let said = drills(&stage);
    assert!(said.len() == 1 && said[0].as_str().unwrap().starts_with("interrupted: pgdumpd ended while"), "{said:?}");
    assert!(stage.run(&["status"], 1).stdout.contains("shop/shop: DRILLS FAIL"));
    stage.run(&["drill", "shop"], 0);
    assert_eq!(stage.mails("OK shop: drills work again").len(), 1);
}

/// What ended before the kill in the same slot is told as it ended; a stop that can't be made up for is told as well.
#[test]
fn what_a_cut_off_drill_had_found_before_is_told_too() {
    let stage = Stage::new("");
    stage.cluster.psql("create database billing");
    stage.cluster.psql_in("billing", "create table invoice as select g n from generate_series(1, 20) g");
    let both = "databases = [\"shop\", \"billing\"]";
    stage.configure(both);
    stage.run(&["backup", "shop"], 0);
    let other = Cluster::start();
    let checks = format!("{SLEEPS}\ndatabase = \"shop\"\n[[project.check]]\nname = \"no\"\nsql = \"select false\"\ndatabase = \"billing\"");
    stage.configure(&format!("{both}\n{}\n{checks}", drill("*/2 * * * * *", &other)));
    killed(stage.rig.serve(), &other);
    stage.configure(&format!("{both}\n{}", drill("@yearly", &other)));
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 2);
    assert!(stage.mails("DRILL FAILED shop/billing")[0].contains("\"no\" failed"), "{:?}", stage.mails(""));
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    stage.run(&["drill", "shop"], 0);
    assert_eq!(stage.mails("OK shop: drills").len(), 2);
    // Nobody makes up for this one.
    stage.configure(&format!("{both}\ncatch_up = \"0s\"\n{}\n{SLEEPS}\ndatabase = \"shop\"", drill("*/2 * * * * *", &other)));
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || at_work(&other));
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 3);
    let mail = stage.mails("DRILL FAILED shop").remove(2).replace('\n', " ");
    assert!(mail.contains("interrupted by a shutdown"), "{mail}");
}
