//! Variables alone: the real binary without any file, beside a real server.
#![cfg(test)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[expect(dead_code, reason = "this mail server does nothing wrong here")]
#[path = "../support/smtp.rs"]
mod smtp;

mod byhand;
mod waiting;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
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

/// A server with the database `shop`, and a sidecar for it; `None` where this machine has a configuration of its own.
fn sidecar(test: &str) -> Option<(Cluster, Rig)> {
    if configured(test) {
        return None;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let rig = rig(&beside(&cluster, &mut port));
    Some((cluster, rig))
}

#[test]
fn one_backup_from_variables_alone() {
    let Some((_cluster, rig)) = sidecar("one_backup_from_variables_alone") else { return };
    let untold = rig.run(&["notify", "test"]);
    assert!(untold.code == 2 && untold.stderr.contains("set PGDUMPD_SMTP_HOST"), "{untold:?}");
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
    let Some((_cluster, mut rig)) = sidecar("serving_from_variables_alone") else { return };
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
    let Some((cluster, mut rig)) = sidecar("backups_are_proven_from_variables_alone") else { return };
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
    let Some((cluster, rig)) = sidecar("a_database_that_comes_late_is_waited_for") else { return };
    cluster.stop_immediate();
    let mut serving = rig.serve();
    serving.wait_for_log("waiting for the database, at most 6min", LONG);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(serving.log().matches("waiting for the database").count(), 1, "{}", serving.log());
    assert_eq!(rig.run(&["status"]).code, 1, "what waits does not serve");
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
    assert_eq!(rig.stored(), [] as [String; 0]);
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
    let Some((_cluster, mut rig)) = sidecar("a_server_that_no_client_can_dump_is_refused_at_the_start") else { return };
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

/// What can't be put right by waiting is told at once where somebody waits for the answer, and each database's result when it is there.
#[test]
fn what_is_wrong_for_good_is_not_tried_again_by_hand() {
    const TEST: &str = "what_is_wrong_for_good_is_not_tried_again_by_hand";
    let Some((cluster, mut rig)) = sidecar(TEST) else { return };
    let (others, set): (Vec<_>, Vec<_>) = rig.env.clone().into_iter().partition(|(name, _)| name != "POSTGRES_DB");
    assert_eq!(set.len(), 1);
    rig.env = others;
    rig.env.push((String::from("POSTGRES_DB"), String::from("shop,nobody")));
    let began = Instant::now();
    let ended = rig.run(&["backup"]);
    assert!(ended.code == 3 && ended.stderr.contains("\"nobody\" does not exist"), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(50) && !ended.stderr.contains("trying again"), "{ended:?}");
    // What may pass is waited for, unless the variable says otherwise; what was made before is told meanwhile.
    cluster.psql("create database later connection limit 0");
    cluster.psql("create role plain login in role pg_read_all_data");
    let mut command = rig.command();
    command.env("POSTGRES_DB", "shop,later").env("POSTGRES_USER", "plain").env("PGDUMPD_LIMITS_RETRIES", "10 min").arg("backup");
    let log = rig.path().join("told");
    let file = std::fs::File::create(&log).unwrap();
    let mut waiting = command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let told = || std::fs::read_to_string(&log).unwrap();
    wait_until(LONG, told, || told().contains("trying again in 10 min") && told().contains("main/shop: "));
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    for none in ["none", "[]"] {
        rig.env.retain(|(name, _)| !["POSTGRES_DB", "POSTGRES_USER", "PGDUMPD_LIMITS_RETRIES"].contains(&name.as_str()));
        let more = [("POSTGRES_DB", "later"), ("POSTGRES_USER", "plain"), ("PGDUMPD_LIMITS_RETRIES", none)];
        rig.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(rig.run(&["backup"]).code, 75);
    }
}

/// Also where what asks whether a server answers isn't installed.
#[test]
fn a_server_that_turns_away_is_told_from_one_that_is_not_there() {
    const TEST: &str = "a_server_that_turns_away_is_told_from_one_that_is_not_there";
    let Some((_cluster, mut rig)) = sidecar(TEST) else { return };
    let programs = rig.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    for program in ["pg_dump", "pg_dumpall", "pg_restore", "psql"] {
        std::fs::copy(cluster::bin().join(program), programs.join(program)).unwrap();
    }
    rig.env.retain(|(name, _)| name != "POSTGRES_DB");
    rig.env.push((String::from("POSTGRES_DB"), String::from("nobody")));
    rig.env.push((String::from("PGDUMPD_LIMITS_RETRIES"), String::from("1s")));
    for dir in [cluster::bin(), programs] {
        let dir = dir.display().to_string();
        rig.env.push((String::from("PGDUMPD_PG_BIN_DIR"), dir.clone()));
        for verb in ["backup", "serve"] {
            let ended = rig.run(&[verb]);
            let told = ended.stderr.contains("\"nobody\" does not exist")
                && ended.stderr.contains("the server answers, and has no database of that name");
            assert!(ended.code == 1 && told, "{verb} with {dir}: {ended:?}");
        }
        rig.env.pop();
    }
}

/// Two sidecars that are both called `main`, on one database: the second one waits within its slot, and both have their backup.
#[test]
fn two_of_one_name_take_turns() {
    const TEST: &str = "two_of_one_name_take_turns";
    if configured(TEST) {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let pairs = beside(&cluster, &mut port);
    let (first, mut second) = (rig(&pairs), rig(&pairs));
    let mut locked =
        cluster.psql_command("shop").args(["-c", "begin", "-c", "lock table orders", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    cluster.wait_until("exists (select from pg_locks where locktype = 'relation' and mode = 'AccessExclusiveLock' and granted)");
    let mut dumping = first.command().arg("backup").stdin(Stdio::null()).spawn().unwrap();
    cluster.wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and wait_event_type = 'Lock')");
    let by_hand = second.run(&["backup"]);
    assert!(by_hand.code == 11 && by_hand.stderr.contains("PGDUMPD_NAME") && by_hand.stderr.contains("server_lock"), "{by_hand:?}");
    let more = [("SCHEDULE", "* * * * * *"), ("PGDUMPD_LIMITS_RETRIES", "1s,".repeat(60).trim_end_matches(',').to_owned().leak())];
    second.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut serving = second.serve();
    serving.wait_for_log("trying the backup again later: another pgdumpd", LONG);
    // On a busy machine slots of such a schedule are skipped in a row meanwhile, which is told as such.
    let failing = |rig: &Rig| -> Vec<serde_json::Value> {
        let alerts = rig.run(&["status", "--json"]).json()["projects"][0]["alerts"].as_array().expect("alerts").clone();
        alerts.into_iter().filter(|alert| alert["key"]["database"] == "shop").collect()
    };
    assert_eq!(failing(&second), [] as [serde_json::Value; 0], "a turn that is waited for is no failure");
    locked.kill().unwrap();
    locked.wait().unwrap();
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()");
    assert_eq!(dumping.wait().unwrap().code(), Some(0));
    wait_until(LONG, || serving.log(), || !second.backups().is_empty());
    assert_eq!((failing(&second).len(), first.backups().len()), (0, 1), "{:?}\n{}", failing(&second), serving.log());
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
}

/// A volume with somebody's files is refused where the first lines are read, not in the night.
#[test]
fn a_folder_that_holds_strange_files_is_refused_at_the_start() {
    if configured("a_folder_that_holds_strange_files_is_refused_at_the_start") {
        return;
    }
    let rig = rig(&[("DATABASE_URL", "postgresql://backup@127.0.0.1:1/shop")]);
    std::fs::write(rig.storage().join("older.sql.gz"), "x").unwrap();
    let refused = rig.run(&["serve"]);
    assert!(refused.code == 1 && refused.stderr.contains("isn't empty: it holds \"older.sql.gz\""), "{refused:?}");
    assert_eq!(std::fs::read_dir(rig.state()).unwrap().count(), 0, "nothing was begun");
}

/// Health is about backups, also about those that were never made.
#[test]
fn a_sidecar_that_never_made_a_backup_becomes_unhealthy() {
    let Some((_cluster, mut rig)) = sidecar("a_sidecar_that_never_made_a_backup_becomes_unhealthy") else { return };
    let more = [("SCHEDULE", "0 0 29 2 *"), ("PGDUMPD_MAX_BACKUP_AGE", "5s")];
    rig.env.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut serving = rig.serve();
    serving.wait_for_log("ready", LONG);
    assert_eq!(rig.run(&["status"]).code, 0, "just started");
    let stale = || rig.run(&["status"]);
    wait_until(Duration::from_secs(30), || format!("{:?}", stale()), || stale().code == 1 && stale().stdout.contains("STALE"));
    assert_eq!(rig.run(&["backup"]).code, 0);
    assert_eq!(rig.run(&["status"]).code, 0);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
}

/// Not every test binary uses all of the rig.
const _: fn(&Rig) = |rig| {
    rig.configure("");
};
