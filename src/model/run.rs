//! What happened: runs, slots, and how they ended. The catalog keeps them; nothing here does I/O.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::backup::{RunId, Trigger};
use super::dump::{Content, DumpShape, Selection};
use crate::error::Failure;

/// The database name of a failure that struck before the databases were known.
pub const ANY_DATABASE: &str = "*";

/// How a run ended, or that it hasn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Going on, or cut off by a crash that repair hasn't seen yet.
    Running,
    /// A backup exists.
    Completed,
    /// No backup was made.
    Failed,
    /// Ended on purpose before its end: shutdown or signal.
    Interrupted,
    /// Ended by a person.
    Cancelled,
}

/// One (project, database) of a job: its own artifact, outcome and alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Random id, also that of the backup it makes, and part of `application_name`.
    pub id: RunId,
    /// Project name.
    pub project: String,
    /// Database name.
    pub database: String,
    /// What was to be dumped.
    pub content: Content,
    /// What was to be dumped, in full.
    pub selection: Selection,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule's name, where one asked for it.
    pub schedule: Option<String>,
    /// The slot it serves.
    pub slot: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub status: RunStatus,
    /// Attempts made, the first included.
    pub attempts: u32,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// Stored length of its backup, bytes.
    pub size: Option<u64>,
    /// Rows in its backup, where known.
    pub rows: Option<u64>,
}

impl Run {
    /// A run that begins now, under an id of its own; that of no schedule.
    #[must_use]
    pub fn begin(project: &str, database: &str, shape: &DumpShape, trigger: Trigger, now: DateTime<Utc>) -> Self {
        Self {
            id: RunId::random(),
            project: project.to_owned(),
            database: database.to_owned(),
            content: shape.content,
            selection: shape.selection(),
            trigger,
            schedule: None,
            slot: None,
            started_at: now,
            finished_at: None,
            status: RunStatus::Running,
            attempts: 1,
            failure: None,
            size: None,
            rows: None,
        }
    }
}

/// What became of a due slot. Every due slot has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotOutcome {
    /// Claimed; its job is waiting or running.
    Claimed,
    /// Every run of its job made a backup.
    Ok,
    /// At least one run failed.
    Failed,
    /// The job was cut off by a shutdown or a crash.
    Interrupted,
    /// The previous job of the project was still going.
    SkippedOverrun,
    /// The project was paused.
    SkippedPaused,
    /// The project or schedule was disabled.
    SkippedDisabled,
    /// Another process or host held the project.
    SkippedLocked,
    /// pgdumpd was not running then; one row stands for a range.
    Missed,
}

/// One row of the slot diary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRow {
    /// Project name.
    pub project: String,
    /// Schedule name.
    pub schedule: String,
    /// When it was due; for a missed range, the first of it.
    pub due_at: DateTime<Utc>,
    /// For a missed range, the last of it.
    pub until: Option<DateTime<Utc>>,
    /// How many slots the row stands for.
    pub count: u32,
    /// When it was claimed or recorded.
    pub recorded_at: DateTime<Utc>,
    /// What became of it.
    pub outcome: SlotOutcome,
}
