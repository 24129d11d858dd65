//! The rules as they are configured, and their words.

use std::fmt;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::model::dump::Selection;
use crate::units;

/// What is kept, per project, database and selection. The rules add up; with none set (zero counts as unset) everything stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The newest N.
    pub keep_last: Option<u32>,
    /// Everything this much older than the newest that isn't dated in the future.
    pub keep_within: Option<Duration>,
    /// The newest of each of the last N hours that have a backup.
    pub keep_hourly: Option<u32>,
    /// The newest of each of the last N days that have a backup.
    pub keep_daily: Option<u32>,
    /// The newest of each of the last N ISO weeks that have a backup.
    pub keep_weekly: Option<u32>,
    /// The newest of each of the last N months that have a backup.
    pub keep_monthly: Option<u32>,
    /// The newest of each of the last N years that have a backup.
    pub keep_yearly: Option<u32>,
    /// The newest N stay whatever the rules say. Default 1.
    pub min_keep: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep_last: None,
            keep_within: None,
            keep_hourly: None,
            keep_daily: None,
            keep_weekly: None,
            keep_monthly: None,
            keep_yearly: None,
            min_keep: 1,
        }
    }
}

/// So many of the backups made before restores stay, whatever the rules say.
const LEAST_BEFORE_RESTORE: u32 = 3;

/// And everything this much older than the newest of them: attempts that failed in one night must not push out the one that matters.
const WITHIN_BEFORE_RESTORE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Policy {
    /// Whether no rule is set, so that nothing is ever removed.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.within().is_none() && self.counts().iter().all(|(_, count)| *count == 0)
    }

    /// The same for one selection: of what was kept before restores, the newest few and those of the last week stay in
    /// any case, however close together they were made.
    pub(super) fn of_group(&self, selection: &Selection) -> Self {
        if !selection.is_before_restore() || self.keeps_all() {
            return self.clone();
        }
        let within = self.keep_within.unwrap_or_default().max(WITHIN_BEFORE_RESTORE);
        Self { min_keep: self.min_keep.max(LEAST_BEFORE_RESTORE), keep_within: Some(within), ..self.clone() }
    }

    pub(super) fn within(&self) -> Option<Duration> {
        self.keep_within.filter(|span| !span.is_zero())
    }

    /// The counting rules with their keys; zero is unset.
    fn counts(&self) -> [(&'static str, u32); 6] {
        let count = |rule: Option<u32>| rule.unwrap_or(0);
        [
            ("keep_last", count(self.keep_last)),
            ("keep_hourly", count(self.keep_hourly)),
            ("keep_daily", count(self.keep_daily)),
            ("keep_weekly", count(self.keep_weekly)),
            ("keep_monthly", count(self.keep_monthly)),
            ("keep_yearly", count(self.keep_yearly)),
        ]
    }
}

/// The rules in one line: `keep_last=3 keep_daily=14 min_keep=1`, or `keep all`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keeps_all() {
            return f.write_str("keep all");
        }
        for (key, count) in self.counts() {
            if count > 0 {
                write!(f, "{key}={count} ")?;
            }
        }
        if let Some(span) = self.within() {
            write!(f, "keep_within={} ", units::show_duration(span).replace(' ', ""))?;
        }
        write!(f, "min_keep={}", self.min_keep)
    }
}

/// A line that changes exactly when the policy or its zone does; stored to notice changes, and fit to be shown: old against new.
#[must_use]
pub fn policy_fingerprint(policy: &Policy, zone: Tz) -> String {
    format!("{policy} {}", zone.name())
}

/// Two such lines in words, what was and what is: `keep_last 7, keep_daily 14` and `keep_last 2`; with their zones where those differ.
#[must_use]
pub fn policy_change(before: &str, after: &str) -> (String, String) {
    let ((old, old_zone), (new, new_zone)) = (before.rsplit_once(' ').unwrap_or_default(), after.rsplit_once(' ').unwrap_or_default());
    let told = |rules: &str, zone: &str| {
        let mut words: Vec<String> = rules.split(' ').filter(|rule| *rule != "min_keep=1").map(|rule| rule.replace('=', " ")).collect();
        if rules == "keep all" {
            words = vec![String::from("keep all")];
        }
        if old_zone != new_zone {
            words.push(format!("time zone {zone}"));
        }
        words.join(", ")
    };
    (told(old, old_zone), told(new, new_zone))
}
