//! The one way a backup leaves a storage: catalog, manifest, artifact, the reverse of its making.
//!
//! `prune` and `delete` decide what goes; here stand the order, the care for who is reading, and the note from which a cut-off removal goes on.

use crate::alert::AlertKey;
use crate::error::{Failure, Result};
use crate::manifest;
use crate::model::backup::BackupRow;
use crate::storage::{Key, Storage, Use};

use super::{World, mount};

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Nothing of it is left.
    Done,
    /// Somebody reads it, and nothing was touched.
    InUse,
    /// It was pinned since whoever asks has read its row, and nothing was touched.
    Pinned,
}

/// Removes one backup and everything beside it, unless it is in use or pinned; what was told of it ends with it. The caller holds the project's
/// lock, which a pin doesn't wait for: the catalog says which of the two was first.
///
/// # Errors
/// Where the catalog or the storage refuses; what was begun is gone on with by [`resume`].
pub fn remove(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<Removal> {
    let Some(alone) = storage.mark(&artifact(row), Use::Removing)? else { return Ok(Removal::InUse) };
    let begun = world.catalog.write(|writer| {
        if writer.backup_now(row)?.is_some_and(|now| now.pinned) {
            return Ok(false);
        }
        let told = AlertKey::backup(&row.project, &row.database, &row.id);
        writer.remove_alert(&told.project, &told.database, &told.selection)?;
        writer.begin_removal(row).map(|()| true)
    });
    if !of(row, begun)? {
        return Ok(Removal::Pinned);
    }
    finish(world, storage, row)?;
    drop(alone);
    Ok(Removal::Done)
}

/// Goes on with a project's removals that a crash or a failing storage cut off; returns why some can't be gone on with in the storage
/// `here`, where the project is configured. The caller holds the project's lock there. What can't be removed keeps no backup from being made.
/// Another storage, in which the project has left backups, may be away for good: what is to be removed there waits.
///
/// # Errors
/// Where the catalog can't be read.
pub fn resume(world: &World, project: &str, here: Option<&dyn Storage>) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    for row in world.catalog.read(|reader| reader.unfinished_removals(project))? {
        let Some(storage) = world.storages.get(&row.storage) else { continue };
        let is_here = here.is_some_and(|here| here.name() == row.storage);
        let there = if is_here { Ok(()) } else { mount::ensure(world, storage.as_ref()) };
        if let Err(failure) = there.and_then(|()| go_on(world, storage.as_ref(), &row)) {
            tracing::warn!(backup = %row.id, project, storage = row.storage, "its removal can't be gone on with yet: {failure}");
            failures.extend(is_here.then_some(failure));
        }
    }
    Ok(failures)
}

fn go_on(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<()> {
    let alone = storage.mark(&artifact(row), Use::Removing)?;
    if alone.is_some() {
        finish(world, storage, row)?;
    }
    Ok(())
}

fn finish(world: &World, storage: &dyn Storage, row: &BackupRow) -> Result<()> {
    manifest::delete(storage, &row.project, &row.file)?;
    storage.delete(&artifact(row))?;
    of(row, world.catalog.write(|writer| writer.end_removal(row)))
}

/// What the catalog refuses names no backup by itself; what a storage refuses names its file.
fn of<T>(row: &BackupRow, written: Result<T>) -> Result<T> {
    written.map_err(|failure| failure.context(format!("removing {}", row.file)))
}

fn artifact(row: &BackupRow) -> Key {
    Key { project: row.project.clone(), file: row.file.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use crate::model::backup::Marks;
    use crate::storage::Memory;

    #[test]
    fn what_is_to_be_removed_in_a_storage_that_is_away_holds_nothing_up() {
        let (main, old) = (Memory::new("main"), Memory::new("old"));
        let with = |old: &Memory| World::over(&[&main, old]).storages;
        let mut world = World::over(&[&main, &old]);
        [&main, &old].iter().for_each(|storage| mount::ensure(&world, *storage).unwrap());
        let row = BackupRow::from_manifest("old", &manifest(), None, Marks::default());
        storage_with(&old, &row);
        world.catalog.write(|writer| writer.begin_removal(&row)).unwrap();
        // Its folder is there, its disk is not.
        world.storages = with(&Memory::new("old"));
        let left = |world: &World| world.catalog.read(|reader| reader.unfinished_removals(&row.project)).unwrap().len();
        assert_eq!(resume(&world, &row.project, Some(&main)).unwrap(), []);
        assert_eq!(left(&world), 1);
        world.storages = with(&old);
        assert_eq!(resume(&world, &row.project, Some(&main)).unwrap(), []);
        assert_eq!(left(&world), 0);
        assert_eq!(old.names(&row.project).unwrap().len(), 0);
    }

    fn storage_with(storage: &Memory, row: &BackupRow) {
        storage.put(&artifact(row), b"rows").unwrap();
        storage.put(&manifest::key(&row.project, &row.file), b"{}").unwrap();
    }
}
