//! The outbox: messages wait here until the mail server has taken them, or refused them for good.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::{Json, Time, Word, bind, bind_page, collect, conditions};
use super::{Reader, Writer};
use crate::catalog::{Letter, LetterState, Page, Take};
use crate::error::Result;

const COLUMNS: &str = "id, message, queued_at, next_try, attempts, error, state";

impl Reader {
    /// Messages, the latest first; in one state, or in any.
    pub fn letters<T: DeserializeOwned>(&self, state: Option<LetterState>, page: Page) -> Result<Vec<Letter<T>>> {
        let asked = conditions(&[("state = :state", state.is_some())]);
        let sql = format!("SELECT {COLUMNS} FROM outbox {asked} ORDER BY id DESC LIMIT :limit OFFSET :offset");
        self.ask("listing the outbox", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind(&mut statement, ":state", &state.map(Word))?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, letter)
        })
    }

    /// When the next message is to be tried, or one that somebody is at comes free again; `None` where none waits.
    pub fn next_letter(&self) -> Result<Option<DateTime<Utc>>> {
        self.ask("reading the outbox", |db| {
            let sql = "SELECT min(max(next_try, coalesce(lent, next_try))) FROM outbox WHERE state = 'queued'";
            db.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<Time>>(0)).map(|time| time.map(|time| time.0))
        })
    }
}

impl Writer {
    /// Puts a message into the outbox, to be tried at once. Returns its number.
    pub fn enqueue<T: Serialize>(&self, message: &T) -> Result<i64> {
        let now = Time(self.now());
        self.ask("putting a message into the outbox", |db| {
            db.prepare_cached("INSERT INTO outbox (message, queued_at, next_try) VALUES (?1, ?2, ?2)")?.insert(params![Json(message), now])
        })
    }

    /// Takes the first message after `after` (0: the first of all) in the order they were written: one that is due, or `any` that waits for a
    /// later try. Nobody else gets it until `lease` is over, so that two processes don't send the same one, and one that is killed while sending
    /// doesn't lose it. A time more than a day ahead was set by a clock that was wrong: nothing waits that long, so it doesn't count.
    pub fn take_letter<T: DeserializeOwned>(&self, after: i64, which: Take, lease: Duration) -> Result<Option<Letter<T>>> {
        let now = self.now();
        let until = TimeDelta::from_std(lease).ok().and_then(|lease| now.checked_add_signed(lease)).unwrap_or(now);
        let due = if which == Take::Due { "AND (next_try <= ?1 OR next_try > ?1 + 86400000000)" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox WHERE state = 'queued' AND (lent IS NULL OR lent <= ?1 OR lent > ?1 + 86400000000) AND id > ?2 {due} \
             ORDER BY id LIMIT 1"
        );
        self.ask("taking a message from the outbox", |db| {
            let Some(found) = db.prepare_cached(&sql)?.query_row(params![Time(now), after], letter).optional()? else { return Ok(None) };
            db.prepare_cached("UPDATE outbox SET lent = ?2, attempts = attempts + 1 WHERE id = ?1")?
                .execute(params![found.id, Time(until)])?;
            Ok(Some(found))
        })
    }

    /// Records that the mail server has taken a message, as it is now: for those who have it.
    pub fn letter_delivered<T: Serialize>(&self, id: i64, message: &T) -> Result<()> {
        self.ask("recording a delivery", |db| {
            let sql = "UPDATE outbox SET state = 'delivered', message = ?2, error = NULL, lent = NULL WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![id, Json(message)]).map(drop)
        })
    }

    /// Records that a message could not be delivered now, and when it is tried next.
    pub fn defer_letter(&self, id: i64, next_try: DateTime<Utc>, error: &str) -> Result<()> {
        self.ask("recording a failed delivery", |db| {
            let sql = "UPDATE outbox SET next_try = ?2, error = ?3, lent = NULL WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![id, Time(next_try), error]).map(drop)
        })
    }

    /// Records that the mail server refused a message for good.
    pub fn refuse_letter(&self, id: i64, error: &str) -> Result<()> {
        self.ask("recording a refused message", |db| {
            db.prepare_cached("UPDATE outbox SET state = 'refused', error = ?2, lent = NULL WHERE id = ?1")?
                .execute(params![id, error])
                .map(drop)
        })
    }
}

impl Writer {
    /// Lets a message that was refused be tried anew, as it is now: everything before is forgotten.
    pub fn queue_again<T: Serialize>(&self, id: i64, message: &T) -> Result<()> {
        let now = Time(self.now());
        self.ask("putting a message into the outbox again", |db| {
            let sql =
                "UPDATE outbox SET message = ?2, queued_at = ?3, next_try = ?3, attempts = 0, error = NULL, state = 'queued', lent = NULL WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![id, Json(message), now]).map(drop)
        })
    }
}

fn letter<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<Letter<T>> {
    Ok(Letter {
        id: row.get(0)?,
        message: row.get::<_, Json<T>>(1)?.0,
        queued_at: row.get::<_, Time>(2)?.0,
        next_try: row.get::<_, Time>(3)?.0,
        attempts: row.get(4)?,
        error: row.get(5)?,
        state: row.get::<_, Word<_>>(6)?.0,
    })
}
