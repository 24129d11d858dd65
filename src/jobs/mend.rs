//! Putting right what a crash cut off, outside a backup: lock → repair; then the slots of the jobs that were cut off.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::catalog::SlotKey;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Trigger;
use crate::model::dump::{Content, DumpShape};
use crate::model::project::{Databases, Project, Schedule};
use crate::model::run::{Run, RunStatus, SlotOutcome};
use crate::ops::{World, mount, removal, repair};
use crate::schedule::Timing;

use super::scheduled::GLOBALS;
use super::{hold, mending};

/// Mends a project's cut-off runs and removals, ending an orphaned dump first.
pub fn mend(world: &World, project: &Project) -> Result<()> {
    mending::project(world, project)
}

/// The same for a project that is no longer configured, in whichever storage it has a folder.
pub fn unconfigured(world: &World, project: &str) -> Result<()> {
    for storage in world.storages.values() {
        mount::ensure(world, storage.as_ref())?;
        if !storage.projects()?.iter().any(|known| known == project) {
            continue;
        }
        let lock = hold::by_name(world, project, storage)?.or_held(project)?;
        mending::told(project, repair::repair(world, project, storage.as_ref())?);
        drop(lock);
    }
    removal::resume(world, project, None)?;
    mending::told(project, repair::without_storage(world, project)?);
    Ok(())
}

/// Gives a slot its outcome whose job was cut off by a crash, after its runs were mended: ok where every backup was made, given back where
/// nothing had begun, else interrupted, with a failed run for each database whose turn never came, so that somebody is told.
pub fn slot(world: &World, project: &Project, plan: &Schedule, slot: &SlotKey) -> Result<SlotOutcome> {
    let runs = world.catalog.read(|reader| reader.runs_of_slot(slot))?;
    if runs.is_empty() && give_back(world, &[(plan, slot.clone())])? == 1 {
        return Ok(SlotOutcome::Claimed);
    }
    let had: BTreeSet<&str> = runs.iter().map(|run| run.database.as_str()).collect();
    let missing: Vec<String> = expected(project, &plan.shape).into_iter().filter(|name| !had.contains(name.as_str())).collect();
    let whole = missing.is_empty() && !matches!(project.databases, Databases::All { .. });
    let outcome =
        if whole && runs.iter().all(|run| run.status == RunStatus::Completed) { SlotOutcome::Ok } else { SlotOutcome::Interrupted };
    world.catalog.write(|writer| {
        missing.iter().try_for_each(|database| writer.finish_run(&never_begun(world, project, plan, slot, database)))?;
        writer.finish_slot(slot, outcome)
    })?;
    Ok(outcome)
}

/// Makes slots due again whose jobs have not begun anything; those whose later slots have their outcomes already are recorded as interrupted.
/// Returns how many are due again.
pub fn give_back(world: &World, slots: &[(&Schedule, SlotKey)]) -> Result<usize> {
    world.catalog.write(|writer| {
        let mut given = 0;
        for (plan, slot) in slots {
            let step = match &plan.timing {
                Timing::Cron(_) => TimeDelta::microseconds(1),
                Timing::Every(interval) => TimeDelta::from_std(*interval).unwrap_or(TimeDelta::days(1)),
            };
            if writer.release_slot(slot, slot.due_at - step)? {
                given += 1;
            } else {
                writer.finish_slot(slot, SlotOutcome::Interrupted)?;
            }
        }
        Ok(given)
    })
}

/// The databases that a job of this shape has a run for, as far as the configuration says.
fn expected(project: &Project, shape: &DumpShape) -> Vec<String> {
    let mut names = match &project.databases {
        Databases::Named(names) => names.clone(),
        _ => Vec::new(),
    };
    if project.globals && shape.content == Content::Full {
        names.push(String::from(GLOBALS));
    }
    names
}

fn never_begun(world: &World, project: &Project, plan: &Schedule, slot: &SlotKey, database: &str) -> Run {
    let shape = if database == GLOBALS { DumpShape { content: Content::Globals, ..DumpShape::default() } } else { plan.shape.clone() };
    let now = world.clock.now();
    Run {
        schedule: Some(plan.name.clone()),
        slot: Some(slot.due_at),
        finished_at: Some(now),
        status: RunStatus::Failed,
        attempts: 0,
        failure: Some(
            Failure::new(Cause::Interrupted, "pgdumpd ended before it was this database's turn")
                .hint("the next slot runs as usual; to have a backup sooner, run it by hand"),
        ),
        ..Run::begin(&project.name, database, &shape, Trigger::Scheduled, now)
    }
}
