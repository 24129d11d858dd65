//! Rows 1 to 5 and 8: a `pg_dump` that lies, dies or stands still; and 30, one that fails for longer than the retention.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::rig::wait_until;
use crate::scene::{LONG, Scene};

/// A `pg_dump` that misbehaves while the file `fault` stands in the rig's folder, which is its working directory.
fn scripted(fault: &str) -> Scene {
    let text = format!(
        "#!/bin/sh\nreal=/usr/lib/postgresql/15/bin/pg_dump\n[ \"$1\" = --version ] && exec $real \"$@\"\n[ -e fault ] || exec $real \"$@\"\n{fault}\n"
    );
    let mut scene = Scene::bare(Cluster::start(), "", "");
    let bin = scene.rig.clients(&[("pg_dump", &text)]);
    scene.extend(&format!("pg_bin_dir = {bin:?}"));
    scene.two_good_backups();
    scene
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn lies(fault: &str, cause: &str) -> String {
    let scene = scripted(fault);
    let before = scene.look();
    let switch = scene.rig.path().join("fault");
    std::fs::write(&switch, "").unwrap();
    scene.std(&before, &scene.backup(), cause, 1, || std::fs::remove_file(&switch).unwrap()).text
}

#[test]
fn f01_dump_exits_zero_with_nothing() {
    let told = lies("exit 0", "archive-incomplete");
    assert!(told.contains("archive"), "{told}");
}

#[test]
fn f02_dump_exits_zero_after_half_the_archive() {
    lies("$real \"$@\" > whole; head -c $(($(stat -c %s whole) / 2)) whole; exit 0", "archive-incomplete");
    lies("$real \"$@\" > whole; head -c $(($(stat -c %s whole) - 1)) whole; exit 0", "archive-incomplete");
}

#[test]
fn f03_dump_writes_a_whole_archive_and_exits_one() {
    let told = lies("$real \"$@\"; echo 'a last word' >&2; exit 1", "dump-failed");
    assert!(told.contains("exit status 1") && told.contains("a last word"), "{told}");
}

#[test]
fn f04_dump_killed_by_a_signal() {
    let scene = Scene::new("compression = \"zstd:19\"", "");
    scene.grow(40);
    let before = scene.look();
    let running = scene.start(&[]);
    let pid = scene.wait_for_copy();
    signal(pid, Signal::KILL);
    let told = scene.std(&before, &running.finish(LONG), "dump-killed", 1, || scene.shrink());
    assert!(told.text.contains("SIGKILL") && told.mail.contains("SIGKILL"), "{told:?}");
}

/// The daemon owes the same: a slot that fails again and again is told once, and its recovery once.
#[test]
fn f04_dump_killed_by_a_signal_under_the_daemon() {
    let mut scene = scripted("kill -9 $$");
    let before = scene.look();
    let switch = scene.rig.path().join("fault");
    std::fs::write(&switch, "").unwrap();
    scene.extend("[[project.schedule]]\ncron = \"* * * * * *\"");
    scene.configure(1);
    let mut daemon = scene.rig.serve();
    let mails = || scene.mail.look(|seen| seen.mails.len());
    wait_until(LONG, || format!("the alert:\n{}", daemon.log()), || mails() > before.mails);
    wait_until(LONG, || format!("a second failure:\n{}", daemon.log()), || daemon.log().matches("SIGKILL").count() > 2);
    assert_eq!(scene.rig.backups().len(), 2, "{}", daemon.log());
    std::fs::remove_file(&switch).unwrap();
    wait_until(LONG, || format!("the recovery:\n{}", daemon.log()), || mails() > before.mails + 1);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(LONG), 0, "{}", daemon.log());
    assert_eq!(mails(), before.mails + 2, "one alert and one recovery");
    assert_eq!(scene.processes(), Vec::<String>::new());
    assert!(!before.backups.contains(&scene.rig.backups()[0]));
}

#[test]
fn f05_backend_ended_by_an_administrator() {
    let scene = Scene::new("compression = \"zstd:19\"", "");
    scene.grow(40);
    let before = scene.look();
    let running = scene.start(&[]);
    scene.wait_for_copy();
    scene
        .cluster
        .psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgdumpd/%' and query like 'COPY%'");
    scene.std(&before, &running.finish(LONG), "dump-failed", 1, || scene.shrink());
}

#[test]
fn f08_dump_stands_still() {
    let scene = Scene::new("compression = \"zstd:19\"", "no_progress = \"3s\"");
    scene.grow(40);
    let before = scene.look();
    let running = scene.start(&[]);
    let pid = scene.wait_for_copy();
    signal(pid, Signal::STOP);
    let told = scene.std(&before, &running.finish(LONG), "no-progress", 1, || scene.shrink());
    assert!(told.text.contains("for 3s"), "{told:?}");
}

/// What is kept counts backups, not time: however long nothing works, the newest good ones stay.
#[test]
fn f30_dumps_that_fail_for_longer_than_the_retention() {
    let mut scene = scripted("exit 1");
    scene.keep("{ keep_within = \"1s\" }");
    scene.configure(1);
    let before = scene.look();
    let switch = scene.rig.path().join("fault");
    std::fs::write(&switch, "").unwrap();
    for _ in 0..4 {
        assert_eq!(scene.backup().code, 1);
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(scene.rig.backups(), before.backups, "failing runs pruned");
    let pruned = scene.rig.run(&["prune", "shop"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    let left = scene.rig.backups();
    assert_eq!(left.first(), before.backups.first(), "the newest good backup is gone");
    assert_eq!(scene.mail.look(|seen| seen.mails.len()), before.mails + 1);
    std::fs::remove_file(&switch).unwrap();
    assert_eq!(scene.backup().code, 0);
    assert!(!scene.rig.backups().is_empty());
}

/// A server or client in trouble gets its second chance; what works then is no reason for an alert.
#[test]
fn a_dump_that_fails_once_works_on_the_second_attempt() {
    let mut scene = scripted("rm fault; exit 1");
    scene.limit("retries = [\"1s\"]");
    scene.configure(1);
    let before = scene.look();
    std::fs::write(scene.rig.path().join("fault"), "").unwrap();
    let ended = scene.backup();
    assert_eq!(ended.code, 0, "{ended:?}");
    let (status, attempts, _) = scene.last_run();
    assert_eq!((status.as_str(), attempts), ("completed", 2));
    assert_eq!(scene.look().mails, before.mails);
    assert_eq!(scene.rig.backups().len(), 1);
}
