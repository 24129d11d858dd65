//! `pgdumpd accept`

use serde_json::json;

use crate::error::{Cause, Failure, Result};
use crate::habit::{self, Suspension};
use crate::model::backup::{BackupRow, RunId};
use crate::model::settings::Settings;
use crate::ops::{World, accepted, mount};
use crate::storage::{Key, names};

use super::exit::Exit;
use super::{Common, out, pick, world};

/// Say that a suspicious backup is meant to be so.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A backup that holds far less than the ones before it is kept and marked, and nothing of its project is
pruned. Accepted, it is the new habit: it counts as good, and pruning goes on with the next backup.

Examples:
  pgdumpd accept               what waits for a word
  pgdumpd accept k3f9q2abcd    this one
  pgdumpd accept shop          whatever suspends the pruning of this project")]
pub(super) struct Args {
    /// An id or its beginning, a file name, or a project; without it, what waits is listed
    #[arg(value_name = "BACKUP|PROJECT")]
    what: Option<String>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let Some(what) = &args.what else { return list(common, &world::look(common, &settings)?, &settings) };
    let world = world::existing(common, &settings)?;
    let rows = if settings.project(what).is_some() {
        let waiting = waiting(&world, &settings, what)?;
        let ids: Vec<RunId> = waiting.into_iter().flat_map(|one| one.backups).collect();
        world.catalog.read(|reader| ids.iter().filter_map(|id| reader.backup(id).transpose()).collect::<Result<Vec<BackupRow>>>())?
    } else {
        vec![pick::backup(&world, &settings, what)?]
    };
    let mut accepted = Vec::new();
    for row in rows {
        accepted.extend(accept(&world, &row)?);
    }
    if common.json {
        out::json(&json!({ "success": true, "accepted": accepted }))?;
    } else if accepted.is_empty() {
        out::say(format!("nothing of {what} is suspicious"));
    }
    for row in accepted.iter().filter(|_| !common.json) {
        out::say(format!("{} {}/{} is accepted; pruning goes on with the next backup", row.id, row.project, row.database));
    }
    Ok(Exit::Done)
}

/// Accepts one; `None` where it has been already.
fn accept(world: &World, row: &BackupRow) -> Result<Option<BackupRow>> {
    let storage = world.storage_of(row)?;
    mount::ensure(world, storage.as_ref())?;
    if row.suspicious.is_none() {
        let beside = Key { project: row.project.clone(), file: names::accepted_file(&row.file) };
        if storage.size(&beside)?.is_some() {
            return Ok(None);
        }
        return Err(Failure::new(Cause::Configuration, format!("the backup {} is not suspicious", row.id))
            .hint("`pgdumpd accept` without a name lists what waits for a word"));
    }
    let Some(row) = accepted::accept(world, storage.as_ref(), row)? else {
        return Err(Failure::new(Cause::NotFound, format!("the backup {} is gone already", row.id)));
    };
    world.audit("accept", Some(&row.project), &row.file, accepted::BY_HAND)?;
    Ok(Some(row))
}

fn waiting(world: &World, settings: &Settings, project: &str) -> Result<Vec<Suspension>> {
    let mut rows = world.catalog.read(|reader| reader.project_backups(project))?;
    rows.retain(|row| settings.project(project).is_none_or(|project| project.storage == row.storage));
    Ok(habit::suspension(&rows))
}

fn list(common: &Common, world: &World, settings: &Settings) -> Result<Exit> {
    let mut found = Vec::new();
    for project in world.catalog.read(|reader| reader.doubted_projects())? {
        found.extend(waiting(world, settings, &project)?.into_iter().map(|one| (project.clone(), one)));
    }
    if common.json {
        let waiting: Vec<_> = found.iter().map(|(project, one)| json!({ "project": project, "suspension": one })).collect();
        out::json(&json!({ "success": true, "waiting": waiting }))?;
    } else if found.is_empty() {
        out::note("no backup waits for a word");
    } else {
        for (project, one) in found {
            out::say(format!("{} {project}/{} ({}): {}", one.backup, one.database, one.selection, one.why));
        }
    }
    Ok(Exit::Done)
}
