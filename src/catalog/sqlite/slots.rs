//! Slots: claimed once, each with one outcome.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::value::{Time, Word, bind, bind_page, collect, conditions, count};
use super::{Reader, Writer};
use crate::catalog::{Page, SeenSchedule, SlotFilter, SlotKey};
use crate::error::Result;
use crate::model::run::{SlotOutcome, SlotRow};

const COLUMNS: &str = "project, schedule, due_at, until, count, recorded_at, outcome";

/// Adds a row unless the slot has one, or lies within a range that has: ranges don't overlap, so the row before decides. What was recorded
/// later than a minute from now is of a wrong clock, now or then, and neither covers a slot nor holds its place: no clock stops a schedule.
const RECORD: &str = "INSERT INTO slots (project, schedule, due_at, until, count, recorded_at, outcome) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 \
                      WHERE coalesce((SELECT until FROM slots WHERE project = ?1 AND schedule = ?2 AND due_at <= ?3 \
                      AND recorded_at <= ?6 + 60000000 ORDER BY due_at DESC LIMIT 1), -9223372036854775808) < ?3 \
                      ON CONFLICT (project, schedule, due_at) DO UPDATE SET until = excluded.until, count = excluded.count, \
                      recorded_at = excluded.recorded_at, outcome = excluded.outcome WHERE slots.recorded_at > excluded.recorded_at + 60000000";

/// The last due time only grows, also past what the diary forgets.
const LAST: &str = "INSERT INTO last_due (project, schedule, due_at) VALUES (?1, ?2, ?3) \
                    ON CONFLICT DO UPDATE SET due_at = max(due_at, excluded.due_at)";

/// What lies ahead of now was recorded by a wrong clock; the diary knows what came before it, or `since` from when on the right one was seen.
const LAST_DUE: &str = "SELECT project, schedule, CASE WHEN due_at <= ?1 THEN due_at ELSE coalesce((SELECT coalesce(until, slots.due_at) \
                        FROM slots WHERE slots.project = last_due.project AND slots.schedule = last_due.schedule AND slots.due_at <= ?1 \
                        AND coalesce(until, slots.due_at) <= ?1 ORDER BY slots.due_at DESC LIMIT 1), CASE WHEN since <= ?1 THEN since END) \
                        END AS due FROM last_due WHERE due IS NOT NULL";

impl Reader {
    /// The last slot that was claimed or recorded, or when a crontab line was first seen or changed, for every (project, schedule).
    /// Never later than now.
    pub fn last_due(&self) -> Result<HashMap<(String, String), DateTime<Utc>>> {
        let now = Time(self.now());
        self.ask("reading the last slots", |db| {
            let entry = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get::<_, Time>(2)?.0));
            db.prepare_cached(LAST_DUE)?.query_map([now], entry)?.collect()
        })
    }

    /// The same for one schedule.
    pub fn last_due_of(&self, project: &str, schedule: &str) -> Result<Option<DateTime<Utc>>> {
        let now = Time(self.now());
        let sql = format!("{LAST_DUE} AND project = ?2 AND schedule = ?3");
        self.ask("reading the last slot", |db| {
            let entry = |row: &Row<'_>| row.get::<_, Time>(2).map(|time| time.0);
            db.prepare_cached(&sql)?.query_row(params![now, project, schedule], entry).optional()
        })
    }

    /// Slots that were claimed and have no outcome yet, the oldest first.
    pub fn unfinished_slots(&self) -> Result<Vec<SlotRow>> {
        let sql = format!("SELECT {COLUMNS} FROM slots WHERE outcome = 'claimed' ORDER BY due_at");
        self.ask("listing unfinished slots", |db| db.prepare_cached(&sql)?.query_map([], slot)?.collect())
    }

    /// Slots, the latest first.
    pub fn slots(&self, filter: &SlotFilter, page: Page) -> Result<Vec<SlotRow>> {
        let sql = format!("SELECT {COLUMNS} FROM slots {} ORDER BY due_at DESC LIMIT :limit OFFSET :offset", asked(filter));
        self.ask("listing slots", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind_filter(&mut statement, filter)?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, slot)
        })
    }

    /// Slots due at that time or before, the latest first.
    pub fn slots_until(&self, filter: &SlotFilter, until: DateTime<Utc>, page: Page) -> Result<Vec<SlotRow>> {
        let asked = asked(filter);
        let and = if asked.is_empty() { "WHERE" } else { "AND" };
        let sql = format!("SELECT {COLUMNS} FROM slots {asked} {and} due_at <= :until ORDER BY due_at DESC LIMIT :limit OFFSET :offset");
        self.ask("listing slots", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind_filter(&mut statement, filter)?;
            bind(&mut statement, ":until", &Time(until))?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, slot)
        })
    }

    /// How many slots ended how; a range counts as many as it stands for.
    pub fn slot_counts(&self, filter: &SlotFilter) -> Result<HashMap<SlotOutcome, u64>> {
        let sql = format!("SELECT outcome, sum(count) FROM slots {} GROUP BY outcome", asked(filter));
        self.ask("counting slots", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind_filter(&mut statement, filter)?;
            let counts = collect(&mut statement, |row| Ok((row.get::<_, Word<_>>(0)?.0, count(row.get(1)?))))?;
            Ok(counts.into_iter().collect())
        })
    }
}

impl Writer {
    /// Records which schedules are configured now, each with its timing in words. A crontab line (`from_now`) that is new, and any schedule whose
    /// timing has changed, has missed nothing before now; an interval that is new has no record until it first runs. A crontab line of which all
    /// that is known lies ahead of now, as the clock was wrong, is known from now on.
    pub fn see_schedules(&self, schedules: &[SeenSchedule<'_>]) -> Result<()> {
        let now = Time(self.now());
        self.ask("recording the schedules", |db| {
            let mut insert =
                db.prepare_cached("INSERT OR IGNORE INTO last_due (project, schedule, due_at, timing) VALUES (?1, ?2, ?3, ?4)")?;
            let mut update = db.prepare_cached(
                "UPDATE last_due SET timing = ?4, due_at = CASE WHEN timing IS NULL THEN due_at ELSE max(due_at, ?3) END \
                 WHERE project = ?1 AND schedule = ?2 AND timing IS NOT ?4",
            )?;
            let mut known = db.prepare_cached(
                "UPDATE last_due SET since = ?3 WHERE project = ?1 AND schedule = ?2 AND due_at > ?3 AND coalesce(since, ?3 + 1) > ?3",
            )?;
            for seen in schedules {
                if seen.from_now {
                    insert.execute(params![seen.project, seen.schedule, now, seen.timing])?;
                    known.execute(params![seen.project, seen.schedule, now])?;
                }
                update.execute(params![seen.project, seen.schedule, now, seen.timing])?;
            }
            Ok(())
        })
    }

    /// Claims slots; the answers, in the same order, say which were claimed now and by nobody before.
    pub fn claim_slots(&self, slots: &[SlotKey]) -> Result<Vec<bool>> {
        let recorded_at = self.now();
        slots
            .iter()
            .map(|slot| {
                self.record_slot(&SlotRow {
                    project: slot.project.clone(),
                    schedule: slot.schedule.clone(),
                    due_at: slot.due_at,
                    until: None,
                    count: 1,
                    recorded_at,
                    outcome: SlotOutcome::Claimed,
                })
            })
            .collect()
    }

    /// Records a slot that isn't run, or a range of them. `false` where the slot has a row already, which stays.
    pub fn record_slot(&self, slot: &SlotRow) -> Result<bool> {
        self.ask("recording a slot", |db| {
            let (due_at, until) = (Time(slot.due_at), slot.until.map(Time));
            let added = db.prepare_cached(RECORD)?.execute(params![
                slot.project,
                slot.schedule,
                due_at,
                until,
                slot.count,
                Time(slot.recorded_at),
                Word(slot.outcome)
            ])?;
            db.prepare_cached(LAST)?.execute(params![slot.project, slot.schedule, until.unwrap_or(due_at)])?;
            Ok(added > 0)
        })
    }

    /// Records what became of a claimed slot, also of one whose claim was lost with an earlier catalog.
    pub fn finish_slot(&self, slot: &SlotKey, outcome: SlotOutcome) -> Result<()> {
        let known = self.ask("recording a slot's outcome", |db| {
            db.prepare_cached("UPDATE slots SET outcome = ?4 WHERE project = ?1 AND schedule = ?2 AND due_at = ?3")?.execute(params![
                slot.project,
                slot.schedule,
                Time(slot.due_at),
                Word(outcome)
            ])
        })?;
        if known == 0 {
            let SlotKey { project, schedule, due_at } = slot.clone();
            self.record_slot(&SlotRow { project, schedule, due_at, until: None, count: 1, recorded_at: self.now(), outcome })?;
        }
        Ok(())
    }

    /// Makes a claimed slot due again: forgets its claim, and sets the schedule's last slot back to `before`. `false`, and nothing is
    /// changed, where it isn't claimed or a later slot has its row already.
    pub fn release_slot(&self, slot: &SlotKey, before: DateTime<Utc>) -> Result<bool> {
        self.ask("giving a slot back", |db| {
            let key = params![slot.project, slot.schedule, Time(slot.due_at), Time(before)];
            let is_last = "UPDATE last_due SET due_at = ?4 WHERE project = ?1 AND schedule = ?2 AND due_at = ?3 AND EXISTS (SELECT 1 FROM \
                           slots WHERE project = ?1 AND schedule = ?2 AND due_at = ?3 AND outcome = 'claimed')";
            if db.prepare_cached(is_last)?.execute(key)? == 0 {
                return Ok(false);
            }
            let forget = "DELETE FROM slots WHERE project = ?1 AND schedule = ?2 AND due_at = ?3";
            db.prepare_cached(forget)?.execute(params![slot.project, slot.schedule, Time(slot.due_at)]).map(|_| true)
        })
    }
}

fn asked(filter: &SlotFilter) -> String {
    conditions(&[
        ("project = :project", filter.project.is_some()),
        ("schedule = :schedule", filter.schedule.is_some()),
        ("outcome = :outcome", filter.outcome.is_some()),
        ("due_at >= :since", filter.since.is_some()),
    ])
}

fn bind_filter(statement: &mut rusqlite::Statement<'_>, filter: &SlotFilter) -> rusqlite::Result<()> {
    bind(statement, ":project", &filter.project)?;
    bind(statement, ":schedule", &filter.schedule)?;
    bind(statement, ":outcome", &filter.outcome.map(Word))?;
    bind(statement, ":since", &filter.since.map(Time))
}

fn slot(row: &Row<'_>) -> rusqlite::Result<SlotRow> {
    Ok(SlotRow {
        project: row.get(0)?,
        schedule: row.get(1)?,
        due_at: row.get::<_, Time>(2)?.0,
        until: row.get::<_, Option<Time>>(3)?.map(|time| time.0),
        count: row.get(4)?,
        recorded_at: row.get::<_, Time>(5)?.0,
        outcome: row.get::<_, Word<_>>(6)?.0,
    })
}
