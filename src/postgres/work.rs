//! What marks a database as one that is being filled for a while.
//!
//! Owns the names and comments by which an unfinished one is found again; `database` finds and drops them.

use serde::Deserialize;

/// What a database is being filled for: by its name and its comment an unfinished one is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A restore.
    Restore,
    /// A drill on a server.
    Drill,
}

impl Work {
    /// What the names of its databases begin with; the rest is the run.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Restore => "pgdumpd_restore_",
            Self::Drill => "pgdumpd_drill_",
        }
    }

    /// What the comment of a database begins with that is still being filled, and whether a drill has not dropped it yet.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Restore => "pgdumpd restore ",
            Self::Drill => "pgdumpd drill ",
        }
    }
}

/// A database that is being filled, or was left behind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Abandoned {
    /// Its name.
    pub name: String,
    /// The role it belongs to.
    pub owner: String,
    /// Whether this role may drop it.
    pub ours: bool,
    /// Whether whoever fills it is still at work, as far as its session tells.
    pub busy: bool,
}
