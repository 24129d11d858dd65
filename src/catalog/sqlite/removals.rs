//! Removals under way: noted before the first file goes, forgotten after the last one went, so that a cut-off one is gone on with.

use rusqlite::params;

use super::value::Json;
use super::{Reader, Writer};
use crate::error::Result;
use crate::model::backup::BackupRow;

impl Reader {
    /// A project's removals that were begun and not ended.
    pub fn unfinished_removals(&self, project: &str) -> Result<Vec<BackupRow>> {
        self.ask("listing unfinished removals", |db| {
            let mut statement = db.prepare_cached("SELECT backup FROM removals WHERE project = ?1")?;
            statement.query_map([project], |row| row.get::<_, Json<_>>(0).map(|json| json.0))?.collect()
        })
    }
}

impl Reader {
    /// The projects with such removals.
    pub fn projects_with_removals(&self) -> Result<Vec<String>> {
        self.ask("listing projects with unfinished removals", |db| {
            db.prepare_cached("SELECT DISTINCT project FROM removals")?.query_map([], |row| row.get(0))?.collect()
        })
    }
}

impl Writer {
    /// Takes a backup out of the index and notes that its files are about to go.
    pub fn begin_removal(&self, backup: &BackupRow) -> Result<()> {
        let backup = &BackupRow { storage: self.storage_in_rows(&backup.storage)?, ..backup.clone() };
        self.remove_backup(&backup.storage, &backup.id)?;
        self.ask("noting a removal", |db| {
            let sql = "INSERT OR REPLACE INTO removals VALUES (?1, ?2, ?3, ?4)";
            db.prepare_cached(sql)?.execute(params![backup.id.as_str(), backup.storage, backup.project, Json(backup)]).map(drop)
        })
    }

    /// Notes that its files are gone.
    pub fn end_removal(&self, backup: &BackupRow) -> Result<()> {
        let storage = self.storage_in_rows(&backup.storage)?;
        self.ask("noting a removal's end", |db| {
            let sql = "DELETE FROM removals WHERE id = ?1 AND storage = ?2";
            db.prepare_cached(sql)?.execute(params![backup.id.as_str(), storage]).map(drop)
        })
    }
}
