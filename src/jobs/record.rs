//! How the runs of a job are told to the catalog and the log: begun, ended, and what they come to for the slot.
//!
//! `scheduled` calls it. Nothing here fails: a run that the catalog could not take is given back, to be told of another way.

use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::model::dump::DumpShape;
use crate::model::project::{Databases, Project};
use crate::model::run::{ANY_DATABASE, Run, RunStatus, SlotOutcome};
use crate::notify::redact::Redactor;
use crate::ops::World;
use crate::postgres::connection::named_by;

use super::scheduled::{Order, Report};

/// A failure before any run could begin is recorded as a failed run all the same: nothing due goes without an outcome.
pub(super) fn fail_before(world: &World, order: &Order, failure: &Failure, report: &mut Report) {
    let failure = &Redactor::default().clean_failure(failure.clone());
    for database in databases(&order.project, &order.only) {
        if report.runs.iter().any(|(run, _)| run.database == database) {
            continue;
        }
        let mut run = new_run(world, order, &order.shape, &database);
        if let Err(failure) = world.catalog.write(|writer| writer.start_run(&run)) {
            tracing::error!(project = order.project.name, "the catalog could not be told of a failed run: {failure}");
        }
        report.unrecorded.extend(finish(world, &mut run, Err(failure)));
        report.runs.push((run, None));
    }
}

/// What a failure that strikes before any run is a failure of: the databases as far as the configuration names them.
pub(super) fn databases(project: &Project, only: &[String]) -> Vec<String> {
    match &project.databases {
        _ if !only.is_empty() => only.to_vec(),
        Databases::Named(names) => names.clone(),
        Databases::FromConnection => vec![named_by(&project.connection.target).unwrap_or_else(|| String::from(ANY_DATABASE))],
        Databases::All { .. } => vec![String::from(ANY_DATABASE)],
    }
}

/// The run that an order begins for one database.
pub(super) fn new_run(world: &World, order: &Order, shape: &DumpShape, database: &str) -> Run {
    let run = Run::begin(&order.project.name, database, shape, order.trigger, world.clock.now());
    Run { schedule: order.schedule.clone(), slot: order.slot, ..run }
}

/// Ends a run in the catalog; what the catalog couldn't take is given back.
pub(super) fn finish(world: &World, run: &mut Run, result: Result<&Manifest, &Failure>) -> Option<Run> {
    run.finished_at = Some(world.clock.now());
    match result {
        Ok(manifest) => {
            run.status = RunStatus::Completed;
            run.size = Some(manifest.backup_size_bytes);
            run.rows = manifest.total_rows;
            tracing::info!(run = %run.id, project = run.project, database = run.database, size = manifest.backup_size_bytes, file = manifest.backup_file, "backup made");
        }
        Err(failure) => {
            run.status = if failure.cause == Cause::Interrupted { RunStatus::Interrupted } else { RunStatus::Failed };
            run.failure = Some(failure.clone());
            tracing::error!(run = %run.id, project = run.project, database = run.database, cause = %failure.cause, hint = failure.hint, "backup failed: {failure}");
        }
    }
    world.catalog.write(|writer| writer.finish_run(run)).err().map(|failure| {
        tracing::error!(run = %run.id, "the catalog could not be told how the run ended: {failure}");
        run.clone()
    })
}

/// What the slot's row says of its runs.
pub(super) fn outcome(runs: &[(Run, Option<Manifest>)]) -> SlotOutcome {
    let locked = |run: &Run| run.failure.as_ref().is_some_and(|failure| failure.cause == Cause::Locked);
    if runs.iter().any(|(run, _)| run.status == RunStatus::Interrupted) {
        SlotOutcome::Interrupted
    } else if runs.iter().any(|(run, _)| run.status == RunStatus::Failed && !locked(run)) {
        SlotOutcome::Failed
    } else if runs.iter().any(|(run, _)| locked(run)) {
        SlotOutcome::SkippedLocked
    } else {
        SlotOutcome::Ok
    }
}
