//! Clears up after a run that was cut off: rolls a finished artifact forward, removes what is unfinished, and records how the run ended.
//!
//! The caller holds the project's lock, so a run that the catalog still calls running is certainly over.

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest, Marks, Structure};
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
    // Whoever waits to try a backup again holds the lock.
    world.catalog.write(|writer| writer.end_wait(project, "backup"))?;
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

/// Whether cut-off runs left something in a storage that the project's backups don't go to any more, as it was moved since.
pub fn is_behind(world: &World, project: &str, storage: &dyn Storage) -> Result<bool> {
    Ok(!storage.unfinished(project)?.is_empty() || !finished_behind(world, project, storage)?.is_empty())
}

/// Mends it there. The caller holds the project's lock of that storage, and of its own.
pub fn behind(world: &World, project: &str, storage: &dyn Storage) -> Result<Vec<Mended>> {
    let mut mended = Vec::new();
    for run in finished_behind(world, project, storage)? {
        mended.push(mend(world, storage, run)?);
    }
    let removed = storage.sweep(project, None)?;
    if !removed.is_empty() {
        tracing::info!(project, storage = storage.name(), ?removed, "removed unfinished files");
    }
    Ok(mended)
}

/// The runs whose artifacts have their final names there.
fn finished_behind(world: &World, project: &str, storage: &dyn Storage) -> Result<Vec<Run>> {
    let mut found = Vec::new();
    for run in world.catalog.read(|reader| reader.unfinished_runs())?.into_iter().map(|unfinished| unfinished.run) {
        if run.project != project {
            continue;
        }
        let Some(manifest) = world.catalog.read(|reader| reader.staged_manifest(&run.id))? else { continue };
        if storage.size(&Key { project: run.project.clone(), file: manifest.backup_file })?.is_some() {
            found.push(run);
        }
    }
    Ok(found)
}

/// Records the end of a project's cut-off runs that left nothing in any storage. Only for a project that is no longer configured.
pub fn without_storage(world: &World, project: &str) -> Result<Vec<Mended>> {
    let unfinished = world.catalog.read(|reader| reader.unfinished_runs())?;
    let ours = unfinished.into_iter().map(|unfinished| unfinished.run).filter(|run| run.project == project);
    ours.map(|run| finish(world, run, None, Vec::new())).collect()
}

fn mend(world: &World, storage: &dyn Storage, run: Run) -> Result<Mended> {
    let staged = world.catalog.read(|reader| reader.staged_manifest(&run.id))?;
    let removed = storage.sweep(&run.project, Some(run.id.as_str()))?;
    let backup = match staged {
        Some(manifest) if roll_forward(storage, &run, &manifest)? => Some((storage.name(), manifest)),
        _ => None,
    };
    finish(world, run, backup.as_ref(), removed)
}

/// Records how the run ended, with the backup that was saved from it.
fn finish(world: &World, mut run: Run, backup: Option<&(&str, Manifest)>, removed: Vec<String>) -> Result<Mended> {
    run.finished_at = Some(world.clock.now());
    if let Some((_, manifest)) = backup {
        run.status = RunStatus::Completed;
        run.size = Some(manifest.backup_size_bytes);
        run.rows = manifest.total_rows;
    } else {
        let hint = if run.selection.is_before_restore() {
            "nothing was restored after it; type the restore again"
        } else {
            "the next slot runs as usual; to have a backup sooner, run it by hand"
        };
        run.status = RunStatus::Failed;
        run.failure =
            Some(Failure::new(Cause::Interrupted, "pgdumpd ended while this run was going on, without a chance to finish it").hint(hint));
    }
    world.catalog.write(|writer| {
        if let Some((storage, manifest)) = backup {
            writer.put_backup(&BackupRow::from_manifest(storage, manifest, None, Marks::default()))?;
        }
        writer.finish_run(&run)
    })?;
    Ok(Mended { run, rolled_forward: backup.is_some(), removed })
}

/// Completes a backup whose artifact has its final name and the recorded length and hash; removes an artifact that hasn't. One whose
/// manifest is there exists already, and whatever became of it since is verification's business.
fn roll_forward(storage: &dyn Storage, run: &Run, manifest: &Manifest) -> Result<bool> {
    let key = Key { project: run.project.clone(), file: manifest.backup_file.clone() };
    let Some(stored) = storage.size(&key)? else { return Ok(false) };
    let manifest_key = manifest::key(&run.project, &manifest.backup_file);
    if storage.size(&manifest_key)?.is_some() {
        return Ok(manifest::read(storage, &manifest_key)?.backup_id == run.id);
    }
    // An archive that the tap doesn't know counts only after pg_restore has read it, and nobody knows whether it had.
    let known = manifest.structure == Structure::Whole;
    if known && stored == manifest.backup_size_bytes && hash::sha256(storage.get(&key)?)? == manifest.checksum_sha256 {
        manifest::commit(storage, manifest)?;
        return Ok(true);
    }
    storage.delete(&key)?;
    Ok(false)
}
