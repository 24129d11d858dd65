//! When a failure, a stale project or a recovery is told: a pure decision from the alert's state, an event and the time.
//!
//! Owns [`Alert`], one per (project, database, selection), and [`decide`]. It sends nothing and stores nothing. Jobs and the daemon's
//! tick call it and put both the new state and the notice into the catalog in one transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Cause, Failure};
use crate::model::backup::RunId;
use crate::model::dump::Selection;

#[cfg(test)]
mod tests;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertKey {
    /// Project name.
    pub project: String,
    /// Database name.
    pub database: String,
    /// What is backed up.
    pub selection: Selection,
}

impl AlertKey {
    /// The alert of a schedule as such: that its slots are run at all.
    #[must_use]
    pub fn schedule(project: &str, schedule: &str) -> Self {
        Self { project: project.to_owned(), database: String::from("*"), selection: Selection(format!("{SCHEDULE}{schedule}")) }
    }

    /// The alert of backups that fall out of the habit, beside the one of whether they are made.
    #[must_use]
    pub fn anomaly(project: &str, database: &str, selection: &Selection) -> Self {
        Self { project: project.to_owned(), database: database.to_owned(), selection: Selection(format!("{ANOMALY}{selection}")) }
    }

    /// The selection in doubt, where the alert is of that.
    #[must_use]
    pub fn of_anomaly(&self) -> Option<Selection> {
        self.selection.0.strip_prefix(ANOMALY).map(|selection| Selection(selection.to_owned()))
    }

    /// The schedule's name, where the alert is a schedule's.
    #[must_use]
    pub fn of_schedule(&self) -> Option<&str> {
        self.selection.0.strip_prefix(SCHEDULE)
    }
}

impl AlertKey {
    /// The alert of one stored backup: that it is what was written, and can be read.
    #[must_use]
    pub fn backup(project: &str, database: &str, backup: &RunId) -> Self {
        Self { project: project.to_owned(), database: database.to_owned(), selection: Selection(format!("{BACKUP}{backup}")) }
    }

    /// The backup, where the alert is a backup's.
    #[must_use]
    pub fn of_backup(&self) -> Option<RunId> {
        self.selection.0.strip_prefix(BACKUP).map(|id| RunId(id.to_owned()))
    }
}

/// Nor so.
const BACKUP: &str = "backup ";

impl AlertKey {
    /// The alert of the drills of one database: that its backups restore. One of all of them (`*`) is from before each had its own.
    #[must_use]
    pub fn drill(project: &str, database: &str) -> Self {
        Self { project: project.to_owned(), database: database.to_owned(), selection: Selection(String::from(DRILL)) }
    }

    /// Whether the alert is of drills.
    #[must_use]
    pub fn is_drill(&self) -> bool {
        self.selection.0 == DRILL
    }
}

/// Nor so.
const DRILL: &str = "drill";

impl AlertKey {
    /// The alert of what looks at a project's backups find: that it can be written down.
    #[must_use]
    pub fn proofs(project: &str) -> Self {
        Self { project: project.to_owned(), database: String::from("*"), selection: Selection(String::from(PROOFS)) }
    }

    /// Whether the alert is of that.
    #[must_use]
    pub fn is_proofs(&self) -> bool {
        self.selection.0 == PROOFS
    }
}

/// Nor so.
const PROOFS: &str = "proofs";

impl AlertKey {
    /// The alert of a project's pruning: that what retention lets go is removed.
    #[must_use]
    pub fn pruning(project: &str) -> Self {
        Self { project: project.to_owned(), database: String::from("*"), selection: Selection(String::from(PRUNING)) }
    }

    /// Whether the alert is of that.
    #[must_use]
    pub fn is_pruning(&self) -> bool {
        self.selection.0 == PRUNING
    }
}

/// Nor so.
const PRUNING: &str = "pruning";

/// No selection of a dump begins so, nor as the next.
const SCHEDULE: &str = "schedule ";
const ANOMALY: &str = "suspicious ";

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing to tell.
    #[default]
    Ok,
    /// The last run failed.
    Failing,
    /// The last good backup is older than allowed, whether runs fail or don't happen at all.
    Stale,
}

/// The state of one alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about.
    pub key: AlertKey,
    /// How things stand.
    pub status: Status,
    /// Since when they stand so: where something is wrong, since the incident began, whether it was a failure or staleness then.
    pub since: DateTime<Utc>,
    /// When the first of the failures in a row ended; absent where there is none, and in states of older versions.
    #[serde(default)]
    pub failing_since: Option<DateTime<Utc>>,
    /// When the key was first seen; staleness of what never had a backup counts from here.
    pub first_seen: DateTime<Utc>,
    /// Failed runs since the last good one.
    pub failures_in_row: u32,
    /// The class of the latest failure of this incident.
    pub cause: Option<Cause>,
    /// Its sentence.
    pub message: Option<String>,
    /// Causes told since the last first failure or reminder; each is told once, so that two in turns don't make a storm.
    pub told: Vec<Cause>,
    /// When a notice was last given.
    pub last_told_at: Option<DateTime<Utc>>,
    /// When a run last made a good backup.
    pub last_good_at: Option<DateTime<Utc>>,
    /// The message id, without brackets, that an incident's mails refer to; kept after the recovery until the next incident.
    pub thread: Option<String>,
}

impl Alert {
    /// The state of something that has just been seen for the first time.
    #[must_use]
    pub fn new(key: AlertKey, now: DateTime<Utc>) -> Self {
        Self {
            key,
            status: Status::Ok,
            since: now,
            failing_since: None,
            first_seen: now,
            failures_in_row: 0,
            cause: None,
            message: None,
            told: Vec::new(),
            last_told_at: None,
            last_good_at: None,
            thread: None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A run failed, its retries included.
    Failed(Failure),
    /// A run made a good backup.
    Succeeded,
    /// Time passed.
    Tick {
        /// Start of the newest good backup known of the alert's selection.
        last_good: Option<DateTime<Utc>>,
        /// The limit for its age; `None` switches staleness off, as it must be for selections that don't count (`Project::counted`).
        max_age: Option<Duration>,
    },
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// The first failure after good runs.
    FirstFailure,
    /// The failure goes on with a cause not told before.
    CauseChanged,
    /// It still goes on.
    Reminder,
    /// The last good backup is too old.
    Stale,
    /// All is well again.
    Recovered,
}

/// The alert's next state, and what to tell, if anything.
///
/// `reminder` is the least time between two notices of an incident that goes on. A recovery's figures (failures in a row, since when,
/// last cause) stand in the state handed in.
#[must_use]
pub fn decide(alert: &Alert, event: &Event, reminder: Duration, now: DateTime<Utc>) -> (Alert, Option<NoticeKind>) {
    let mut next = alert.clone();
    // After the clock was set back, count from now rather than keep silent until it has caught up.
    next.last_told_at = alert.last_told_at.map(|told| told.min(now));
    next.first_seen = alert.first_seen.min(now);
    let notice = match event {
        Event::Failed(failure) => next.fail(failure, reminder, now),
        Event::Succeeded => next.succeed(now),
        Event::Tick { last_good, max_age } => next.tick(*last_good, *max_age, reminder, now),
    };
    if notice.is_some() {
        next.last_told_at = Some(now);
    }
    (next, notice)
}

impl Alert {
    fn fail(&mut self, failure: &Failure, reminder: Duration, now: DateTime<Utc>) -> Option<NoticeKind> {
        let first = self.failures_in_row == 0;
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        if first {
            self.failing_since = Some(now);
        }
        self.cause = Some(failure.cause);
        self.message = Some(failure.message.clone());
        if self.status == Status::Ok {
            self.begin(Status::Failing, now);
        }
        if first {
            self.told = vec![failure.cause];
            return Some(NoticeKind::FirstFailure);
        }
        if !self.told.contains(&failure.cause) {
            self.told.push(failure.cause);
            return Some(NoticeKind::CauseChanged);
        }
        self.remind(reminder, now)
    }

    fn succeed(&mut self, now: DateTime<Utc>) -> Option<NoticeKind> {
        self.last_good_at = Some(now);
        self.recover(now)
    }

    fn tick(
        &mut self,
        last_good: Option<DateTime<Utc>>,
        max_age: Option<Duration>,
        reminder: Duration,
        now: DateTime<Utc>,
    ) -> Option<NoticeKind> {
        let too_old = max_age.is_some_and(|limit| elapsed(self.fresh_since(last_good, now), now) > limit);
        match (self.status, too_old) {
            (Status::Ok | Status::Failing, true) => {
                self.begin(Status::Stale, now);
                Some(NoticeKind::Stale)
            }
            (Status::Stale, false) if self.failures_in_row > 0 => {
                self.status = Status::Failing;
                self.remind(reminder, now)
            }
            (Status::Stale, false) => self.recover(now),
            (Status::Ok, false) => None,
            (Status::Failing | Status::Stale, _) => self.remind(reminder, now),
        }
    }

    /// Whether the newest backup is older than allowed, or was never made for so long.
    #[must_use]
    pub fn is_overdue(&self, last_good: Option<DateTime<Utc>>, max_age: Duration, now: DateTime<Utc>) -> bool {
        elapsed(self.fresh_since(last_good, now), now) > max_age
    }

    /// The latest time, as far as it isn't in the future, from which a backup's age counts.
    fn fresh_since(&self, last_good: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
        let known = [last_good, self.last_good_at];
        known.into_iter().flatten().filter(|time| *time <= now).max().unwrap_or(self.first_seen)
    }

    /// Enters a bad state; the incident, and its thread, begin with the first.
    fn begin(&mut self, status: Status, now: DateTime<Utc>) {
        if self.status == Status::Ok {
            self.thread = Some(thread_id(&self.key, now));
            self.since = now;
        }
        self.status = status;
    }

    /// Since when runs have failed in a row; where none has, since when things stand as they do.
    #[must_use]
    pub fn row_since(&self) -> DateTime<Utc> {
        self.failing_since.unwrap_or(self.since)
    }

    fn recover(&mut self, now: DateTime<Utc>) -> Option<NoticeKind> {
        let was = std::mem::take(&mut self.status);
        self.failures_in_row = 0;
        self.failing_since = None;
        self.cause = None;
        self.message = None;
        self.told.clear();
        if was == Status::Ok {
            return None;
        }
        self.since = now;
        Some(NoticeKind::Recovered)
    }

    fn remind(&mut self, reminder: Duration, now: DateTime<Utc>) -> Option<NoticeKind> {
        if self.last_told_at.is_some_and(|told| elapsed(told, now) < reminder) {
            return None;
        }
        self.told = self.cause.into_iter().collect();
        Some(NoticeKind::Reminder)
    }
}

fn elapsed(from: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    now.signed_duration_since(from).to_std().unwrap_or_default()
}

/// A message id for the root of an incident's mails: the same for the same incident, different for all others.
fn thread_id(key: &AlertKey, began: DateTime<Utc>) -> String {
    let text = format!("{}\0{}\0{}\0{}", key.project, key.database, key.selection.0, began.timestamp_micros());
    let digest = Sha256::digest(text.as_bytes());
    let number = digest.iter().take(12).fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("incident.{number:024x}@pgdumpd")
}
