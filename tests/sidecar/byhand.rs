//! Commands typed in a container.
#![expect(clippy::disallowed_methods, reason = "signals are sent from outside of pgdumpd")]

use std::process::{Command, Stdio};

use crate::cluster::Cluster;
use crate::rig::wait_until;
use crate::{LONG, beside, configured, rig};

/// Where only a part is backed up, its age is what counts, and an empty variable is none.
#[test]
fn a_part_is_a_backup_and_an_empty_variable_is_unset() {
    if configured("a_part_is_a_backup_and_an_empty_variable_is_unset") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let mut rig = rig(&beside(&cluster, &mut port));
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

/// USR1 asks the daemon for its state; a command that it reaches by mistake goes on.
#[test]
fn a_question_to_the_daemon_ends_no_command() {
    if configured("a_question_to_the_daemon_ends_no_command") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let rig = rig(&beside(&cluster, &mut port));
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
