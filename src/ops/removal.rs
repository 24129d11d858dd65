//! The one way a backup leaves a storage: catalog, manifest, artifact, the reverse of its making.
//!
//! `prune` and `delete` decide what goes; here stand the order, the care for who is reading, and the note from which a cut-off removal goes on.

use crate::alert::AlertKey;
use crate::error::Result;
use crate::manifest;
use crate::model::backup::{BackupRow, RunId};
use crate::storage::{Key, Storage, Use};

use super::World;

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Done,
    /// Somebody reads it, and nothing was touched.
    InUse,
}

/// Removes one backup and everything beside it, unless it is in use; what was told of it ends with it. The caller holds the project's lock.
///
/// # Errors
/// Where the catalog or the storage refuses; what was begun is gone on with by [`resume`].
pub fn remove(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<Removal> {
    let Some(alone) = storage.mark(&artifact(row), Use::Removing)? else { return Ok(Removal::InUse) };
    world.catalog.write(|writer| {
        let told = AlertKey::backup(&row.project, &row.database, &row.id);
        writer.remove_alert(&told.project, &told.database, &told.selection)?;
        writer.begin_removal(row)
    })?;
    finish(world, storage, row)?;
    drop(alone);
    Ok(Removal::Done)
}

/// Goes on with removals that a crash or a failing storage cut off.
pub fn resume(world: &World, project: &str) -> Result<Vec<RunId>> {
    let mut done = Vec::new();
    for row in world.catalog.read(|reader| reader.unfinished_removals(project))? {
        let Some(storage) = world.storages.get(&row.storage) else { continue };
        if let Some(alone) = storage.mark(&artifact(&row), Use::Removing)? {
            finish(world, storage.as_ref(), &row)?;
            drop(alone);
            done.push(row.id);
        }
    }
    Ok(done)
}

fn finish(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<()> {
    manifest::delete(storage, &row.project, &row.file)?;
    storage.delete(&artifact(row))?;
    world.catalog.write(|writer| writer.end_removal(row))
}

fn artifact(row: &BackupRow) -> Key {
    Key { project: row.project.clone(), file: row.file.clone() }
}
