//! How a backup is named on the command line: its id (or the beginning of it), its file, `PROJECT@latest`, `PROJECT@TIME`, or `latest`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest};
use crate::model::dump::Selection;
use crate::model::settings::Settings;
use crate::ops::{World, there};
use crate::storage::Storage;

use super::{Common, plan, world};

/// As many candidates as are named where a name is ambiguous.
const AMBIGUOUS: u32 = 5;

/// The backup that is meant. `latest` is the newest undamaged one of what the project usually holds (of whole databases, unless it is
/// configured to hold less): a schema-only or ad-hoc backup is never taken for it.
///
/// `PROJECT@TIME` is the newest such one that was started at that time or before, in the project's zone; a date means the end of that day.
pub(super) fn backup(world: &World, settings: &Settings, name: &str) -> Result<BackupRow> {
    let found = if name == "latest" {
        latest(world, Selection::full(), None, None)?
    } else if let Some((place, moment)) = name.rsplit_once('@').filter(|(place, _)| !place.is_empty()) {
        let (project, database) = place.split_once('/').map_or((place, None), |(project, database)| (project, Some(database)));
        let configured = settings.project(project);
        let usual = configured.map_or_else(Selection::full, |project| project.shape.selection());
        let zone = configured.map_or(settings.daemon.time_zone, |project| project.time_zone);
        let until = if moment == "latest" { None } else { Some(time(moment, zone)?) };
        match database {
            Some(_) => latest(world, usual, Some((project, database)), until)?,
            None => of_project(world, settings, project, &usual, until)?,
        }
    } else {
        one(world, name)?
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("there is no backup {name:?}")).hint(
            "`pgdumpd list` shows their ids; a file name, PROJECT@latest, PROJECT/DATABASE@latest, PROJECT@TIME or latest will do as well",
        )
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

fn time(text: &str, zone: Tz) -> Result<DateTime<Utc>> {
    let begin = plan::time(&text.replacen('T', " ", 1), zone).or_else(|_| plan::time(text, zone))?;
    let is_date = text.len() == "2026-11-21".len();
    Ok(if is_date { begin + TimeDelta::days(1) - TimeDelta::microseconds(1) } else { begin })
}

/// The newest of a project: of the databases that it is configured to back up, where there is one. A backup of another (of a target that was
/// about to be overwritten, of a database that is gone) isn't what its name stands for.
fn of_project(
    world: &World,
    settings: &Settings,
    project: &str,
    selection: &Selection,
    until: Option<DateTime<Utc>>,
) -> Result<Option<BackupRow>> {
    let mut rows = world.catalog.read(|reader| reader.project_backups(project))?;
    rows.retain(|row| row.selection == *selection && row.damaged.is_none() && until.is_none_or(|until| row.started_at <= until));
    Ok(own_databases(world, settings, project, rows)?.into_iter().next())
}

/// Those of the databases that the project is configured to back up; all of them where that leaves none.
pub(super) fn own_databases(world: &World, settings: &Settings, project: &str, rows: Vec<BackupRow>) -> Result<Vec<BackupRow>> {
    let Some(configured) = settings.project(project) else { return Ok(rows) };
    let there = world.catalog.read(|reader| there::recall(reader, project))?;
    let is_own = |row: &BackupRow| there::database(configured, there.as_ref(), &row.database).is_none();
    Ok(if rows.iter().any(is_own) { rows.into_iter().filter(is_own).collect() } else { rows })
}

fn latest(
    world: &World,
    selection: Selection,
    of: Option<(&str, Option<&str>)>,
    until: Option<DateTime<Utc>>,
) -> Result<Option<BackupRow>> {
    let filter = BackupFilter {
        project: of.map(|(project, _)| project.to_owned()),
        database: of.and_then(|(_, database)| database.map(str::to_owned)),
        selection: Some(selection),
        until,
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
