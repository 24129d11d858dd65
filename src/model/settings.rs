//! The daemon's own settings, every default already filled in, and what was found wrong with the file they came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;

use super::project::{PasswordSource, Project};

/// A whole configuration file, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[daemon]`.
    pub daemon: Daemon,
    /// `[storage.NAME]`.
    pub storages: BTreeMap<String, StorageSettings>,
    /// `[smtp]`; without it nothing is mailed, and `doctor` says so.
    pub smtp: Option<Smtp>,
    /// `[[project]]`, in the file's order; shared with the agenda and the jobs.
    pub projects: Vec<Arc<Project>>,
    /// What is allowed but most likely not meant, in the file's order.
    pub warnings: Vec<Problem>,
    /// The secrets that can't be read here, or can be read by others: whatever needs one fails, and nothing else.
    pub unread: Vec<Problem>,
}

impl Settings {
    /// The project of that name.
    #[must_use]
    pub fn project(&self, name: &str) -> Option<&Project> {
        self.projects.iter().map(Arc::as_ref).find(|project| project.name == name)
    }
}

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Daemon {
    /// Folder of the catalog. Default `/var/lib/pgdumpd`.
    pub state_dir: PathBuf,
    /// Zone of projects that name none. Default UTC.
    pub time_zone: Tz,
    /// Dumps at once, over all projects. Default 2.
    pub max_parallel: usize,
    /// Dumps at once on one server. Default 1.
    pub max_parallel_per_server: usize,
    /// How long running dumps may go on after TERM; zero, the default, interrupts them.
    pub drain: Duration,
    /// How long an interrupted dump has to end before it is killed, and dropping what was restored so far may take then. Default 10 s.
    pub grace: Duration,
    /// How often the heartbeat is written. Default 30 s.
    pub heartbeat: Duration,
    /// Log lines as text or JSON.
    pub log_format: LogFormat,
    /// When the weekly summary is mailed; `None`, the default, never. Text of a five-field cron line.
    pub weekly_summary: Option<String>,
    /// How long the diary (runs, slots, audit) is kept. Default 400 days.
    pub diary: Duration,
}

/// The form of log lines on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people and journald.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `[storage.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageSettings {
    /// A folder on this machine.
    Local {
        /// The root folder; made and marked on first use.
        path: PathBuf,
        /// Bytes that stay free whatever happens. Default 1 GiB.
        reserve: u64,
    },
}

/// `[smtp]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// Server name; also the name its certificate must carry.
    pub host: String,
    /// Port; default 587 (STARTTLS), 465 (TLS), 25 (none).
    pub port: u16,
    /// How the conversation is protected.
    pub security: SmtpSecurity,
    /// A PEM file with the authority to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Login name; unset means no authentication.
    pub username: Option<String>,
    /// The password, read at each delivery.
    pub password: PasswordSource,
    /// Sender.
    pub from: String,
    /// Recipients of projects that name none.
    pub to: Vec<String>,
    /// Longest wait for each step of the conversation. Default 30 s.
    pub timeout: Duration,
}

/// How an SMTP conversation is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Plain first, then TLS is required (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No protection.
    None,
}

/// Something wrong, or doubtful, at one place of the configuration. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name, or `environment`.
    pub file: String,
    /// Line in the file, from 1; `None` where no single line is at fault.
    pub line: Option<usize>,
    /// The project, and schedule, it stands in: `project "shop": schedule "nightly"`.
    pub section: Option<String>,
    /// The key with the tables around it (`daemon.max_parallel`, `retention.keep_daily`), or the variable's name.
    pub key: Option<String>,
    /// What is wrong, a lowercase clause.
    pub message: String,
    /// What would have been right: `a duration such as "26h"`.
    pub expected: Option<String>,
    /// The nearest valid name.
    pub suggestion: Option<String>,
    /// What to do about it, a clause or a line to type.
    pub hint: Option<String>,
    /// Whether it is this process's environment that lacks something, which another's may have.
    #[serde(skip)]
    pub here: bool,
}

impl Problem {
    /// Where it is: `/etc/pgdumpd/pgdumpd.toml:12: project "shop": password`.
    #[must_use]
    pub fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let parts = [&self.section, &self.key].into_iter().flatten().map(|part| format!(": {part}"));
        format!("{}{line}{}", self.file, parts.collect::<String>())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(name) = &self.suggestion {
            write!(f, "; did you mean {name}?")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}
