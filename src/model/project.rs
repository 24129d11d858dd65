//! A project as the configuration describes it, every default already filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::{ExposeSecret, SecretString};

use super::dump::{DumpShape, Selection};
pub use super::proving::{Check, Drill, Verify};
use crate::habit::Rule;
use crate::retention::Policy;
use crate::schedule::Timing;

/// One `[[project]]`: a connection, the databases behind it, when they are dumped and what is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The unique name, and the folder's name in the storage (percent-encoded there).
    pub name: String,
    /// A disabled project keeps its backups and records its slots as skipped.
    pub enabled: bool,
    /// Free text for people.
    pub description: Option<String>,
    /// How the server is reached.
    pub connection: Connection,
    /// Which databases are dumped.
    pub databases: Databases,
    /// Whether roles and tablespaces are backed up in every job that has a full schedule.
    pub globals: bool,
    /// The storage's name, a key of `[storage.NAME]`.
    pub storage: String,
    /// Zone for retention buckets and for schedules that name none.
    pub time_zone: Tz,
    /// When; empty means by hand only.
    pub schedules: Vec<Schedule>,
    /// How dumps are shaped where a schedule says nothing else; also that of manual runs.
    pub shape: DumpShape,
    /// What is kept.
    pub retention: Policy,
    /// When a backup counts as suspicious; `None` switches the gate off.
    pub anomaly: Option<Rule>,
    /// A backup older than this, of what [`Project::counted`] names, makes the project stale; `None` switches the alert off.
    pub max_backup_age: Option<Duration>,
    /// Time limits and retries.
    pub limits: Limits,
    /// How far back a missed slot is still run after downtime.
    pub catch_up: Duration,
    /// Delays each slot by a fixed fraction of this, chosen by the project's name.
    pub spread: Duration,
    /// Whom to tell, and how often.
    pub notify: Notify,
    /// Folder with the PostgreSQL clients to use, overruling the search.
    pub pg_bin_dir: Option<PathBuf>,
    /// Whether an advisory lock and the `application_name` look-out keep two hosts from dumping at once.
    pub server_lock: bool,
    /// What to do about replay on a standby.
    pub standby: Standby,
    /// zstd worker threads (1 keeps memory flat).
    pub compression_workers: u32,
    /// How stored backups are looked at.
    pub verify: Verify,
    /// When and how they are restored for trial; `None` means by hand only.
    pub drill: Option<Drill>,
    /// What a restored database must answer.
    pub checks: Vec<Check>,
}

impl Project {
    /// Everything that has slots: the schedules in the file's order, then the drill.
    pub fn plans(&self) -> impl Iterator<Item = &Schedule> {
        self.schedules.iter().chain(self.drill.as_ref().map(|drill| &drill.plan))
    }

    /// Whether the slots of that name are the drill's.
    #[must_use]
    pub fn is_drill(&self, plan: &str) -> bool {
        plan == super::proving::DRILL && self.drill.is_some()
    }

    /// The selections that must not grow older than `max_backup_age`: whole databases, unless neither a schedule nor a run by hand makes
    /// those; then each that a schedule makes, and without schedules what a run by hand makes.
    #[must_use]
    pub fn counted(&self) -> BTreeSet<Selection> {
        let by_hand = self.shape.selection();
        let made: BTreeSet<Selection> = self.schedules.iter().map(Schedule::selection).collect();
        if by_hand.is_full() || made.iter().any(Selection::is_full) {
            return BTreeSet::from([Selection::full()]);
        }
        if made.is_empty() { BTreeSet::from([by_hand]) } else { made }
    }

    /// Whether backups of this come by themselves.
    #[must_use]
    pub fn is_scheduled(&self, selection: &Selection) -> bool {
        self.schedules.iter().any(|plan| plan.enabled && plan.selection() == *selection)
    }

    /// What to do where full backups count and the schedules at work make only parts; `None` elsewhere.
    #[must_use]
    pub fn makes_parts_alone(&self) -> Option<&'static str> {
        let parts = self.schedules.iter().any(|plan| plan.enabled);
        (parts && self.counted().contains(&Selection::full()) && !self.is_scheduled(&Selection::full())).then_some(
            "let a schedule make full ones; or, where parts are all that is wanted, say so for the project itself, not only for its \
             schedules (content, tables, …): it is judged by those parts then",
        )
    }
}

/// How to reach the server: what libpq understands, minus the password.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// URL or keywords.
    pub target: Target,
    /// Where the password comes from; read when a run starts.
    pub password: PasswordSource,
}

/// A libpq connection target, kept in libpq's own terms so that its rules stay the only rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `postgresql://…` without a password (one in the file has been moved to [`PasswordSource::Inline`]).
    Url(String),
    /// Keywords of the manual's "Parameter Key Words" (`host`, `port`, `user`, `service`, `sslmode`, …).
    Keywords(BTreeMap<String, String>),
}

impl Connection {
    /// The server this leads to, as a key for limits: `db.internal:5432`, `service=shop`; not necessarily a name one can connect to.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.target {
            Target::Url(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let authority = rest.split(['/', '?']).next().unwrap_or_default();
                let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
                let named = url.split_once('?').and_then(|(_, query)| {
                    query.split('&').find_map(|pair| pair.strip_prefix("host=").or_else(|| pair.strip_prefix("service=")))
                });
                if hosts.is_empty() { named.unwrap_or("localhost").to_owned() } else { hosts.to_owned() }
            }
            Target::Keywords(words) => {
                let word = |key: &str| words.get(key).map(String::as_str);
                if let Some(service) = word("service") {
                    return format!("service={service}");
                }
                let host = word("host").or_else(|| word("hostaddr")).unwrap_or("localhost");
                word("port").map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
            }
        }
    }
}

/// Where a secret is read from, at the last moment.
#[derive(Debug, Clone, Default)]
pub enum PasswordSource {
    /// Left to libpq (`.pgpass`, `PGPASSWORD`, peer, certificates).
    #[default]
    Libpq,
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// The first line of a file that a `_FILE` variable named: its mode is the deployment's business.
    Mounted(PathBuf),
    /// An environment variable's value.
    Env(String),
    /// The first line that a command prints.
    Command(Vec<String>),
    /// A systemd credential of this name, below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// Written into the configuration file itself.
    Inline(SecretString),
}

impl PartialEq for PasswordSource {
    /// Secrets count as well: a changed password is a change, although nobody is shown which.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Libpq, Self::Libpq) => true,
            (Self::File(one), Self::File(other)) | (Self::Mounted(one), Self::Mounted(other)) => one == other,
            (Self::Env(one), Self::Env(other)) | (Self::Credential(one), Self::Credential(other)) => one == other,
            (Self::Command(one), Self::Command(other)) => one == other,
            (Self::Inline(one), Self::Inline(other)) => one.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

/// Which databases of the server a project covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// The one that the connection names.
    FromConnection,
    /// These.
    Named(Vec<String>),
    /// Every database that allows connections and isn't a template, found anew at each run, without those matching the globs.
    All {
        /// Shell-style globs of names left out.
        exclude: Vec<String>,
    },
}

/// One `[[project.schedule]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Unique within the project; `default` where there is only one without a name.
    pub name: String,
    /// A disabled schedule records its slots as skipped.
    pub enabled: bool,
    /// When it is due.
    pub timing: Timing,
    /// The zone the fields are read in.
    pub time_zone: Tz,
    /// What it dumps.
    pub shape: DumpShape,
    /// Delays each slot of this schedule by a fixed fraction of this.
    pub spread: Duration,
}

impl Schedule {
    /// The selection that this schedule's backups belong to.
    #[must_use]
    pub fn selection(&self) -> Selection {
        self.shape.selection()
    }
}

/// The bounds of a run; every run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest wait for a table lock (`pg_dump --lock-wait-timeout`). Default 5 min.
    pub lock_wait: Duration,
    /// Longest time without a byte from `pg_dump`. Default 30 min.
    pub no_progress: Duration,
    /// Longest time for the whole dump; `None`, the default, is no limit.
    pub total: Option<Duration>,
    /// Longest wait for a connection. Default 30 s.
    pub connect: Duration,
    /// Waits before the attempts after a transient failure. Default 1 min, 5 min.
    pub retries: Vec<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lock_wait: Duration::from_secs(300),
            no_progress: Duration::from_secs(1800),
            total: None,
            connect: Duration::from_secs(30),
            retries: vec![Duration::from_secs(60), Duration::from_secs(300)],
        }
    }
}

/// Whom a project's mail goes to, and how often it repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Recipients; empty means those of `[smtp]`.
    pub to: Vec<String>,
    /// How often a failure that goes on is told again. Default 24 h.
    pub reminder: Duration,
}

impl Default for Notify {
    fn default() -> Self {
        Self { to: Vec::new(), reminder: Duration::from_secs(24 * 3600) }
    }
}

/// What to do about replay when the server is a standby (manual: Handling Query Conflicts).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standby {
    /// Dump and hope; a replay conflict is retried.
    #[default]
    AsIs,
    /// Pause replay during the dump, at most for this long.
    PauseReplay(Duration),
    /// Refuse to dump from a standby.
    Refuse,
}
