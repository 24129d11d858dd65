//! The backup of what an in-place restore is about to overwrite.

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, Trigger};
use crate::model::dump::{DumpShape, Selection};
use crate::model::run::{Run, RunStatus};
use crate::ops::restore::{Means, Plan};
use crate::ops::{World, backup as dump, mount};
use crate::stream::gauge::Gauge;

use super::super::hold;
use super::{Order, To};

/// Backs up what is about to be overwritten, under the project's lock.
///
/// It may be the very damage that somebody undoes: it counts as no backup of the project's row (`@latest`, the last good one, the habit, the
/// retention of the others), but makes one of its own.
pub(super) fn backup(world: &World, order: &Order, means: Means<'_>, plan: &Plan) -> Result<Manifest> {
    let (Some(project), To::Database(_)) = (&order.project, &order.to) else {
        return Err(Failure::new(
            Cause::Refused,
            "what an in-place restore overwrites can only be backed up on a configured project's own server",
        )
        .hint("back it up by other means, then add --no-safety-backup"));
    };
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held(&project.name)?;
    let shape = DumpShape { compression: project.shape.compression, ..DumpShape::default() };
    let begun = Run::begin(&project.name, &plan.database, &shape, Trigger::AdHoc, world.clock.now());
    let mut run = Run { selection: Selection::before_restore(), ..begun };
    world.catalog.write(|writer| writer.start_run(&run))?;
    let request = dump::Request {
        run: run.id.clone(),
        database: plan.database.clone(),
        connect_to: plan.database.clone(),
        shape,
        selection: run.selection.clone(),
        trigger: run.trigger,
        schedule: None,
        slot: None,
    };
    let (cancel, grace, gauge) = (means.cancel, means.grace, Gauge::new());
    let (clients, access) = (means.clients, means.access);
    let tools = dump::Means { project, storage, clients, access, lock: &lock, cancel, grace, gauge: &gauge, said: None };
    let made = dump::backup(world, tools, &request);
    run.finished_at = Some(world.clock.now());
    match &made {
        Ok(manifest) => (run.status, run.size, run.rows) = (RunStatus::Completed, Some(manifest.backup_size_bytes), manifest.total_rows),
        Err(failure) => (run.status, run.failure) = (RunStatus::Failed, Some(failure.clone())),
    }
    world.catalog.write(|writer| writer.finish_run(&run))?;
    made.map_err(|failure| failure.context("nothing was restored, because the backup of what is there failed"))
}

/// Names the backup that was made before where the restore after it failed.
pub(super) fn named(mut failure: Failure, made: Option<&Manifest>) -> Failure {
    if let Some(made) = made {
        failure.message = format!("{}; what was there is kept as backup {}", failure.message, made.backup_id);
    }
    failure
}
