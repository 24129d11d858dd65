//! A drill on a server that is ended while a stopped session there keeps its scratch database from being dropped.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use crate::cluster::Cluster;
use crate::rig::wait_until;
use crate::stage::{LONG, Stage};

/// A row of it takes a minute, but only where it is restored for trial.
const SLOW: &str = "create function slow(i int) returns bool language plpgsql as $$ begin
      if current_database() like 'pgdumpd_drill_%' then perform pg_sleep(60); end if; return true; end $$;
    create table z (i int check (slow(i))); insert into z values (1), (2)";

/// A session on the server whose backend is stopped: it answers nobody, and DROP DATABASE asks everybody.
struct Frozen {
    client: Child,
    pid: String,
}

impl Frozen {
    fn new(server: &Cluster) -> Self {
        let mut command = server.psql_command("postgres");
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        client.stdin.as_mut().unwrap().write_all(b"set application_name = 'frozen';\n").unwrap();
        let asked = "select pid from pg_stat_activity where application_name = 'frozen' and state = 'idle'";
        wait_until(LONG, || String::from("the session"), || !server.psql(asked).is_empty());
        let frozen = Self { client, pid: server.psql(asked) };
        frozen.signal("STOP");
        frozen
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.pid]).status().unwrap().success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("CONT");
        drop(self.client.kill());
        drop(self.client.wait());
    }
}

fn scratch_on(server: &Cluster) -> Vec<String> {
    let names = server.psql("select datname from pg_database where datname like 'pgdumpd%' order by 1");
    names.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn at_work(server: &Cluster) -> bool {
    server.psql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") == "1"
}

/// Nobody of ours is at work there, so that what is left can be told from what is in use.
fn nobody(server: &Cluster) -> bool {
    server.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd%'") == "0"
}

#[test]
fn a_drill_that_is_ended_waits_for_no_stopped_session_and_its_database_goes_later() {
    let stage = Stage::new("");
    stage.cluster.psql_in("shop", SLOW);
    let other = Cluster::start();
    let on = |cron: &str| format!("drill = {{ cron = {cron:?}, on = {:?} }}", other.url("postgres"));
    stage.configure_with("grace = \"2s\"", "[]", &on("*/2 * * * * *"));
    stage.backup();
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || at_work(&other));
    let frozen = Frozen::new(&other);
    serving.signal("TERM");
    // Less than the five minutes of `lock_wait`, for which it waits otherwise.
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
    let left = scratch_on(&other);
    assert_eq!(left.len(), 1, "{left:?}");
    let told = |line: &str| line.contains(&left[0]) && line.contains("could not be dropped") && line.contains("longer than the 2s");
    assert!(serving.log().lines().any(told), "{left:?}: {}", serving.log());
    wait_until(LONG, || String::from("the server gives it up too"), || nobody(&other));
    drop(frozen);
    stage.configure(&on("@yearly"));
    let serving = stage.rig.serve();
    wait_until(LONG, || format!("{:?}: {}", scratch_on(&other), serving.log()), || scratch_on(&other).is_empty());
    let told = |line: &str| line.contains(&left[0]) && line.contains("removed what an earlier restore or drill has left behind");
    assert!(serving.log().lines().any(told), "{left:?}: {}", serving.log());
    drop(serving);
    by_hand(&stage, &other);
}

/// A check that the server still works at is cancelled there, not waited for.
#[test]
fn a_drill_that_is_ended_cancels_the_check_that_is_being_asked() {
    let stage = Stage::new("");
    stage.backup();
    let other = Cluster::start();
    let on = format!("drill = {{ cron = \"*/2 * * * * *\", on = {:?} }}", other.url("postgres"));
    let check = "[[project.check]]\nname = \"slow\"\nsql = \"select pg_sleep(55) is not null\"";
    stage.configure(&format!("{on}\n{check}"));
    let cancelled = || other.log().matches("canceling statement due to user request").count();
    let mut serving = stage.rig.serve();
    wait_until(LONG, || serving.log(), || at_work(&other));
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0, "{}", serving.log());
    assert_eq!((cancelled(), scratch_on(&other)), (1, Vec::new()), "{}", serving.log());
    stage.configure(check);
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let mut command = stage.rig.command();
        command.args(["drill", "shop", "--on", &other.url("postgres")]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(LONG, || String::from("the check"), || at_work(&other));
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
    assert_eq!((cancelled(), scratch_on(&other)), (3, Vec::new()));
    wait_until(LONG, || String::from("nobody asks any more"), || nobody(&other));
}

/// The same for Ctrl-C, with the next drill as the one that clears up.
fn by_hand(stage: &Stage, other: &Cluster) {
    stage.configure_with("grace = \"2s\"", "[]", "");
    let url = other.url("postgres");
    let mut command = stage.rig.command();
    let child = command.args(["drill", "shop", "--on", &url]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(LONG, || String::from("the slow row"), || at_work(other));
    let frozen = Frozen::new(other);
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    let left = scratch_on(other);
    assert!(ended.status.code() == Some(130) && left.len() == 1 && told.contains(&left[0]), "{left:?}: {told}");
    wait_until(LONG, || String::from("the server gives it up too"), || nobody(other));
    drop(frozen);
    stage.cluster.psql_in("shop", "drop table z");
    stage.backup();
    let said = stage.run(&["drill", "shop", "--on", &url], 0).stderr;
    assert!(said.contains(&format!("removed the database {}", left[0])), "{said}");
    assert!(scratch_on(other).is_empty(), "{:?}", scratch_on(other));
}
