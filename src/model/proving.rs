//! How a project's backups are proven: looked at again, and restored for trial.

use std::time::Duration;

use super::backup::ProofLevel;
use super::project::{Connection, Schedule};

/// The name of a drill's slots among a project's schedules; no schedule may be called so beside it.
pub const DRILL: &str = "drill";

/// `verify = { … }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verify {
    /// The level each new backup is looked at, before it lets older ones go; `None`, the default, is not at all.
    pub after_backup: Option<ProofLevel>,
    /// How often each stored backup is looked at again by the daemon; `None`, the default, is never.
    pub recheck_every: Option<Duration>,
}

/// `drill = …`.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    /// When; a schedule of the name [`DRILL`] whose shape means nothing.
    pub plan: Schedule,
    /// The server to restore on; `None` is a throwaway cluster on this machine.
    pub on: Option<Connection>,
    /// How many older backups, chosen at random, are restored besides the newest.
    pub older: u32,
}

/// `[[project.check]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// A query that returns one row with one boolean: true, where all is well.
    pub sql: String,
    /// The databases it is asked of; empty means each of the project.
    pub databases: Vec<String>,
    /// Whether it stands in the defaults, where it may name another project's databases.
    pub inherited: bool,
}

impl Check {
    /// Whether it is asked of that database.
    #[must_use]
    pub fn is_of(&self, database: &str) -> bool {
        self.databases.is_empty() || self.databases.iter().any(|name| name == database)
    }
}
