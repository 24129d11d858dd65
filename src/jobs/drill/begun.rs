//! What a scheduled drill has begun, noted in the catalog until somebody was told what came of it: a drill that didn't finish is never silent,
//! whatever ended pgdumpd.

use serde::{Deserialize, Serialize};

use crate::catalog::{Reader, Writer};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, RunId};
use crate::model::project::Connection;
use crate::ops::World;
use crate::ops::drill::Drilled;
use crate::ops::restore;
use crate::postgres::connection::url;
use crate::postgres::database::Work;

/// One backup whose drill has begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Begun {
    backup: RunId,
    /// Its entry in the audit log.
    audit: Option<i64>,
    /// Where it is restored.
    place: String,
    /// Why it failed; that it was cut off, until it has ended.
    failure: Option<Failure>,
    /// Whether it has not ended by itself.
    cut_off: bool,
}

/// Notes that the drill of a backup begins. A catalog that can't be written costs only this, as everywhere below.
pub(super) fn begin(world: &World, row: &BackupRow, on: Option<&Connection>, audit: Option<i64>) {
    let place = match on {
        Some(on) => url(&on.target).unwrap_or_else(|| String::from("the server for drills")),
        None => String::from("a throwaway PostgreSQL"),
    };
    let failure = Failure::new(Cause::System, "pgdumpd ended while this drill was going on, without a chance to finish it")
        .hint("the next drill is due as usual; to have one sooner, run it by hand");
    let begun = Begun { backup: row.id.clone(), audit, place, failure: Some(failure), cut_off: true };
    change(world, &row.project, |all| all.push(begun.clone()));
}

/// Notes how it ended. One that was ended on purpose has not finished either.
pub fn end(world: &World, drilled: &Drilled) {
    change(world, &drilled.backup.project, |all| {
        let Some(begun) = all.iter_mut().rfind(|begun| begun.backup == drilled.backup.id) else { return };
        begun.cut_off = drilled.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Interrupted);
        begun.failure.clone_from(&drilled.failure);
        if begun.cut_off {
            // By its cause it would be nothing to tell of.
            begun.failure.iter_mut().for_each(|failure| failure.cause = Cause::System);
        }
        if !drilled.place.is_empty() {
            begun.place.clone_from(&drilled.place);
        }
    });
}

/// Those that ended by themselves have been told of.
pub fn told(world: &World, project: &str) {
    change(world, project, |all| all.retain(|begun| begun.cut_off));
}

/// Nothing of it is to be told any more: it has been, or the slot is due again.
pub fn forget(world: &World, project: &str) {
    change(world, project, Vec::clear);
}

/// What nobody was told of, as if it had just ended; what was cut off is a failure, and has its end in the audit log from now on.
pub fn untold(world: &World, project: &str) -> Result<Vec<Drilled>> {
    // What is still noted here, the sweep of what it left could not remove.
    let left = restore::noted(world)?.into_iter().find(|one| one.drill && one.project == project);
    let left = left.map(|one| format!("{}{}", Work::Drill.prefix(), one.run));
    let mut drilled = Vec::new();
    for begun in world.catalog.read(|reader| recall(reader, project))? {
        let Begun { backup, audit, place, failure, cut_off } = begun;
        if let (Some(number), Some(failure)) = (audit.filter(|_| cut_off), &failure) {
            world.catalog.write(|writer| writer.end_audit(number, &format!("interrupted: {failure}")))?;
        }
        // One that was removed meanwhile can't be tried again, and proves nothing of those that are there.
        let Some(row) = world.catalog.read(|reader| reader.backup(&backup))? else { continue };
        let left = left.clone().filter(|_| cut_off);
        drilled.push(Drilled { place, left, failure, ..Drilled::of(row) });
    }
    Ok(drilled)
}

fn key(project: &str) -> String {
    format!("drill-begun:{project}")
}

fn recall(reader: &Reader, project: &str) -> Result<Vec<Begun>> {
    Ok(reader.meta(&key(project))?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn keep(writer: &Writer, project: &str, all: &[Begun]) -> Result<()> {
    if all.is_empty() {
        return writer.remove_meta(&key(project));
    }
    writer.put_meta(&key(project), &serde_json::to_string(all).unwrap_or_default())
}

fn change(world: &World, project: &str, how: impl Fn(&mut Vec<Begun>)) {
    let changed = world.catalog.write(|writer| {
        let mut all = recall(writer, project)?;
        how(&mut all);
        keep(writer, project, &all)
    });
    if let Err(failure) = changed {
        tracing::warn!(project, "the catalog could not be told of a drill at work: {failure}");
    }
}
