//! The newest good backup of each database of each project, of what counts in it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::alert::Alert;
use crate::catalog::{BackupFilter, Reader, RestoredBackup};
use crate::error::Result;
use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;
use crate::model::project::Project;
use crate::model::settings::Settings;

use super::super::origin;

/// These, by database, and for each that is suspicious the newest that isn't, by the id of the other.
pub(super) fn look(reader: &Reader, settings: &Settings) -> Result<(Vec<BackupRow>, HashMap<RunId, BackupRow>)> {
    let (mut good, mut normal) = (Vec::new(), HashMap::new());
    for (project, database, selection) in counted(reader, settings)? {
        let filter = BackupFilter {
            project: Some(project),
            database: Some(database),
            selection: Some(selection),
            undamaged: true,
            ..BackupFilter::default()
        };
        let Some(newest) = origin::own_newest(reader, &filter)? else { continue };
        if newest.suspicious.is_some() {
            let before = origin::own_newest(reader, &BackupFilter { normal: true, ..filter })?;
            normal.extend(before.map(|before| (newest.id.clone(), before)));
        }
        good.push(newest);
    }
    good.sort_by(|one, two| (&one.database, &one.selection).cmp(&(&two.database, &two.selection)));
    Ok((good, normal))
}

/// Every project, database and selection with such a backup.
fn counted(reader: &Reader, settings: &Settings) -> Result<Vec<(String, String, Selection)>> {
    let mut found = Vec::new();
    let mut by_parts = BTreeSet::new();
    for project in &settings.projects {
        for selection in project.counted().into_iter().filter(|selection| !selection.is_full()) {
            by_parts.insert(project.name.as_str());
            let databases = reader.last_good_of(&project.name, &selection)?.into_keys();
            found.extend(databases.map(|database| (project.name.clone(), database, selection.clone())));
        }
    }
    let full = reader.last_good_full(None)?.into_keys().filter(|(project, _)| !by_parts.contains(project.as_str()));
    found.extend(full.map(|(project, database)| (project, database, Selection::full())));
    Ok(found)
}

/// When the projects were first tried that have neither a good backup nor any alert: all that they have are runs that somebody ended.
pub(super) fn first_tried(
    reader: &Reader,
    settings: &Settings,
    alerts: &[Alert],
    good: &[BackupRow],
) -> Result<HashMap<String, DateTime<Utc>>> {
    let with_more: HashSet<&str> =
        alerts.iter().map(|alert| alert.key.project.as_str()).chain(good.iter().map(|row| row.project.as_str())).collect();
    let mut found = HashMap::new();
    let is_bare = |project: &&Arc<Project>| project.max_backup_age.is_some() && !with_more.contains(project.name.as_str());
    for project in settings.projects.iter().filter(is_bare) {
        found.extend(reader.first_tried(&project.name)?.map(|at| (project.name.clone(), at)));
    }
    Ok(found)
}

/// The database whose last restore is longest ago, and those that never were; where no full backups are made, the last restore of any.
pub(super) fn restored(all: &[RestoredBackup], last_good: &[BackupRow]) -> (Option<RestoredBackup>, Vec<String>) {
    let of = |row: &BackupRow| all.iter().find(|one| one.database == row.database);
    let mut never: Vec<String> = last_good.iter().filter(|row| of(row).is_none()).map(|row| row.database.clone()).collect();
    never.dedup();
    let found = match (last_good.is_empty(), never.is_empty()) {
        (true, _) => all.iter().max_by_key(|one| one.at),
        (false, true) => last_good.iter().filter_map(of).min_by_key(|one| one.at),
        (false, false) => None,
    };
    (found.cloned(), never)
}
