//! The course of things that a mail tells: what a job was run for, what comes next by itself, and by whose hands.

use chrono::{DateTime, Utc};

/// Who runs what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hands {
    /// A daemon.
    Daemon,
    /// Nobody: no schedule fires, and pgdumpd does what it is started for.
    Nobody,
}

/// What a job was run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occasion {
    /// A slot of a schedule.
    Slot {
        /// When it was due.
        at: DateTime<Utc>,
        /// The schedule's name.
        schedule: String,
    },
    /// A person, or another program.
    Hand,
    /// The daemon's start, which failed.
    Start,
}

/// What pgdumpd does next without being told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Runs a schedule's next slot.
    Slot {
        /// When it is due.
        at: DateTime<Utc>,
        /// The schedule's name.
        schedule: String,
    },
    /// Nothing, because of this: `the project is paused`.
    Nothing(String),
}
