//! Drills where there is no room: said before anything is made, with what to do.

use crate::rig::wait_until;
use crate::small::Small;
use crate::stage::{LONG, Stage};

#[test]
fn a_drill_without_room_for_its_server_says_so_before_it_makes_one() {
    let stage = Stage::new("");
    let id = stage.backup();
    let test = "a_drill_without_room_for_its_server_says_so_before_it_makes_one";
    let Some(disk) = Small::mount(test, stage.rig.path().join("tmp"), "size=32m,mode=1777") else { return };
    let ended = stage.run(&["drill", &id], 1);
    let told = ["can't be restored for trial on this machine: a throwaway PostgreSQL with what the backup holds takes about", "MiB free"];
    assert!(told.iter().all(|words| ended.stderr.contains(words)), "{ended:?}");
    assert!(ended.stderr.contains("name a folder with more room in TMPDIR, or drill on a server"), "{ended:?}");
    assert!(stage.mails("").is_empty(), "by hand, what this machine can't do is no drill that failed");
    stage.configure("drill = { cron = \"*/2 * * * * *\" }");
    let serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || stage.mails("DRILL FAILED shop: a throwaway PostgreSQL").len() == 1);
    let mail = stage.mails("DRILL FAILED shop").remove(0).replace('\n', " ");
    assert!(mail.contains("name a folder with more room in TMPDIR, or drill on a server"), "{mail}");
    drop(serving);
    disk.remount("size=512m");
    stage.run(&["drill", &id], 0);
}
