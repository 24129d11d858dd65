//! Row 34: the catalog deleted or damaged, at rest and under a serving daemon.

use std::path::Path;

use crate::bench::{Bench, PATIENCE, word};
use crate::rig::wait_until;
use crate::smtp::{Script, Server};

/// Two backups, one of them pinned and proven.
fn furnished(bench: &Bench) -> String {
    bench.configure("", "", "");
    assert_eq!(bench.back_up().code, 0);
    let first = word(&bench.rig.backups()[0], "id").to_owned();
    assert_eq!(bench.rig.run(&["pin", &first]).code, 0);
    let file = word(&bench.rig.backups()[0], "file").to_owned();
    let sum = word(&bench.rig.backups()[0], "sha256").to_owned();
    let proof = serde_json::json!({
        "format": 1, "backup_id": first, "level": "restored", "proven_at": "2026-11-21T04:00:00Z", "checksum_sha256": sum,
    });
    std::fs::write(bench.rig.storage().join("shop").join(format!("{file}.proof.json")), proof.to_string()).unwrap();
    assert_eq!(bench.back_up().code, 0);
    first
}

fn spoil(kind: &str, catalog: &Path) {
    match kind {
        "deleted" => ["", "-wal", "-shm"].iter().for_each(|suffix| drop(std::fs::remove_file(format!("{}{suffix}", catalog.display())))),
        "emptied" => std::fs::write(catalog, "").unwrap(),
        _ => std::fs::write(catalog, vec![0x5a; 40_000]).unwrap(),
    }
}

fn assert_rebuilt(bench: &Bench, first: &str, kind: &str) {
    let backups = bench.rig.backups();
    assert_eq!(backups.len(), 2, "{kind}: {backups:#?}");
    let kept = backups.iter().find(|backup| word(backup, "id") == first).unwrap();
    assert_eq!(kept["pinned"], true, "{kind}: the pin survives");
    assert_eq!(kept["proof"], "restored", "{kind}: the proof survives");
}

#[test]
fn f34_a_lost_catalog_is_rebuilt_and_said_so() {
    for kind in ["deleted", "garbage", "emptied"] {
        let bench = Bench::new("");
        let first = furnished(&bench);
        spoil(kind, &bench.rig.state().join("catalog.db"));
        let said = bench.rig.run(&["list"]);
        assert_eq!(said.code, 0, "{kind}: {said:?}");
        assert!(said.stderr.contains("rebuilt"), "{kind}: {said:?}");
        assert_rebuilt(&bench, &first, kind);
        let status = bench.rig.run(&["status"]);
        assert!(status.stdout.contains("the catalog was rebuilt from 2 backups"), "{kind}: {status:?}");
        let mails: Vec<String> = bench.subjects().into_iter().filter(|subject| subject.contains("REBUILT")).collect();
        assert_eq!(mails.len(), 1, "{kind}: {:?}", bench.subjects());
        assert_eq!(bench.back_up().code, 0);
        bench.assert_sound(kind);
        assert!(bench.rig.backups().iter().any(|backup| word(backup, "id") == first), "{kind}: the pinned one stays");
    }
}

/// The daemon notices at its tick, without a restart.
#[test]
fn f34_a_catalog_lost_under_a_serving_daemon() {
    for kind in ["deleted", "garbage"] {
        let sink = Server::start(Script::default());
        let bench = Bench::new("");
        let first = furnished(&bench);
        bench.configure(
            "",
            &format!("port = {}", sink.address.port()),
            "schedule = [{ name = \"often\", cron = \"*/3 * * * * *\" }]\nenabled = false",
        );
        let mut serving = bench.start();
        spoil(kind, &bench.rig.state().join("catalog.db"));
        let mails = || sink.look(|seen| seen.mails.iter().filter(|(_, mail)| mail.contains("REBUILT")).count());
        wait_until(PATIENCE, || format!("{kind}: a mail\n{}", serving.log()), || mails() == 1);
        assert!(serving.log().contains("the index was rebuilt"), "{}", serving.log());
        assert_rebuilt(&bench, &first, kind);
        assert_eq!(bench.rig.run(&["status", "--alive"]).code, 0, "{kind}: it goes on beating");
        serving.signal("TERM");
        assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
        assert_eq!(mails(), 1, "{kind}: told once");
        bench.assert_sound(kind);
    }
}

/// The sign of life goes with the catalog; the daemon's lock says that it is there.
#[test]
fn f34_a_daemon_whose_catalog_was_just_lost_is_not_called_stopped() {
    for kind in ["deleted", "garbage"] {
        let bench = Bench::new("");
        furnished(&bench);
        let mut serving = bench.start();
        let state = || bench.rig.run(&["status", "--json"]).json()["daemon"]["state"].as_str().unwrap_or_default().to_owned();
        wait_until(PATIENCE, || format!("serving:\n{}", serving.log()), || state() == "serving");
        spoil(kind, &bench.rig.state().join("catalog.db"));
        assert_eq!(state(), "starting", "{kind}");
        assert_eq!(bench.rig.run(&["status", "--alive"]).code, 0, "{kind}");
        wait_until(PATIENCE, || format!("{kind}: serving:\n{}", serving.log()), || state() == "serving");
        serving.signal("TERM");
        assert_eq!(serving.wait(PATIENCE), 0, "{kind}: {}", serving.log());
        assert_eq!(state(), "stopped", "{kind}");
    }
}

/// Backups made meanwhile are known again, and what was pruned meanwhile is not called lost.
#[test]
fn f34_an_older_catalog_that_is_put_back_under_a_serving_daemon_is_noticed() {
    let sink = Server::start(Script::default());
    let bench = Bench::new("");
    let first = furnished(&bench);
    bench.configure("heartbeat = \"1s\"", &format!("port = {}", sink.address.port()), "");
    let mut serving = bench.start();
    let (catalog, copy) = (bench.rig.state().join("catalog.db"), bench.rig.path().join("copy.db"));
    rusqlite::Connection::open(&catalog).unwrap().execute("vacuum into ?1", [copy.display().to_string()]).unwrap();
    assert_eq!(bench.back_up().code, 0);
    let newest = word(&bench.rig.backups()[0], "id").to_owned();
    let beat = || bench.catalog("select json_extract(value, '$.at') from meta where key = 'heartbeat'");
    let before = beat();
    wait_until(PATIENCE, || format!("a later sign of life than the copy's:\n{}", serving.log()), || beat() != before);
    spoil("deleted", &catalog);
    rustix::fs::rename(&copy, &catalog).unwrap();
    let ids = || -> Vec<String> { bench.rig.backups().iter().map(|backup| word(backup, "id").to_owned()).collect() };
    assert!(!ids().contains(&newest), "it is an older one");
    wait_until(PATIENCE, || format!("{:?}\n{}", ids(), serving.log()), || ids() == [newest.clone(), first.clone()]);
    assert!(serving.log().contains("the catalog was exchanged"), "{}", serving.log());
    assert_eq!(bench.rig.run(&["status", "--alive"]).code, 0);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    let lost = sink.look(|seen| seen.mails.iter().filter(|(_, mail)| mail.contains("LOST")).count());
    assert_eq!(lost, 0, "nobody took a backup away");
}

/// Lost in the middle of a dump: the backup is made, its slot has its outcome, and no slot is run twice.
#[test]
fn f34_a_catalog_lost_during_a_dump() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]"));
    bench.hold();
    let mut serving = bench.start();
    bench.wait_midway(|| serving.log());
    spoil("deleted", &bench.rig.state().join("catalog.db"));
    bench.let_go();
    wait_until(PATIENCE, || format!("the backup:\n{}", serving.log()), || serving.log().contains("backup made"));
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    assert_eq!(bench.catalog("select outcome from slots"), ["ok"]);
    assert_eq!(bench.rig.backups().len(), 1);
    bench.assert_sound("a catalog lost during a dump");
    // And once more at rest: the slot is known from the manifest, so the next start doesn't run it again.
    spoil("deleted", &bench.rig.state().join("catalog.db"));
    bench.mend();
    assert_eq!(bench.catalog("select outcome from slots"), ["ok"]);
    assert_eq!(bench.rig.backups().len(), 1);
}
