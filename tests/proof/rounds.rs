//! Proof on schedule: drills that are due, the daemon's rounds over stored backups, and a look at each new backup.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::bin;
use crate::rig::wait_until;
use crate::stage::{LONG, Stage};

#[test]
fn f31_the_rounds_find_a_flipped_byte_and_mail_once() {
    let stage = Stage::new("verify = { recheck_every = \"2s\" }");
    let ids = [stage.backup(), stage.backup()];
    stage.flip(&ids[0]);
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("DAMAGED shop").len() == 1);
    assert!(stage.mails("DAMAGED")[0].contains(&ids[0]) && stage.mails("DAMAGED")[0].contains("The newest good backup"));
    // Every backup has its turn, again and again, and the damage is told no second time.
    let checked = |id: &str| stage.row(id)["checked_at"].as_str().map(str::to_owned);
    wait_until(LONG, || String::from("the other's turn"), || checked(&ids[1]).is_some());
    let before = checked(&ids[0]);
    wait_until(LONG, || String::from("the next turn"), || checked(&ids[0]) != before);
    assert_eq!(stage.mails("DAMAGED").len(), 1);
    assert!(stage.row(&ids[1])["proof"] == "checksum" && stage.row(&ids[0])["damaged"].is_string());
    stage.flip(&ids[0]);
    wait_until(LONG, || serving.log(), || stage.mails("OK shop: a backup").len() == 1);
    assert!(stage.row(&ids[0])["damaged"].is_null());
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn the_rounds_stand_still_while_a_dump_runs() {
    let stage = Stage::new("");
    let id = stage.backup();
    let (at, bin) = (stage.rig.path().display(), crate::cluster::bin());
    let bin = bin.display();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' --version '*) exec {bin}/pg_dump --version;; esac\n: >{at}/dumping\n\
         while [ ! -e {at}/go ]; do sleep 0.1; done\nexec {bin}/pg_dump \"$@\"\n"
    );
    let clients = stage.rig.clients(&[("pg_dump", &script)]);
    stage.configure(&format!("pg_bin_dir = {clients:?}\nverify = {{ recheck_every = \"1s\" }}\nschedule = [{{ every = \"1h\" }}]"));
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.rig.path().join("dumping").exists());
    let before = stage.row(&id)["checked_at"].clone();
    std::thread::sleep(Duration::from_secs(25));
    assert_eq!(stage.row(&id)["checked_at"], before, "{}", serving.log());
    std::fs::write(stage.rig.path().join("go"), "").unwrap();
    wait_until(LONG, || serving.log(), || stage.row(&id)["checked_at"] != before);
}

#[test]
fn a_drill_runs_by_its_slots_and_is_told_like_a_backup() {
    let drill = |sql: &str| format!("drill = {{ cron = \"*/5 * * * * *\", older = 1 }}\n[[project.check]]\nname = \"rows\"\nsql = {sql:?}");
    let stage = Stage::new(&drill("select count(*) = 500 from item"));
    let ids = [stage.backup(), stage.backup()];
    let mut serving = stage.rig.serve();
    let proven = |id: &str| stage.row(id)["proof"] == "restored";
    wait_until(LONG, || serving.log(), || ids.iter().all(|id| proven(id)));
    assert!(stage.mails("").is_empty(), "{:?}", stage.mails(""));
    let slots = |outcome: &str| stage.slots("drill", outcome);
    wait_until(LONG, || serving.log(), || slots("ok") > 0);
    // From now on the database doesn't hold what the check wants.
    stage.configure(&drill("select count(*) = 501 from item"));
    serving.signal("HUP");
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 1);
    wait_until(LONG, || serving.log(), || slots("failed") > 1);
    assert_eq!(stage.mails("DRILL FAILED shop").len(), 1, "once until the reminder");
    stage.configure(&drill("select count(*) = 500 from item"));
    serving.signal("HUP");
    wait_until(LONG, || serving.log(), || stage.mails("OK shop: drills work again").len() == 1);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let left: Vec<_> = std::fs::read_dir(stage.rig.path().join("tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A program that waits, once it has begun, until it is told to go on; `--version` it answers at once.
fn held(stage: &Stage, program: &str, only: &str) -> String {
    let at = stage.rig.path().display();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *'{only}'*) : >{at}/began; while [ ! -e {at}/go ]; do sleep 0.1; done ;; esac\n\
         exec {}/{program} \"$@\"\n",
        bin().display()
    );
    format!("pg_bin_dir = {:?}", stage.rig.clients(&[(program, &script)]))
}

#[test]
fn a_drill_makes_no_backup_wait_and_no_drill_runs_beside_it() {
    let stage = Stage::new("");
    stage.backup();
    let clients = held(&stage, "pg_restore", "--no-password");
    let drill = "drill = \"*/2 * * * * *\"\n[[project.schedule]]\nname = \"often\"\ncron = \"*/2 * * * * *\"\n";
    let other = format!("[[project]]\nname = \"blog\"\nconnection = {:?}\ndrill = \"*/2 * * * * *\"", stage.cluster.url("shop"));
    stage.configure_with("max_parallel = 1", "[]", &format!("{clients}\n{drill}{other}"));
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.rig.path().join("began").exists());
    let before = stage.slots("often", "ok");
    wait_until(LONG, || serving.log(), || stage.slots("often", "ok") > before + 1);
    assert_eq!(stage.slots("drill", "ok"), 0, "both drills wait for the one place: {}", serving.log());
    std::fs::write(stage.rig.path().join("go"), "").unwrap();
    wait_until(LONG, || serving.log(), || stage.slots("drill", "ok") > 1);
}

#[test]
fn a_drill_that_reaches_no_server_is_tried_again_before_anybody_is_told() {
    let stage = Stage::new("");
    let id = stage.backup();
    let at = stage.rig.path().display();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' --version '*) ;; *) if [ ! -e {at}/once ]; then : >{at}/once; \
         echo 'psql: error: connection to server failed: Connection refused' >&2; exit 2; fi ;; esac\n\
         exec {}/psql \"$@\"\n",
        bin().display()
    );
    let clients = format!("pg_bin_dir = {:?}", stage.rig.clients(&[("psql", &script)]));
    stage.configure_with("", "[\"1s\"]", &format!("{clients}\ndrill = \"*/2 * * * * *\""));
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.row(&id)["proof"] == "restored");
    assert!(serving.log().contains("trying the drill again later"), "{}", serving.log());
    wait_until(LONG, || serving.log(), || stage.slots("drill", "ok") > 0);
    assert!(stage.slots("drill", "failed") == 0 && stage.mails("").is_empty());
    // Where it stays so, it has failed; and it does at once where nothing can change by itself.
    drop(serving);
    let nowhere = "drill = { cron = \"*/2 * * * * *\", on = \"postgresql://x@127.0.0.1:1/x\" }";
    stage.configure_with("", "[\"1s\"]", nowhere);
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop").len() == 1);
    assert!(serving.log().matches("trying the drill again later").count() > 1, "{}", serving.log());
}

#[test]
fn each_new_backup_is_looked_at_before_it_lets_older_ones_go() {
    let look = "verify = { after_backup = \"read\" }\nretention = { keep_last = 1 }";
    let stage = Stage::new(look);
    let first = stage.backup();
    assert_eq!(stage.row(&first)["proof"], "read");
    // A pg_restore that refuses the new one: the old one stays, and somebody hears of it.
    let script = "#!/bin/sh\ncat >/dev/null\necho 'pg_restore: error: no' >&2\nexit 1\n";
    stage.configure(&format!("{look}\npg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", script)])));
    let ended = stage.rig.run(&["backup", "shop", "--json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let rows: Vec<Value> = stage.rig.backups();
    assert_eq!(rows.len(), 2, "nothing was pruned: {rows:?}");
    assert!(rows[0]["damaged"].as_str().unwrap().contains("pg_restore can't read it"), "{rows:?}");
    assert_eq!(stage.mails("DAMAGED shop").len(), 1);
    // One that nobody could read to its end is no damage, no proof, and told as well.
    let killed = "#!/bin/sh\nkill -KILL $$\n";
    stage.configure(&format!("{look}\npg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", killed)])));
    stage.run(&["backup", "shop"], 1);
    let rows: Vec<Value> = stage.rig.backups();
    assert!(rows.len() == 3 && rows[0]["damaged"].is_null() && rows[0]["proof"] != "read", "{rows:?}");
    assert_eq!((stage.mails("DAMAGED shop").len(), stage.mails("UNREADABLE shop").len()), (1, 1));
}
