//! Sums over a span of the diary, by project, for the summary that is mailed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::Row;

use super::Reader;
use super::value::{Time, Word, count};
use crate::catalog::RunCounts;
use crate::error::Result;
use crate::model::run::{RunStatus, SlotOutcome};

impl Reader {
    /// How many runs that began at that time or later made a backup, and how many failed, by project.
    pub fn run_counts_since(&self, since: DateTime<Utc>) -> Result<HashMap<String, RunCounts>> {
        let sql = "SELECT project, status, count(*) FROM runs WHERE started_at >= ?1 GROUP BY project, status";
        self.ask("counting runs", |db| {
            let mut counts: HashMap<String, RunCounts> = HashMap::new();
            let entry = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Word<RunStatus>>(1)?.0, count(row.get(2)?)));
            for entry in db.prepare_cached(sql)?.query_map([Time(since)], entry)? {
                let (project, status, number) = entry?;
                let counts = counts.entry(project).or_default();
                match status {
                    RunStatus::Completed => counts.good += number,
                    RunStatus::Failed => counts.failed += number,
                    RunStatus::Running | RunStatus::Interrupted | RunStatus::Cancelled => {}
                }
            }
            Ok(counts)
        })
    }

    /// How many slots due at that time or later were not run although they were meant to be, by project.
    pub fn slots_not_run_since(&self, since: DateTime<Utc>) -> Result<HashMap<String, u64>> {
        let sql = "SELECT project, sum(count) FROM slots WHERE due_at >= ?1 AND outcome IN (?2, ?3, ?4) GROUP BY project";
        let outcomes = [SlotOutcome::Missed, SlotOutcome::SkippedOverrun, SlotOutcome::SkippedLocked].map(Word);
        self.ask("counting slots", |db| {
            let entry = |row: &Row<'_>| Ok((row.get(0)?, count(row.get(1)?)));
            db.prepare_cached(sql)?.query_map((Time(since), &outcomes[0], &outcomes[1], &outcomes[2]), entry)?.collect()
        })
    }
}
