//! What the catalog is asked, and what it answers, besides the nouns in `model`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::backup::RunId;
use crate::model::dump::{Content, Selection};
use crate::model::run::{Run, RunStatus, SlotOutcome};
use crate::process::Identity;

/// The note that says, to people who ask how things stand, when the index had to be rebuilt and why: a sentence.
pub const REBUILT: &str = "rebuilt";

/// How far a run had come when it was last heard of; repair reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The run is recorded; nothing has been started.
    Begun,
    /// `pg_dump` runs and bytes pass.
    Streaming,
    /// The dump has ended well; its manifest is recorded, the artifact is being made durable under its name.
    Storing,
    /// The artifact has its name; its manifest is being committed beside it.
    Manifest,
}

/// A run that has not been finished, and who was at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRun {
    /// As it was started.
    pub run: Run,
    /// How far it had come.
    pub stage: Stage,
    /// The pgdumpd that made it.
    pub owner: Option<Identity>,
    /// Its `pg_dump`.
    pub child: Option<Identity>,
}

impl UnfinishedRun {
    /// Whether whoever was at it is gone, and only a repair will finish it.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.owner.is_some_and(|owner| !owner.is_alive())
    }
}

/// A failure that may pass is being waited out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Project name.
    pub project: String,
    /// What is tried again: `backup`, `drill`.
    pub what: String,
    /// Of which database; `None` where they aren't known yet.
    pub database: Option<String>,
    /// The attempt that comes next, counted from 1.
    pub attempt: u32,
    /// How many are made at most.
    pub attempts: u32,
    /// When it begins.
    pub until: DateTime<Utc>,
    /// Why the last one failed, free of secrets.
    pub why: String,
    /// The pgdumpd that waits.
    #[serde(default)]
    pub owner: Option<Identity>,
}

/// Which part of a long list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// At most this many.
    pub limit: u32,
    /// Leaving out this many first.
    pub offset: u64,
}

impl Page {
    /// The first `limit`.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, offset: 0 }
    }

    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::first(u32::MAX)
    }
}

/// Which runs; everything unset matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this database.
    pub database: Option<String>,
    /// Of this selection.
    pub selection: Option<Selection>,
    /// That ended so.
    pub status: Option<RunStatus>,
}

/// One due time of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotKey {
    /// Project name.
    pub project: String,
    /// Schedule name.
    pub schedule: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
}

/// A schedule as configured now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSchedule<'a> {
    /// Project name.
    pub project: &'a str,
    /// Schedule name.
    pub schedule: &'a str,
    /// Its timing and zone; another text is another timing.
    pub timing: String,
    /// Whether it counts from the moment it is first seen, as a crontab line does.
    pub from_now: bool,
}

/// Which slots; everything unset matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotFilter {
    /// Of this project.
    pub project: Option<String>,
    /// Of this schedule.
    pub schedule: Option<String>,
    /// With this outcome.
    pub outcome: Option<SlotOutcome>,
    /// Due at this time or later.
    pub since: Option<DateTime<Utc>>,
}

/// Which backups; everything unset matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupFilter {
    /// In this storage.
    pub storage: Option<String>,
    /// Of this project.
    pub project: Option<String>,
    /// Of this database.
    pub database: Option<String>,
    /// With this content.
    pub content: Option<Content>,
    /// Of this selection.
    pub selection: Option<Selection>,
    /// Started at this time or before.
    pub until: Option<DateTime<Utc>>,
    /// Only those not found damaged.
    pub undamaged: bool,
    /// Only those that nobody has to doubt: not suspicious, or accepted.
    pub normal: bool,
}

/// The order of backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Newest first.
    #[default]
    Date,
    /// Largest first.
    Size,
}

/// What a project's backups come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectTotals {
    /// Project name.
    pub project: String,
    /// Number of backups.
    pub backups: u64,
    /// Their stored bytes.
    pub size: u64,
    /// When the newest was started.
    pub newest: DateTime<Utc>,
}

/// A backup that came back when it was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredBackup {
    /// Which.
    pub backup: RunId,
    /// Its project.
    pub project: String,
    /// The database it is of.
    pub database: String,
    /// When.
    pub at: DateTime<Utc>,
    /// How long that took, milliseconds: the measured recovery time.
    pub took_ms: Option<u64>,
}

/// How long a project's backups have gone without a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAge {
    /// Project name.
    pub project: String,
    /// Number of backups.
    pub backups: u64,
    /// When the one that nobody has looked at for longest was looked at, or made.
    pub oldest: DateTime<Utc>,
    /// When any of them was last looked at.
    pub newest: Option<DateTime<Utc>>,
}

/// How a project's runs ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunCounts {
    /// Those that made a backup.
    pub good: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A message in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<T> {
    /// Number in the outbox.
    pub id: i64,
    /// The message.
    pub message: T,
    /// When it was put there.
    pub queued_at: DateTime<Utc>,
    /// When it is tried next.
    pub next_try: DateTime<Utc>,
    /// Attempts made.
    pub attempts: u32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// Where it stands.
    pub state: LetterState,
}

/// Which of the messages that wait are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Those whose time has come.
    Due,
    /// Those as well that wait for a later try.
    Any,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// Waiting to be delivered.
    Queued,
    /// Taken by the mail server.
    Delivered,
    /// Refused for good.
    Refused,
}

/// Something that was done on someone's behalf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who asked: a user, a token's name, the daemon.
    pub actor: String,
    /// What was done: `restore`, `delete`, `pin`.
    pub action: String,
    /// To which project, where one was meant.
    pub project: Option<String>,
    /// To what: a backup's file, a database.
    pub subject: String,
    /// How it ended: `ok`, or why not; [`BEGUN`] as long as it has not.
    pub outcome: String,
}

/// The outcome of what was begun: it is still at work, or was killed.
pub const BEGUN: &str = "begun";

/// A project whose slots are skipped for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Project name.
    pub project: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when; without it, until it is resumed.
    pub until: Option<DateTime<Utc>>,
    /// Why.
    pub reason: String,
}

/// A project that was configured at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProject {
    /// Its name.
    pub name: String,
    /// When it was first seen; it catches up on nothing before that.
    pub first_seen: DateTime<Utc>,
    /// When it left the configuration; its backups stay listed.
    pub removed_at: Option<DateTime<Utc>>,
}

/// The daemon's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it was given.
    pub at: DateTime<Utc>,
    /// When the daemon started.
    pub started_at: DateTime<Utc>,
    /// Which process gave it.
    pub process: Option<Identity>,
    /// On which machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// The runs it has going.
    pub running: Vec<RunId>,
    /// How many jobs wait for a place.
    #[serde(default)]
    pub waiting: usize,
    /// Since when the first of them has waited.
    #[serde(default)]
    pub waiting_since: Option<DateTime<Utc>>,
    /// Whether it was asked to stop and only waits for what runs.
    #[serde(default)]
    pub stopping: bool,
    /// The database that it waits for before it begins.
    #[serde(default)]
    pub awaiting: Option<Awaited>,
}

/// A database that isn't there yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// What the last look said, where there was one.
    pub why: Option<String>,
}
