//! Whether the daemon turns: the heartbeat in the catalog, and what systemd is told.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::{LONG, Place, WallClock, ended, until};

#[test]
fn f42_a_wedged_daemon_turns_the_health_check_red() {
    let rig = Rig::new();
    rig.configure("");
    assert_eq!(rig.run(&["status", "--alive"]).code, 1, "nobody serves yet");
    let serving = rig.serve();
    until(&serving, "the first heartbeat", || rig.run(&["status", "--alive"]).stdout.contains("serving"));
    assert_eq!(rig.run(&["status"]).code, 0);

    serving.signal("STOP");
    // The check looks ten minutes later, which the stopped daemon slept through.
    let clock = WallClock::new(&rig, "+10m");
    let look = |arguments: &[&str]| clock.command(&rig).args(arguments).output().expect("pgdumpd runs");
    let alive = look(&["status", "--alive"]);
    assert_eq!(alive.status.code(), Some(1), "{alive:?}");
    assert!(String::from_utf8_lossy(&alive.stdout).contains("SILENT"), "{alive:?}");
    let whole = look(&["status"]);
    assert_eq!(whole.status.code(), Some(1), "{whole:?}");
    let json = look(&["status", "--json"]);
    assert!(String::from_utf8_lossy(&json.stdout).contains("\"silent\""), "{json:?}");

    serving.signal("CONT");
    until(&serving, "it turns again", || rig.run(&["status", "--alive"]).code == 0);
}

/// On a storage that hangs, say: nobody can know of its first sign of life when none comes.
#[test]
fn f42_a_daemon_that_hangs_before_its_first_sign_of_life_turns_the_health_check_red() {
    let rig = Rig::new();
    rig.configure("");
    let serving = rig.serve();
    until(&serving, "the first heartbeat", || rig.run(&["status", "--alive"]).stdout.contains("serving"));
    serving.signal("STOP");
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(rig.state().join(name));
    }
    let alive = rig.run(&["status", "--alive"]);
    assert!(alive.code == 0 && alive.stdout.contains("starting"), "{alive:?}");
    for (later, code, words) in [("+50m", 0, "starting"), ("+2h", 1, "SILENT")] {
        let ended = WallClock::new(&rig, later).command(&rig).args(["status", "--alive"]).output().expect("pgdumpd runs");
        assert!(ended.status.code() == Some(code) && String::from_utf8_lossy(&ended.stdout).contains(words), "{later}: {ended:?}");
    }
    serving.signal("CONT");
    until(&serving, "it turns again", || rig.run(&["status", "--alive"]).stdout.contains("serving"));
}

#[test]
fn a_daemon_that_said_good_bye_is_stopped_and_not_silent() {
    let rig = Rig::new();
    rig.configure("");
    let mut serving = rig.serve();
    until(&serving, "the first heartbeat", || rig.run(&["status", "--alive"]).code == 0);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let standing = rig.run(&["status", "--json"]).json();
    assert_eq!(standing["daemon"]["state"], "stopped");
}

#[test]
fn a_daemon_that_lets_dumps_finish_says_so_and_promises_no_next_slot() {
    let place = Place::new();
    let hourly = "[[project.schedule]]\nname = \"hourly\"\ncron = \"@hourly\"\n";
    let often = format!("{}\n[[project.schedule]]\nname = \"often\"\ncron = \"*/2 * * * * *\"\n", place.held_clients());
    place.rig.configure_with("drain = \"1h\"", &format!("{}{}", place.project("shop", &often), place.project("later", hourly)));
    place.hold();
    let mut serving = place.rig.serve();
    until(&serving, "a dump begins", || place.rig.path().join("dumps").exists());
    let before = place.rig.run(&["status", "later"]).stdout;
    assert!(before.contains("the daemon is serving"), "{before}");
    serving.signal("TERM");
    until(&serving, "it says that it stops", || {
        place.rig.run(&["status"]).stdout.contains("the daemon is stopping: it waits for 1 run to end")
    });
    let status = place.rig.run(&["status"]);
    assert_eq!(status.code, 0, "a stop that was asked for is no trouble: {status:?}");
    assert_eq!(status.stdout.matches("after the restart").count(), 2, "{}", status.stdout);
    let daemon = place.rig.run(&["status", "--json"]).json()["daemon"].clone();
    assert_eq!((&daemon["state"], &daemon["stopping"]), (&"serving".into(), &true.into()), "{daemon}");
    assert_eq!(place.rig.run(&["status", "--alive"]).code, 0, "it turns");
    place.release();
    assert_eq!(serving.wait(LONG), 0);
    assert_eq!(ended(&place.rig, "shop", "ok"), 1);
    assert_eq!(place.rig.run(&["status", "--json"]).json()["daemon"]["state"], "stopped");
}

/// Reads datagrams until one of them has such a line; all lines so far.
fn told(socket: &UnixDatagram, line: &str, seen: &mut Vec<String>) {
    let until = Instant::now() + LONG;
    let mut buffer = [0; 4096];
    while !seen.iter().any(|told| told.starts_with(line)) {
        assert!(Instant::now() < until, "{line} was never told: {seen:?}");
        if let Ok(length) = socket.recv(&mut buffer) {
            seen.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
        }
    }
}

#[test]
fn f42_systemd_is_told_of_the_start_the_turning_the_reload_and_the_end() {
    let rig = Rig::new();
    rig.configure("");
    let path = rig.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let mut command = rig.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000");
    let mut serving = rig.serve_by(command);
    let mut seen = Vec::new();
    told(&socket, "READY=1", &mut seen);
    assert!(seen.iter().any(|line| line.starts_with("STATUS=0 projects")), "{seen:?}");
    for _ in 0..2 {
        told(&socket, "WATCHDOG=1", &mut seen);
        seen.clear();
    }
    serving.signal("HUP");
    told(&socket, "RELOADING=1", &mut seen);
    let stamp = seen.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("systemd asks for the time of a reload");
    assert!(stamp.parse::<u64>().is_ok_and(|stamp| stamp > 0), "{stamp}");
    seen.retain(|line| line != "READY=1");
    told(&socket, "READY=1", &mut seen);
    serving.signal("STOP");
    std::thread::sleep(Duration::from_secs(1));
    while socket.recv(&mut [0; 4096]).is_ok() {}
    std::thread::sleep(Duration::from_secs(16));
    assert!(socket.recv(&mut [0; 4096]).is_err(), "a wedged daemon pets no watchdog");
    serving.signal("CONT");
    seen.clear();
    told(&socket, "WATCHDOG=1", &mut seen);
    serving.signal("TERM");
    told(&socket, "STOPPING=1", &mut seen);
    assert_eq!(serving.wait(LONG), 0);
}

#[test]
fn a_short_watchdog_is_petted_in_time() {
    let rig = Rig::new();
    rig.configure("");
    let path = rig.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut command = rig.command();
    // The bell rings every ten seconds.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "4000000");
    let serving = rig.serve_by(command);
    serving.wait_for_log("ready", LONG);
    socket.set_read_timeout(Some(Duration::from_secs(8))).expect("a timeout");
    let mut buffer = [0; 4096];
    let mut pets = 0;
    while pets < 4 {
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("after {pets} signs of life: {error}\n{}", serving.log()));
        pets += String::from_utf8_lossy(&buffer[..length]).lines().filter(|line| *line == "WATCHDOG=1").count();
    }
}
