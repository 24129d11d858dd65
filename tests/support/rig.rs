//! A pgdumpd of one's own: a temporary folder with configuration, state and storage, and the real binary run in it.
#![expect(clippy::disallowed_methods, reason = "the binary under test is started from outside of pgdumpd")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::bin;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; -1 for a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ended {
    fn from(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// The folder and what stands in it.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
    /// Variables for every command, `PATH` included.
    pub(crate) env: Vec<(String, String)>,
}

impl Rig {
    /// An empty folder, with a state directory and a storage beside it.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pgdumpd-rig-").tempdir().expect("a temporary folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let mut path = std::env::var("PATH").unwrap_or_default();
        if std::env::var_os("PGDUMPD_TEST_PG").is_some() {
            path = format!("{}:{path}", bin().display());
        }
        let home = dir.path().join("home");
        std::fs::create_dir(&home).expect("home");
        let env = vec![
            (String::from("PATH"), path),
            (String::from("HOME"), home.display().to_string()),
            (String::from("PGDUMPD_CONFIG"), dir.path().join("pgdumpd.toml").display().to_string()),
        ];
        let rig = Self { dir, env };
        std::fs::create_dir(rig.state()).expect("state");
        std::fs::create_dir(rig.storage()).expect("storage");
        rig
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The storage's root.
    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.path().join("backups")
    }

    /// Writes the configuration: `[daemon]` and `[storage.main]` of this rig, then `rest`.
    pub(crate) fn configure(&self, rest: &str) {
        self.configure_with("", rest);
    }

    /// The same with further keys for `[daemon]`.
    pub(crate) fn configure_with(&self, daemon: &str, rest: &str) {
        let mut text = String::new();
        writeln!(text, "[daemon]\nstate_dir = {:?}\n{daemon}", self.state()).expect("text");
        writeln!(text, "[storage.main]\ntype = \"local\"\npath = {:?}\nreserve = \"0\"\n{rest}", self.storage()).expect("text");
        let path = self.dir.path().join("pgdumpd.toml");
        std::fs::write(&path, text).expect("configuration");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    }

    /// A folder with links to the real clients, in which single ones can be replaced by scripts.
    pub(crate) fn clients(&self, scripts: &[(&str, &str)]) -> PathBuf {
        let folder = self.dir.path().join("bin");
        std::fs::create_dir_all(&folder).expect("bin");
        for name in ["pg_dump", "pg_dumpall", "pg_restore", "psql"] {
            let link = folder.join(name);
            drop(std::fs::remove_file(&link));
            match scripts.iter().find(|(script, _)| *script == name) {
                Some((_, text)) => {
                    let mut file = std::fs::File::create(&link).expect("script");
                    file.write_all(text.as_bytes()).expect("script");
                    file.set_permissions(std::fs::Permissions::from_mode(0o755)).expect("permissions");
                }
                None => std::os::unix::fs::symlink(bin().join(name), link).expect("link"),
            }
        }
        folder
    }

    /// The binary, ready to be given arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgdumpd"));
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value))).current_dir(self.dir.path());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().expect("pgdumpd runs");
        Ended::from(&output)
    }

    /// The backups, newest first, as `list --json` tells them.
    pub(crate) fn backups(&self) -> Vec<Value> {
        let listed = self.run(&["list", "--json", "--limit", "1000"]);
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.json().as_array().cloned().unwrap_or_default()
    }

    /// The names of all files below the storage's root, relative to it, lock and marker files left out.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.storage(), &self.storage(), &mut names);
        names.retain(|name| !name.ends_with("-lock") && !name.ends_with(".pgdumpd-storage"));
        names.sort();
        names
    }

    /// Starts the daemon; its log goes to `serve.log`.
    pub(crate) fn serve(&self) -> Serving {
        self.serve_by(self.command())
    }

    /// The same by a command that stands for the binary (through `strace`, `faketime`, …), without its arguments.
    pub(crate) fn serve_by(&self, mut command: Command) -> Serving {
        let log = self.dir.path().join("serve.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("log");
        let child = command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("pgdumpd starts");
        Serving { child, log }
    }
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).expect("below the root").display().to_string());
        }
    }
}

/// A running daemon; dropping it kills that very process.
pub(crate) struct Serving {
    /// The process.
    pub(crate) child: Child,
    log: PathBuf,
}

impl Serving {
    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal by name (`TERM`, `HUP`).
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "signal {name}");
    }

    /// Waits for the end; the exit code, or -1 for a signal.
    pub(crate) fn wait(&mut self, longest: Duration) -> i32 {
        let until = Instant::now() + longest;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < until, "the daemon did not end within {longest:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the log holds these words.
    pub(crate) fn wait_for_log(&self, words: &str, longest: Duration) {
        wait_until(longest, || format!("{words:?} in the log:\n{}", self.log()), || self.log().contains(words));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Looks every 50 ms until it is so; fails after `longest` with what was waited for.
pub(crate) fn wait_until(longest: Duration, what: impl Fn() -> String, so: impl Fn() -> bool) {
    let until = Instant::now() + longest;
    while !so() {
        assert!(Instant::now() < until, "waited {longest:?} for {}", what());
        std::thread::sleep(Duration::from_millis(50));
    }
}
