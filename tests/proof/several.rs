//! Projects of several databases: a drill of one says nothing of another, and a check is asked where it belongs.

use std::process::Stdio;

use crate::rig::wait_until;
use crate::stage::{LONG, Stage};

/// A project with the databases `shop` and `billing`, both backed up, and a check of these lines that is true of `shop` alone.
fn two(check: &str) -> Stage {
    let stage = Stage::new("");
    stage.cluster.psql("create database billing");
    stage.cluster.psql_in("billing", "create table invoice as select g n from generate_series(1, 20) g");
    stage.configure(&of_both(check));
    stage.run(&["backup", "shop"], 0);
    stage
}

fn of_both(check: &str) -> String {
    format!("databases = [\"shop\", \"billing\"]\n[[project.check]]\nname = \"items\"\nsql = \"select count(*) = 500 from item\"\n{check}")
}

/// Makes the open alert one of all the project's drills, as they were kept before each database had its own.
fn of_old(stage: &Stage) {
    let catalog = rusqlite::Connection::open(stage.rig.state().join("catalog.db")).unwrap();
    catalog.busy_timeout(LONG).unwrap();
    let sql = "update alerts set database = '*', state = json_set(state, '$.key.database', '*') where selection = 'drill'";
    assert_eq!(catalog.execute(sql, []).unwrap(), 1);
}

#[test]
fn a_drill_that_works_says_nothing_of_another_databases() {
    let stage = two("");
    stage.run(&["drill", "shop"], 1);
    assert_eq!((stage.mails("DRILL FAILED shop/billing").len(), stage.mails("DRILL FAILED").len()), (1, 1));
    stage.run(&["drill", "shop/shop@latest"], 0);
    assert!(stage.mails("OK shop").is_empty(), "billing's still fails: {:?}", stage.mails("OK shop"));
    let told = stage.run(&["status"], 1).stdout;
    assert!(told.contains("shop/billing: DRILLS FAIL"), "{told}");
    stage.configure(&of_both("database = \"shop\""));
    let said = stage.run(&["drill", "shop"], 0).stdout;
    assert_eq!(said.matches("check items: true").count(), 1, "it is asked of one database: {said}");
    let mails = stage.mails("OK shop: drills of billing work again");
    assert!(mails.len() == 1 && mails[0].contains("References: <") && mails[0].contains("nothing for you to do"), "{mails:?}");
    stage.run(&["status"], 0);
    // One that nobody drills any more is closed.
    stage.configure(&of_both("database = [\"billing\"]"));
    stage.run(&["drill", "shop/billing@latest"], 1);
    stage.configure("");
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("CLOSED shop").len() == 1);
    assert_eq!(stage.run(&["status", "--json"], 0).json()["projects"][0]["status"], "ok");
}

#[test]
fn an_alert_from_before_each_database_had_its_own_ends_when_all_came_back() {
    let stage = two("");
    stage.run(&["drill", "shop/billing@latest"], 1);
    of_old(&stage);
    stage.run(&["drill", "shop/shop@latest"], 0);
    stage.run(&["status"], 1);
    assert!(stage.mails("OK shop").is_empty(), "which database it was, nobody knows");
    stage.configure(&of_both("database = \"shop\""));
    stage.run(&["drill", "shop/billing@latest"], 0);
    assert_eq!(stage.mails("OK shop: drills").len(), 1);
    stage.run(&["status"], 0);
    // Where one fails again, it takes the alert over, and nobody is told twice.
    stage.configure(&of_both(""));
    stage.run(&["drill", "shop/billing@latest"], 1);
    assert_eq!(stage.mails("DRILL FAILED").len(), 2);
    of_old(&stage);
    stage.run(&["drill", "shop/billing@latest"], 1);
    assert_eq!(stage.mails("DRILL FAILED").len(), 2);
    let told = stage.run(&["status"], 1).stdout;
    assert!(told.contains("shop/billing: DRILLS FAIL") && told.contains("2 in a row") && !told.contains("shop: DRILLS"), "{told}");
}

#[test]
fn a_drill_sent_by_hand_to_a_server_that_is_not_there_fails_nothing() {
    let stage = Stage::new("[[project.check]]\nname = \"never\"\nsql = \"select false\"");
    let id = stage.backup();
    stage.run(&["drill", &id, "--on", "postgresql://x@127.0.0.1:1/x"], 75);
    assert!(stage.mails("").is_empty(), "a typo is no failed drill: {:?}", stage.mails(""));
    stage.run(&["status"], 0);
    assert!(stage.proof(&id).is_none(), "nothing was proven: {:?}", stage.proof(&id));
    // One that says something is told, with the line to do the very same again.
    let url = stage.cluster.url("postgres").replacen('@', ":hunter2@", 1);
    stage.run(&["drill", &id, "--on", &url], 1);
    let mails = stage.mails("DRILL FAILED shop");
    let again = format!("drill {id} --on ");
    assert!(mails.len() == 1 && mails[0].contains(&again) && mails[0].contains("127.0.0.1"), "{mails:?}");
    assert!(!mails[0].contains("hunter2"), "{mails:?}");
}

#[test]
fn a_drill_stands_in_the_audit_log_from_its_beginning() {
    let stage = Stage::new("");
    let id = stage.backup();
    stage.run(&["drill", &id], 0);
    // A psql that never answers: the drill is caught with its cluster up.
    let script = "#!/bin/sh\nexec sleep 1000\n";
    stage.configure(&format!("pg_bin_dir = {:?}", stage.rig.clients(&[("psql", script)])));
    let mut child = stage.rig.command().args(["drill", "shop"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let entries = || stage.run(&["audit", "shop", "--json"], 0).json().as_array().cloned().unwrap();
    wait_until(LONG, || String::from("the entry"), || entries().len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let outcomes: Vec<_> = entries().iter().map(|entry| (entry["action"].clone(), entry["outcome"].clone())).collect();
    assert_eq!(outcomes, [("drill".into(), "begun".into()), ("drill".into(), "restored".into())]);
    let told = stage.run(&["audit"], 0).stdout;
    assert!(told.contains("begun: still at work, or killed"), "{told}");
}
