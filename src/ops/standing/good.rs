//! The newest good backup of each database of each project, of what counts in it.

use std::collections::{BTreeSet, HashMap};

use crate::catalog::{BackupFilter, Reader};
use crate::error::Result;
use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;
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
