//! A database that isn't there when the sidecar starts: how long it is waited for, what is said meanwhile, and who hears when it doesn't come.

use std::net::TcpListener;

use crate::cluster::Cluster;
use crate::rig::{Rig, wait_until};
use crate::smtp::{Script, Server};
use crate::{LONG, beside, configured, rig, sidecar};

/// A mail server, and a rig that mails to it.
fn mailing(pairs: &[(&str, &str)]) -> (Server, Rig) {
    let server = Server::start(Script { offer_starttls: false, auth: "", ..Script::default() });
    let mut rig = rig(pairs);
    set(&mut rig, "PGDUMPD_SMTP_HOST", "localhost");
    set(&mut rig, "PGDUMPD_SMTP_PORT", &server.address.port().to_string());
    set(&mut rig, "PGDUMPD_SMTP_SECURITY", "none");
    set(&mut rig, "PGDUMPD_SMTP_FROM", "p@example.org");
    set(&mut rig, "BACKUP_NOTIFICATION_EMAIL", "oncall@example.org");
    (server, rig)
}

fn set(rig: &mut Rig, name: &str, value: &str) {
    rig.env.retain(|(known, _)| known != name);
    rig.env.push((name.to_owned(), value.to_owned()));
}

/// The mails so far, their lines joined, so that no wrapping hides words.
fn mails(server: &Server) -> Vec<String> {
    server.look(|seen| seen.mails.iter().map(|(_, text)| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

/// A container that restarts for ever is seen by nobody: it has to say so itself.
#[test]
fn a_database_that_is_gone_at_the_start_is_mailed_once() {
    if configured("a_database_that_is_gone_at_the_start_is_mailed_once") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let (server, mut rig) = mailing(&beside(&cluster, &mut port));
    set(&mut rig, "PGDUMPD_LIMITS_RETRIES", "1s");
    assert_eq!(rig.run(&["backup"]).code, 0);
    let good = rig.backups()[0]["id"].as_str().unwrap().to_owned();
    cluster.stop_immediate();
    for _ in 0..3 {
        let ended = rig.run(&["serve"]);
        assert!(ended.code == 75 && ended.stderr.contains("the database did not come up within 1s"), "{ended:?}");
    }
    let told = mails(&server);
    assert_eq!(told.len(), 1, "{told:?}");
    for words in ["FAILED main: pgdumpd could not start: the database did not come up", "the daemon was starting", good.as_str()] {
        assert!(told[0].contains(words), "{words:?} in {told:?}");
    }
    assert!(told[0].contains("the next try is made when pgdumpd is started again") && !told[0].contains("by schedule"), "{told:?}");
    let standing = rig.run(&["status"]);
    assert!(standing.code == 1 && standing.stdout.contains("FAILING") && standing.stdout.contains("NOT RUNNING"), "{standing:?}");
    cluster.start_again();
    assert_eq!(rig.run(&["backup"]).code, 0);
    let told = mails(&server);
    assert!(told.len() == 2 && told[1].contains("OK main: backups work again after 3 failures"), "{told:?}");
}

/// What a one-shot container mails promises nothing that only a daemon would do.
#[test]
fn a_single_run_promises_no_next_one() {
    if configured("a_single_run_promises_no_next_one") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let (server, mut rig) = mailing(&beside(&cluster, &mut port));
    set(&mut rig, "POSTGRES_DB", "nobody");
    assert_eq!(rig.run(&["backup", "--no-retry"]).code, 1);
    set(&mut rig, "POSTGRES_USER", "nobody");
    cluster.psql("create role nobody superuser login");
    cluster.psql("create database nobody");
    assert_eq!(rig.run(&["backup"]).code, 0);
    let told = mails(&server);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("FAILED main") && told[0].contains("the next try is made when pgdumpd is started again"), "{told:?}");
    assert!(told[0].contains("Each time pgdumpd is started, this mail may repeat"), "{told:?}");
    assert!(told[1].contains("OK main") && told[1].contains("the next backup is made when pgdumpd is started again"), "{told:?}");
    assert!(!told.iter().any(|text| text.contains("by schedule")), "{told:?}");
    let standing = rig.run(&["status"]);
    assert!(standing.code == 0 && standing.stdout.contains("by hand only"), "nobody asked for a daemon: {standing:?}");
    set(&mut rig, "SCHEDULE", "@daily");
    let standing = rig.run(&["status"]);
    assert!(standing.code == 1 && standing.stdout.contains("NOT RUNNING"), "somebody did: {standing:?}");
    assert!(standing.stdout.contains("start the container") && !standing.stdout.contains("systemctl"), "{standing:?}");
    let looked = rig.run(&["doctor"]);
    assert!(looked.stdout.contains("it is not running") && !looked.stdout.contains("systemctl"), "{looked:?}");
}

/// A `CronJob` that took the place of a daemon: what counts then is how old its backups are.
#[test]
fn backups_by_hand_take_the_place_of_a_daemon() {
    let Some((_cluster, mut rig)) = sidecar("backups_by_hand_take_the_place_of_a_daemon") else { return };
    let missed = |rig: &Rig, word: &str| {
        let standing = rig.run(&["status"]);
        assert!(standing.code == 1 && standing.stdout.contains(word), "{standing:?}");
    };
    let not_missed = |rig: &Rig| {
        let standing = rig.run(&["status"]);
        assert!(standing.code == 0 && !standing.stdout.contains("NOT RUNNING"), "{standing:?}");
        assert!(
            standing.stdout.contains("by hand only") && standing.stdout.contains("since then backups are made by hand"),
            "{standing:?}"
        );
    };
    assert_eq!(rig.run(&["backup"]).code, 0);
    let mut serving = rig.serve();
    serving.wait_for_log("ready", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
    missed(&rig, "NOT RUNNING");
    assert_eq!(rig.run(&["backup"]).code, 0);
    not_missed(&rig);
    set(&mut rig, "SCHEDULE", "@daily");
    missed(&rig, "NOT RUNNING");
    rig.env.retain(|(name, _)| name != "SCHEDULE");
    // One that hangs is missed, whatever else is made by hand; one that was killed is gone.
    set(&mut rig, "PGDUMPD_DAEMON_HEARTBEAT", "1h");
    let mut serving = rig.serve();
    wait_until(LONG, || serving.log(), || rig.run(&["status", "--alive"]).code == 0);
    assert_eq!(rig.run(&["backup"]).code, 0);
    let catalog = rusqlite::Connection::open(rig.state().join("catalog.db")).unwrap();
    let aged = "UPDATE meta SET value = json_set(value, '$.at', strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-5 hours')) WHERE key = 'heartbeat'";
    assert_eq!(catalog.execute(aged, []).unwrap(), 1);
    missed(&rig, "SILENT");
    serving.child.kill().unwrap();
    serving.child.wait().unwrap();
    not_missed(&rig);
    set(&mut rig, "PGDUMPD_MAX_BACKUP_AGE", "1s");
    let stale = || rig.run(&["status"]);
    wait_until(LONG, || format!("{:?}", stale()), || stale().code == 1 && stale().stdout.contains("STALE"));
}

/// Alive, as a restart would mend nothing, and not ready.
#[test]
fn what_waits_for_its_database_is_alive_and_not_healthy() {
    if configured("what_waits_for_its_database_is_alive_and_not_healthy") {
        return;
    }
    let rig = rig(&[("DATABASE_URL", "postgresql://backup@127.0.0.1:1/shop")]);
    let mut serving = rig.serve();
    serving.wait_for_log("waiting for the database", LONG);
    let alive = rig.run(&["status", "--alive"]);
    assert!(alive.code == 0 && alive.stdout.contains("WAITS for the database"), "{alive:?}");
    let standing = rig.run(&["status", "--json"]);
    assert_eq!(standing.code, 1, "{standing:?}");
    let told = standing.json();
    assert_eq!((told["healthy"].as_bool(), told["daemon"]["state"].as_str()), (Some(false), Some("waiting")), "{told}");
    assert!(told["daemon"]["why"].as_str().is_some_and(|why| why.contains("refused")), "{told}");
    assert!(rig.run(&["doctor"]).stdout.contains("it waits for the database"));
    serving.signal("HUP");
    serving.wait_for_log("still waiting for the database", LONG);
    serving.signal("USR1");
    serving.wait_for_log("state: waiting for the database", LONG);
    serving.signal("QUIT");
    assert_eq!(serving.wait(LONG), 131, "{}", serving.log());
    let standing = rig.run(&["status"]);
    assert!(standing.code == 1 && standing.stdout.contains("NOT RUNNING"), "it should serve: {standing:?}");
    assert!(standing.stdout.contains("start the container"), "{standing:?}");
}

/// A host that takes connections and says nothing holds nobody up for longer than was promised.
#[test]
fn a_silent_host_does_not_prolong_the_wait() {
    if configured("a_silent_host_does_not_prolong_the_wait") {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://backup@127.0.0.1:{}/shop", silent.local_addr().unwrap().port());
    let rig = rig(&[("DATABASE_URL", &url), ("PGDUMPD_LIMITS_RETRIES", "3s"), ("PGDUMPD_LIMITS_CONNECT", "10min")]);
    let mut serving = rig.serve();
    serving.wait_for_log("looking for the database at 127.0.0.1", LONG);
    assert_eq!(serving.wait(LONG), 75, "{}", serving.log());
    assert!(serving.log().contains("did not come up within 3s"), "{}", serving.log());
}

/// Every database that is to be backed up is looked for; those that are there are backed up all the same.
#[test]
fn one_of_several_databases_that_is_missing_is_told_at_the_start() {
    if configured("one_of_several_databases_that_is_missing_is_told_at_the_start") {
        return;
    }
    let cluster = Cluster::start();
    let mut port = String::new();
    let (server, mut rig) = mailing(&beside(&cluster, &mut port));
    set(&mut rig, "POSTGRES_DB", "shop,nope");
    set(&mut rig, "PGDUMPD_LIMITS_RETRIES", "2s");
    let mut serving = rig.serve();
    serving.wait_for_log("going on without a database", LONG);
    serving.wait_for_log("ready", LONG);
    wait_until(LONG, || serving.log(), || !mails(&server).is_empty());
    let told = mails(&server);
    assert!(told[0].contains("FAILED main") && told[0].contains("\"nope\" does not exist"), "{told:?}");
    let standing = rig.run(&["status"]);
    assert!(standing.code == 1 && standing.stdout.contains("main/nope: FAILING") && !standing.stdout.contains("main/shop"), "{standing:?}");
    serving.signal("QUIT");
    assert_eq!(serving.wait(LONG), 131, "{}", serving.log());
}
