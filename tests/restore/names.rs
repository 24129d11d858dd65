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

#[test]
fn what_takes_one_backup_asks_which_database_and_what_takes_many_takes_each() {
    let scene = Scene::bare(Cluster::start(), SHOP);
    scene.cluster.psql("create database blog");
    let url = scene.cluster.url("");
    scene.rig.configure(&format!(
        "[[project]]\nname = \"shop\"\nconnection = {url:?}\ndatabases = [\"shop\", \"blog\"]\nlimits = {{ retries = [] }}"
    ));
    scene.backup();
    scene.backup();
    let today = scene.rig.backups()[0]["started_at"].as_str().unwrap()[..10].to_owned();
    for moment in ["latest", &today] {
        let name = format!("shop@{moment}");
        let asked: [&[&str]; 8] = [
            &["show", &name],
            &["show", &name, "--toc"],
            &["cat", &name, "orders"],
            &["diff", &name, "shop/blog@latest"],
            &["diff", "shop/blog@latest", &name],
            &["pin", &name],
            &["unpin", &name],
            &["accept", &name],
        ];
        for command in asked {
            let ended = scene.rig.run(command);
            assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{command:?}: {ended:?}");
            let choices = format!("say which: shop/blog@{moment}, shop/shop@{moment}");
            assert!(ended.stderr.contains("any of 2 databases") && ended.stderr.contains(&choices), "{command:?}: {ended:?}");
        }
    }
    assert!(scene.rig.backups().iter().all(|row| row["pinned"] == false));
    let name = format!("shop/shop@{today}");
    let counts = [["show", &name], ["pin", &name], ["show", "latest"], ["restore", "latest"]].map(|command| scene.rig.run(&command).code);
    assert_eq!(counts, [0, 0, 0, 2]);
    let looked = |what: &str| {
        let ended = scene.rig.run(&["verify", what, "--level", "checksum", "--json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let answer = ended.json();
        let of = |look: &serde_json::Value| look["backup"]["database"].as_str().unwrap().to_owned();
        answer["backups"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(looked("shop@latest"), ["blog", "shop"], "the newest of each");
    assert_eq!(looked("shop/shop@latest"), ["shop"]);
    assert_eq!(looked("shop"), ["blog", "shop", "blog", "shop"], "all of the project's");
}
