//! The service as it is shipped: the unit is valid and closed up, the user and folders come out right, the files land where they belong.
#![cfg(test)]

#[path = "support/skip.rs"]
mod skip;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNIT: &str = include_str!("../systemd/pgdumpd.service");

#[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
fn run(program: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn missing(test: &str, program: &str) -> bool {
    let found = run("sh", &["-c", "command -v \"$0\"", program], &[]).status.success();
    if !found {
        skip::skip(test, &format!("{program} is not installed"));
    }
    !found
}

/// The unit in a folder of its own, with the binary just built in the place of the installed one.
fn unit_in(folder: &Path) -> PathBuf {
    let path = folder.join("pgdumpd.service");
    std::fs::write(&path, UNIT.replace("/usr/bin/pgdumpd", env!("CARGO_BIN_EXE_pgdumpd"))).unwrap();
    path
}

#[test]
fn the_unit_is_valid() {
    if missing("the_unit_is_valid", "systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_in(folder.path());
    let output = run("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", unit.to_str().unwrap()], &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("pgdumpd.service:"), "a directive is not understood: {}", text(&output));
}

#[test]
fn the_unit_exposes_next_to_nothing() {
    if missing("the_unit_exposes_next_to_nothing", "systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_in(folder.path());
    let output = run("systemd-analyze", &["security", "--offline=true", "--threshold=15", unit.to_str().unwrap()], &[]);
    assert!(output.status.success(), "exposure above 1.5: {}", text(&output));
}

#[test]
fn the_daemon_is_stopped_gently_and_started_again() {
    for line in ["Type=notify", "NotifyAccess=main", "KillMode=mixed", "Restart=on-failure", "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\""]
    {
        assert!(UNIT.lines().any(|found| found == line), "{line} is missing");
    }
    let seconds = |key: &str| -> u32 {
        let line = UNIT.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{key} is missing"));
        line.trim_end_matches('s').parse().unwrap()
    };
    assert!(seconds("TimeoutStopSec=") >= 30, "a dump has 10 s to end by itself, and its record must be written");
    assert!(seconds("WatchdogSec=") >= 60, "four heartbeats of 30 s may come late on a busy machine");
}

#[test]
fn the_user_and_the_folders_are_private() {
    const TEST: &str = "the_user_and_the_folders_are_private";
    if missing(TEST, "systemd-sysusers") || missing(TEST, "systemd-tmpfiles") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    if std::fs::metadata(root).unwrap().uid() != 0 {
        return skip::skip(TEST, "making users needs root");
    }
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let at = format!("--root={}", root.display());
    for (program, args) in [
        ("systemd-sysusers", vec![at.as_str(), concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/pgdumpd.sysusers")]),
        ("systemd-tmpfiles", vec!["--create", at.as_str(), concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/pgdumpd.tmpfiles")]),
    ] {
        let output = run(program, &args, &[]);
        assert!(output.status.success(), "{program}: {}", text(&output));
    }
    let passwd = std::fs::read_to_string(root.join("etc/passwd")).unwrap();
    let user: Vec<&str> = passwd.lines().find(|line| line.starts_with("pgdumpd:")).unwrap().split(':').collect();
    for private in ["var/backups/pgdumpd", "var/lib/pgdumpd"] {
        let facts = std::fs::metadata(root.join(private)).unwrap_or_else(|error| panic!("{private}: {error}"));
        assert_eq!((facts.mode() & 0o777, facts.uid().to_string().as_str()), (0o700, user[2]), "{private}");
    }
    let config = std::fs::metadata(root.join("etc/pgdumpd")).unwrap();
    assert_eq!((config.mode() & 0o777, config.uid()), (0o750, 0));
}

#[test]
fn installing_puts_every_file_in_its_place_and_keeps_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let env = [("DESTDIR", root.to_str().unwrap()), ("PREFIX", "/opt/x"), ("BINARY", env!("CARGO_BIN_EXE_pgdumpd"))];
    let install = || {
        let output = run("packaging/install.sh", &[], &env);
        assert!(output.status.success(), "{}", text(&output));
    };
    install();
    let modes = [
        ("opt/x/bin/pgdumpd", 0o755),
        ("opt/x/lib/systemd/system/pgdumpd.service", 0o644),
        ("opt/x/lib/sysusers.d/pgdumpd.conf", 0o644),
        ("opt/x/lib/tmpfiles.d/pgdumpd.conf", 0o644),
        ("opt/x/share/doc/pgdumpd/pgdumpd.toml", 0o644),
        ("etc/pgdumpd/pgdumpd.toml", 0o640),
    ];
    for (file, mode) in modes {
        let found = std::fs::metadata(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(found.permissions().mode() & 0o777, mode, "{file}");
    }
    let unit = std::fs::read_to_string(root.join("opt/x/lib/systemd/system/pgdumpd.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/x/bin/pgdumpd serve\n"), "{unit}");
    std::fs::write(root.join("etc/pgdumpd/pgdumpd.toml"), "mine").unwrap();
    install();
    assert_eq!(std::fs::read_to_string(root.join("etc/pgdumpd/pgdumpd.toml")).unwrap(), "mine");
}
