//! Putting right what a crash cut off, outside a backup: lock → repair.

use crate::error::Result;
use crate::model::project::Project;
use crate::ops::{World, mount, prune, repair};

use super::hold;

/// Mends a project's cut-off runs and removals, ending an orphaned dump first.
pub fn mend(world: &World, project: &Project) -> Result<()> {
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held(&project.name)?;
    for mended in repair::repair(world, &project.name, storage.as_ref())? {
        tracing::warn!(run = %mended.run.id, project = project.name, rolled_forward = mended.rolled_forward, "mended a run that was cut off");
    }
    prune::resume(world, &project.name)?;
    drop(lock);
    Ok(())
}
