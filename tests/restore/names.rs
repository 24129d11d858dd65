//! How a backup is named: by time, and where a project has several databases.

use crate::cluster::Cluster;
use crate::scene::{SHOP, Scene};

#[test]
fn a_time_before_every_backup_names_the_oldest() {
    let scene = Scene::new(SHOP);
    scene.backup();
    let oldest = scene.rig.backups()[1]["id"].as_str().unwrap().to_owned();
    for name in ["shop@2020-01-01", "shop/shop@2020-01-01 10:00"] {
        let ended = scene.rig.run(&["restore", name, "--to", "new"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        let words = format!("the oldest good one is {oldest} of ");
        assert!(ended.stderr.contains(&words) && ended.stderr.contains(&format!("name it by its id, {oldest}")), "{ended:?}");
    }
    let ended = scene.rig.run(&["show", "shop/nothing@latest"]);
    assert!(ended.code == 1 && ended.stderr.contains("there is shop/shop@latest"), "{ended:?}");
}

#[test]
fn a_database_that_is_no_longer_covered_makes_no_name_ambiguous() {
    let scene = Scene::bare(Cluster::start(), SHOP);
    scene.cluster.psql("create database blog");
    let configure = |databases: &str| {
        let url = scene.cluster.url("");
        scene.rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {url:?}\n{databases}\nlimits = {{ retries = [] }}"));
    };
    configure("databases = [\"shop\", \"blog\"]");
    scene.backup();
    let ended = scene.restore("new", &[]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("any of 2 databases") && ended.stderr.contains("shop/blog@latest, shop/shop@latest"), "{ended:?}");
    // The one that was backed up last is the one that is gone.
    configure("databases = [\"shop\"]");
    let ended = scene.restored("new", &[]);
    assert!(ended.stdout.contains("of shop/shop to"), "{ended:?}");
    let ended = scene.rig.run(&["restore", "shop/blog@latest", "--to", "old"]);
    assert_eq!(ended.code, 0, "what is gone is restored by its name: {ended:?}");
}
