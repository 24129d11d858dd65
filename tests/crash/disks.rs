//! Rows 15 and 29a: a state directory that is full, and a storage that isn't there, or goes while it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{Bench, PATIENCE, must};
use crate::rig::{Serving, wait_until};
use crate::skip::skip;
use crate::smtp::{Script, Server};

/// A small file system in memory, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    /// Mounted there; `None`, and told so, where this machine doesn't let the test mount.
    fn mount(test: &str, path: &Path, options: &str) -> Option<Self> {
        if !crate::cluster::is_root() {
            skip(test, "mounting needs root");
            return None;
        }
        std::fs::create_dir_all(path).unwrap();
        must(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", &path.display().to_string()]);
        Some(Self(path.to_owned()))
    }

    /// Takes it away from under whoever uses it.
    fn vanish(self) {
        drop(self);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        must(&["umount", "-l", &self.0.display().to_string()]);
    }
}

#[test]
fn f29a_a_storage_that_is_not_mounted_at_start() {
    let bench = Bench::new("");
    let Some(disk) = Disk::mount("f29a_a_storage_that_is_not_mounted_at_start", &bench.rig.storage(), "size=50m,mode=0700") else { return };
    assert_eq!(bench.back_up().code, 0);
    let known = bench.rig.backups();
    // The marker's id is what tells this disk from another; a copy comes back later as the same disk.
    let copy = bench.rig.path().join("copy");
    must(&["cp", "-a", &bench.rig.storage().display().to_string(), &copy.display().to_string()]);
    disk.vanish();

    bench.configure("", "", "schedule = [{ name = \"often\", every = \"2s\" }]");
    let mut serving = bench.start();
    let failed = || bench.catalog("select count(*) from slots where outcome = 'failed'")[0].parse::<u32>().unwrap();
    wait_until(PATIENCE, || format!("a failed slot:\n{}", serving.log()), || failed() >= 2);
    let ended = bench.back_up();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("not mounted?"), "{ended:?}");
    assert_eq!(std::fs::read_dir(bench.rig.storage()).unwrap().count(), 0, "something was written below the mount point");
    assert_eq!(bench.rig.backups(), known, "the catalog keeps what it knew");
    let told = || bench.subjects();
    wait_until(PATIENCE, || format!("one mail: {:?}", told()), || !told().is_empty());
    assert!(told()[0].contains("not mounted?"), "{:?}", told());

    // The disk comes back: the same job works again, and says so.
    let _disk = Disk::mount("f29a", &bench.rig.storage(), "size=50m,mode=0700").unwrap();
    must(&["cp", "-a", &format!("{}/.", copy.display()), &bench.rig.storage().display().to_string()]);
    let ok = || !bench.catalog("select due_at from slots where outcome = 'ok'").is_empty();
    wait_until(PATIENCE, || format!("a good slot:\n{}", serving.log()), ok);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    bench.assert_sound("a disk that came back");
    let failures = told().iter().filter(|subject| subject.contains("FAILED")).count();
    assert_eq!(failures, 1, "{:?}", told());
}

/// The catalog is lost as well: an empty mount point is still no new storage.
#[test]
fn f29a_neither_the_disk_nor_the_catalog_is_there() {
    let bench = Bench::new("");
    let Some(disk) = Disk::mount("f29a_neither_the_disk_nor_the_catalog_is_there", &bench.rig.storage(), "size=50m,mode=0700") else {
        return;
    };
    assert_eq!(bench.back_up().code, 0);
    disk.vanish();
    std::fs::remove_file(bench.rig.state().join("catalog.db")).unwrap();
    let ended = bench.back_up();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("not mounted?"), "{ended:?}");
    bench.mend();
    assert_eq!(std::fs::read_dir(bench.rig.storage()).unwrap().count(), 0, "something was written below the mount point");
    let status = bench.rig.run(&["status"]);
    assert!(status.stdout.contains("the index of backups isn't complete"), "{status:?}");
}

#[test]
fn f29a_a_storage_that_vanishes_during_a_dump() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    let extra = format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]");
    let Some(disk) = Disk::mount("f29a_a_storage_that_vanishes_during_a_dump", &bench.rig.storage(), "size=50m,mode=0700") else { return };
    assert_eq!(bench.back_up().code, 0);
    let known = bench.rig.backups();
    bench.configure("", "", &extra);
    bench.hold();
    let mut serving = bench.start();
    bench.wait_midway(|| serving.log());
    disk.vanish();
    bench.let_go();
    let outcome = || bench.catalog("select outcome from slots");
    wait_until(PATIENCE, || format!("the slot: {:?}\n{}", outcome(), serving.log()), || outcome() == ["failed"]);
    assert_eq!(bench.catalog("select json_extract(failure, '$.cause') from runs where status = 'failed'"), ["not-mounted"]);
    assert_eq!(std::fs::read_dir(bench.rig.storage()).unwrap().count(), 0, "something was written below the mount point");
    assert_eq!(bench.rig.backups(), known, "the catalog keeps what it knew");
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    bench.assert_quiet("a disk that went away");
}

/// Crashed in the middle, and the disk isn't there at the next start: mended by the first job that finds it again.
#[test]
fn f29a_a_cut_off_run_on_a_disk_that_comes_back_later() {
    let bench = Bench::new("");
    let Some(disk) = Disk::mount("f29a_a_cut_off_run_on_a_disk_that_comes_back_later", &bench.rig.storage(), "size=50m,mode=0700") else {
        return;
    };
    assert_eq!(bench.back_up().code, 0);
    // The artifact has its name, and its manifest is missing.
    assert!(bench.back_up_killed("renameat2", 2, &[]));
    let copy = bench.rig.path().join("copy");
    must(&["cp", "-a", &bench.rig.storage().display().to_string(), &copy.display().to_string()]);
    disk.vanish();
    bench.mend();
    assert_eq!(bench.catalog("select count(*) from runs where status = 'running'"), ["1"], "nobody can know yet what became of it");
    let _disk = Disk::mount("f29a", &bench.rig.storage(), "size=50m,mode=0700").unwrap();
    must(&["cp", "-a", &format!("{}/.", copy.display()), &bench.rig.storage().display().to_string()]);
    assert_eq!(bench.back_up().code, 0);
    assert_eq!(bench.catalog("select distinct status from runs"), ["completed"]);
    bench.assert_sound("a crash and a disk that came back");
}

#[test]
fn f15_a_full_state_directory_is_told_and_loses_nothing() {
    let bench = Bench::new("");
    let Some(_disk) = Disk::mount("f15_a_full_state_directory_is_told_and_loses_nothing", &bench.rig.state(), "size=2m,mode=0700") else {
        return;
    };
    let sink = Server::start(Script::default());
    bench.configure("", &format!("port = {}", sink.address.port()), "schedule = [{ name = \"often\", every = \"2s\" }]");
    let mut serving = bench.start();
    let made = || serving.log().matches("backup made").count();
    wait_until(PATIENCE, || format!("a backup:\n{}", serving.log()), || made() >= 1);
    let fill = bench.rig.state().join("fill");
    drop(std::fs::write(&fill, vec![0_u8; 4 << 20]));
    let subjects = || sink.look(|seen| seen.mails.iter().map(|(_, mail)| mail.clone()).collect::<Vec<_>>());
    let told = || subjects().iter().any(|mail| mail.contains("FAILED"));
    wait_until(PATIENCE, || format!("a mail past the outbox: {:?}\n{}", subjects(), serving.log()), told);
    // However long it lasts, it is told once.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(subjects().iter().filter(|mail| mail.contains("FAILED")).count(), 1, "{:?}", subjects());
    let by_hand = bench.back_up();
    assert_ne!(by_hand.code, 0, "{by_hand:?}");
    assert!(by_hand.stderr.contains("full"), "{by_hand:?}");
    std::fs::remove_file(fill).unwrap();
    let before = made();
    wait_until(PATIENCE, || format!("a backup again:\n{}", serving.log()), || made() > before);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    bench.mend();
    bench.assert_sound("a full state directory");
}

/// Two projects that fail at the same moment: each is told, and so is each one's recovery.
#[test]
fn f15_whoever_fails_while_the_state_directory_is_full_is_told_and_found_in_the_catalog_afterwards() {
    let bench = Bench::new("");
    let test = "f15_whoever_fails_while_the_state_directory_is_full_is_told_and_found_in_the_catalog_afterwards";
    let Some(_disk) = Disk::mount(test, &bench.rig.state(), "size=2m,mode=0700") else { return };
    let sink = Server::start(Script::default());
    configure_two(&bench, &format!("port = {}", sink.address.port()));
    let (mut serving, fill) = fail_both(&bench);
    let mails = || sink.look(|seen| seen.mails.iter().map(|(_, mail)| mail.clone()).collect::<Vec<_>>());
    let told = |what: &str, of: &str| mails().iter().filter(|mail| mail.contains(&format!("[pgdumpd] {what}")) && about(mail, of)).count();
    let state = || format!("{:#?}\n{}", mails(), serving.log());
    wait_until(PATIENCE, state, || told("FAILED", "shop") > 0 && told("FAILED", "till") > 0);
    assert!(serving.log().contains("mail sent past the outbox"), "{}", state());
    std::fs::remove_file(fill).unwrap();
    let failed = || bench.catalog("select project || ' ' || json_extract(failure, '$.cause') from runs where status = 'failed' order by 1");
    wait_until(PATIENCE, state, || failed() == ["shop space", "till space"]);
    wait_until(Duration::from_secs(90), state, || told("OK", "shop") > 0 && told("OK", "till") > 0);
    assert_eq!((told("FAILED", "shop"), told("FAILED", "till")), (1, 1), "{}", state());
    assert!(mails().iter().filter(|mail| mail.contains("[pgdumpd] OK")).all(|mail| mail.contains("after 1 failure")), "{}", state());
    let id = &bench.catalog("select id from runs where status = 'failed' and project = 'till'")[0];
    let shown = bench.rig.run(&["show", id]);
    assert_eq!(shown.code, 0, "what the mail says to type: {shown:?}");
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
}

/// No mail server either: what could neither be queued nor sent is queued as soon as it can be.
#[test]
fn f15_what_no_mail_server_took_while_the_state_directory_was_full_waits_in_the_outbox_afterwards() {
    let bench = Bench::new("");
    let test = "f15_what_no_mail_server_took_while_the_state_directory_was_full_waits_in_the_outbox_afterwards";
    let Some(_disk) = Disk::mount(test, &bench.rig.state(), "size=2m,mode=0700") else { return };
    configure_two(&bench, "");
    let (mut serving, fill) = fail_both(&bench);
    serving.wait_for_log("mail not sent yet, nor can it be queued", PATIENCE);
    std::fs::remove_file(fill).unwrap();
    let waiting = || bench.catalog("select message from outbox where state = 'queued' order by id");
    wait_until(
        PATIENCE,
        || format!("{:#?}\n{}", waiting(), serving.log()),
        || ["shop", "till"].iter().all(|project| waiting().iter().any(|mail| mail.contains("FAILED") && mail.contains(*project))),
    );
    assert_eq!(bench.catalog("select count(*) from runs where status = 'failed'"), ["2"]);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
}

/// The project `shop` and one more of the same database, both with a schedule every fifteen seconds.
fn configure_two(bench: &Bench, smtp: &str) {
    let keys = format!(
        "pg_bin_dir = {:?}\nschedule = [{{ name = \"often\", every = \"15s\" }}]\nlimits = {{ connect = \"10s\", retries = [] }}\n",
        bench.holding_clients()
    );
    let other = format!("[[project]]\nname = \"till\"\nconnection = \"{}\"\nretention = {{ keep_last = 1 }}\n", bench.cluster.url("shop"));
    bench.configure("max_parallel_per_server = 2", smtp, &format!("{keys}{other}{keys}"));
}

/// Serves until both dumps are in their middle, and lets them find the state directory full at their end; returns what fills it.
fn fail_both(bench: &Bench) -> (Serving, PathBuf) {
    bench.hold();
    let serving = bench.start();
    let running = || bench.catalog("select count(*) from runs where status = 'running'");
    wait_until(PATIENCE, || format!("two dumps:\n{}", serving.log()), || running() == ["2"]);
    bench.wait_midway(|| serving.log());
    let fill = bench.rig.state().join("fill");
    drop(std::fs::write(&fill, vec![0_u8; 4 << 20]));
    bench.let_go();
    let failed = || serving.log().matches("the catalog could not be told how the run ended").count();
    wait_until(PATIENCE, || format!("two failures:\n{}", serving.log()), || failed() == 2);
    (serving, fill)
}

/// Whether a mail is about the project, by the header for mail filters.
fn about(mail: &str, project: &str) -> bool {
    mail.lines().any(|line| line.strip_prefix("X-Pgdumpd-Project").is_some_and(|rest| rest.contains(project)))
}

#[test]
fn f15_a_state_directory_that_cannot_be_written_is_refused_politely() {
    let bench = Bench::new("");
    let Some(_disk) =
        Disk::mount("f15_a_state_directory_that_cannot_be_written_is_refused_politely", &bench.rig.state(), "size=2m,mode=0700")
    else {
        return;
    };
    must(&["mount", "-o", "remount,ro", &bench.rig.state().display().to_string()]);
    let mut serving = bench.rig.serve();
    assert_eq!(serving.wait(PATIENCE), 1);
    let log = serving.log();
    assert!(log.contains("state directory") && log.contains("state_dir"), "what failed, on what, and what to do: {log}");
}

/// SQLite says "disk I/O error" of it.
#[test]
fn a_full_state_folder_is_told_as_such_to_whoever_asks() {
    let bench = Bench::new("");
    let Some(_disk) = Disk::mount("a_full_state_folder_is_told_as_such_to_whoever_asks", &bench.rig.state(), "size=1m,mode=0700") else {
        return;
    };
    assert_eq!(bench.back_up().code, 0);
    drop(std::fs::write(bench.rig.state().join("fill"), vec![0_u8; 2 << 20]));
    let folder = bench.rig.state().display().to_string();
    for verb in [&["status"][..], &["status", "--alive"], &["list"]] {
        let ended = bench.rig.run(verb);
        let told = format!("the disk of the state folder {folder} is full (0 B free)");
        assert_eq!(ended.code, 1, "{verb:?}: {ended:?}");
        assert!(ended.stderr.contains(&told) && ended.stderr.contains(&format!("df {folder}")), "{verb:?}: {ended:?}");
        assert!(!ended.stderr.contains("I/O error"), "{verb:?}: {ended:?}");
    }
    std::fs::remove_file(bench.rig.state().join("fill")).unwrap();
    assert_eq!(bench.rig.run(&["list"]).code, 0);
}
