//! Pruning typed by hand: lock → go on with cut-off removals → plan → carry out.

use crate::error::Result;
use crate::model::project::Project;
use crate::ops::prune::{self, PrunePlan, Pruned};
use crate::ops::{World, mount, origin, removal};

use super::hold;

/// Prunes a project now. `confirm` agrees to a changed retention and to several servers first, and passes over what suspends pruning.
/// Comes with the plan: it names what is still held.
pub fn run(world: &World, project: &Project, confirm: bool) -> Result<(PrunePlan, Pruned)> {
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held(&project.name)?;
    let stuck = removal::resume(world, &project.name, Some(storage.as_ref()))?;
    let plan = prune::plan(world, project)?;
    let plan = if confirm {
        prune::confirm(world, &plan)?;
        origin::agree(world, &project.name, &plan.divided)?;
        let mut agreed = prune::plan(world, project)?;
        // A suspicious backup displaces no good one, so a person's word is enough, and counts once.
        agreed.suspended.clear();
        agreed
    } else {
        plan
    };
    let begun = world.begin("prune", Some(&project.name), "by hand");
    let pruned = prune::carry_out(world, project, &plan).map(|pruned| pruned.after(stuck));
    drop(lock);
    world.end(begun, &pruned.as_ref().map_or_else(ToString::to_string, |done| format!("{} removed", done.removed.len())));
    Ok((plan, pruned?))
}
