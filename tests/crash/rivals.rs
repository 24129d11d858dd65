//! Rows 24 and 25: two that want the same, and a lock file that lies.
#![expect(clippy::disallowed_methods, reason = "the programs under test are started from outside of pgdumpd")]

use std::process::{Command, Stdio};

use crate::bench::{Bench, PATIENCE, kill};
use crate::rig::wait_until;

#[test]
fn f24_a_second_daemon_is_told_who_serves() {
    let bench = Bench::new("");
    let mut first = bench.start();
    let mut second = bench.rig.serve();
    assert_eq!(second.wait(PATIENCE), 11, "{}", second.log());
    // It says so on its standard error, which is the log here.
    let words = format!("another daemon (process {})", first.child.id());
    assert!(second.log().contains(&words), "{words:?} in {}", second.log());
    first.signal("TERM");
    assert_eq!(first.wait(PATIENCE), 0);
    assert_eq!(bench.rig.run(&["status", "--alive"]).code, 1);
}

#[test]
fn f24_a_command_line_beside_a_running_job_is_told_who_holds_the_project() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]"));
    bench.hold();
    let mut serving = bench.start();
    bench.wait_midway(|| serving.log());
    for arguments in [&["backup", "shop"][..], &["prune", "shop"]] {
        let ended = bench.rig.run(arguments);
        assert_eq!(ended.code, 11, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(&format!("process {}", serving.child.id())), "who holds it: {ended:?}");
    }
    bench.let_go();
    let done = || bench.catalog("select outcome from slots");
    wait_until(PATIENCE, || format!("the slot: {:?}\n{}", done(), serving.log()), || done() == ["ok"]);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    assert_eq!(bench.catalog("select status from runs"), ["completed"], "the others left no run");
    assert_eq!(bench.subjects(), Vec::<String>::new());
    bench.assert_sound("two at once");
}

/// Two daemons with states of their own and one storage: both have the slot, one runs it.
#[test]
fn f24_two_daemons_on_one_storage() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]"));
    bench.hold();
    let mut first = bench.start();
    bench.wait_midway(|| first.log());
    let text = std::fs::read_to_string(bench.rig.path().join("pgdumpd.toml")).unwrap();
    let elsewhere = bench.rig.path().join("elsewhere");
    let other = bench.rig.path().join("other.toml");
    std::fs::write(&other, text.replace(&bench.rig.state().display().to_string(), &elsewhere.display().to_string())).unwrap();
    let log = std::fs::File::create(bench.rig.path().join("other.log")).unwrap();
    let mut second = bench.rig.command().args(["--config", &other.display().to_string(), "serve"]).stderr(log).spawn().unwrap();
    let outcome = || {
        let db = rusqlite::Connection::open(elsewhere.join("catalog.db")).ok()?;
        db.query_row("select outcome from slots", [], |row| row.get::<_, String>(0)).ok()
    };
    let log = || std::fs::read_to_string(bench.rig.path().join("other.log")).unwrap_or_default();
    wait_until(PATIENCE, || format!("the other's slot: {:?}\n{}", outcome(), log()), || outcome().as_deref() == Some("skipped_locked"));
    kill("TERM", second.id());
    assert_eq!(second.wait().unwrap().code(), Some(0));
    bench.let_go();
    let done = || bench.catalog("select outcome from slots");
    wait_until(PATIENCE, || format!("the slot: {:?}\n{}", done(), first.log()), || done() == ["ok"]);
    first.signal("TERM");
    assert_eq!(first.wait(PATIENCE), 0);
    bench.assert_sound("two daemons");
}

#[test]
fn f25_a_lock_file_with_a_living_stranger_in_it() {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    let mut stranger = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    assert_eq!(std::fs::read_to_string(bench.lock()).unwrap().trim(), "", "whoever lets go of it stands in it no more");
    let mut holder = serde_json::json!({ "run": "k3f9q2abcd", "host": "db1", "since": "2026-11-21T01:15:00Z" });
    // Once as a number that was used again, once as if the stranger itself had taken the lock.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    let ticks: u64 = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
    for ticks in [ticks + 1, ticks] {
        holder["pid"] = stranger.id().into();
        holder["start_ticks"] = ticks.into();
        std::fs::write(bench.lock(), format!("{holder}\n")).unwrap();
        let ended = bench.back_up();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    // And as rubbish.
    std::fs::write(bench.lock(), [0xff; 8192]).unwrap();
    assert_eq!(bench.back_up().code, 0);
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was ended");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    bench.assert_sound("a lock file that lies");
}
