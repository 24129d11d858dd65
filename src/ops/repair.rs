//! Clears up after a run that was cut off: rolls a finished artifact forward, removes what is unfinished, and records how the run ended.
//!
//! The caller holds the project's lock, so a run that the catalog still calls running is certainly over.

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest};
use crate::model::run::{Run, RunStatus};
use crate::storage::{Key, Storage};
use crate::stream::hash;

use super::World;

/// One run that was found cut off, and what became of it.
#[derive(Debug, Clone)]
pub struct Mended {
    /// The run, with its final status.
    pub run: Run,
    /// Whether its artifact was complete and is a backup now.
    pub rolled_forward: bool,
    /// Unfinished files that were removed.
    pub removed: Vec<String>,
}

/// Mends every cut-off run of a project and sweeps its unfinished files.
pub fn repair(world: &World, project: &str, storage: &dyn Storage) -> Result<Vec<Mended>> {
    let mut mended = Vec::new();
    for unfinished in world.catalog.read(|reader| reader.unfinished_runs())? {
        if unfinished.run.project == project {
            mended.push(mend(world, storage, unfinished.run)?);
        }
    }
    let removed = storage.sweep(project, None)?;
    if !removed.is_empty() {
        tracing::info!(project, ?removed, "removed unfinished files");
    }
    Ok(mended)
}

fn mend(world: &World, storage: &dyn Storage, mut run: Run) -> Result<Mended> {
    let staged = world.catalog.read(|reader| reader.staged_manifest(&run.id))?;
    let removed = storage.sweep(&run.project, Some(run.id.as_str()))?;
    let rolled_forward = match &staged {
        Some(manifest) => roll_forward(world, storage, &run, manifest)?,
        None => false,
    };
    run.finished_at = Some(world.clock.now());
    if rolled_forward {
        run.status = RunStatus::Completed;
        run.size = staged.as_ref().map(|manifest| manifest.backup_size_bytes);
        run.rows = staged.as_ref().and_then(|manifest| manifest.total_rows);
    } else {
        run.status = RunStatus::Failed;
        run.failure = Some(
            Failure::new(Cause::Interrupted, "pgdumpd ended while this run was going on, without a chance to finish it")
                .hint("the next slot runs as usual; to have a backup sooner, run it by hand"),
        );
    }
    world.catalog.write(|writer| writer.finish_run(&run))?;
    Ok(Mended { run, rolled_forward, removed })
}

/// Completes a backup whose artifact has its final name and the recorded length and hash; removes an artifact that hasn't.
fn roll_forward(world: &World, storage: &dyn Storage, run: &Run, manifest: &Manifest) -> Result<bool> {
    let key = Key { project: run.project.clone(), file: manifest.backup_file.clone() };
    if storage.size(&key)?.is_none() {
        return Ok(false);
    }
    let whole = storage.size(&key)? == Some(manifest.backup_size_bytes) && hash::sha256(storage.get(&key)?)? == manifest.checksum_sha256;
    if !whole {
        storage.delete(&key)?;
        return Ok(false);
    }
    if manifest::read(storage, &manifest::key(&run.project, &manifest.backup_file)).is_err() {
        manifest::commit(storage, manifest)?;
    }
    let row = BackupRow::from_manifest(storage.name(), manifest, None, false);
    world.catalog.write(|writer| writer.put_backup(&row))?;
    Ok(true)
}
