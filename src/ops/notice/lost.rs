//! Backups that are gone from their storage, though nothing of pgdumpd removed them: told once.

use std::collections::BTreeMap;

use crate::alert::{AlertKey, Status};
use crate::catalog::Reader;
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::dump::Selection;
use crate::notify::letter::{Letter, Lost, Missing};
use crate::storage::Key;

use super::super::{World, lost, origin};
use super::{Desk, facts, known, proofs, queue, waiting};

/// Turns the note of lost backups into mail, one a project; returns the number of mails queued.
pub fn lost(world: &World, desk: &Desk<'_>) -> Result<usize> {
    if world.catalog.read(lost::recall)?.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut projects: BTreeMap<String, Vec<BackupRow>> = BTreeMap::new();
        for row in lost::recall(tx)? {
            // Found again meanwhile, it isn't lost; and what a verification has told of already isn't told anew.
            if tx.backup(&row.id)?.is_none() && !told(tx, &row)? {
                projects.entry(row.project.clone()).or_default().push(row);
            }
        }
        let mut letters = Vec::new();
        for (name, rows) in projects {
            tracing::error!(project = name, backups = rows.len(), "backups are gone from their storage, and pgdumpd did not remove them");
            // A project that is no longer configured has nobody to be told.
            let Some(project) = desk.settings.project(&name) else { continue };
            let letter = Letter::Lost(Lost { about: facts::about(world, desk, project, now), missing: missing(world, tx, &rows)? });
            letters.push(waiting(desk, project, facts::Due { letter, thread: None, begins: Vec::new() }, now));
        }
        lost::forget(tx)?;
        queue(tx, letters, now)
    })
}

/// Whether somebody was told of this very backup that a file of it is gone.
fn told(tx: &Reader, row: &BackupRow) -> Result<bool> {
    let alert = known(tx, &AlertKey::backup(&row.project, &row.database, &row.id))?;
    Ok(alert.is_some_and(|alert| alert.status != Status::Ok && proofs::is_of_a_missing_file(&alert)))
}

/// Where a dump lies whose manifest alone is gone; a storage that can't be asked is told by those who need it.
fn bare(world: &World, row: &BackupRow) -> Option<String> {
    let storage = world.storages.get(&row.storage)?;
    let there = storage.size(&Key { project: row.project.clone(), file: row.file.clone() }).ok()??;
    (there == row.size).then(|| facts::below_root(&row.project, &row.file))
}

fn missing(world: &World, tx: &Reader, rows: &[BackupRow]) -> Result<Vec<Missing>> {
    let mut groups: BTreeMap<(&str, &Selection), Vec<BackupRow>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.database, &row.selection)).or_default().push(row.clone());
    }
    let mut missing = Vec::new();
    for ((database, selection), rows) in groups {
        // Another server's backup is nothing to fall back on.
        for line in origin::by_line(tx, rows)? {
            let Some(newest) = line.iter().max_by_key(|row| row.started_at) else { continue };
            let times = line.iter().map(|row| row.started_at);
            missing.push(Missing {
                database: database.to_owned(),
                selection: selection.to_string(),
                count: line.len(),
                range: times.clone().min().zip(times.max()),
                left: origin::instead_of(tx, newest, world.clock.now())?.map(facts::last_good),
                bare: line.iter().filter_map(|row| bare(world, row)).collect(),
            });
        }
    }
    Ok(missing)
}
