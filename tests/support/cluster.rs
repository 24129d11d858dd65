//! Throwaway PostgreSQL clusters: each in its own temporary folder, on its own port, gone when dropped.
//!
//! As root the server runs as the user `postgres`. `#[cfg(test)] #[path = "support/cluster.rs"] mod cluster;` brings it into a test.
#![expect(clippy::disallowed_methods, reason = "the server under test is started from outside of pgdumpd")]

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

#[path = "pg.rs"]
mod pg;
pub(crate) use pg::bin;

/// What a cluster is to be like; `Setup::default().start()` is one that trusts everybody on loopback.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    settings: Vec<String>,
    hba: Option<String>,
    namespace: Option<String>,
    standby_of: Option<(PathBuf, u16)>,
    files: Vec<(String, Vec<u8>)>,
    bin: Option<PathBuf>,
}

impl Setup {
    /// Adds a line of `postgresql.conf`.
    pub(crate) fn setting(mut self, line: impl Into<String>) -> Self {
        self.settings.push(line.into());
        self
    }

    /// Replaces `pg_hba.conf`; the superuser on the Unix socket is always trusted.
    pub(crate) fn hba(mut self, lines: &str) -> Self {
        self.hba = Some(lines.to_owned());
        self
    }

    /// Runs the server in a network namespace that exists already.
    pub(crate) fn namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    /// Makes it a streaming standby of another cluster.
    pub(crate) fn standby_of(mut self, primary: &Cluster) -> Self {
        self.standby_of = Some((primary.dir().to_path_buf(), primary.port));
        self
    }

    /// Puts a file that only the server can read into the data folder (a key, a certificate).
    pub(crate) fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.push((name.to_owned(), bytes.to_vec()));
        self
    }

    /// Uses the server programs in this folder instead of the usual ones.
    pub(crate) fn bin(mut self, dir: &Path) -> Self {
        self.bin = Some(dir.to_path_buf());
        self
    }

    /// Makes the cluster and starts it.
    pub(crate) fn start(self) -> Cluster {
        let folder = tempfile::Builder::new().prefix("pgdumpd-").permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let bin = self.bin.clone().unwrap_or_else(bin);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let cluster = Cluster { folder, bin, port, namespace: self.namespace.clone() };
        give_to_server(cluster.dir());
        let data = cluster.data();
        if let Some((socket, primary)) = &self.standby_of {
            let port = primary.to_string();
            cluster.run(
                "pg_basebackup",
                ["-h".as_ref(), socket.as_os_str(), "-p".as_ref(), port.as_ref(), "-U".as_ref(), "postgres".as_ref()]
                    .into_iter()
                    .chain(["-R", "-N", "-c", "fast", "-X", "stream", "-D"].map(OsStr::new))
                    .chain([data.as_os_str()]),
            );
        } else {
            cluster.run(
                "initdb",
                ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]
                    .iter()
                    .map(OsStr::new)
                    .chain([data.as_os_str()]),
            );
        }
        let mut conf = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        conf.push_str("fsync = off\nfull_page_writes = off\nsynchronous_commit = off\nmax_connections = 40\nshared_buffers = 16MB\n");
        conf.push_str(&format!("port = {port}\nunix_socket_directories = '{}'\n", cluster.dir().display()));
        conf.push_str(if self.namespace.is_some() { "listen_addresses = '*'\n" } else { "listen_addresses = '127.0.0.1'\n" });
        self.settings.iter().for_each(|line| conf.push_str(&format!("{line}\n")));
        cluster.put("postgresql.conf", conf.as_bytes());
        if let Some(hba) = &self.hba {
            cluster.put("pg_hba.conf", format!("local all postgres trust\n{hba}\n").as_bytes());
        }
        self.files.iter().for_each(|(name, bytes)| cluster.put(name, bytes));
        cluster.start_again();
        cluster
    }
}

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    bin: PathBuf,
    /// Its port, on loopback and in the socket's name.
    pub(crate) port: u16,
    namespace: Option<String>,
}

impl Cluster {
    /// A cluster that trusts everybody on loopback; superuser `postgres`.
    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    /// Its folder, which also holds the Unix socket.
    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// URL of a database for the superuser over TCP.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// URL of a database for a role over TCP.
    pub(crate) fn url_as(&self, role: &str, database: &str) -> String {
        let encode = |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!("postgresql://{}@127.0.0.1:{}/{}", encode(role), self.port, encode(database))
    }

    /// Runs SQL as the superuser in the database `postgres`; returns the output, trimmed.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// Runs SQL as the superuser in a database; returns the output, trimmed.
    pub(crate) fn psql_in(&self, database: &str, sql: &str) -> String {
        let output = self.psql_command(database).args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A psql of the superuser on the Unix socket, to be started by the test (one that holds a lock, say).
    pub(crate) fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        let conninfo = format!("dbname='{}' user=postgres port={}", database.replace('\\', "\\\\").replace('\'', "\\'"), self.port);
        command.env("PGHOST", self.dir()).env("LC_ALL", "C").args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", &conninfo]);
        command
    }

    /// Waits until a query of the superuser answers `t`, at most 10 s.
    pub(crate) fn wait_until(&self, condition: &str) {
        for _ in 0..100 {
            if self.psql(&format!("select {condition}")) == "t" {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!(
            "never became true: {condition}\n{}",
            self.psql("select pid, application_name, state, wait_event_type, query from pg_stat_activity")
        );
    }

    /// Stops it as a crash would.
    pub(crate) fn stop_immediate(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    /// Starts it again.
    pub(crate) fn start_again(&self) {
        let log = self.dir().join("log");
        let output = self.control(&["-w", "-t", "30", "-l", &log.display().to_string(), "start"]);
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// Writes a file into the data folder that only the server can read.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.data().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        give_to_server(&path);
    }

    fn control(&self, words: &[&str]) -> Output {
        // The server would keep a piped output open for as long as it runs.
        let errors = self.dir().join("pg_ctl");
        let file = std::fs::File::create(&errors).unwrap();
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data()).args(words).stdout(file.try_clone().unwrap()).stderr(file);
        let status = command.status().unwrap();
        Output { status, stdout: Vec::new(), stderr: std::fs::read(errors).unwrap() }
    }

    fn run<'a>(&self, program: &str, args: impl IntoIterator<Item = &'a OsStr>) {
        let output = self.command(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A server program as the server's user, in its namespace.
    fn command(&self, program: &str) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(String::from));
        }
        if is_root() {
            words.extend(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"].map(String::from));
        }
        words.push(self.bin.join(program).display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control(&["-m", "immediate", "stop"]);
    }
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn give_to_server(path: &Path) {
    if !is_root() {
        return;
    }
    let ids = Command::new("id").arg("postgres").output().unwrap();
    let text = String::from_utf8_lossy(&ids.stdout).into_owned();
    let number = |key: &str| text.split(key).nth(1).and_then(|rest| rest.split('(').next()?.parse::<u32>().ok());
    chown(path, number("uid="), number("gid=")).unwrap();
}

/// Not every test uses all of it.
const _: fn(Setup, &Cluster) = |setup, cluster| {
    drop(setup.setting("").hba("").namespace("").standby_of(cluster).file("", b"").bin(cluster.dir()).start());
    drop((Cluster::start(), cluster.url(""), cluster.psql(""), cluster.log()));
    cluster.wait_until("");
    cluster.stop_immediate();
};
