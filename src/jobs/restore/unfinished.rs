//! Restores that were ended by force: what they left on their project's server is removed, by the daemon's start at the latest.

use crate::error::Result;
use crate::model::backup::RunId;
use crate::model::project::Project;
use crate::ops::World;
use crate::ops::restore::{self, Unfinished};

/// The restores that began and were not heard of again: project and run.
pub fn noted(world: &World) -> Result<Vec<Unfinished>> {
    restore::noted(world)
}

/// Removes what a project's unfinished restores have left, unless one is still at work.
pub fn clear(world: &World, project: &Project, runs: &[RunId]) -> Result<()> {
    let (access, clients) = (world.access(project)?, world.clients(project)?);
    restore::clear(&clients, &access, &project.limits, &project.name)?;
    runs.iter().try_for_each(|run| restore::strike(world, run))
}
