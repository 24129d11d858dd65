//! Commands typed in a container.
#![expect(clippy::disallowed_methods, reason = "signals are sent from outside of pgdumpd")]

use std::process::{Command, Stdio};

use crate::rig::wait_until;
use crate::skip::skip;
use crate::{LONG, sidecar};

/// Where only a part is backed up, its age is what counts, and an empty variable is none.
#[test]
fn a_part_is_a_backup_and_an_empty_variable_is_unset() {
    let Some((_cluster, mut rig)) = sidecar("a_part_is_a_backup_and_an_empty_variable_is_unset") else { return };
    rig.env.extend([("PGDUMPD_SCHEMAS", "public"), ("PGDUMPD_CONFIG", "")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    let before = rig.run(&["status"]);
    assert!(before.code == 0 && before.stdout.contains("no backup yet"), "{before:?}");
    assert_eq!(rig.run(&["backup"]).code, 0);
    let standing = rig.run(&["status"]);
    assert!(standing.code == 0 && !standing.stdout.contains("no backup yet"), "{standing:?}");
    assert!(standing.stdout.contains("(full schema=\"public\")"), "the newest good backup of what counts: {standing:?}");
    rig.env.push((String::from("PGDUMPD_MAX_BACKUP_AGE"), String::from("1s")));
    let told = || rig.run(&["status"]);
    wait_until(LONG, || format!("{:?}", told()), || told().code == 1 && told().stdout.contains("STALE"));
    rig.env.pop();
    let named = rig.run(&["check", "--config="]);
    assert_eq!(named.code, 2, "a file that is asked for has a name: {named:?}");
}

/// What is wrong with a volume is told once, with what to do.
#[test]
fn a_volume_that_takes_nothing_is_told_in_one_sentence() {
    const TEST: &str = "a_volume_that_takes_nothing_is_told_in_one_sentence";
    let Some((_cluster, mut rig)) = sidecar(TEST) else { return };
    let volume = rig.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    for there in [true, false] {
        let folder = if there { volume.clone() } else { volume.join("backups") };
        rig.env.push((String::from("BACKUP_DIR"), folder.display().to_string()));
        let mount = format!("mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && exec \"$0\" backup", volume.display());
        let mut command = Command::new("unshare");
        command.env_clear().envs(rig.env.iter().map(|(name, value)| (name, value)));
        let ended = command.args(["--mount", "sh", "-c", &mount, env!("CARGO_BIN_EXE_pgdumpd")]).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        if told.contains("unshare: unshare failed") {
            return skip(TEST, "mounting needs root");
        }
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert_eq!(
            (told.matches("Read-only file system").count(), told.matches("the file system is mounted read-only").count()),
            (1, 1),
            "{told}"
        );
    }
}

/// USR1 asks the daemon for its state; a command that it reaches by mistake goes on.
#[test]
fn a_question_to_the_daemon_ends_no_command() {
    let Some((cluster, rig)) = sidecar("a_question_to_the_daemon_ends_no_command") else { return };
    let mut locked =
        cluster.psql_command("shop").args(["-c", "begin", "-c", "lock table orders", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    cluster.wait_until("exists (select from pg_locks where locktype = 'relation' and mode = 'AccessExclusiveLock' and granted)");
    let mut dumping = rig.command().arg("backup").stdin(Stdio::null()).spawn().unwrap();
    cluster.wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock')");
    assert!(Command::new("kill").args(["-s", "USR1", &dumping.id().to_string()]).status().unwrap().success());
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()");
    assert_eq!(dumping.wait().unwrap().code(), Some(0));
    locked.wait().unwrap();
    assert_eq!(rig.backups().len(), 1);
}
