//! A storage that takes no proof: what was found is said all the same, and that it counts for nothing.

use chrono::{TimeDelta, Utc};

use crate::cluster::Cluster;
use crate::rig::wait_until;
use crate::small::Small;
use crate::stage::{LONG, Stage};

#[test]
fn what_is_found_where_no_proof_can_be_written_is_said_and_mailed_once() {
    let stage = Stage::new("");
    let test = "what_is_found_where_no_proof_can_be_written_is_said_and_mailed_once";
    let Some(disk) = Small::mount(test, stage.rig.storage(), "size=4m,mode=0700") else { return };
    let id = stage.backup();
    disk.remount("ro");
    let said = stage.run(&["verify", &id], 3).stdout;
    assert!(said.contains(": good: ") && said.contains("NOT WRITTEN DOWN beside the backup, so nothing counts it: "), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    let json = stage.run(&["verify", &id, "--json"], 3).json();
    assert_eq!((&json["success"], &json["backups"][0]["verdict"]), (&false.into(), &"good".into()));
    assert_eq!(json["backups"][0]["unwritten"]["cause"], "storage", "{json}");
    let said = stage.run(&["drill", &id], 3).stdout;
    assert!(said.contains("it came back as it was backed up") && said.contains("NOT WRITTEN DOWN"), "{said}");
    assert!(stage.proof(&id).is_none() && stage.row(&id)["proof"] == "whole", "{:?}", stage.row(&id));
    let mails = stage.mails("UNPROVEN shop: what was found");
    assert!(mails.len() == 1 && mails[0].contains(&format!("verify {id}")), "{mails:?}");
    let told = stage.run(&["status"], 1).stdout;
    assert!(told.contains("shop: what is found of backups is NOT WRITTEN DOWN, for"), "{told}");
    disk.remount("rw");
    stage.run(&["verify", &id], 0);
    assert_eq!((stage.mails("OK shop: what is found").len(), stage.mails("").len()), (1, 2));
    stage.run(&["status"], 0);
    // Nor is the daemon silent, on its rounds and after a drill that is due.
    disk.fill();
    stage.configure("verify = { recheck_every = \"2s\" }");
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("UNPROVEN shop").len() == 2);
    assert!(stage.mails("UNPROVEN shop")[1].contains("No space left on device"), "{:?}", stage.mails("UNPROVEN shop"));
    disk.free();
    wait_until(LONG, || serving.log(), || stage.mails("OK shop: what is found").len() == 2);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    disk.fill();
    stage.configure("drill = { cron = \"*/2 * * * * *\" }");
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("UNPROVEN shop").len() == 3);
    assert!(stage.mails("DRILL FAILED").is_empty());
    drop(serving);
    disk.free();
}

/// Its slot comes once, so that no later drill tells what this one found.
#[test]
fn f15_a_drill_that_fails_while_the_state_directory_is_full_is_told_once_it_is_not() {
    let stage = Stage::new("");
    let test = "f15_a_drill_that_fails_while_the_state_directory_is_full_is_told_once_it_is_not";
    let Some(disk) = Small::mount(test, stage.rig.state(), "size=4m,mode=0700") else { return };
    stage.backup();
    let other = Cluster::start();
    let cron = (Utc::now() + TimeDelta::seconds(6)).format("%S %M %H * * *");
    stage.configure(&format!(
        "time_zone = \"UTC\"\ndrill = {{ cron = \"{cron}\", on = {:?} }}\n[[project.check]]\nname = \"slow\"\nsql = \"select pg_sleep(5) is null\"",
        other.url("postgres")
    ));
    let mut serving = stage.rig.serve();
    other.wait_until("exists (select from pg_stat_activity where pid <> pg_backend_pid() and query like '%pg_sleep%')");
    disk.fill();
    wait_until(LONG, || serving.log(), || serving.log().contains("a drill can't be turned into mail yet"));
    disk.free();
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 1);
    let mail = &stage.mails("DRILL FAILED shop")[0];
    assert!(mail.contains("slow") && !mail.contains("pgdumpd ended while"), "{mail}");
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    // Nor does the next start tell it again.
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || serving.log().matches(" ready").count() == 2);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    assert_eq!(stage.mails("DRILL FAILED").len(), 1);
}
