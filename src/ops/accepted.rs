//! Which suspicious backups were accepted, and by whom: a person, or a row of alike ones that are the new habit. The audit log knows.
//!
//! Prune and notices ask; `backup` and `accept` write it down.

use chrono::{DateTime, Utc};

use crate::catalog::Reader;
use crate::error::Result;
use crate::manifest;
use crate::model::backup::{BackupRow, RunId};
use crate::storage::{Key, Storage, names};

use super::World;

/// Takes a suspicious backup's mark away: in a file beside it, which outlives the catalog, and in its row, which it returns as it is now.
/// `None` where the backup was removed meanwhile.
pub fn accept(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<Option<BackupRow>> {
    manifest::accept(storage, &row.project, &row.file)?;
    let accepted = world.catalog.write(|writer| writer.alter_backup(row, |now| now.suspicious = None))?;
    if accepted.is_none() {
        storage.delete(&Key { project: row.project.clone(), file: names::accepted_file(&row.file) })?;
    }
    Ok(accepted)
}

/// What the audit log says of those that a row of alike ones settled, with the run that made the last of them.
#[must_use]
pub fn by_itself(run: &RunId) -> String {
    format!("by itself: so many alike in a row, the last by run {run}")
}

/// The backups that this run's backup made the new habit, as alike ones before it, newest first.
pub fn settled_by(reader: &Reader, project: &str, run: &RunId) -> Result<Vec<BackupRow>> {
    let words = by_itself(run);
    let mut rows = Vec::new();
    for entry in reader.acceptances(project, None)?.iter().filter(|entry| entry.outcome == words) {
        rows.extend(reader.backups_by_file(&entry.subject)?.into_iter().filter(|row| row.project == project));
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.started_at));
    Ok(rows)
}

/// The one of these runs that has just made a row of alike backups the new habit, if one has. Nothing is pruned in the same job: whoever reads
/// the mail must be able to keep the last one from before.
pub fn settling<'a>(world: &World, project: &str, runs: &[&'a RunId]) -> Result<Option<&'a RunId>> {
    world.catalog.read(|reader| {
        for run in runs {
            if !settled_by(reader, project, run)?.is_empty() {
                return Ok(Some(*run));
            }
        }
        Ok(None)
    })
}

/// Who last accepted a backup like this one since then.
pub fn by_whom(reader: &Reader, like: &BackupRow, since: DateTime<Utc>) -> Result<Option<String>> {
    for entry in reader.acceptances(&like.project, Some(since))? {
        let mut accepted = reader.backups_by_file(&entry.subject)?.into_iter();
        let same = |row: BackupRow| row.project == like.project && row.database == like.database && row.selection == like.selection;
        if entry.outcome == BY_HAND && accepted.any(same) {
            return Ok(Some(entry.actor));
        }
    }
    Ok(None)
}

/// What the audit log says of those that a person accepted.
pub const BY_HAND: &str = "ok";
