//! The rest of the diary: audit, notes, pauses, known projects, the heartbeat, and forgetting.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::value::{Json, Time, bind, bind_page, collect, conditions};
use super::{Reader, Writer};
use crate::catalog::{AuditEntry, BEGUN, Heartbeat, KnownProject, Page, Pause};
use crate::error::Result;

/// The note of the last good-bye.
const SERVED_UNTIL: &str = "served-until";

impl Reader {
    /// A note by its key.
    pub fn meta(&self, key: &str) -> Result<Option<String>> {
        self.ask("reading a note", |db| {
            db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |row| row.get(0)).optional()
        })
    }

    /// What was done on someone's behalf, the latest first; to one project, or to any.
    pub fn audit(&self, project: Option<&str>, page: Page) -> Result<Vec<AuditEntry>> {
        let asked = conditions(&[("project = :project", project.is_some())]);
        let sql =
            format!("SELECT at, actor, action, project, subject, outcome FROM audit {asked} ORDER BY id DESC LIMIT :limit OFFSET :offset");
        self.ask("reading the audit log", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind(&mut statement, ":project", &project)?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, entry)
        })
    }

    /// When suspicious backups of a project were accepted, since then or ever, the latest first.
    pub fn acceptances(&self, project: &str, since: Option<DateTime<Utc>>) -> Result<Vec<AuditEntry>> {
        let asked = conditions(&[("action = 'accept'", true), ("project = :project", true), ("at >= :since", since.is_some())]);
        let sql = format!("SELECT at, actor, action, project, subject, outcome FROM audit {asked} ORDER BY id DESC");
        self.ask("asking what was accepted", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind(&mut statement, ":project", &project)?;
            bind(&mut statement, ":since", &since.map(Time))?;
            collect(&mut statement, entry)
        })
    }

    /// The pauses that hold now, by project.
    pub fn pauses(&self) -> Result<Vec<Pause>> {
        let now = Time(self.now());
        self.ask("listing pauses", |db| {
            let sql = "SELECT project, since, until, reason FROM pauses WHERE until IS NULL OR until > ?1 ORDER BY project";
            let pause = |row: &Row<'_>| {
                Ok(Pause {
                    project: row.get(0)?,
                    since: row.get::<_, Time>(1)?.0,
                    until: row.get::<_, Option<Time>>(2)?.map(|time| time.0),
                    reason: row.get(3)?,
                })
            };
            db.prepare_cached(sql)?.query_map([now], pause)?.collect()
        })
    }

    /// Every project that was ever configured, by name.
    pub fn known_projects(&self) -> Result<Vec<KnownProject>> {
        self.ask("listing known projects", |db| {
            let known = |row: &Row<'_>| {
                Ok(KnownProject {
                    name: row.get(0)?,
                    first_seen: row.get::<_, Time>(1)?.0,
                    removed_at: row.get::<_, Option<Time>>(2)?.map(|time| time.0),
                })
            };
            db.prepare_cached("SELECT name, first_seen, removed_at FROM projects ORDER BY name")?.query_map([], known)?.collect()
        })
    }

    /// The daemon's last sign of life.
    pub fn heartbeat(&self) -> Result<Option<Heartbeat>> {
        self.ask("reading the heartbeat", |db| {
            let sql = "SELECT value FROM meta WHERE key = 'heartbeat'";
            db.prepare_cached(sql)?.query_row([], |row| row.get::<_, Json<_>>(0)).optional().map(|json| json.map(|json| json.0))
        })
    }

    /// When a daemon last said good-bye.
    pub fn served_until(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(self.meta(SERVED_UNTIL)?.and_then(|text| text.parse().ok()))
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    Ok(AuditEntry {
        at: row.get::<_, Time>(0)?.0,
        actor: row.get(1)?,
        action: row.get(2)?,
        project: row.get(3)?,
        subject: row.get(4)?,
        outcome: row.get(5)?,
    })
}

impl Writer {
    /// Keeps a note under its key.
    pub fn put_meta(&self, key: &str, value: &str) -> Result<()> {
        self.ask("keeping a note", |db| db.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute([key, value]).map(drop))
    }

    /// Forgets a note.
    pub fn remove_meta(&self, key: &str) -> Result<()> {
        self.ask("removing a note", |db| db.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key]).map(drop))
    }

    /// Adds to the audit log; returns the entry's number.
    pub fn append_audit(&self, entry: &AuditEntry) -> Result<i64> {
        self.ask("writing the audit log", |db| {
            let sql = "INSERT INTO audit (at, actor, action, project, subject, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let entry = params![Time(entry.at), entry.actor, entry.action, entry.project, entry.subject, entry.outcome];
            db.prepare_cached(sql)?.execute(entry)?;
            Ok(db.last_insert_rowid())
        })
    }

    /// Says of an entry that was still open how it ended; `false` where it is not there.
    pub fn end_audit(&self, entry: i64, outcome: &str) -> Result<bool> {
        self.ask("writing the audit log", |db| {
            let sql = "UPDATE audit SET outcome = ?3 WHERE id = ?1 AND outcome = ?2";
            Ok(db.prepare_cached(sql)?.execute(params![entry, BEGUN, outcome])? > 0)
        })
    }

    /// Pauses a project, or changes its pause.
    pub fn pause(&self, pause: &Pause) -> Result<()> {
        self.ask("pausing a project", |db| {
            let mut statement = db.prepare_cached("INSERT OR REPLACE INTO pauses VALUES (?1, ?2, ?3, ?4)")?;
            statement.execute(params![pause.project, Time(pause.since), pause.until.map(Time), pause.reason]).map(drop)
        })
    }

    /// Ends a project's pause; `false` where it had none.
    pub fn resume(&self, project: &str) -> Result<bool> {
        self.ask("resuming a project", |db| Ok(db.prepare_cached("DELETE FROM pauses WHERE project = ?1")?.execute([project])? > 0))
    }

    /// Records which projects are configured now: new ones are first seen, missing ones removed, returning ones no longer removed.
    pub fn see_projects(&self, names: &[&str]) -> Result<()> {
        let now = Time(self.now());
        self.ask("recording the projects", |db| {
            db.execute_batch("CREATE TEMP TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY) WITHOUT ROWID; DELETE FROM seen")?;
            let mut see = db.prepare_cached("INSERT OR IGNORE INTO seen VALUES (?1)")?;
            for name in names {
                see.execute([name])?;
            }
            db.execute(
                "INSERT INTO projects SELECT name, ?1, NULL FROM seen WHERE true \
                 ON CONFLICT DO UPDATE SET removed_at = NULL WHERE removed_at IS NOT NULL",
                [now],
            )?;
            db.execute("UPDATE projects SET removed_at = ?1 WHERE removed_at IS NULL AND name NOT IN (SELECT name FROM seen)", [now])?;
            db.execute_batch("DELETE FROM seen")
        })
    }

    /// Gives a sign of life.
    pub fn beat(&self, heartbeat: &Heartbeat) -> Result<()> {
        self.ask("writing the heartbeat", |db| {
            db.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('heartbeat', ?1)")?.execute([Json(heartbeat)]).map(drop)
        })
    }

    /// Says good-bye: the daemon gives no further sign of life.
    pub fn farewell(&self, at: DateTime<Utc>) -> Result<()> {
        self.remove_meta("heartbeat")?;
        self.put_meta(SERVED_UNTIL, &at.to_rfc3339())
    }

    /// Forgets finished runs, slots, audit entries and settled messages from before `time`, at most `limit` of each so that nobody
    /// waits long; returns how many, and is to be called again until that is 0. Backups, alerts and what is unfinished stay.
    pub fn forget_before(&self, time: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sentences = [
            "DELETE FROM runs WHERE rowid IN (SELECT rowid FROM runs WHERE started_at < ?1 AND status <> 'running' LIMIT ?2)",
            "DELETE FROM slots WHERE (project, schedule, due_at) IN \
             (SELECT project, schedule, due_at FROM slots WHERE recorded_at < ?1 AND outcome <> 'claimed' LIMIT ?2)",
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ?1 LIMIT ?2)",
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE queued_at < ?1 AND state <> 'queued' LIMIT ?2)",
            "DELETE FROM pauses WHERE until < ?1",
        ];
        self.ask("forgetting old entries", |db| {
            let mut forgotten = 0;
            for sql in sentences {
                let mut statement = db.prepare_cached(sql)?;
                bind(&mut statement, "?1", &Time(time))?;
                bind(&mut statement, "?2", &limit)?;
                forgotten += statement.raw_execute()? as u64;
            }
            Ok(forgotten)
        })
    }
}
