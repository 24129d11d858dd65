//! Rows 22 and 23: asked to end, and the first process of a container.
#![expect(clippy::disallowed_methods, reason = "the programs under test are started from outside of pgdumpd")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, CLIENTS, PATIENCE, kill, processes_with};
use crate::rig::{Serving, wait_until};

/// `grace` is 10 s unless it is set, and this `pg_dump` needs none of it: an end within this is a prompt one also on a slow machine.
const GRACE: Duration = Duration::from_secs(20);

fn held(daemon: &str) -> (Bench, Serving) {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure(daemon, "", &format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]"));
    bench.hold();
    let serving = bench.start();
    bench.wait_midway(|| serving.log());
    (bench, serving)
}

#[test]
fn f22_term_during_a_dump() {
    let (bench, mut serving) = held("");
    let began = Instant::now();
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    assert!(began.elapsed() < GRACE, "it took {:?} to end", began.elapsed());
    bench.assert_quiet("TERM");
    assert_eq!(bench.catalog("select status from runs"), ["interrupted"]);
    assert_eq!(bench.catalog("select outcome from slots"), Vec::<String>::new(), "it is due again");
    assert_eq!(bench.subjects(), Vec::<String>::new(), "ended on purpose, so nobody is mailed");
    bench.let_go();
    bench.assert_sound("TERM");
    let mut serving = bench.start();
    let done = || bench.catalog("select outcome from slots");
    wait_until(PATIENCE, || format!("its slot: {:?}\n{}", done(), serving.log()), || done() == ["ok"]);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    assert_eq!(bench.catalog("select status from runs order by started_at"), ["interrupted", "completed"]);
    bench.assert_sound("the slot run again");
}

/// A `pg_dump` that takes its time to end has as much of it as `grace` says, whether that is more or less than usual.
#[test]
fn f22_a_dump_that_is_told_to_end_has_as_long_as_grace_says() {
    let bench = Bench::new("");
    let here = bench.rig.path().display();
    for (grace, takes, ends) in [("60s", 12, true), ("100ms", 4, false)] {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) exec {CLIENTS}/pg_dump \"$@\";; esac\n\
             trap 'trap \"\" TERM; sleep {takes}; : > {here}/ended; exit 1' TERM\n: > {here}/midway\nwhile :; do sleep 0.1; done\n"
        );
        let clients = bench.rig.clients(&[("pg_dump", &script)]);
        let project = format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]");
        bench.configure(&format!("grace = {grace:?}"), "", &project);
        bench.hold();
        let mut serving = bench.start();
        bench.wait_midway(|| serving.log());
        serving.signal("TERM");
        assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
        let ended = bench.rig.path().join("ended");
        assert_eq!(ended.exists(), ends, "grace {grace}, and it needs {takes} s: {}", serving.log());
        drop(std::fs::remove_file(ended));
    }
    assert_eq!(bench.catalog("select distinct status from runs"), ["interrupted"]);
}

/// What has grown too old to be caught up is recorded for good.
#[test]
fn f22_term_during_a_dump_that_is_not_caught_up() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\ncatch_up = \"0s\"\nschedule = [{{ name = \"often\", every = \"1h\" }}]"));
    bench.hold();
    let mut serving = bench.start();
    bench.wait_midway(|| serving.log());
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    assert_eq!(bench.catalog("select outcome from slots"), ["interrupted"]);
}

#[test]
fn f22_term_lets_a_dump_finish_when_told_to_drain() {
    let (bench, mut serving) = held("drain = \"1 min\"");
    serving.signal("TERM");
    serving.wait_for_log("letting running dumps finish", PATIENCE);
    bench.let_go();
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    assert_eq!(bench.catalog("select status from runs"), ["completed"]);
    assert_eq!(bench.catalog("select outcome from slots"), ["ok"]);
    bench.assert_sound("draining");
}

#[test]
fn f22_a_second_term_interrupts_the_draining() {
    let (bench, mut serving) = held("drain = \"1h\"");
    serving.signal("TERM");
    serving.wait_for_log("letting running dumps finish", PATIENCE);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    assert_eq!(bench.catalog("select status from runs"), ["interrupted"]);
    bench.let_go();
    bench.assert_sound("a second TERM");
}

#[test]
fn f22_signals_end_a_backup_by_hand() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}"));
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        bench.hold();
        let mut child = bench.rig.command().args(["backup", "shop"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        bench.wait_midway(String::new);
        let began = Instant::now();
        kill(signal, child.id());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        assert!(began.elapsed() < GRACE, "it took {:?} to end", began.elapsed());
        bench.assert_sound(signal);
    }
    assert_eq!(bench.catalog("select distinct status from runs"), ["interrupted"]);
    assert_eq!(bench.subjects(), Vec::<String>::new());
}

/// The jobs that wait for a place when the daemon is asked to end have not begun: the next start runs them.
#[test]
fn f22_waiting_jobs_are_left_to_the_next_start() {
    let (bench, serving) = held("");
    drop(serving);
    bench.let_go();
    bench.mend();
    let clients = bench.rig.path().join("bin");
    let more: String = ["one", "two"]
        .map(|name| {
            let url = bench.cluster.url("shop");
            format!("[[project]]\nname = \"{name}\"\nconnection = \"{url}\"\npg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1h\" }}]\n")
        })
        .concat();
    bench.hold();
    bench.configure(
        "max_parallel = 1\nmax_parallel_per_server = 1",
        "",
        &format!("limits = {{ connect = \"10s\", retries = [] }}\n{more}"),
    );
    let mut serving = bench.start();
    bench.wait_midway(|| serving.log());
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    let slots = "select count(*) from slots where project in ('one', 'two')";
    assert_eq!(bench.catalog(slots), ["0"], "one was interrupted, the other not begun: both are due again");
    bench.let_go();
    let mut serving = bench.start();
    let done = || bench.catalog("select outcome from slots where project in ('one', 'two') order by outcome");
    wait_until(PATIENCE, || format!("the two: {:?}\n{}", done(), serving.log()), || done() == ["ok", "ok"]);
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
    bench.assert_sound("a stop with a queue");
}

/// `unshare` stands for the container: its child is process 1 of a namespace of its own.
fn contained(bench: &Bench) -> Serving {
    let plain = bench.rig.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(plain.get_program()).current_dir(bench.rig.path());
    command.env_clear().envs(bench.rig.env.iter().map(|(key, value)| (key, value)));
    bench.rig.serve_by(command)
}

/// The processes below one, as (number, state): the namespace's process 1 first.
fn below(pid: u32) -> Vec<(u32, char)> {
    let mut found = Vec::new();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()) {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).unwrap_or('?');
        found.push((child, state));
        found.extend(below(child));
    }
    found
}

#[test]
fn f23_process_1_reaps_and_passes_signals_on() {
    let bench = Bench::new("");
    // Each dump leaves an orphan behind that outlives it, in a session of its own, and closes everything.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) ;; *) setsid sleep 0.5 </dev/null >/dev/null 2>&1 9>&- & ;; esac\nexec {CLIENTS}/pg_dump \"$@\"\n"
    );
    let clients = bench.rig.clients(&[("pg_dump", &script)]).display().to_string();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\nschedule = [{{ name = \"often\", every = \"1s\" }}]"));
    let mut serving = contained(&bench);
    let backups = || bench.rig.stored().len();
    wait_until(PATIENCE, || format!("backups: {}", serving.log()), || serving.log().matches("backup made").count() >= 4 && backups() > 0);
    std::thread::sleep(Duration::from_secs(1));
    let processes = below(serving.child.id());
    assert!(processes.len() >= 2, "process 1 and its daemon: {processes:?}");
    let zombies = || below(serving.child.id()).into_iter().filter(|(_, state)| *state == 'Z').map(|(pid, _)| pid).collect::<Vec<_>>();
    // One that has just ended is no zombie yet; one that is there twice in a row is.
    let once = zombies();
    std::thread::sleep(Duration::from_secs(2));
    let twice: Vec<u32> = zombies().into_iter().filter(|pid| once.contains(pid)).collect();
    assert_eq!(twice, Vec::<u32>::new(), "zombies below {processes:?}");
    // TERM goes to process 1, as a container's engine sends it, and its end is that of the daemon.
    kill("TERM", processes[0].0);
    assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    bench.assert_sound("a container's life");
}

#[test]
fn f23_process_1_keeps_the_exit_code() {
    let bench = Bench::new("");
    let serving = bench.start();
    let mut second = contained(&bench);
    assert_eq!(second.wait(PATIENCE), 11, "the daemon's own code: {}", second.log());
    drop(serving);
    wait_until(PATIENCE, || String::from("no process left"), || processes_with(bench.rig.path()).is_empty());
}

/// A job that is ended each night, by its deadline or for want of memory: the next one tells, whatever becomes of it.
#[test]
fn f20_backups_by_hand_that_end_by_force_again_and_again_are_told() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}\nmax_backup_age = \"1s\""));
    let ended = |signal: &str| {
        bench.hold();
        let mut child = bench.rig.command().args(["backup", "shop"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        bench.wait_midway(|| bench.log());
        kill(signal, child.id());
        child.wait().unwrap();
    };
    ended("TERM");
    std::thread::sleep(Duration::from_secs(1));
    let status = bench.rig.run(&["status"]);
    assert!(status.code == 1 && status.stdout.contains("STALE"), "no backup for longer than it may be: {status:?}");
    ended("KILL");
    assert_eq!(bench.subjects(), Vec::<String>::new(), "it could tell nobody itself");
    ended("KILL");
    let told = bench.subjects();
    assert!(told.len() == 1 && told[0].contains("FAILED shop"), "{told:?}");
}
