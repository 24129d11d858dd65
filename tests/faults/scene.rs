//! The stage: a cluster with a database, a rig with two good backups of it, a mail server; and STD, what every failed run owes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde_json::Value;

use crate::cluster::{Cluster, Setup};
use crate::rig::{Ended, Rig, wait_until};
use crate::smtp::{Script, Server};

/// Longest time for anything that is not meant to wait; a bound for slow machines.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// Everything of one test.
pub(crate) struct Scene {
    /// The server with the database `shop`.
    pub(crate) cluster: Cluster,
    /// The binary's surroundings.
    pub(crate) rig: Rig,
    /// Where mail arrives.
    pub(crate) mail: Server,
    url: String,
    project: String,
    limits: String,
    retention: String,
    name: String,
}

/// How things stood before the fault.
#[derive(Debug, PartialEq)]
pub(crate) struct Before {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) backups: Vec<Value>,
    pub(crate) mails: usize,
}

/// The failure of a run as the catalog tells it.
#[derive(Debug)]
pub(crate) struct Told {
    /// Message, hint and detail together.
    pub(crate) text: String,
    /// The mail about it, raw.
    pub(crate) mail: String,
}

impl Scene {
    /// A scene whose project has these further lines and limits, for the superuser.
    pub(crate) fn new(project: &str, limits: &str) -> Self {
        let scene = Self::bare(Setup::default().start(), project, limits);
        scene.two_good_backups();
        scene
    }

    /// The same for another role, and without any backup yet.
    pub(crate) fn bare(cluster: Cluster, project: &str, limits: &str) -> Self {
        cluster.psql("create database shop");
        cluster.psql_in(
            "shop",
            "create table item (n int primary key, name text); insert into item select i, 'item ' || i from generate_series(1, 500) i",
        );
        let url = cluster.url("shop");
        let mail = Server::start(Script::default());
        Self {
            cluster,
            rig: Rig::new(),
            mail,
            url,
            project: project.to_owned(),
            limits: format!("retries = [], {limits}"),
            retention: String::new(),
            name: String::from("shop"),
        }
    }

    /// Adds lines to the project.
    pub(crate) fn extend(&mut self, lines: &str) {
        self.project = format!("{}\n{lines}", self.project);
    }

    /// Replaces the lines of the project.
    pub(crate) fn set(&mut self, lines: &str) {
        self.project = lines.to_owned();
    }

    /// Renames the project.
    pub(crate) fn name(&mut self, name: &str) {
        self.name = name.to_owned();
    }

    /// Replaces the limits.
    pub(crate) fn limit(&mut self, limits: &str) {
        self.limits = limits.to_owned();
    }

    /// From now on this is kept, whatever number `configure` is given.
    pub(crate) fn keep(&mut self, retention: &str) {
        self.retention = retention.to_owned();
    }

    /// From now on the project connects like this.
    pub(crate) fn connect(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    /// Makes two backups, and writes a configuration under which the next good run prunes: a prune that must not happen would show.
    pub(crate) fn two_good_backups(&self) {
        self.configure(5);
        for _ in 0..2 {
            let ended = self.backup();
            assert_eq!(ended.code, 0, "{ended:?}");
        }
        assert_eq!(self.rig.backups().len(), 2);
        self.configure(1);
    }

    /// Writes the configuration with this many backups to keep.
    pub(crate) fn configure(&self, keep: u32) {
        let port = self.mail.address.port();
        let retention = if self.retention.is_empty() { format!("{{ keep_last = {keep} }}") } else { self.retention.clone() };
        self.rig.configure(&format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nsecurity = \"none\"\nfrom = \"pgdumpd@example.org\"\nto = [\"oncall@example.org\"]\n\
             [[project]]\nname = {:?}\nconnection = {:?}\nretention = {retention}\nlimits = {{ {} }}\n{}\n",
            self.name, self.url, self.limits, self.project
        ));
    }

    /// Adds a table of about this many MB of text that doesn't compress much; with slow compression its dump takes a while.
    pub(crate) fn grow(&self, megabytes: u32) {
        let rows = megabytes * 14_000;
        self.cluster.psql_in(
            "shop",
            &format!("create table big as select i, md5(i::text) || md5((i * 7)::text) as a from generate_series(1, {rows}) i"),
        );
    }

    /// Removes that table.
    pub(crate) fn shrink(&self) {
        self.cluster.psql_in("shop", "drop table big");
    }

    /// `pgdumpd backup shop`, to its end.
    pub(crate) fn backup(&self) -> Ended {
        self.start(&[]).finish(LONG)
    }

    /// The same through programs that stand before it (`strace -f …`).
    pub(crate) fn start(&self, before: &[&str]) -> Running {
        self.start_verb(before, &["backup", "shop"])
    }

    /// Any verb, through programs that stand before it.
    pub(crate) fn start_verb(&self, before: &[&str], verb: &[&str]) -> Running {
        let binary = [env!("CARGO_BIN_EXE_pgdumpd")];
        let words: Vec<&str> = before.iter().chain(&binary).chain(verb).copied().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().envs(self.rig.env.iter().map(|(key, value)| (key, value))).current_dir(self.rig.path());
        Running::start(command, self.rig.path())
    }

    /// Every file of the storage with its bytes; the lock's and the marker left out.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.rig.storage(), &self.rig.storage(), &mut files);
        files.retain(|name, _| !name.ends_with(".pgdumpd-lock") && name != ".pgdumpd-storage");
        files
    }

    /// How things stand now.
    pub(crate) fn look(&self) -> Before {
        Before { files: self.files(), backups: self.rig.backups(), mails: self.mail.look(|seen| seen.mails.len()) }
    }

    /// The newest run's status, attempts and failure.
    pub(crate) fn last_run(&self) -> (String, u32, Option<Value>) {
        let catalog = std::fs::read_dir(self.rig.state()).unwrap().flatten().map(|entry| entry.path());
        let catalog = catalog.into_iter().find(|path| {
            rusqlite::Connection::open(path).is_ok_and(|db| db.query_row("select count(*) from runs", [], |_| Ok(())).is_ok())
        });
        let db = rusqlite::Connection::open(catalog.expect("a catalog")).unwrap();
        db.query_row("select status, attempts, failure from runs order by started_at desc, rowid desc limit 1", [], |row| {
            let failure: Option<String> = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, failure.map(|text| serde_json::from_str(&text).unwrap())))
        })
        .unwrap()
    }

    /// STD: the run failed for this cause with this exit code, nothing else changed, it was told once; and once `mend` has taken the
    /// fault away, the next run works and prunes.
    pub(crate) fn std(&self, before: &Before, ended: &Ended, cause: &str, code: i32, mend: impl FnOnce()) -> Told {
        assert_eq!(ended.code, code, "{ended:?}");
        let told = self.failed(before, cause);
        mend();
        wait_until(
            LONG,
            || String::from("the run's sessions to end"),
            || self.cluster.psql("select count(*) from pg_stat_activity where application_name like 'pgdumpd%'") == "0",
        );
        self.works_again(before);
        told
    }

    /// All of STD up to the next run.
    pub(crate) fn failed(&self, before: &Before, cause: &str) -> Told {
        let (status, _, failure) = self.last_run();
        let failure = failure.unwrap_or_else(|| panic!("the run is {status} without a failure"));
        assert_eq!((status.as_str(), failure["cause"].as_str()), ("failed", Some(cause)), "{failure:#}");
        assert_eq!(self.files().keys().collect::<Vec<_>>(), before.files.keys().collect::<Vec<_>>(), "files came or went: {failure:#}");
        assert!(self.files() == before.files, "a file changed");
        assert_eq!(self.rig.backups(), before.backups, "the catalog's backups changed");
        assert_eq!(self.processes(), Vec::<String>::new(), "a process was left");
        let lock = std::fs::File::open(self.rig.storage().join("shop/.pgdumpd-lock")).unwrap();
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("the lock is held");
        let mails = self.mail.look(|seen| seen.mails.iter().map(|(_, mail)| mail.clone()).collect::<Vec<_>>());
        assert_eq!(mails.len(), before.mails + 1, "{mails:#?}");
        let mail = mails[before.mails].clone();
        assert!(mail.contains("[pgdumpd] FAILED shop"), "{mail}");
        let word = |key: &str| failure[key].as_str().unwrap_or_default().to_owned();
        Told { text: [word("message"), word("hint"), word("detail")].join("\n"), mail }
    }

    /// The next run works, prunes what was before, and says that all is well again.
    pub(crate) fn works_again(&self, before: &Before) {
        let ended = self.backup();
        assert_eq!(ended.code, 0, "the next run: {ended:?}");
        let now = self.rig.backups();
        assert_eq!(now.len(), 1, "the next run has not pruned: {now:#?}");
        assert!(!before.backups.contains(&now[0]));
        assert_eq!(self.mail.look(|seen| seen.mails.len()), before.mails + 2, "the recovery was not told");
    }

    /// Command lines of processes that pgdumpd started to talk to this cluster.
    pub(crate) fn processes(&self) -> Vec<String> {
        clients(self.cluster.port).into_iter().map(|(_, line)| line).collect()
    }

    /// Waits until a `pg_dump` of pgdumpd sends rows of the big table; its process number.
    pub(crate) fn wait_for_copy(&self) -> u32 {
        self.wait_at_the_server();
        self.pg_dump()
    }

    /// The same for one that reaches the server by another port.
    pub(crate) fn wait_at_the_server(&self) {
        self.cluster
            .wait_until("exists (select from pg_stat_activity where application_name like 'pgdumpd/%' and query like 'COPY public.big%')");
    }

    /// The process number of the `pg_dump` that runs.
    pub(crate) fn pg_dump(&self) -> u32 {
        let found =
            clients(self.cluster.port).into_iter().find(|(_, line)| line.split(' ').next().is_some_and(|name| name.ends_with("pg_dump")));
        found.expect("no pg_dump runs").0
    }
}

/// Processes with a connection string of pgdumpd to this port.
fn clients(port: u16) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let lines = processes
        .filter_map(|pid| Some((pid, String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " "))));
    lines.filter(|(_, line)| line.contains("application_name=pgdumpd") && line.contains(&format!(":{port}/"))).collect()
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            files.insert(path.strip_prefix(root).unwrap().display().to_string(), bytes);
        }
    }
}

/// A command on its way.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// Starts it; what it prints goes to files, so that nothing blocks it.
    pub(crate) fn start(mut command: Command, folder: &Path) -> Self {
        let name = format!("{:016x}", rand::random::<u64>());
        let (out, err) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        let file = |path: &PathBuf| std::fs::File::create(path).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).spawn().unwrap();
        Self { child, out, err }
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self, longest: Duration) -> Ended {
        let until = Instant::now() + longest;
        loop {
            let text = |path: &PathBuf| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ended { code: status.code().unwrap_or(-1), stdout: text(&self.out), stderr: text(&self.err) };
            }
            assert!(Instant::now() < until, "no end within {longest:?}: {}{}", text(&self.out), text(&self.err));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
