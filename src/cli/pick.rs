//! How a backup is named on the command line: its id (or the beginning of it), its file, `PROJECT@latest`, or `latest`.

use std::sync::Arc;

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest};
use crate::model::dump::Selection;
use crate::model::settings::Settings;
use crate::ops::World;
use crate::storage::Storage;

use super::{Common, world};

/// As many candidates as are named where a name is ambiguous.
const AMBIGUOUS: u32 = 5;

/// The backup that is meant. `latest` is the newest undamaged one of what the project usually holds (of whole databases, unless it is
/// configured to hold less): a schema-only or ad-hoc backup is never taken for it.
pub(super) fn backup(world: &World, settings: &Settings, name: &str) -> Result<BackupRow> {
    let found = if name == "latest" {
        latest(world, Selection::full(), None, None)?
    } else if let Some((project, "latest")) = name.rsplit_once('@') {
        let (project, database) = project.split_once('/').map_or((project, None), |(project, database)| (project, Some(database)));
        let usual = settings.project(project).map_or_else(Selection::full, |project| project.shape.selection());
        latest(world, usual, Some(project), database)?
    } else {
        one(world, name)?
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("there is no backup {name:?}"))
            .hint("`pgdumpd list` shows their ids; a file name, PROJECT@latest, PROJECT/DATABASE@latest or latest will do as well")
    })
}

/// The storage and the manifest of the backup that is meant.
pub(super) fn opened(common: &Common, name: &str) -> Result<(Arc<dyn Storage>, Manifest)> {
    let settings = world::settings(common)?;
    let world = world::open(common, &settings)?;
    let row = backup(&world, &settings, name)?;
    of_row(&world, &row)
}

/// The storage and the manifest of a backup.
pub(super) fn of_row(world: &World, row: &BackupRow) -> Result<(Arc<dyn Storage>, Manifest)> {
    let storage = world.storages.get(&row.storage).ok_or_else(|| super::show::missing_storage(&row.storage))?;
    let manifest = manifest::read(storage.as_ref(), &manifest::key(&row.project, &row.file))?;
    Ok((Arc::clone(storage), manifest))
}

fn latest(world: &World, selection: Selection, project: Option<&str>, database: Option<&str>) -> Result<Option<BackupRow>> {
    let filter = BackupFilter {
        project: project.map(str::to_owned),
        database: database.map(str::to_owned),
        selection: Some(selection),
        undamaged: true,
        ..BackupFilter::default()
    };
    world.catalog.read(|reader| reader.latest_backup(&filter))
}

fn one(world: &World, name: &str) -> Result<Option<BackupRow>> {
    let mut matches = world.catalog.read(|reader| {
        let by_file = reader.backups_by_file(name)?;
        if by_file.is_empty() { reader.backups_by_prefix(name, AMBIGUOUS) } else { Ok(by_file) }
    })?;
    if matches.len() > 1 {
        let ids: Vec<String> = matches.iter().map(|row| format!("{} ({}/{})", row.id, row.project, row.database)).collect();
        let more = if matches.len() == AMBIGUOUS as usize { " or more" } else { "" };
        return Err(Failure::new(Cause::NotFound, format!("{name:?} could be any of {}{more} backups", matches.len())).hint(ids.join(", ")));
    }
    Ok(matches.pop())
}
