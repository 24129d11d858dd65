//! Lock → repair → removals, for whoever is about to work on a project, or finds that a run of it was cut off.

use std::sync::Arc;

use crate::error::{Cause, Result};
use crate::model::project::Project;
use crate::ops::{World, mount, removal, repair};
use crate::storage::Storage;

use super::hold::{self, Hold};

/// Mends a project's cut-off runs and removals, ending an orphaned dump first.
pub(super) fn project(world: &World, project: &Project) -> Result<()> {
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::project(world, project, storage)?.or_held(&project.name)?;
    elsewhere(world, project, storage.name());
    let mended = held(world, &project.name, storage.as_ref());
    drop(lock);
    mended
}

/// The same for whoever holds the project's lock.
pub(super) fn held(world: &World, project: &str, storage: &dyn Storage) -> Result<()> {
    told(project, repair::repair(world, project, storage)?);
    removal::resume(world, project, Some(storage)).map(drop)
}

/// What cut-off runs left in the other storages, where the project was moved since. A storage that isn't there, or can't be worked in, keeps
/// it until the next job of the project. To be called before the repair in the project's own storage, which ends those runs.
pub(super) fn elsewhere(world: &World, project: &Project, own: &str) {
    for storage in world.storages.values().filter(|storage| storage.name() != own) {
        match behind(world, &project.name, storage) {
            Ok(()) => {}
            Err(failure) if failure.cause == Cause::NotMounted => tracing::debug!(storage = storage.name(), "{failure}"),
            Err(failure) => {
                tracing::warn!(project = project.name, storage = storage.name(), "what a cut-off run has left there stays: {failure}");
            }
        }
    }
}

fn behind(world: &World, project: &str, storage: &Arc<dyn Storage>) -> Result<()> {
    if !repair::is_behind(world, project, storage.as_ref())? {
        return Ok(());
    }
    mount::look(world, storage.as_ref())?;
    if let Hold::Lock(lock) = hold::by_name(world, project, storage)? {
        told(project, repair::behind(world, project, storage.as_ref())?);
        drop(lock);
    }
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
