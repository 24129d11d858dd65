//! The anomaly gate, end to end: a real server loses rows between backups, and the real binary keeps, marks, tells and prunes nothing.
#![cfg(test)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/rig.rs"]
#[expect(dead_code, reason = "every test binary uses its own part of it")]
mod rig;
#[path = "support/smtp.rs"]
#[expect(dead_code, reason = "this mail server does nothing wrong here")]
mod smtp;

use cluster::Cluster;
use rig::{Ended, Rig};
use serde_json::Value;
use smtp::{Script, Server};

/// A shop with 5000 orders and 300 customers, three backups that kept to the habit, and a mail server.
struct Shop {
    cluster: Cluster,
    rig: Rig,
    mail: Server,
}

impl Shop {
    fn new(more: &str) -> Self {
        let cluster = Cluster::start();
        cluster.psql("create database shop");
        cluster.psql_in("shop", "create table customers as select g id from generate_series(1, 300) g; create table orders (id int)");
        let shop = Self { cluster, rig: Rig::new(), mail: Server::start(Script { offer_starttls: false, auth: "", ..Script::default() }) };
        shop.configure(more);
        shop.fill();
        (0..3).for_each(|_| drop(shop.backup()));
        shop
    }

    fn configure(&self, more: &str) {
        let port = self.mail.address.port();
        let smtp = format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n"
        );
        let connection = self.cluster.url("shop");
        self.rig
            .configure(&format!("{smtp}[[project]]\nname = \"shop\"\nconnection = {connection:?}\nlimits = {{ retries = [] }}\n{more}\n"));
    }

    fn fill(&self) {
        self.cluster.psql_in("shop", "insert into orders select generate_series(1, 5000)");
    }

    fn truncate(&self) {
        self.cluster.psql_in("shop", "truncate orders");
    }

    fn run(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.rig.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        ended
    }

    /// Backs up; the answer.
    fn backup(&self) -> Value {
        self.run(0, &["backup", "shop", "--json"]).json()
    }

    /// Why each backup is suspicious, newest first.
    fn doubts(&self) -> Vec<Option<String>> {
        self.rig.backups().iter().map(|row| row["suspicious"].as_str().map(str::to_owned)).collect()
    }

    fn newest(&self) -> String {
        self.rig.backups()[0]["id"].as_str().expect("an id").to_owned()
    }

    fn subjects(&self) -> Vec<String> {
        let subject = |mail: &str| {
            let unfolded = mail.replace("\r\n ", " ");
            unfolded.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap_or_default()
        };
        self.mail.look(|seen| seen.mails.iter().map(|(_, mail)| subject(mail)).collect())
    }
}

const KEEP_THREE: &str = "retention = { keep_last = 3 }";

#[test]
fn a_truncated_table_is_marked_and_told_once_and_nothing_is_pruned() {
    let shop = Shop::new(KEEP_THREE);
    assert_eq!(shop.doubts(), [None, None, None]);
    shop.truncate();
    let told = shop.run(0, &["backup", "shop"]);
    assert!(told.stderr.contains("SUSPICIOUS: rows fell from the usual 5300 to 300") && told.stderr.contains("is suspended"), "{told:?}");
    let why = shop.doubts()[0].clone().expect("a mark");
    assert!(why.contains("table public.orders, which always had rows (last 5000), is empty"), "{why}");
    shop.backup();
    assert_eq!(shop.doubts().len(), 5, "keep_last = 3 would have removed two");
    assert_eq!(shop.subjects().len(), 1, "{:?}", shop.subjects());
    assert!(shop.subjects()[0].starts_with("[pgdumpd] SUSPICIOUS shop: rows fell from the usual 5300 to 300"), "{:?}", shop.subjects());
    let mail = shop.mail.look(|seen| seen.mails[0].1.clone());
    let first = shop.rig.backups()[1]["id"].as_str().expect("an id").to_owned();
    assert!(mail.contains(&format!(" accept {first}")), "{mail}");
    let status = shop.run(1, &["status"]).stdout;
    assert!(status.contains("pruning suspended since") && status.contains(&format!("pgdumpd accept {}", shop.newest())), "{status}");
    assert!(shop.run(0, &["list"]).stdout.contains("suspicious"));
    assert!(shop.run(0, &["show", "latest"]).stdout.contains("SUSPICIOUS rows fell"));
    let restored = shop.run(0, &["restore", "shop@latest", "--to", "elsewhere", "--dry-run"]);
    assert!(restored.stderr.contains("is suspicious: rows fell"), "{restored:?}");
    let refused = shop.run(1, &["prune", "shop"]);
    assert!(refused.stderr.contains("suspended") && refused.stderr.contains("pgdumpd accept"), "{refused:?}");
    assert_eq!(shop.doubts().len(), 5);
    assert_eq!(
        shop.run(0, &["prune", "shop", "--confirm", "--json"]).json()[0]["result"]["removed"],
        serde_json::json!([]),
        "no good one goes"
    );
}

fn remove_manifest(shop: &Shop, place: usize) {
    let file = shop.rig.backups()[place]["file"].as_str().expect("a file").to_owned();
    let name = format!("{file}.json");
    let path =
        shop.rig.stored().into_iter().find(|path| path.ends_with(&name)).unwrap_or_else(|| panic!("{name} in {:?}", shop.rig.stored()));
    std::fs::remove_file(shop.rig.storage().join(path)).expect("a manifest to remove");
}

#[test]
fn a_manifest_removed_by_hand_leaves_the_gate_the_ones_before_it() {
    let shop = Shop::new(KEEP_THREE);
    remove_manifest(&shop, 0);
    shop.cluster.psql_in("shop", "truncate orders; insert into customers select g from generate_series(301, 6000) g");
    shop.backup();
    let why = shop.doubts()[0].clone().expect("a mark");
    assert!(why.contains("table public.orders, which always had rows (last 5000), is empty"), "{why}");
}

#[test]
fn what_cannot_be_judged_is_told_and_nothing_is_pruned_after_it() {
    let shop = Shop::new(KEEP_THREE);
    (0..3).for_each(|place| remove_manifest(&shop, place));
    let told = shop.run(0, &["backup", "shop"]);
    assert!(told.stderr.contains("SUSPICIOUS: it could not be compared with the backups before it"), "{told:?}");
    assert!(shop.run(1, &["prune", "shop"]).stderr.contains("suspended"));
    assert_eq!(shop.subjects().len(), 1, "{:?}", shop.subjects());
    shop.run(0, &["accept", &shop.newest()]);
}

#[test]
fn an_accepted_one_is_the_new_habit_and_pruning_goes_on() {
    let shop = Shop::new(KEEP_THREE);
    shop.truncate();
    shop.backup();
    let waits = shop.run(0, &["accept"]).stdout;
    assert!(waits.contains(&shop.newest()) && waits.contains("rows fell"), "{waits}");
    shop.run(1, &["accept", "nosuch"]);
    let good = shop.rig.backups()[1]["id"].as_str().expect("an id").to_owned();
    assert!(shop.run(2, &["accept", &good]).stderr.contains("is not suspicious"));
    shop.run(0, &["accept", &shop.newest()]);
    assert!(shop.run(0, &["accept", &shop.newest()]).stdout.contains("nothing of"), "saying it twice is fine");
    shop.run(0, &["status"]);
    shop.backup();
    assert_eq!(shop.doubts(), [None, None, None], "the small one is the habit now, and keep_last = 3 holds");
    assert_eq!(shop.subjects().len(), 2);
    assert!(shop.subjects()[1].starts_with("[pgdumpd] OK shop: "), "{:?}", shop.subjects());
    let mail = shop.mail.look(|seen| seen.mails[1].1.replace("=\r\n", "").replace("\r\n", " "));
    assert!(mail.contains("has accepted: what it holds is the habit now"), "{mail}");
    assert!(shop.run(0, &["show", "latest"]).stdout.contains("backup"));
}

#[test]
fn so_many_alike_in_a_row_end_it_by_themselves() {
    let shop = Shop::new("retention = { keep_last = 3 }\nanomaly = { after = 2, after_span = \"0\" }");
    shop.truncate();
    shop.backup();
    assert!(shop.doubts()[0].is_some());
    shop.backup();
    assert_eq!(shop.doubts(), [const { None }; 5], "the second alike settles the first, and nothing goes in that run");
    let newest = shop.run(0, &["show", "latest", "--json"]).json();
    assert!(
        newest["warnings"][0].as_str().is_some_and(|words| words.contains("2 alike in a row over") && words.contains("are the new habit")),
        "{newest}"
    );
    assert_eq!(shop.subjects().len(), 2);
    shop.backup();
    assert_eq!(shop.doubts(), [None, None, None], "pruning goes on with the next");
}

#[test]
fn alike_ones_within_a_week_are_no_habit_and_then_the_last_from_before_can_be_pinned() {
    let mut shop = Shop::new("retention = { keep_last = 3 }\nanomaly = { after = 2 }");
    shop.truncate();
    (0..4).for_each(|_| drop(shop.backup()));
    assert_eq!(shop.doubts().iter().filter(|doubt| doubt.is_some()).count(), 4, "however many there are");
    let status = shop.run(1, &["status", "--json"]).json();
    assert_eq!(status["projects"][0]["last_good"][0]["rows"], 5300, "{status}");
    assert!(shop.run(1, &["status"]).stdout.contains("SUSPICIOUS"));
    let clock = shop.rig.path().join("clock");
    std::fs::write(&clock, "+8d\n").expect("the clock's file");
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    for (name, value) in
        [("LD_PRELOAD", library), ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a path")), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]
    {
        shop.rig.env.push((name.to_owned(), value.to_owned()));
    }
    shop.backup();
    assert_eq!(shop.doubts(), [const { None }; 8], "nothing goes in the run that settles it");
    assert!(shop.subjects()[1].starts_with("[pgdumpd] NEW HABIT shop: 5 suspicious backups were alike"), "{:?}", shop.subjects());
    let before = shop.rig.backups()[5]["id"].as_str().expect("an id").to_owned();
    let mail = shop.mail.look(|seen| seen.mails[1].1.clone());
    assert!(mail.contains(&format!("pin {before}")) && mail.contains("keep the last backup from before"), "{mail}");
    shop.run(0, &["pin", &before]);
    shop.backup();
    let left: Vec<String> = shop.rig.backups().iter().map(|row| row["rows"].to_string()).collect();
    assert_eq!(left, ["300", "300", "300", "5300"]);
}

#[test]
fn the_next_normal_one_ends_it_and_the_doubtful_one_took_no_good_ones_place() {
    let shop = Shop::new(KEEP_THREE);
    shop.truncate();
    shop.backup();
    shop.fill();
    shop.backup();
    let doubts = shop.doubts();
    assert_eq!(doubts.iter().filter(|doubt| doubt.is_none()).count(), 3, "{doubts:?}");
    assert!(doubts[0].is_none() && doubts[1].is_some(), "it stays for as long as a good one would: {doubts:?}");
    shop.run(0, &["status"]);
    shop.backup();
    shop.backup();
    assert_eq!(shop.doubts(), [None, None, None]);
    assert!(shop.subjects()[1].contains("OK shop: the newest backup is no longer suspicious"), "{:?}", shop.subjects());
}

#[test]
fn mark_and_acceptance_survive_a_lost_catalog() {
    let shop = Shop::new(KEEP_THREE);
    shop.truncate();
    shop.backup();
    let forget = || {
        for entry in std::fs::read_dir(shop.rig.state()).expect("state").flatten() {
            std::fs::remove_file(entry.path()).expect("removed");
        }
    };
    forget();
    assert!(shop.doubts()[0].is_some());
    shop.run(1, &["prune", "shop"]);
    assert_eq!(shop.doubts().len(), 4);
    shop.run(0, &["accept", "shop"]);
    forget();
    assert_eq!(shop.doubts(), [const { None }; 4]);
    shop.backup();
    assert_eq!(shop.doubts(), [None, None, None]);
}

#[test]
fn it_can_be_switched_off() {
    let shop = Shop::new("retention = { keep_last = 3 }\nanomaly = false");
    shop.truncate();
    shop.backup();
    assert_eq!(shop.doubts(), [None, None, None]);
    assert_eq!(shop.subjects(), [""; 0]);
}

#[test]
fn a_dropped_schema_and_an_empty_database_are_suspicious_and_a_renamed_table_is_not() {
    let shop = Shop::new("");
    shop.cluster.psql_in("shop", "alter table orders rename to purchases");
    shop.backup();
    assert_eq!(shop.doubts()[0], None);
    shop.cluster.psql_in("shop", "create schema app; create table app.items as select g id from generate_series(1, 2000) g");
    (0..5).for_each(|_| drop(shop.backup()));
    shop.cluster.psql_in("shop", "drop schema app cascade");
    shop.backup();
    assert_eq!(shop.doubts()[0].as_deref(), Some("table app.items with 2000 rows is gone"));
    shop.cluster.psql("drop database shop");
    shop.cluster.psql("create database shop");
    shop.backup();
    assert!(shop.doubts()[0].as_ref().is_some_and(|why| why.starts_with("rows fell from the usual 7300 to 0")), "{:?}", shop.doubts());
}

/// The retention may keep fewer backups than make a habit: the one there is judges the next.
#[test]
fn where_the_retention_keeps_one_it_is_not_pushed_out() {
    let shop = Shop::new("retention = { keep_last = 1, min_keep = 1 }");
    let good = shop.newest();
    assert_eq!(shop.doubts().len(), 1);
    shop.truncate();
    (0..2).for_each(|_| drop(shop.backup()));
    assert!(shop.rig.backups().iter().any(|row| row["id"] == *good), "{:?}", shop.rig.backups());
    assert!(shop.doubts()[..2].iter().all(Option::is_some), "{:?}", shop.doubts());
    assert!(shop.subjects().iter().any(|subject| subject.contains("SUSPICIOUS shop")), "{:?}", shop.subjects());
}
