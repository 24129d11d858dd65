//! What the daemon says: on USR1, as JSON, and to the journal.

use serde_json::Value;

use crate::rig::Rig;
use crate::support::{LONG, Place, until};

#[test]
fn usr1_logs_the_state() {
    let place = Place::new();
    let clients = place.held_clients();
    let schedules = "[[project.schedule]]\nname = \"now\"\nevery = \"1h\"\n[[project.schedule]]\nname = \"later\"\ncron = \"0 0 1 1 *\"\n";
    place.rig.configure(&place.project("shop", &format!("{clients}\n{schedules}")));
    place.hold();
    let serving = place.rig.serve();
    until(&serving, "a dump runs", || place.rig.path().join("dumps").exists());
    serving.signal("USR1");
    serving.wait_for_log("state: 1 project, 1 running, 0 waiting", LONG);
    until(&serving, "what is in flight and what comes", || {
        let log = serving.log();
        let after = log.split("state:").nth(1).unwrap_or_default().to_owned();
        after.contains("in flight") && after.contains("database=\"postgres\"") && after.contains("schedule=\"later\"")
    });
    place.release();
}

#[test]
fn json_lines_are_json() {
    let place = Place::new();
    place.rig.configure_with("log_format = \"json\"\n", &place.project("shop", "[[project.schedule]]\nname = \"s\"\nevery = \"1h\"\n"));
    let mut serving = place.rig.serve();
    serving.wait_for_log("backup made", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let lines: Vec<Value> =
        serving.log().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    for line in &lines {
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let made = lines.iter().find(|line| line["message"] == "backup made").expect("the backup");
    assert!(made["project"] == "shop" && made["database"] == "postgres" && made["run"].is_string(), "{made}");
}

#[test]
fn lines_for_the_journal_carry_their_priority_and_no_time() {
    let rig = Rig::new();
    rig.configure("");
    let log = rig.path().join("serve.log");
    std::fs::write(&log, "").expect("the log");
    // What systemd sets for a service whose standard error is the journal: device and inode of that very stream.
    let meta = std::fs::metadata(&log).expect("the log");
    let stream = format!("{}:{}", std::os::unix::fs::MetadataExt::dev(&meta), std::os::unix::fs::MetadataExt::ino(&meta));
    let mut command = rig.command();
    command.env("JOURNAL_STREAM", stream);
    let mut serving = rig.serve_by(command);
    serving.wait_for_log("ready", LONG);
    std::fs::write(rig.path().join("pgdumpd.toml"), "nonsense").expect("the file");
    serving.signal("HUP");
    serving.wait_for_log("the configuration was not changed", LONG);
    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let text = serving.log();
    assert!(text.lines().all(|line| line.starts_with('<') && !line.contains("2026-")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<6>ready")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>the configuration was not changed")), "{text}");
}

#[test]
fn lines_for_another_stream_than_the_journal_carry_their_time() {
    let rig = Rig::new();
    rig.configure("");
    let mut command = rig.command();
    command.env("JOURNAL_STREAM", "1:2");
    let serving = rig.serve_by(command);
    serving.wait_for_log("ready", LONG);
    let text = serving.log();
    let timed = |line: &str| line.as_bytes().get(10) == Some(&b'T') && (line.contains("Z  INFO ") || line.contains("Z  WARN "));
    assert!(text.lines().all(timed), "{text}");
}
