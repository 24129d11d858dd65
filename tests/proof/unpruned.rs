//! A backup that retention lets go and that can't be removed: told, and no reason to make no further ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::wait_until;
use crate::skip::skip;
use crate::stage::{LONG, Stage};

/// Nobody can remove it: something is mounted on it.
struct Stuck(PathBuf);

impl Stuck {
    fn new(test: &str, file: &Path) -> Option<Self> {
        if !crate::cluster::is_root() {
            skip(test, "mounting needs root");
            return None;
        }
        assert!(Command::new("mount").arg("--bind").arg(file).arg(file).status().unwrap().success());
        Some(Self(file.to_owned()))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn a_backup_that_can_not_be_removed_is_told_and_keeps_none_from_being_made() {
    let test = "a_backup_that_can_not_be_removed_is_told_and_keeps_none_from_being_made";
    let stage = Stage::new("retention = { keep_last = 1 }");
    let file = stage.file(&stage.backup());
    let Some(stuck) = Stuck::new(test, &file) else { return };
    stage.configure("retention = { keep_last = 1 }\nschedule = [{ name = \"often\", cron = \"*/2 * * * * *\" }]");
    let mut serving = stage.rig.serve();
    let made = || serving.log().matches("backup made").count();
    wait_until(LONG, || serving.log(), || stage.mails("PRUNE FAILED shop").len() == 1);
    let before = made();
    wait_until(LONG, || serving.log(), || made() >= before + 3);
    let mail = &stage.mails("PRUNE FAILED shop")[0];
    assert!(mail.contains("busy") && mail.contains("prune shop"), "{mail}");
    assert_eq!(serving.log().matches("not removed yet: removing").count(), 1, "{}", serving.log());
    let words = mail.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("removing /") && !words.contains("removing shop"), "the file is named once: {mail}");
    assert_eq!(stage.mails("").len(), 1, "told once, and as no failed backup");
    let told = stage.run(&["status"], 1).stdout;
    assert!(told.contains("shop: old backups are NOT REMOVED, for"), "{told}");
    drop(stuck);
    wait_until(LONG, || serving.log(), || stage.mails("OK shop: old backups are removed again").len() == 1);
    assert!(!file.exists());
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    by_hand(&stage, test);
}

fn by_hand(stage: &Stage, test: &str) {
    stage.configure("retention = { keep_last = 1 }");
    let file = stage.file(&stage.backup());
    let Some(stuck) = Stuck::new(test, &file) else { return };
    let told = stage.run(&["backup", "shop"], 3).stderr;
    assert!(told.contains("busy"), "{told}");
    assert_eq!(stage.mails("PRUNE FAILED shop").len(), 2);
    let told = stage.run(&["prune", "shop"], 3).stderr;
    assert!(told.contains("busy"), "{told}");
    drop(stuck);
    stage.run(&["prune", "shop"], 0);
    assert!(!file.exists());
    assert_eq!(stage.mails("OK shop: old backups").len(), 2);
    stage.run(&["status"], 0);
}
