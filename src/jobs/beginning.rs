//! A daemon that could not begin for want of its database: recorded as a failed run of what would have been dumped, so that the same alerts,
//! mails and answers of `status` follow as from any other.
//!
//! The daemon calls it where it waits for a database. Nothing here fails: what the catalog can't take stands in the log.

use chrono::{DateTime, Utc};

use crate::error::Failure;
use crate::model::backup::Trigger;
use crate::model::project::Project;
use crate::model::run::{Run, RunStatus};
use crate::ops::World;

use super::record;

/// The wait that came to nothing.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// When the first look was.
    pub since: DateTime<Utc>,
    /// How many there were.
    pub looks: u32,
}

/// Records failed runs of each of the project's databases, or only of those named, unless the project is paused and nobody expects any.
pub fn failed(world: &World, project: &Project, only: &[String], wait: Wait, failure: &Failure) {
    let recorded = world.catalog.write(|writer| {
        if writer.pauses()?.iter().any(|pause| pause.project == project.name) {
            return Ok(());
        }
        for database in record::databases(project, only) {
            let run = run(world, project, &database, wait, failure);
            writer.start_run(&Run { status: RunStatus::Running, finished_at: None, failure: None, ..run.clone() })?;
            writer.finish_run(&run)?;
        }
        Ok(())
    });
    if let Err(failure) = recorded {
        tracing::error!(project = project.name, "the catalog could not be told of a failed start: {failure}");
    }
}

/// A run of the first schedule at work, which is what should have come next.
fn run(world: &World, project: &Project, database: &str, wait: Wait, failure: &Failure) -> Run {
    let plan = project.schedules.iter().find(|plan| plan.enabled);
    let shape = plan.map_or(&project.shape, |plan| &plan.shape);
    Run {
        schedule: plan.map(|plan| plan.name.clone()),
        finished_at: Some(world.clock.now()),
        status: RunStatus::Failed,
        attempts: wait.looks,
        failure: Some(failure.clone()),
        ..Run::begin(&project.name, database, shape, Trigger::Scheduled, wait.since)
    }
}
