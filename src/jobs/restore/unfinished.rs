//! Restores and drills that were ended by force: what they left on the servers that the configuration names is removed, or named, by the
//! daemon's start at the latest.

use crate::error::Result;
use crate::model::project::Project;
use crate::ops::restore::{self, Unfinished};
use crate::ops::{World, secret};
use crate::postgres::connection::Access;
use crate::process::Cancel;

/// Those that began and were not heard of again.
pub fn noted(world: &World) -> Result<Vec<Unfinished>> {
    restore::noted(world)
}

/// Removes what a project's unfinished restores and drills have left, unless one is still at work: that stays noted, for the start after
/// its end. So does what may not be dropped: it is told at each start until somebody has.
pub fn clear(world: &World, project: &Project, left: &[Unfinished]) -> Result<()> {
    let (clients, uncancelled) = (world.clients(project)?, Cancel::new());
    let cleared_on = |access: &Access| -> Result<bool> {
        Ok(restore::clear(&clients, access, &project.limits, &project.name, &uncancelled)?.is_clear())
    };
    for drill in [false, true] {
        let mut of = left.iter().filter(|one| one.drill == drill).peekable();
        if of.peek().is_none() {
            continue;
        }
        let stays = match (drill, project.drill.as_ref().and_then(|drill| drill.on.as_ref())) {
            (false, _) => !cleared_on(&world.access(project)?)?,
            (true, Some(server)) => {
                !cleared_on(&Access::new(&server.target, secret(&server.password)?, project.limits.connect, &|name| {
                    std::env::var_os(name)
                })?)?
            }
            (true, None) => {
                tracing::warn!(project = project.name, "a drill may have left a database on a server that is not configured any more");
                false
            }
        };
        if !stays {
            of.try_for_each(|one| restore::strike(world, &one.run))?;
        }
    }
    Ok(())
}
