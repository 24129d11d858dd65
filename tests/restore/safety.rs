//! The backup that an in-place restore makes of what it overwrites: kept and named, and never taken for one of the project's own. And what
//! `status` says of restores.

use serde_json::Value;

use crate::scene::{SHOP, Scene};

fn of(rows: &[Value], selection: &str) -> Vec<(String, u64)> {
    let chosen = rows.iter().filter(|row| row["selection"] == selection);
    chosen.map(|row| (row["id"].as_str().unwrap().to_owned(), row["rows"].as_u64().unwrap())).collect()
}

const KEPT: &str = "full before-restore";

#[test]
fn in_place_restores_of_a_damaged_database_push_out_no_good_backup() {
    let scene = Scene::new(SHOP);
    scene.configure("retention = { keep_last = 3 }");
    (0..2).for_each(|_| scene.backup());
    // Ten rows are left, and something stands in the way of dropping their table.
    scene.cluster.psql_in(
        "shop",
        "delete from orders where id > 10; delete from customer c where not exists (select from orders where customer = c.id)",
    );
    scene.cluster.psql_in("shop", "create view late as select * from orders");
    for _ in 0..2 {
        let failed = scene.restore("shop", &["--in-place"]);
        assert_eq!(failed.code, 1, "{failed:?}");
        let (made, rows) = of(&scene.rig.backups(), KEPT).swap_remove(0);
        assert_eq!(rows, 20);
        assert!(failed.stderr.contains(&format!("what was there is kept as backup {made}")), "{failed:?}");
    }
    scene.cluster.psql_in("shop", "drop view late");
    scene.restored("shop", &["--in-place"]);
    assert_eq!(scene.cluster.psql_in("shop", "select count(*) from orders"), "500", "the latest is still a good one");
    let listed = scene.rig.run(&["list"]).stdout;
    assert_eq!(listed.matches("made before an in-place restore").count(), 3, "{listed}");
    let status = scene.rig.run(&["status", "--json"]).json();
    assert_eq!(status["projects"][0]["last_good"][0]["rows"], 550, "{status}");
    // Whatever prunes, by itself or by hand.
    scene.backup();
    assert_eq!(scene.rig.run(&["prune", "shop"]).code, 0);
    let rows = scene.rig.backups();
    assert_eq!(of(&rows, "full").iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [550, 550, 550]);
    let kept = of(&rows, KEPT);
    assert_eq!(kept.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [20, 20, 20]);
    assert!(rows.iter().all(|row| row["suspicious"].is_null()), "{rows:?}");
    let shown = scene.rig.run(&["show", &kept[0].0]).stdout;
    assert!(shown.contains("an in-place restore was about to overwrite the database"), "{shown}");
    // It can be brought back by its id, and one more pushes out nothing: a night of attempts costs none of them.
    assert_eq!(scene.rig.run(&["restore", &kept[0].0, "--to", "undone"]).code, 0);
    assert_eq!(scene.cluster.psql_in("undone", "select count(*) from orders"), "10");
    scene.restored("shop", &["--in-place"]);
    scene.backup();
    let rows = scene.rig.backups();
    assert_eq!((of(&rows, "full").len(), of(&rows, KEPT).len()), (3, 4));
    assert_eq!(of(&rows, KEPT)[0].1, 550);
}

#[test]
fn it_is_what_it_is_without_the_catalog_too() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql_in("shop", "delete from orders");
    scene.restored("shop", &["--in-place"]);
    for entry in std::fs::read_dir(scene.rig.state()).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
    assert_eq!(of(&scene.rig.backups(), KEPT).len(), 1);
    let latest = scene.rig.run(&["show", "shop@latest", "--json"]).json();
    assert_eq!((latest["total_rows"].as_u64(), latest["selection"].as_str()), (Some(550), Some("full")));
}

#[test]
fn a_project_was_last_restored_when_the_database_was_that_waited_longest() {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database billing");
    let connection = scene.cluster.url("");
    scene.rig.configure(&format!(
        "[[project]]\nname = \"shop\"\nconnection = {connection:?}\ndatabases = [\"shop\", \"billing\"]\nlimits = {{ retries = [] }}\n"
    ));
    scene.backup();
    let restored = |what: &str, to: &str| {
        let ended = scene.rig.run(&["restore", what, "--to", to]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let status = scene.rig.run(&["status", "--json"]).json();
        (status["projects"][0]["restored"]["database"].clone(), scene.rig.run(&["status"]).stdout)
    };
    let (database, told) = restored("shop/shop@latest", "one");
    assert!(database.is_null() && told.contains("never: billing"), "{told}");
    let (database, told) = restored("shop/billing@latest", "two");
    assert!(database == "shop" && told.contains("(longest of 2 databases)"), "{told}");
    assert_eq!(restored("shop/shop@latest", "three").0, "billing");
}
