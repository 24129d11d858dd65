//! Lock → repair → removals, for whoever is about to work on a project, or finds that a run of it was cut off.

use crate::error::Result;
use crate::model::project::Project;
use crate::ops::{World, mount, removal, repair};

use super::hold;

/// Mends a project's cut-off runs and removals, ending an orphaned dump first.
pub(super) fn project(world: &World, project: &Project) -> Result<()> {
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held(&project.name)?;
    told(&project.name, repair::repair(world, &project.name, storage.as_ref())?);
    removal::resume(world, &project.name, Some(storage.as_ref()))?;
    drop(lock);
    Ok(())
}

/// The same where a run of the project has nobody at work on it any more, for a job that doesn't depend on it: what can't be mended now is
/// left to the next backup.
pub(super) fn where_cut_off(world: &World, of: &Project) {
    let unfinished = world.catalog.read(|reader| reader.unfinished_runs());
    let mended = unfinished.and_then(|runs| {
        let is_cut_off = runs.iter().any(|unfinished| unfinished.run.project == of.name && unfinished.is_cut_off());
        if is_cut_off { project(world, of) } else { Ok(()) }
    });
    if let Err(failure) = mended {
        tracing::warn!(project = of.name, "what a killed run has left can't be mended yet: {failure}");
    }
}

pub(super) fn told(project: &str, mended: Vec<repair::Mended>) {
    for mended in mended {
        tracing::warn!(run = %mended.run.id, project, rolled_forward = mended.rolled_forward, "mended a run that was cut off");
    }
}
