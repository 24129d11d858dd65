//! What is proven stays: retention and the levels of proof, end to end.

use crate::stage::Stage;

#[test]
fn the_newest_of_each_level_stays_through_pruning() {
    let stage = Stage::new("");
    let ids: Vec<String> = (0..5).map(|_| stage.backup()).collect();
    stage.run(&["verify", &ids[0], "--level", "read"], 0);
    stage.run(&["verify", &ids[1], "--level", "read"], 0);
    stage.run(&["verify", &ids[2], "--level", "checksum"], 0);
    stage.configure("retention = { keep_last = 1 }");
    stage.run(&["prune", "shop", "--confirm"], 0);
    let left: Vec<String> = stage.rig.backups().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(left, [&ids[4], &ids[2], &ids[1]].map(Clone::clone), "newest, newest checksum, newest read; {ids:?}");
    // A damaged one proves nothing: the next best takes its place.
    stage.flip(&ids[1]);
    stage.run(&["verify", &ids[1]], 1);
    let plan = stage.run(&["prune", "shop", "--dry-run"], 0).stdout;
    assert!(plan.lines().any(|line| line.contains(&ids[1]) && line.contains("keep") && line.contains("damaged")), "{plan}");
}
