//! A project `shop` on a cluster of its own, and what must hold after whatever was done to pgdumpd.
#![expect(clippy::disallowed_methods, reason = "the programs under test are started from outside of pgdumpd")]

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;
use crate::rig::{Ended, Rig, Serving, wait_until};

/// Long enough for any step on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The real clients.
pub(crate) const CLIENTS: &str = "/usr/lib/postgresql/15/bin";

/// A rig with a cluster that holds the database `shop`.
pub(crate) struct Bench {
    pub(crate) rig: Rig,
    pub(crate) cluster: Cluster,
}

impl Bench {
    /// A database of 2000 rows, and the project `shop` with these further keys, keeping only the last backup.
    pub(crate) fn new(project: &str) -> Self {
        Self::sized(2_000, project)
    }

    pub(crate) fn sized(rows: u32, project: &str) -> Self {
        let bench = Self { rig: Rig::new(), cluster: Cluster::start() };
        bench.cluster.psql("create database shop");
        bench
            .cluster
            .psql_in("shop", &format!("create table orders as select n as id, md5(n::text) as item from generate_series(1, {rows}) n"));
        bench.configure("", "", project);
        bench
    }

    /// Writes the configuration; mail goes nowhere and stays in the outbox.
    pub(crate) fn configure(&self, daemon: &str, smtp: &str, project: &str) {
        let smtp = if smtp.is_empty() { String::from("port = 9") } else { smtp.to_owned() };
        self.rig.configure_with(
            daemon,
            &format!(
                "[smtp]\nhost = \"127.0.0.1\"\n{smtp}\nsecurity = \"none\"\nfrom = \"pgdumpd@example.org\"\nto = [\"oncall@example.org\"]\n\
                 [[project]]\nname = \"shop\"\nconnection = \"{}\"\nretention = {{ keep_last = 1 }}\n{project}\n{}",
                self.cluster.url("shop"),
                if project.contains("limits") { "" } else { "limits = { connect = \"10s\", retries = [] }" },
            ),
        );
    }

    pub(crate) fn back_up(&self) -> Ended {
        self.rig.run(&["backup", "shop"])
    }

    /// The project's lock file.
    pub(crate) fn lock(&self) -> PathBuf {
        self.rig.storage().join("shop/.pgdumpd-lock")
    }

    /// Clients of which `pg_dump` stops in the middle of its output for as long as the file `hold` stands there, and then goes on.
    pub(crate) fn holding_clients(&self) -> String {
        let (here, real) = (self.rig.path().display(), format!("{CLIENTS}/pg_dump"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) exec {real} \"$@\";; esac\n[ -e {here}/hold ] || exec {real} \"$@\"\n\
             {real} \"$@\" | {{ head -c 20000; : > {here}/midway; while [ -e {here}/hold ]; do sleep 0.1; done; cat; }}\n"
        );
        self.rig.clients(&[("pg_dump", &script)]).display().to_string()
    }

    pub(crate) fn hold(&self) {
        drop(std::fs::remove_file(self.rig.path().join("midway")));
        std::fs::write(self.rig.path().join("hold"), "").unwrap();
    }

    pub(crate) fn wait_midway(&self, log: impl Fn() -> String) {
        wait_until(PATIENCE, || format!("a dump in its middle: {}", log()), || self.rig.path().join("midway").exists());
    }

    pub(crate) fn let_go(&self) {
        drop(std::fs::remove_file(self.rig.path().join("hold")));
    }

    /// pgdumpd under strace: killed when it begins the `when`-th call of these, on these paths where some are named.
    pub(crate) fn killed_at(&self, calls: &str, when: u32, paths: &[&Path]) -> Command {
        let plain = self.rig.command();
        let mut command = Command::new("strace");
        // -D: the tracer is the grandchild, so that the process started here is pgdumpd itself.
        command.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
        command.args([format!("-etrace={calls}"), format!("-einject={calls}:signal=KILL:when={when}")]);
        for path in paths {
            command.arg("-P").arg(path);
        }
        command.arg(plain.get_program()).current_dir(self.rig.path()).env_clear();
        command.envs(self.rig.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Backs up under strace; whether it was killed before its end.
    pub(crate) fn back_up_killed(&self, calls: &str, when: u32, paths: &[&Path]) -> bool {
        let output =
            self.killed_at(calls, when, paths).args(["backup", "shop"]).stdin(Stdio::null()).output().expect("apt-get install strace");
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{output:?}");
        killed
    }

    /// Starts the daemon and waits until it is ready: everything that can be mended at a start is mended then.
    pub(crate) fn start(&self) -> Serving {
        let before = std::fs::read_to_string(self.rig.path().join("serve.log")).unwrap_or_default().matches(" ready").count();
        let serving = self.rig.serve();
        wait_until(PATIENCE, || format!("ready in the log:\n{}", serving.log()), || serving.log().matches(" ready").count() > before);
        serving
    }

    /// Lets the daemon mend what a crash left, and ends it in the regular way.
    pub(crate) fn mend(&self) {
        let mut serving = self.start();
        serving.signal("TERM");
        assert_eq!(serving.wait(PATIENCE), 0, "{}", serving.log());
    }

    /// The first column of what the catalog answers.
    pub(crate) fn catalog(&self, sql: &str) -> Vec<String> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let db = rusqlite::Connection::open_with_flags(self.rig.state().join("catalog.db"), flags).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut statement = db.prepare(sql).unwrap();
        let text = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        let values = statement.query_map([], text).unwrap().map(Result::unwrap);
        values
            .map(|value| match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    /// What all daemons of this rig have said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.rig.path().join("serve.log")).unwrap_or_default()
    }

    /// The subjects of the outbox, in order.
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.catalog("select json_extract(message, '$.subject') from outbox order by id")
    }

    /// Everything that must hold when no pgdumpd is at work: nothing half, nothing without owner, nothing running, every slot with one outcome.
    pub(crate) fn assert_sound(&self, when: &str) {
        let backups = self.rig.backups();
        self.assert_whole(&backups, when);
        let owned: BTreeSet<String> = backups
            .iter()
            .flat_map(|backup| {
                let file = format!("{}/{}", word(backup, "project"), word(backup, "file"));
                [format!("{file}.json"), file]
            })
            .collect();
        let stored: BTreeSet<String> =
            self.rig.stored().into_iter().filter(|file| !["pin", "proof.json"].iter().any(|end| file.ends_with(end))).collect();
        assert_eq!(stored, owned, "files without an owner, or the other way round, after {when}:\n{}", self.log());
        let nothing: Vec<String> = Vec::new();
        assert_eq!(self.catalog("select id from runs where status = 'running'"), nothing, "runs without an end after {when}");
        assert_eq!(self.catalog("select id from removals"), nothing, "removals without an end after {when}");
        assert_eq!(self.catalog("select run from staged"), nothing, "manifests of nothing after {when}");
        assert_eq!(self.catalog("select due_at from slots where outcome = 'claimed'"), nothing, "slots without an outcome after {when}");
        let twice = self.catalog(
            "select slot from backups where slot is not null group by project, schedule, slot, database, selection having count(*) > 1",
        );
        assert_eq!(twice, nothing, "slots with two backups after {when}");
        self.assert_quiet(when);
    }

    /// Every backup that is listed has its artifact, unaltered and readable.
    pub(crate) fn assert_listed_whole(&self, when: &str) {
        self.assert_whole(&self.rig.backups(), when);
    }

    /// Backs up under strace, which writes down what reaches the disk.
    pub(crate) fn strace(&self, trace: &Path, plain: &Command) -> Output {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-s", "200", "-e", "trace=write,fsync,fdatasync,renameat2,renameat", "-o"]).arg(trace);
        command.arg(plain.get_program()).args(["backup", "shop"]).current_dir(self.rig.path()).env_clear();
        command.envs(self.rig.env.iter().map(|(key, value)| (key, value))).stdin(Stdio::null()).output().expect("apt-get install strace")
    }

    fn assert_whole(&self, backups: &[Value], when: &str) {
        for backup in backups {
            let path = self.rig.storage().join(word(backup, "project")).join(word(backup, "file"));
            let mut bytes = Vec::new();
            std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path:?} after {when}: {error}")).read_to_end(&mut bytes).unwrap();
            let sum = Sha256::digest(&bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            assert_eq!(sum, word(backup, "sha256"), "{path:?} after {when}");
            let listed = Command::new("sh")
                .args(["-c", "zstd -dcq \"$0\" | \"$1\"/pg_restore -l", &path.display().to_string(), CLIENTS])
                .output()
                .unwrap();
            let contents = String::from_utf8_lossy(&listed.stdout);
            assert!(listed.status.success() && contents.contains("TABLE DATA public orders"), "{path:?} after {when}: {listed:?}");
        }
    }

    /// No process holds anything of the rig, no backend of pgdumpd is left, the lock is free.
    pub(crate) fn assert_quiet(&self, when: &str) {
        let holders = || processes_with(self.rig.path());
        wait_until(Duration::from_secs(20), || format!("no process left after {when}: {:?}", holders()), || holders().is_empty());
        self.cluster.wait_until("count(*) = 0 from pg_stat_activity where application_name like 'pgdumpd/%'");
        if let Ok(file) = std::fs::File::options().write(true).open(self.lock()) {
            assert!(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(), "the lock is held after {when}");
        }
    }

    /// Runs that ended without a backup, and the mails about them in the outbox: each cut-off run is told once, and nothing else is.
    pub(crate) fn assert_told_once(&self, when: &str) {
        let failed = self.catalog("select id from runs where status = 'failed'");
        let told = self.catalog("select json_extract(message, '$.subject') || char(10) || json_extract(message, '$.body') from outbox");
        let failures: Vec<&String> = told.iter().filter(|mail| mail.contains("FAILED")).collect();
        assert_eq!(failures.len(), failed.len(), "failed runs {failed:?} and mails {told:#?} after {when}");
        assert_eq!(self.catalog("select run from untold"), Vec::<String>::new(), "after {when}");
    }
}

/// A text field of a backup.
pub(crate) fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// The processes that have something below this path open, or stand in it: number and command line.
pub(crate) fn processes_with(path: &Path) -> Vec<(u32, String)> {
    let below = |entry: &Path| std::fs::read_link(entry).is_ok_and(|target| target.starts_with(path));
    let mut found = Vec::new();
    for pid in std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let open = std::fs::read_dir(proc.join("fd")).into_iter().flatten().flatten().any(|entry| below(&entry.path()));
        if pid != std::process::id() && (open || below(&proc.join("cwd"))) {
            let line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Sends a signal to one process.
pub(crate) fn kill(name: &str, pid: u32) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "signal {name} to {pid}");
}

/// Runs a command line that must succeed.
pub(crate) fn must(line: &[&str]) -> Output {
    let output = Command::new(line[0]).args(&line[1..]).output().unwrap();
    assert!(output.status.success(), "{line:?}: {output:?}");
    output
}
