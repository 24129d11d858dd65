//! The tables, in versions: `PRAGMA user_version` counts the steps that were taken. A step that was released never changes.

use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA application_id`: "pgdd".
pub(super) const APPLICATION: i32 = 0x7067_6464;

/// What opening a catalog's tables came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prepared {
    /// They were there.
    Ready,
    /// There were none; they have been made.
    Made,
    /// They are of a later version, this one.
    TooNew(u32),
    /// They are another program's.
    Foreign,
}

/// Brings the tables up to date in one transaction.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<Prepared> {
    let version = |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0));
    let newest = STEPS.len() as u32;
    if version(connection)? == newest && application(connection)? == APPLICATION {
        // Reads the schema, so that a damaged one is noticed now.
        connection.query_row("SELECT count(*) FROM meta WHERE key = ''", [], |_| Ok(()))?;
        return Ok(Prepared::Ready);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    let tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application(&transaction)? != APPLICATION && tables > 0 {
        return Ok(Prepared::Foreign);
    }
    if done > newest {
        return Ok(Prepared::TooNew(done));
    }
    for step in &STEPS[done as usize..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()?;
    Ok(if done == 0 { Prepared::Made } else { Prepared::Ready })
}

fn application(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA application_id", [], |row| row.get(0))
}

/// Times are microseconds since 1970 in UTC; enums are the words that JSON has for them.
const STEPS: &[&str] = &["
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE runs (
    id TEXT NOT NULL UNIQUE, project TEXT NOT NULL, database TEXT NOT NULL, content TEXT NOT NULL, selection TEXT NOT NULL,
    trigger TEXT NOT NULL, schedule TEXT, slot INTEGER, started_at INTEGER NOT NULL, finished_at INTEGER, status TEXT NOT NULL,
    attempts INTEGER NOT NULL, failure TEXT, size INTEGER, rows INTEGER,
    stage TEXT, owner TEXT, child TEXT
);
CREATE INDEX runs_by_time ON runs (started_at);
CREATE INDEX runs_by_project ON runs (project, started_at);
CREATE INDEX runs_by_selection ON runs (project, database, selection, started_at);
CREATE INDEX runs_by_status ON runs (status, started_at);
CREATE TABLE staged (run TEXT PRIMARY KEY, manifest TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE untold (run TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE slots (
    project TEXT NOT NULL, schedule TEXT NOT NULL, due_at INTEGER NOT NULL, until INTEGER, count INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (project, schedule, due_at)
) WITHOUT ROWID;
CREATE INDEX slots_by_time ON slots (due_at);
CREATE INDEX slots_by_outcome ON slots (outcome, due_at);
CREATE INDEX slots_by_record ON slots (recorded_at);
CREATE TABLE last_due (
    project TEXT NOT NULL, schedule TEXT NOT NULL, due_at INTEGER NOT NULL,
    PRIMARY KEY (project, schedule)
) WITHOUT ROWID;

CREATE TABLE backups (
    id TEXT NOT NULL, storage TEXT NOT NULL, project TEXT NOT NULL, database TEXT NOT NULL, content TEXT NOT NULL,
    selection TEXT NOT NULL, trigger TEXT NOT NULL, schedule TEXT, slot INTEGER, started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, uncompressed_size INTEGER NOT NULL,
    sha256 TEXT NOT NULL, tables INTEGER NOT NULL, rows INTEGER, pinned INTEGER NOT NULL, proof TEXT NOT NULL,
    proven_at INTEGER NOT NULL, damaged TEXT,
    UNIQUE (id, storage)
);
CREATE INDEX backups_by_time ON backups (started_at);
CREATE INDEX backups_by_size ON backups (size);
CREATE INDEX backups_by_content ON backups (content, started_at);
CREATE INDEX backups_by_content_size ON backups (content, size);
CREATE INDEX backups_by_project ON backups (project, started_at, size);
CREATE INDEX backups_by_database ON backups (project, database, started_at);
CREATE INDEX backups_by_file ON backups (file);
CREATE INDEX backups_good_full ON backups (project, database, started_at) WHERE selection = 'full' AND damaged IS NULL;

CREATE TABLE removals (id TEXT NOT NULL, storage TEXT NOT NULL, project TEXT NOT NULL, backup TEXT NOT NULL, PRIMARY KEY (id, storage)) WITHOUT ROWID;

CREATE TABLE alerts (
    project TEXT NOT NULL, database TEXT NOT NULL, selection TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (project, database, selection)
) WITHOUT ROWID;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT NOT NULL, queued_at INTEGER NOT NULL, next_try INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, error TEXT, state TEXT NOT NULL DEFAULT 'queued'
);
CREATE INDEX outbox_by_state ON outbox (state, next_try);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, project TEXT,
    subject TEXT NOT NULL, outcome TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);

CREATE TABLE pauses (project TEXT PRIMARY KEY, since INTEGER NOT NULL, until INTEGER, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE projects (name TEXT PRIMARY KEY, first_seen INTEGER NOT NULL, removed_at INTEGER) WITHOUT ROWID;
", "
ALTER TABLE last_due ADD COLUMN timing TEXT;
", "
ALTER TABLE backups ADD COLUMN suspicious TEXT;
CREATE INDEX backups_suspicious ON backups (project) WHERE suspicious IS NOT NULL;
ALTER TABLE backups ADD COLUMN checked_at INTEGER;
ALTER TABLE backups ADD COLUMN restored_at INTEGER;
ALTER TABLE backups ADD COLUMN restore_ms INTEGER;
", "
CREATE INDEX backups_damaged ON backups (started_at) WHERE damaged IS NOT NULL;
CREATE INDEX backups_restored ON backups (project) WHERE restored_at IS NOT NULL;
", "
ALTER TABLE staged ADD COLUMN storage TEXT;
", "
ALTER TABLE backups ADD COLUMN system_identifier TEXT;
ALTER TABLE backups ADD COLUMN server TEXT;
ALTER TABLE backups ADD COLUMN makes_database INTEGER NOT NULL DEFAULT 0;
CREATE INDEX backups_by_server ON backups (project, system_identifier) WHERE system_identifier IS NOT NULL;
", "
ALTER TABLE outbox ADD COLUMN lent INTEGER;
", "
CREATE TABLE waits (project TEXT NOT NULL, what TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (project, what)) WITHOUT ROWID;
", "
ALTER TABLE last_due ADD COLUMN since INTEGER;
"];
