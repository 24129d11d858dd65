//! What a backup job leaves to be told besides its runs: pruning that waits for a word or failed, and what a look at its backups found.

use crate::error::{Failure, Result};
use crate::model::project::Project;
use crate::ops::World;
use crate::ops::notice::{self, Desk};

use super::scheduled::Report;

/// Turns it into mail, and logs pruning that failed as a whole, for the daemon and whoever backs up by hand; returns why some of it could not be.
#[must_use]
pub fn tell(world: &World, desk: &Desk<'_>, project: &Project, report: &Report) -> Vec<Failure> {
    if let Some(Err(failure)) = &report.pruned {
        tracing::error!(project = project.name, "pruning failed: {failure}");
    }
    let held = report.held.as_ref().map(|plan| notice::held(world, desk, project, plan));
    let divided = report.divided.as_ref().map(|divided| notice::divided(world, desk, project, divided));
    let looked = notice::looked(world, desk, &report.looked).map(drop);
    // What waits for a word was not tried, and so did not work again.
    let waits = report.held.is_some() || !report.suspended.is_empty();
    let tried = report.pruned.as_ref().filter(|pruned| !waits || pruned.as_ref().map_or(true, |pruned| !pruned.failures.is_empty()));
    let pruned = tried.map(|pruned| notice::pruned(world, desk, project, pruned.as_ref()).map(drop));
    let told: [Option<Result<()>>; 4] = [held, divided, Some(looked), pruned];
    told.into_iter().flatten().filter_map(Result::err).collect()
}
