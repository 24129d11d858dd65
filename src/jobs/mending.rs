//! Lock → repair → removals, for whoever is about to work on a project, or finds that a run of it was cut off.

use std::sync::Arc;

use crate::error::{Failure, Result};
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
    mended.map(drop)
}

/// The same for whoever holds the project's lock; returns why backups stay that are to be removed.
pub(super) fn held(world: &World, project: &str, storage: &dyn Storage) -> Result<Vec<Failure>> {
    told(project, repair::repair(world, project, storage)?);
    removal::resume(world, project, Some(storage))
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

/// What cut-off runs left in the other storages, where the project was moved since. To be called before the repair in the project's own storage,
/// which ends those runs. Without such runs no other storage is touched: one that hangs is to keep no backup from its own.
pub(super) fn elsewhere(world: &World, project: &Project, own: &str) {
    // A catalog that can't be read is told by the repair that follows.
    let cut_off = world.catalog.read(|reader| reader.unfinished_runs()).unwrap_or_default();
    if !cut_off.iter().any(|unfinished| unfinished.run.project == project.name) {
        return;
    }
    for storage in world.storages.values().filter(|storage| storage.name() != own) {
        if let Err(failure) = behind(world, &project.name, storage) {
            let (project, storage) = (&project.name, storage.name());
            tracing::warn!(project, storage, "a cut-off run may have left a file .pgdumpd-tmp-… there, which stays: {failure}");
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
