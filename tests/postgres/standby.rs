//! Dumping from a standby, and pausing its replay without ever leaving it paused.
#![expect(clippy::disallowed_methods, reason = "the test starts itself again, to kill it")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgdumpd::error::Cause;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::postgres::replay::ReplayPause;

use crate::cluster::{Cluster, Setup};
use crate::support::{access, client, dump, open};

const PAUSED: &str = "pg_is_wal_replay_paused()";
const RUNNING: &str = "not pg_is_wal_replay_paused()";
const HOLD: &str = "PGDUMPD_TEST_HOLD";

fn pause(url: &str, most: Duration) -> pgdumpd::error::Result<Option<ReplayPause>> {
    let access = access(url);
    let session = open(&access, None)?;
    ReplayPause::begin(&client(), &access, session.server(), "pgdumpd/test", most)
}

#[test]
fn a_standby_is_dumped_and_its_replay_never_stays_paused() {
    if let Ok(url) = std::env::var(HOLD) {
        let _paused = pause(&url, Duration::from_secs(600)).unwrap();
        std::thread::sleep(Duration::from_secs(120));
        return;
    }
    let primary = Cluster::start();
    primary.psql("create table t as select generate_series(1, 1000) n; create role plain login");
    let standby = Setup::default().standby_of(&primary).start();
    let access = access(&standby.url("postgres"));
    let mut session = open(&access, None).unwrap();
    assert!(session.server().standby);
    assert_eq!(
        session.server().system_identifier.as_deref(),
        Some(primary.psql("select system_identifier from pg_control_system()").as_str())
    );
    session.try_server_lock("shop", "postgres").unwrap();
    let long = Duration::from_secs(600);
    let paused = pause(&standby.url("postgres"), long).unwrap().unwrap();
    assert!(paused.is_paused());
    standby.wait_until(PAUSED);
    assert!(dump(&access, &session, &DumpShape::default()).exit.is_success());
    assert!(pause(&standby.url("postgres"), long).unwrap().is_none(), "somebody else's pause was taken for ours");
    drop(paused);
    standby.wait_until(RUNNING);
    let short = pause(&standby.url("postgres"), Duration::from_secs(1)).unwrap().unwrap();
    standby.wait_until(RUNNING);
    let since = Instant::now();
    while short.is_paused() {
        // The server has resumed; its psql has yet to end.
        assert!(since.elapsed() < Duration::from_secs(60), "a pause that is over is taken for one");
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = pause(&standby.url_as("plain", "postgres"), long).unwrap_err();
    assert_eq!(refused.cause, Cause::Permission);
    for statement in refused.hint.unwrap().split_inclusive(';') {
        primary.psql(statement);
    }
    killed_while_paused(&standby);
}

fn killed_while_paused(standby: &Cluster) {
    let name = "standby::a_standby_is_dumped_and_its_replay_never_stays_paused";
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["--exact", name]).env(HOLD, standby.url("postgres")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut holder = holder.spawn().unwrap();
    standby.wait_until(PAUSED);
    holder.kill().unwrap();
    holder.wait().unwrap();
    standby.wait_until(RUNNING);
}
