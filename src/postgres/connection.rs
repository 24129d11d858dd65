//! How a server is reached: the connection string, the environment and the password's descriptor for every client program.
//!
//! Owns [`Access`] and [`HostPort`]. libpq's rules stay the only rules: a target is extended, never interpreted. A password never stands
//! in an argument, in the environment or in a log. Session, dump and restore call it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::MemfdFlags;
use secrecy::{ExposeSecret, SecretString};

use super::target;
use super::version::Client;
use crate::error::{Cause, Failure, Result};
use crate::model::project::Target;
use crate::process::Spec;

/// The password file's descriptor in the child; what else a child inherits needs another number.
pub const PASSFILE_FD: i32 = 9;

/// What stands for the place of a password that was given: libpq names a descriptor of ours, at which nobody can look.
pub(super) const OWN_PASSWORD: &str = "the password is the one that pgdumpd was given";

/// What of this process's environment a client program gets: where libpq finds files, and how TLS and Kerberos are to be used.
///
/// Left out on purpose: `PGHOST`, `PGUSER`, `PGDATABASE` and kin (a project says for itself where it goes), `PGOPTIONS` and
/// `PGCLIENTENCODING` (they would change what is dumped), `PGPASSWORD` (it goes by descriptor).
const INHERITED: [&str; 34] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "KRB5_CONFIG",
    "KRB5CCNAME",
    "KRB5_KTNAME",
    "KRB5_CLIENT_KTNAME",
    "OPENSSL_CONF",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLCOMPRESSION",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCERTMODE",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGREQUIRESSL",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGCHANNELBINDING",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGGSSDELEGATION",
    "PGKRBSRVNAME",
];

/// Keepalives that end a run on a dead network within 60 s, unless the target sets its own (manual: Parameter Key Words).
const KEEPALIVES: [(&str, &str); 4] =
    [("keepalives", "1"), ("keepalives_idle", "10"), ("keepalives_interval", "10"), ("keepalives_count", "3")];

/// The same bound for bytes that were sent and never acknowledged, milliseconds; libpq 12 and later.
const TCP_USER_TIMEOUT: (&str, &str) = ("tcp_user_timeout", "40000");

/// Asks for a variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The server that a session reached: later programs go to this one and no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Host name, address or socket folder, as libpq names it.
    pub host: String,
    /// TCP port, or the socket's number.
    pub port: u16,
    /// The address behind the name, where there is one: a name may stand for several servers.
    pub address: Option<String>,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {}", self.host, self.port)
    }
}

/// The database that a target names by itself, if it does.
#[must_use]
pub fn named_by(target: &Target) -> Option<String> {
    target::value(target, "dbname")
}

/// Whether the target leaves it to a service file where to go, which may name a database.
#[must_use]
pub fn is_by_service(target: &Target) -> bool {
    target::value(target, "service").is_some()
}

/// The target as a person may type it again, where it is a URL; its password is left out.
#[must_use]
pub fn url(target: &Target) -> Option<String> {
    match target::without_password(target).0 {
        Target::Url(url) => Some(url),
        Target::Keywords(_) => None,
    }
}

/// The same target for another role.
#[must_use]
pub fn as_role(target: &Target, role: &str) -> Target {
    match target {
        Target::Keywords(keywords) => {
            let mut keywords = keywords.clone();
            keywords.insert(String::from("user"), role.to_owned());
            Target::Keywords(keywords)
        }
        Target::Url(_) => Target::Url(target::extend(target, &[(String::from("user"), role.to_owned())].into())),
    }
}

/// What a client program said, without the name of our own descriptor.
#[must_use]
pub fn said(text: &str) -> String {
    text.replace(&format!("password retrieved from file \"/proc/self/fd/{PASSFILE_FD}\""), OWN_PASSWORD)
}

/// Everything a client program needs to reach one server.
#[derive(Debug, Clone)]
pub struct Access {
    target: Target,
    connect: Duration,
    env: Vec<(OsString, OsString)>,
    passfile: Option<Arc<OwnedFd>>,
    secret: Option<SecretString>,
}

impl Access {
    /// Access to `target` with this password, or with what libpq finds by itself. `connect` bounds the wait for a connection, all hosts
    /// together. A password that stands in the target or in `PGPASSWORD` is moved to the descriptor.
    pub fn new(target: &Target, password: Option<SecretString>, connect: Duration, env: Env<'_>) -> Result<Self> {
        let (target, inside) = target::without_password(target);
        if target::names(&target, "sslpassword") {
            return Err(Failure::new(Cause::Configuration, "sslpassword in the connection would be readable in the process list")
                .hint("put the connection with its sslpassword into a service file that only its owner can read, and use service=NAME"));
        }
        let from_env = || env("PGPASSWORD").and_then(|value| value.into_string().ok()).map(SecretString::from);
        let password = password.or(inside).or_else(from_env);
        let passfile = password.as_ref().map(passfile).transpose()?;
        let inherited = INHERITED.iter().filter_map(|name| env(name).map(|value| (OsString::from(name), value)));
        let mut env: Vec<(OsString, OsString)> = inherited.collect();
        env.push(("LC_ALL".into(), "C".into()));
        env.push(("TZ".into(), "UTC".into()));
        Ok(Self { target, connect, env, passfile, secret: password })
    }

    /// The same with further variables of the environment, which libpq asks where the target itself says nothing.
    #[must_use]
    pub fn with(mut self, names: &[&str], env: Env<'_>) -> Self {
        self.env.extend(names.iter().filter_map(|name| env(name).map(|value| (OsString::from(name), value))));
        self
    }

    /// The database that the target names by itself, if it does.
    #[must_use]
    pub fn database(&self) -> Option<String> {
        named_by(&self.target)
    }

    /// The password, for whoever takes it out of text; `None` where libpq finds one by itself.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretString> {
        self.secret.as_ref()
    }

    /// Longest wait for a connection.
    #[must_use]
    pub fn connect_limit(&self) -> Duration {
        self.connect
    }

    /// Where it goes, for messages, without any secret: `db.internal:5432`, `service shop`.
    #[must_use]
    pub fn place(&self) -> String {
        let env = |name: &str| {
            let found = self.env.iter().rev().find(|(known, _)| known == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
        };
        target::place(&self.target, &env)
    }

    /// One of the client's programs with its environment and `-d CONNECTION`; further arguments are the caller's. `database` overrules
    /// the target's, and `pin` its hosts. Input and output are null until the caller says otherwise.
    #[must_use]
    pub fn spec(&self, client: &Client, program: &Path, database: Option<&str>, application_name: &str, pin: Option<&HostPort>) -> Spec {
        let conninfo = self.conninfo(client, database, application_name, pin);
        // The same name as on the server, for whoever finds the process here: its lock may outlive the pgdumpd that gave it.
        let env = self.env.iter().cloned().chain([("PGAPPNAME".into(), application_name.into())]);
        Spec {
            program: program.to_path_buf(),
            args: vec!["-d".into(), conninfo.into()],
            env: env.collect(),
            inherit: self.passfile.iter().map(|fd| (Arc::clone(fd), PASSFILE_FD)).collect(),
            ..Spec::default()
        }
    }

    /// The connection string: the target, then what overrules it (the later of two equal keys wins in a URL).
    fn conninfo(&self, client: &Client, database: Option<&str>, application_name: &str, pin: Option<&HostPort>) -> String {
        let mut extra = BTreeMap::new();
        let mut set = |key: &str, value: String| extra.insert(key.to_owned(), value);
        set("application_name", application_name.to_owned());
        let mut defaults: Vec<(&str, String)> = KEEPALIVES.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        if client.version_num >= 120_000 {
            defaults.push((TCP_USER_TIMEOUT.0, TCP_USER_TIMEOUT.1.to_owned()));
        }
        defaults.push(("connect_timeout", self.timeout_per_host(pin).to_string()));
        for (key, value) in defaults {
            if !target::names(&self.target, key) {
                set(key, value);
            }
        }
        if let Some(database) = database {
            set("dbname", database.to_owned());
        }
        if let Some(pin) = pin {
            set("host", pin.host.clone());
            set("port", pin.port.to_string());
            // Empty, it also clears the target's own list of addresses.
            set("hostaddr", pin.address.clone().unwrap_or_default());
        }
        if self.passfile.is_some() {
            set("passfile", format!("/proc/self/fd/{PASSFILE_FD}"));
        }
        target::extend(&self.target, &extra)
    }

    /// libpq's `connect_timeout` counts anew for each host, so each gets its share; libpq takes no less than 2 s.
    fn timeout_per_host(&self, pin: Option<&HostPort>) -> u64 {
        let hosts = if pin.is_some() { 1 } else { target::hosts(&self.target) };
        (self.connect.as_secs() / hosts).max(2)
    }
}

/// A password file that exists in memory only: it leaves no debris, and no other user can open it.
fn passfile(password: &SecretString) -> Result<Arc<OwnedFd>> {
    let text = password.expose_secret();
    if text.contains(['\n', '\0']) {
        return Err(Failure::new(Cause::Secret, "the password holds a line break, which libpq can't take from a password file")
            .hint("give the role a password of one line"));
    }
    let escaped = text.replace('\\', "\\\\").replace(':', "\\:");
    let failed = |error: std::io::Error| Failure::new(Cause::System, format!("keeping the password in memory: {error}"));
    let fd = rustix::fs::memfd_create("pgpass", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = std::fs::File::from(fd);
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(format!("*:*:*:*:{escaped}\n").as_bytes()).map_err(failed)?;
    Ok(Arc::new(OwnedFd::from(file)))
}
