//! `prune`: shown, held, agreed to; and never of another project.

use crate::bench::{Bench, snapshot};
use crate::smtp::{Script, Server};

#[test]
fn a_changed_retention_is_held_told_and_agreed_to() {
    let bench = Bench::new();
    let server = Server::start(Script { offer_starttls: false, auth: "", ..Script::default() });
    let port = server.address.port();
    let smtp =
        format!("[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n");
    let configure = |retention: &str| bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "shop", retention)));
    configure("retention = { keep_last = 7, keep_daily = 14 }\n");
    for _ in 0..6 {
        bench.run(0, &["backup", "shop"]);
    }
    configure("retention = { keep_last = 2 }\n");
    snapshot!("prune_dry_run", bench.told(0, &["prune", "shop", "--dry-run"]));
    assert!(bench.run(0, &["prune", "--dry-run", "--json"]).json()[0]["held"].is_string());
    snapshot!("prune_held", bench.told(2, &["prune", "shop"]));
    let told = bench.run(0, &["backup", "shop"]);
    assert!(told.stderr.contains("pruning is held"), "{told:?}");
    assert_eq!(bench.rig.backups().len(), 7);
    assert!(bench.run(0, &["status"]).stdout.contains("pruning held"));
    bench.run(0, &["backup", "shop"]);
    let mails: Vec<String> = server.look(|seen| seen.mails.iter().map(|(_, mail)| mail.clone()).collect());
    assert_eq!(mails.len(), 1, "told once: {mails:#?}");
    assert!(mails[0].contains("HELD shop: pruning would remove 5 of 7 backups"), "{}", mails[0]);
    let lines: Vec<String> = mails[0].lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(
        lines.iter().any(|line| line == "was keep_last 7, keep_daily 14") && lines.iter().any(|line| line == "now keep_last 2"),
        "{lines:#?}"
    );
    let done = bench.run(0, &["prune", "shop", "--confirm", "--json"]).json();
    assert_eq!(done[0]["result"]["removed"].as_array().map(Vec::len), Some(6), "{done}");
    assert_eq!(bench.rig.backups().len(), 2);
    assert!(!bench.run(0, &["status"]).stdout.contains("pruning held"));
}

/// What nobody backs up any more may be all that is left of it; the mail about it says that it stays.
#[test]
fn nothing_goes_of_a_database_that_is_no_longer_backed_up() {
    let bench = Bench::new();
    let configure = |databases: &str, keep: u32| {
        let more = format!("databases = {databases}\nretention = {{ keep_last = {keep} }}\n");
        bench.rig.configure(&bench.project("shop", "shop", &more));
    };
    configure("[\"shop\", \"billing\"]", 5);
    for _ in 0..3 {
        bench.run(0, &["backup", "shop"]);
    }
    configure("[\"shop\"]", 1);
    let plan = bench.run(0, &["prune", "shop", "--dry-run", "--json"]).json();
    assert_eq!((&plan[0]["keep"], &plan[0]["remove"]), (&4.into(), &2.into()), "{plan}");
    let told = bench.run(0, &["prune", "shop", "--dry-run"]).stdout;
    assert_eq!(told.matches("no longer backed up").count(), 2, "two that no rule keeps: {told}");
    bench.run(0, &["prune", "shop", "--confirm"]);
    let count = |database: &str| bench.rig.backups().iter().filter(|row| row["database"] == database).count();
    assert_eq!((count("shop"), count("billing")), (1, 3));
}

#[test]
fn two_projects_whose_names_begin_alike_never_touch_each_other() {
    let bench = Bench::new();
    let strict = "retention = { keep_last = 1 }\n";
    bench.rig.configure(&format!("{}{}", bench.project("app", "shop", strict), bench.project("app-staging", "shop", "")));
    for project in ["app-staging", "app", "app-staging", "app", "app-staging"] {
        bench.run(0, &["backup", project]);
    }
    bench.run(0, &["prune", "app"]);
    let count = |project: &str| bench.run(0, &["list", project, "--json"]).json().as_array().map_or(0, Vec::len);
    assert_eq!((count("app"), count("app-staging")), (1, 3));
    let stored = bench.rig.stored();
    let files = |folder: &str| stored.iter().filter(|name| name.starts_with(folder) && name.ends_with(".dump.zst")).count();
    assert_eq!((files("app/"), files("app-staging/")), (1, 3), "{stored:?}");
}

#[test]
fn one_answer_in_json_however_many_projects_fail() {
    let bench = Bench::new();
    bench.rig.configure(&format!("{}{}", bench.project("one", "shop", ""), bench.project("two", "shop", "")));
    bench.run(0, &["backup", "--all"]);
    for entry in std::fs::read_dir(bench.rig.storage()).expect("storage").flatten().filter(|entry| entry.path().is_file()) {
        std::fs::remove_file(entry.path()).expect("marker");
    }
    let answer = bench.run(1, &["prune", "--json"]).json();
    assert_eq!(answer.as_array().map(Vec::len), Some(2), "{answer}");
    assert_eq!(answer[1]["error"]["cause"], "not-mounted");
}

#[test]
fn a_hold_after_a_lost_catalog_does_not_say_that_anything_was_changed() {
    let bench = Bench::new();
    let server = Server::start(Script { offer_starttls: false, auth: "", ..Script::default() });
    let port = server.address.port();
    let smtp =
        format!("[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n");
    bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "shop", "")));
    for _ in 0..6 {
        bench.run(0, &["backup", "shop"]);
    }
    bench.rig.configure(&format!("{smtp}{}", bench.project("shop", "shop", "retention = { keep_last = 2 }\n")));
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        drop(std::fs::remove_file(bench.rig.state().join(name)));
    }
    let told = bench.run(0, &["prune", "shop", "--dry-run"]).stderr;
    assert!(told.contains("this catalog doesn't know that anybody agreed to it") && !told.contains("changed"), "{told}");
    bench.run(0, &["backup", "shop"]);
    let held = server.look(|seen| {
        seen.mails.iter().map(|(_, mail)| mail.replace("=\r\n", "").replace("\r\n", " ")).find(|mail| mail.contains("HELD shop"))
    });
    let held = held.expect("a mail");
    assert!(held.contains("the catalog doesn't know that anybody agreed to it") && !held.contains("was changed"), "{held}");
}
