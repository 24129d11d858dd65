//! Jobs compose verbs in order (lock, repair, backup, prune, notice) and say what a failure skips. They know neither cron nor signals.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::model::backup::RunId;
use crate::stream::gauge::Gauge;

pub mod adhoc;
pub mod beginning;
pub mod delete;
pub mod drill;
mod hold;
mod looking;
pub mod mend;
mod mending;
pub mod prune;
pub mod rebuild;
mod record;
pub mod restore;
mod retry;
pub mod scheduled;
pub mod telling;
pub mod verify;

/// What is in flight right now, for whoever shows progress. Cheap to clone; clones share the board.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Debug, Default)]
struct Shown {
    current: Vec<Current>,
    retries: Vec<Retry>,
}

/// A transient failure that is being waited out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Project name.
    pub project: String,
    /// The failed attempt, counted from 1.
    pub attempt: u32,
    /// When the next one begins.
    pub until: DateTime<Utc>,
    /// Why the last one failed, free of secrets.
    pub why: String,
}

/// One run in flight.
#[derive(Debug, Clone)]
pub struct Current {
    /// The run.
    pub run: RunId,
    /// Project name.
    pub project: String,
    /// Database name.
    pub database: String,
    /// When it began.
    pub since: DateTime<Utc>,
    /// Archive bytes expected, from the last backup of this selection.
    pub expected: Option<u64>,
    /// How far it is.
    pub gauge: Gauge,
}

impl Board {
    /// A board that shows this alone.
    #[must_use]
    pub fn showing(current: Current) -> Self {
        let board = Self::default();
        board.put(current);
        board
    }

    /// Everything in flight.
    #[must_use]
    pub fn current(&self) -> Vec<Current> {
        self.0.lock().current.clone()
    }

    /// What waits for another try.
    #[must_use]
    pub fn retries(&self) -> Vec<Retry> {
        self.0.lock().retries.clone()
    }

    fn put(&self, current: Current) {
        self.0.lock().current.push(current);
    }

    fn take(&self, run: &RunId) {
        self.0.lock().current.retain(|current| &current.run != run);
    }

    fn wait(&self, retry: Retry) {
        self.0.lock().retries.push(retry);
    }

    fn go_on(&self, retry: &Retry) {
        self.0.lock().retries.retain(|known| known != retry);
    }
}

/// Who lets a dump begin: the global and the per-server limit. A job gives its place back while it waits for a retry.
pub trait Gate: Sync {
    /// Waits for a place; `false` where the job was cancelled first.
    fn enter(&self) -> bool;
    /// Gives the place back.
    fn leave(&self);
}

/// A gate that is always open: a command line runs one job.
#[derive(Debug, Clone, Copy)]
pub struct Open;

impl Gate for Open {
    fn enter(&self) -> bool {
        true
    }

    fn leave(&self) {}
}
