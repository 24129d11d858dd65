//! The runbook's chapter on parts of a live database: every line of it is typed as it stands there, and does what it says.

use std::process::{Command, Stdio};

use crate::cluster::bin;
use crate::scene::Scene;

const LIVE: &str = "create table customers (id int primary key); insert into customers select generate_series(1, 20);
    create table orders (id int generated always as identity primary key, customer int references customers, total numeric);
    insert into orders (customer, total) select 1 + i % 20, i from generate_series(1, 500) i;
    create table items (id int primary key, o int references orders); insert into items select i, i from generate_series(1, 100) i;
    create view order_totals as select customer, sum(total) from orders group by 1;
    create table visits (id int primary key); insert into visits select generate_series(1, 300)";

/// The id that the chapter's backup has.
const NAMED: &str = "k3f9q2abcd";

/// The lines of each of the chapter's blocks.
fn blocks() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md")).unwrap();
    let chapter = text.split("## A table or rows are gone, and the database goes on\n").nth(1).unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let blocks = chapter.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.lines().map(str::to_owned).collect()).collect()
}

/// Types a line, and gives back what it said.
fn typed(scene: &Scene, id: &str, line: &str) -> String {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_pgdumpd")).parent().unwrap();
    let path = format!("{}:{}:{}", program.display(), bin().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &line.replace(NAMED, id)]).current_dir(scene.rig.path()).stdin(Stdio::null());
    command.envs(scene.rig.env.iter().map(|(name, value)| (name, value))).env("PATH", path);
    command.env("PGHOST", "127.0.0.1").env("PGPORT", scene.cluster.port.to_string()).env("PGUSER", "postgres");
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{line}: {said}");
    said
}

#[test]
fn every_line_of_the_runbooks_chapter_on_parts_does_what_it_says() {
    let scene = Scene::new(LIVE);
    let id = scene.rig.backups()[0]["id"].as_str().unwrap().to_owned();
    let before = scene.fingerprint("shop");
    let harmed = |harm: &str| scene.cluster.psql_in("shop", harm);
    harmed("delete from items; delete from orders where id between 10 and 19");
    scene.backup();
    let blocks = blocks();
    let [find, missing, changed, dropped, as_it_was, beside, afterwards] = blocks.as_slice() else { panic!("{blocks:?}") };
    let type_all = |block: &[String]| block.iter().map(|line| typed(&scene, &id, line)).collect::<Vec<String>>();

    let said = type_all(find);
    assert!(said[0].contains(&id) && said[1].contains("orders") && said[2].contains("-10"), "{said:?}");
    assert!(type_all(missing)[1].contains("merged 500 rows") && harmed("select count(*) from orders") == "500");
    harmed("insert into items select i, i from generate_series(1, 100) i");
    assert_eq!(scene.fingerprint("shop"), before);

    harmed("update orders set total = 0 where id > 450");
    assert!(type_all(changed)[1].contains("0 inserted, 50 updated"));
    assert_eq!(scene.fingerprint("shop"), before);

    harmed("drop table orders cascade");
    let said = type_all(dropped);
    assert!(said[0].contains("what else is there stays as it is"), "{said:?}");
    let key = said[2].lines().find(|line| line.contains("ADD CONSTRAINT items_o_fkey")).unwrap();
    harmed(&format!("alter table items {}", key.trim()));
    assert_eq!(scene.fingerprint("shop"), before);

    harmed("alter table orders add more int; truncate orders, items");
    assert!(type_all(as_it_was)[1].contains("what was there is kept as backup"));
    assert_eq!(scene.fingerprint("shop"), before);

    harmed("delete from items; delete from orders where id between 10 and 19");
    type_all(beside);
    assert_eq!(harmed("select count(*) from orders"), "500");
    assert!(!scene.databases().contains(&String::from("shop_then")));
    let csv = std::fs::read_to_string(scene.rig.path().join("orders.csv")).unwrap();
    assert_eq!(csv.lines().count(), 501, "{csv}");
    type_all(afterwards);
}
