//! The index of backups. The storages are the truth; what stands here can be rebuilt from them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, Statement, named_params, params};

use super::value::{Time, Word, bind, bind_page, collect, conditions, count, int};
use super::{Reader, Writer};
use crate::catalog::{BackupFilter, CheckAge, Page, ProjectTotals, RestoredBackup, Sort};
use crate::error::Result;
use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;

const COLUMNS: &str = "id, storage, project, database, content, selection, trigger, schedule, slot, started_at, finished_at, file, size, \
                       uncompressed_size, sha256, tables, rows, pinned, proof, proven_at, damaged, \
                       suspicious, checked_at, restored_at, restore_ms, system_identifier, server, makes_database";

impl Reader {
    /// The backup of that id, in whichever storage.
    pub fn backup(&self, id: &RunId) -> Result<Option<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE id = ?1");
        self.ask("reading a backup", |db| db.prepare_cached(&sql)?.query_row([id.as_str()], backup).optional())
    }

    /// A backup's row as it stands now; `None` where its storage has it no more, by the index.
    pub fn backup_now(&self, row: &BackupRow) -> Result<Option<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE id = ?1 AND storage = ?2");
        let storage = self.storage_in_rows(&row.storage)?;
        self.ask("reading a backup", |db| db.prepare_cached(&sql)?.query_row(params![row.id.as_str(), storage], backup).optional())
    }

    /// Backups whose id begins so, at most `limit`: more than one means that the prefix is too short.
    pub fn backups_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE id >= ?1 AND id < ?1 || char(1114111) ORDER BY id LIMIT ?2");
        self.ask("finding a backup by its id", |db| db.prepare_cached(&sql)?.query_map(params![prefix, limit], backup)?.collect())
    }

    /// Backups with this file name, in whichever project.
    pub fn backups_by_file(&self, file: &str) -> Result<Vec<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE file = ?1 ORDER BY started_at DESC");
        self.ask("finding a backup by its file", |db| db.prepare_cached(&sql)?.query_map([file], backup)?.collect())
    }

    /// The newest backup that matches; one that is dated in the future, by a clock that was wrong, only where there is no other.
    pub fn latest_backup(&self, filter: &BackupFilter) -> Result<Option<BackupRow>> {
        let now = self.clock.now();
        let believable = BackupFilter { until: Some(filter.until.map_or(now, |until| until.min(now))), ..filter.clone() };
        match self.backups(&believable, Sort::Date, Page::first(1))?.pop() {
            Some(found) => Ok(Some(found)),
            None => Ok(self.backups(filter, Sort::Date, Page::first(1))?.pop()),
        }
    }

    /// How many backups of each project are dated in the future, where there are any.
    pub fn dated_ahead(&self) -> Result<HashMap<String, u64>> {
        let sql = "SELECT project, count(*) FROM backups WHERE started_at > ?1 GROUP BY project";
        self.ask("counting backups of the future", |db| {
            let entry = |row: &Row<'_>| Ok((row.get(0)?, count(row.get(1)?)));
            db.prepare_cached(sql)?.query_map([Time(self.clock.now())], entry)?.collect()
        })
    }

    /// Backups, newest or largest first.
    pub fn backups(&self, filter: &BackupFilter, sort: Sort, page: Page) -> Result<Vec<BackupRow>> {
        let order = match sort {
            Sort::Date => "started_at",
            Sort::Size => "size",
        };
        let sql = format!("SELECT {COLUMNS} FROM backups {} ORDER BY {order} DESC, rowid DESC LIMIT :limit OFFSET :offset", asked(filter));
        self.ask("listing backups", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind_filter(&mut statement, filter)?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, backup)
        })
    }

    /// How many backups match.
    pub fn count_backups(&self, filter: &BackupFilter) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM backups {}", asked(filter));
        self.ask("counting backups", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind_filter(&mut statement, filter)?;
            Ok(collect(&mut statement, |row| row.get(0))?.pop().map_or(0, count))
        })
    }

    /// All backups of a project, newest first.
    pub fn project_backups(&self, project: &str) -> Result<Vec<BackupRow>> {
        // In the order of an index, without a limit: SQLite sorts nothing, which halves the time of thousands of plans.
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE project = ?1 ORDER BY started_at DESC");
        self.ask("listing a project's backups", |db| db.prepare_cached(&sql)?.query_map([project], backup)?.collect())
    }

    /// How long each project's backups have gone without a look.
    pub fn check_ages(&self) -> Result<Vec<CheckAge>> {
        let sql = "SELECT project, count(*), min(coalesce(checked_at, finished_at)), max(checked_at) FROM backups GROUP BY project";
        self.ask("asking when backups were looked at", |db| {
            let age = |row: &Row<'_>| {
                Ok(CheckAge {
                    project: row.get(0)?,
                    backups: count(row.get(1)?),
                    oldest: row.get::<_, Time>(2)?.0,
                    newest: row.get::<_, Option<Time>>(3)?.map(|time| time.0),
                })
            };
            db.prepare_cached(sql)?.query_map([], age)?.collect()
        })
    }

    /// The backup of a project that nobody has looked at for longest.
    pub fn longest_unchecked(&self, project: &str) -> Result<Option<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE project = ?1 ORDER BY coalesce(checked_at, finished_at), id LIMIT 1");
        self.ask("asking for the longest unchecked backup", |db| db.prepare_cached(&sql)?.query_row([project], backup).optional())
    }

    /// Of each database of each project the backup that was last restored with success.
    pub fn restored_backups(&self) -> Result<Vec<RestoredBackup>> {
        // SQLite takes the bare columns from the row of the maximum.
        let sql = "SELECT id, project, database, max(restored_at), restore_ms FROM backups WHERE restored_at IS NOT NULL \
                   GROUP BY project, database";
        self.ask("asking what was restored", |db| {
            let entry = |row: &Row<'_>| {
                let took = row.get::<_, Option<i64>>(4)?.map(count);
                let (backup, at) = (RunId(row.get(0)?), row.get::<_, Time>(3)?.0);
                Ok(RestoredBackup { backup, project: row.get(1)?, database: row.get(2)?, at, took_ms: took })
            };
            db.prepare_cached(sql)?.query_map([], entry)?.collect()
        })
    }

    /// Every backup that counts as damaged.
    pub fn damaged_backups(&self) -> Result<Vec<BackupRow>> {
        let sql = format!("SELECT {COLUMNS} FROM backups WHERE damaged IS NOT NULL ORDER BY started_at DESC");
        self.ask("listing damaged backups", |db| db.prepare_cached(&sql)?.query_map([], backup)?.collect())
    }

    /// The projects that have a suspicious backup which nobody has accepted.
    pub fn doubted_projects(&self) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT project FROM backups WHERE suspicious IS NOT NULL ORDER BY project";
        self.ask("looking for suspicious backups", |db| db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect())
    }

    /// The projects that have backups of more than one server, by what is known of them.
    pub fn divided_projects(&self) -> Result<Vec<String>> {
        let sql = "SELECT project FROM backups WHERE system_identifier IS NOT NULL GROUP BY project \
                   HAVING min(system_identifier) <> max(system_identifier)";
        self.ask("looking for backups of several servers", |db| db.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect())
    }

    /// When the newest good full backup was started, for every (project, database), or those of one project; one that is dated in the
    /// future counts only where there is no other.
    pub fn last_good_full(&self, only: Option<&str>) -> Result<HashMap<(String, String), DateTime<Utc>>> {
        let of_one = if only.is_some() { "AND project = ?2" } else { "AND ?2 IS NULL" };
        let sql = format!(
            "SELECT project, database, coalesce(max(CASE WHEN started_at <= ?1 THEN started_at END), max(started_at)) FROM backups \
             WHERE selection = 'full' AND damaged IS NULL {of_one} GROUP BY project, database"
        );
        self.ask("reading the newest backups", |db| {
            let entry = |row: &Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get::<_, Time>(2)?.0));
            db.prepare_cached(&sql)?.query_map(params![Time(self.clock.now()), only], entry)?.collect()
        })
    }

    /// The same for one selection of one project, by database.
    pub fn last_good_of(&self, project: &str, selection: &Selection) -> Result<HashMap<String, DateTime<Utc>>> {
        let sql = "SELECT database, coalesce(max(CASE WHEN started_at <= ?1 THEN started_at END), max(started_at)) FROM backups \
                   WHERE project = ?2 AND selection = ?3 AND damaged IS NULL GROUP BY database";
        self.ask("reading the newest backups of a selection", |db| {
            let entry = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Time>(1)?.0));
            db.prepare_cached(sql)?.query_map(params![Time(self.clock.now()), project, selection.0], entry)?.collect()
        })
    }

    /// What each project's backups come to, by name.
    pub fn totals(&self) -> Result<Vec<ProjectTotals>> {
        let sql = "SELECT project, count(*), sum(size), max(started_at) FROM backups GROUP BY project ORDER BY project";
        self.ask("adding up backups", |db| {
            let totals = |row: &Row<'_>| {
                Ok(ProjectTotals {
                    project: row.get(0)?,
                    backups: count(row.get(1)?),
                    size: count(row.get(2)?),
                    newest: row.get::<_, Time>(3)?.0,
                })
            };
            db.prepare_cached(sql)?.query_map([], totals)?.collect()
        })
    }

    /// Why the catalog was made anew, as long as the storages have not been indexed again.
    pub fn rebuilt_because(&self) -> Result<Option<String>> {
        self.meta("rebuilt_because")
    }
}

impl Writer {
    /// Adds a backup to the index, or brings its row up to date.
    pub fn put_backup(&self, row: &BackupRow) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO backups VALUES (:id, :storage, :project, :database, :content, :selection, :trigger, :schedule, \
                   :slot, :started_at, :finished_at, :file, :size, :uncompressed_size, :sha256, :tables, :rows, :pinned, :proof, \
                   :proven_at, :damaged, :suspicious, :checked_at, :restored_at, :restore_ms, \
                   :system_identifier, :server, :makes_database)";
        let storage = self.storage_in_rows(&row.storage)?;
        self.ask("indexing a backup", |db| {
            db.prepare_cached(sql)?
                .execute(named_params! {
                    ":id": row.id.as_str(), ":storage": storage, ":project": row.project, ":database": row.database,
                    ":content": Word(row.content), ":selection": row.selection.0, ":trigger": Word(row.trigger),
                    ":schedule": row.schedule, ":slot": row.slot.map(Time), ":started_at": Time(row.started_at),
                    ":finished_at": Time(row.finished_at), ":file": row.file, ":size": int(row.size),
                    ":uncompressed_size": int(row.uncompressed_size), ":sha256": row.sha256, ":tables": int(row.tables),
                    ":rows": row.rows.map(int), ":pinned": row.pinned, ":proof": Word(row.proof), ":proven_at": Time(row.proven_at),
                    ":damaged": row.damaged, ":suspicious": row.suspicious, ":checked_at": row.checked_at.map(Time),
                    ":restored_at": row.restored_at.map(Time), ":restore_ms": row.restore_ms.map(int),
                    ":system_identifier": row.system_identifier, ":server": row.server, ":makes_database": row.makes_database,
                })
                .map(drop)
        })
    }

    /// Changes a backup's row as it stands now, and returns it: whoever has read it before can't know what has happened since. `None` where
    /// it is in the index no more.
    pub fn alter_backup(&self, row: &BackupRow, alter: impl FnOnce(&mut BackupRow)) -> Result<Option<BackupRow>> {
        let Some(mut now) = self.backup_now(row)? else { return Ok(None) };
        alter(&mut now);
        self.put_backup(&now).map(|()| Some(now))
    }

    /// Takes a backup out of the index.
    pub fn remove_backup(&self, storage: &str, id: &RunId) -> Result<()> {
        let storage = self.storage_in_rows(storage)?;
        self.ask("removing a backup from the index", |db| {
            db.prepare_cached("DELETE FROM backups WHERE storage = ?1 AND id = ?2")?.execute(params![storage, id.as_str()]).map(drop)
        })
    }

    /// Puts what was found in a storage in place of everything the index has of it.
    pub fn replace_storage(&self, storage: &str, rows: &[BackupRow]) -> Result<()> {
        self.ask("clearing the index of a storage", |db| db.execute("DELETE FROM backups WHERE storage = ?1", [storage]).map(drop))?;
        rows.iter().try_for_each(|row| self.put_backup(row))
    }

    /// Brings the index of one project in a storage up to what was `found` there. `before` is what the index held when the look began: a row
    /// that has changed since is newer than the look and stays as it is, and so does the absence of one that is being removed. Returns the rows
    /// whose backups were not found any more.
    pub fn merge_project(&self, storage: &str, project: &str, before: &[BackupRow], found: &[BackupRow]) -> Result<Vec<BackupRow>> {
        // Where the name was changed since that look, what it saw says nothing of the rows of now.
        let storage = &self.storage_in_rows(storage)?;
        let ours = |row: &&BackupRow| row.storage == *storage;
        let now = self.project_backups(project)?;
        let removals = self.unfinished_removals(project)?;
        let by_id = |rows: &'_ [BackupRow]| -> HashMap<RunId, BackupRow> {
            rows.iter().filter(ours).map(|row| (row.id.clone(), row.clone())).collect()
        };
        let (before, now, found) = (by_id(before), by_id(&now), by_id(found));
        let leaving = |id: &RunId| removals.iter().any(|row| row.storage == *storage && row.id == *id);
        let unchanged = |id: &RunId| before.get(id) == now.get(id) && !leaving(id);
        for row in found.values().filter(|row| unchanged(&row.id) && now.get(&row.id) != Some(row)) {
            self.put_backup(row)?;
        }
        let gone: Vec<BackupRow> = now.values().filter(|row| unchanged(&row.id) && !found.contains_key(&row.id)).cloned().collect();
        gone.iter().try_for_each(|row| self.remove_backup(storage, &row.id).map(drop))?;
        Ok(gone)
    }

    /// Records that the storages have been indexed again.
    pub fn reindexed(&self) -> Result<()> {
        self.remove_meta("rebuilt_because")
    }
}

fn asked(filter: &BackupFilter) -> String {
    conditions(&[
        ("storage = :storage", filter.storage.is_some()),
        ("project = :project", filter.project.is_some()),
        ("database = :database", filter.database.is_some()),
        ("content = :content", filter.content.is_some()),
        ("selection = :selection", filter.selection.is_some()),
        ("started_at <= :until", filter.until.is_some()),
        ("damaged IS NULL", filter.undamaged),
        ("suspicious IS NULL", filter.normal),
    ])
}

fn bind_filter(statement: &mut Statement<'_>, filter: &BackupFilter) -> rusqlite::Result<()> {
    bind(statement, ":storage", &filter.storage)?;
    bind(statement, ":project", &filter.project)?;
    bind(statement, ":database", &filter.database)?;
    bind(statement, ":content", &filter.content.map(Word))?;
    bind(statement, ":until", &filter.until.map(Time))?;
    bind(statement, ":selection", &filter.selection.as_ref().map(|selection| &selection.0))
}

fn backup(row: &Row<'_>) -> rusqlite::Result<BackupRow> {
    Ok(BackupRow {
        id: RunId(row.get(0)?),
        storage: row.get(1)?,
        project: row.get(2)?,
        database: row.get(3)?,
        content: row.get::<_, Word<_>>(4)?.0,
        selection: Selection(row.get(5)?),
        trigger: row.get::<_, Word<_>>(6)?.0,
        schedule: row.get(7)?,
        slot: row.get::<_, Option<Time>>(8)?.map(|time| time.0),
        started_at: row.get::<_, Time>(9)?.0,
        finished_at: row.get::<_, Time>(10)?.0,
        file: row.get(11)?,
        size: count(row.get(12)?),
        uncompressed_size: count(row.get(13)?),
        sha256: row.get(14)?,
        tables: count(row.get(15)?),
        rows: row.get::<_, Option<i64>>(16)?.map(count),
        pinned: row.get(17)?,
        proof: row.get::<_, Word<_>>(18)?.0,
        proven_at: row.get::<_, Time>(19)?.0,
        damaged: row.get(20)?,
        suspicious: row.get(21)?,
        checked_at: row.get::<_, Option<Time>>(22)?.map(|time| time.0),
        restored_at: row.get::<_, Option<Time>>(23)?.map(|time| time.0),
        restore_ms: row.get::<_, Option<i64>>(24)?.map(count),
        system_identifier: row.get(25)?,
        server: row.get(26)?,
        makes_database: row.get(27)?,
    })
}
