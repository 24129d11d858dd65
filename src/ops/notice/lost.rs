//! Backups that are gone from their storage, though nothing of pgdumpd removed them: told once.

use std::collections::BTreeMap;

use crate::catalog::{BackupFilter, Reader};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::dump::Selection;
use crate::notify::letter::{LastGood, Letter, Lost, Missing};

use super::super::World;
use super::super::lost;
use super::{Desk, facts, queue, waiting};

/// Turns the note of lost backups into mail, one a project; returns the number of mails queued.
pub fn lost(world: &World, desk: &Desk<'_>) -> Result<usize> {
    if world.catalog.read(lost::recall)?.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut projects: BTreeMap<String, Vec<BackupRow>> = BTreeMap::new();
        for row in lost::recall(tx)? {
            // Found again meanwhile, it isn't lost.
            if tx.backup(&row.id)?.is_none() {
                projects.entry(row.project.clone()).or_default().push(row);
            }
        }
        let mut letters = Vec::new();
        for (name, rows) in projects {
            tracing::error!(project = name, backups = rows.len(), "backups are gone from their storage, and pgdumpd did not remove them");
            // A project that is no longer configured has nobody to be told.
            let Some(project) = desk.settings.project(&name) else { continue };
            let letter = Letter::Lost(Lost { about: facts::about(world, desk, project, now), missing: missing(tx, &name, &rows)? });
            letters.push(waiting(desk, project, facts::Due { letter, thread: None, begins: Vec::new() }, now));
        }
        lost::forget(tx)?;
        queue(tx, letters, now)
    })
}

fn missing(tx: &Reader, project: &str, rows: &[BackupRow]) -> Result<Vec<Missing>> {
    let mut groups: BTreeMap<(&str, &Selection), Vec<&BackupRow>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.database, &row.selection)).or_default().push(row);
    }
    let mut missing = Vec::new();
    for ((database, selection), rows) in groups {
        let times = rows.iter().map(|row| row.started_at);
        missing.push(Missing {
            database: database.to_owned(),
            selection: selection.to_string(),
            count: rows.len(),
            range: times.clone().min().zip(times.max()),
            left: newest(tx, project, database, selection)?,
        });
    }
    Ok(missing)
}

fn newest(tx: &Reader, project: &str, database: &str, selection: &Selection) -> Result<Option<LastGood>> {
    let filter = BackupFilter {
        project: Some(project.to_owned()),
        database: Some(database.to_owned()),
        selection: Some(selection.clone()),
        undamaged: true,
        ..BackupFilter::default()
    };
    Ok(tx.latest_backup(&filter)?.map(facts::last_good))
}
