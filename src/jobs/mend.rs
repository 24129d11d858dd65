//! Putting right what a crash cut off, outside a backup: lock → repair → notice.

use crate::error::Result;
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::ops::{World, mount, notice, prune, repair};

use super::hold;

/// Mends a project's cut-off runs and removals, ending an orphaned dump first.
pub fn mend(world: &World, project: &Project) -> Result<()> {
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held()?;
    for mended in repair::repair(world, &project.name, storage.as_ref())? {
        tracing::warn!(run = %mended.run.id, project = project.name, rolled_forward = mended.rolled_forward, "mended a run that was cut off");
    }
    prune::resume(world, &project.name)?;
    drop(lock);
    Ok(())
}

/// Turns ended runs that no notice was made of (a crash came between) into alerts and mail.
pub fn tell_untold(world: &World, settings: &Settings) -> Result<()> {
    for project in &settings.projects {
        let untold = world.catalog.untold_runs(&project.name)?;
        if !untold.is_empty() {
            let runs: Vec<_> = untold.iter().collect();
            notice::conclude(world, project, &runs, None)?;
        }
    }
    Ok(())
}
