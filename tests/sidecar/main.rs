//! Variables alone: the real binary without any file, beside a real server.
#![cfg(test)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/skip.rs"]
mod skip;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::Cluster;
use rig::{Rig, wait_until};

const LONG: Duration = Duration::from_secs(60);

/// A rig whose commands see no file, only variables.
fn rig(pairs: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new();
    rig.env.retain(|(name, _)| name != "PGDUMPD_CONFIG");
    let (state, storage) = (rig.state().display().to_string(), rig.storage().display().to_string());
    let own = [("PGDUMPD_DAEMON_STATE_DIR", state.as_str()), ("BACKUP_DIR", storage.as_str()), ("PGDUMPD_STORAGE_RESERVE", "0")];
    rig.env.extend(own.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    rig
}

/// Whether this machine has a configuration of its own, which would win over variables.
fn configured(test: &str) -> bool {
    let there = Path::new("/etc/pgdumpd/pgdumpd.toml").exists();
    if there {
        skip::skip(test, "this machine has a configuration file of its own");
    }
    there
}

/// The beginning of a command that runs as the image's user.
#[expect(clippy::disallowed_methods, reason = "the binary under test is started from outside of pgdumpd")]
fn as_another(rig: &Rig) -> Command {
    let mut command = Command::new("setpriv");
    command.env_clear().envs(rig.env.iter().map(|(name, value)| (name, value)));
    command.args(["--reuid=10001", "--regid=10001", "--clear-groups", "--"]);
    command
}

fn beside<'a>(cluster: &Cluster, port: &'a mut String) -> [(&'static str, &'a str); 4] {
    cluster.psql("CREATE DATABASE shop");
    cluster.psql_in("shop", "CREATE TABLE orders AS SELECT n FROM generate_series(1, 1000) n");
    *port = cluster.port.to_string();
    [("POSTGRES_HOST", "127.0.0.1"), ("POSTGRES_PORT", port.as_str()), ("POSTGRES_USER", "postgres"), ("POSTGRES_DB", "shop")]
}

#[test]
fn one_backup_from_variables_alone() {
    if configured("one_backup_from_variables_alone") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let rig = rig(&beside(&cluster, &mut port));
    let done = rig.run(&["backup"]);
    assert_eq!(done.code, 0, "{done:?}");
    let backups = rig.backups();
    assert_eq!((backups.len(), backups[0]["project"].as_str(), backups[0]["database"].as_str()), (1, Some("main"), Some("shop")));
    assert_eq!(rig.run(&["status"]).code, 0);
    let checked = rig.run(&["check"]);
    assert!(checked.stdout.starts_with("the environment: 1 project, 1 schedule: fine"), "{checked:?}");
    assert_eq!(rig.run(&["status", "--alive"]).code, 1, "nothing serves here");
}

#[test]
fn one_backup_has_the_designs_exit_codes() {
    if configured("one_backup_has_the_designs_exit_codes") {
        return;
    }
    let nowhere = rig(&[("DATABASE_URL", "postgresql://backup@127.0.0.1:1/shop")]);
    let failed = nowhere.run(&["backup", "--no-retry"]);
    assert_eq!(failed.code, 75, "{failed:?}");
    assert_eq!(nowhere.stored(), [] as [String; 0]);
    let wrong = rig(&[("DATABASE_URL", "postgresql://backup@db/shop"), ("BACKUP_KEEP_DAY", "7"), ("POSTGRES_HOST", "db")]);
    let refused = wrong.run(&["backup"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.starts_with("pgdumpd: the environment has 2 problems\n"), "{refused:?}");
    assert!(refused.stderr.contains("did you mean BACKUP_KEEP_DAYS?"), "{refused:?}");
    let nothing = rig(&[]).run(&["serve"]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.stderr.contains("set POSTGRES_HOST or DATABASE_URL"), "{nothing:?}");
}

#[test]
fn serving_from_variables_alone() {
    if configured("serving_from_variables_alone") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let mut rig = rig(&beside(&cluster, &mut port));
    let more = [("SCHEDULE", "* * * * * *"), ("BACKUP_KEEP_MINS", "60"), ("POSTGRES_SERVICE_HOST", "10.0.0.7")];
    rig.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut serving = rig.serve();
    serving.wait_for_log("the environment is the configuration", LONG);
    serving.wait_for_log("answers: PostgreSQL", LONG);
    wait_until(LONG, || format!("two backups:\n{}", serving.log()), || rig.backups().len() >= 2);
    assert_eq!(rig.run(&["status", "--alive"]).code, 0);
    assert_eq!(rig.run(&["status"]).code, 0);
    serving.signal("HUP");
    serving.wait_for_log("read again, nothing changed", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
}

/// The whole of what a file says about proofs, by variables: looked at after each backup, drilled on schedule, asked, and told.
#[test]
fn backups_are_proven_from_variables_alone() {
    if configured("backups_are_proven_from_variables_alone") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let mut rig = rig(&beside(&cluster, &mut port));
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", cluster.port);
    let query = rig.path().join("orders.sql");
    std::fs::write(&query, "select count(*) = 1000\n  from orders\n").unwrap();
    let query = query.display().to_string();
    let more = [
        ("PGDUMPD_VERIFY_AFTER_BACKUP", "read"),
        ("PGDUMPD_DRILL", "*/3 * * * * *"),
        ("PGDUMPD_DRILL_ON", url.as_str()),
        ("PGDUMPD_DRILL_OLDER", "0"),
        ("PGDUMPD_CHECK_ORDERS_FILE", query.as_str()),
        ("PGDUMPD_CHECK_EMPTY", "select count(*) = 0 from orders"),
    ];
    rig.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let made = rig.run(&["backup"]);
    assert_eq!(made.code, 0, "{made:?}");
    let backups = rig.backups();
    assert_eq!((backups.len(), backups[0]["proof"].as_str()), (1, Some("read")), "looked at as soon as it was made: {backups:?}");
    // One check holds and one doesn't: the drill asks both and names the one.
    let failed = rig.run(&["drill", "main"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stdout.contains("empty") || failed.stderr.contains("empty"), "{failed:?}");
    rig.env.retain(|(name, _)| name != "PGDUMPD_CHECK_EMPTY");
    let mut serving = rig.serve();
    serving.wait_for_log("answers: PostgreSQL", LONG);
    wait_until(
        LONG,
        || format!("a drill that passed:\n{}", serving.log()),
        || rig.backups().iter().any(|row| row["proof"].as_str() == Some("restored")),
    );
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
}

#[test]
fn a_database_that_comes_late_is_waited_for() {
    if configured("a_database_that_comes_late_is_waited_for") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let rig = rig(&beside(&cluster, &mut port));
    cluster.stop_immediate();
    let mut serving = rig.serve();
    serving.wait_for_log("waiting for the database, at most 6min", LONG);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(serving.log().matches("waiting for the database").count(), 1, "{}", serving.log());
    assert_eq!(rig.run(&["status", "--alive"]).code, 1, "what waits does not serve");
    cluster.start_again();
    serving.wait_for_log("answers: PostgreSQL", LONG);
    serving.wait_for_log("ready", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn a_database_that_never_comes_ends_the_wait() {
    if configured("a_database_that_never_comes_ends_the_wait") {
        return;
    }
    let mut rig = rig(&[("DATABASE_URL", "postgresql://backup@127.0.0.1:1/shop"), ("PGDUMPD_LIMITS_RETRIES", "3s")]);
    let mut serving = rig.serve();
    assert_eq!(serving.wait(LONG), 75, "{}", serving.log());
    assert!(serving.log().contains("the database did not come up within 3s"), "{}", serving.log());
    assert_eq!(std::fs::read_dir(rig.state()).unwrap().count(), 0, "nothing was begun");
    rig.env.retain(|(name, _)| name != "PGDUMPD_LIMITS_RETRIES");
    let mut serving = rig.serve();
    serving.wait_for_log("at most 6min", LONG);
    let asked = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
    assert!(asked.elapsed() < Duration::from_secs(20), "TERM ends the wait");
}

#[test]
fn a_server_that_no_client_can_dump_is_refused_at_the_start() {
    if configured("a_server_that_no_client_can_dump_is_refused_at_the_start") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let mut rig = rig(&beside(&cluster, &mut port));
    let old = rig.clients(&[("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")]);
    rig.env.push((String::from("PGDUMPD_PG_BIN_DIR"), old.display().to_string()));
    let refused = rig.run(&["serve"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("build it with PG_MAJORS="), "{refused:?}");
    assert_eq!(rig.stored(), [] as [String; 0]);
}

#[test]
fn a_volume_of_somebody_else_is_refused_at_the_start() {
    const TEST: &str = "a_volume_of_somebody_else_is_refused_at_the_start";
    if configured(TEST) {
        return;
    }
    let rig = rig(&[("DATABASE_URL", "postgresql://backup@127.0.0.1:1/shop")]);
    if std::fs::metadata(rig.path()).unwrap().uid() != 0 {
        return skip::skip(TEST, "another user's folder takes root");
    }
    let binary = rig.path().join("pgdumpd");
    std::fs::copy(env!("CARGO_BIN_EXE_pgdumpd"), &binary).unwrap();
    std::fs::set_permissions(rig.storage(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(rig.state(), Some(10_001), Some(10_001)).unwrap();
    let serve = || {
        let mut command = as_another(&rig);
        command.arg(&binary).arg("serve");
        let ended = command.output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    let (code, words) = serve();
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("can't be written by user 10001") && words.contains("belongs to user 0 (mode 0755)"), "{words}");
    // Root's, but open to everybody, as a volume of Kubernetes: no reason to refuse.
    std::fs::set_permissions(rig.storage(), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(rig.state(), Some(0), Some(0)).unwrap();
    std::fs::set_permissions(rig.state(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut serving = rig.serve_by({
        let mut command = as_another(&rig);
        command.arg(&binary);
        command
    });
    serving.wait_for_log("waiting for the database", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
}

/// Not every test binary uses all of the rig.
const _: fn(&Rig) = |rig| {
    rig.configure("");
};
