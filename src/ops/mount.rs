//! Is the storage there? The one answer to "not mounted?", asked before anything is written.
//!
//! A storage is marked the first time it is used and remembered in the catalog by the marker's id; from then on a missing or foreign marker
//! is refused, so that nothing is ever written below an empty mount point. The id is noted beside the catalog as well: one that is lost
//! together with the mount must not make an empty mount point look like a storage that was never used.

use std::path::{Path, PathBuf};

use crate::error::{Cause, Failure, Result};
use crate::storage::{Storage, names};

use super::World;

/// Makes sure that `storage` is the one the catalog remembers; marks it where neither knows of the other.
pub fn ensure(world: &World, storage: &dyn Storage) -> Result<()> {
    let name = storage.name();
    let remembered = remembered(world, name)?;
    match (storage.id()?, remembered) {
        (Some(found), Some(known)) if found == known => Ok(()),
        (Some(found), Some(known)) => Err(Failure::new(
            Cause::NotMounted,
            format!("storage {name:?} carries the id {found}, but {known} was expected: another disk is mounted there"),
        )
        .hint(format!("mount the right disk, or accept this one with `pgdumpd doctor --accept-storage {name}`"))),
        (Some(found), None) => remember(world, name, &found),
        (None, Some(_)) => Err(Failure::new(Cause::NotMounted, format!("storage {name:?} has no marker file: not mounted?"))
            .hint(format!("mount it; if the disk was replaced by an empty one on purpose, run `pgdumpd doctor --accept-storage {name}`"))),
        (None, None) => {
            let id = storage.initialize()?;
            remember(world, name, &id)
        }
    }
}

/// Whether the storage was never used and its folder is still to be made, by the first who writes there.
pub fn is_new(world: &World, storage: &dyn Storage) -> Result<bool> {
    Ok(storage.id()?.is_none() && remembered(world, storage.name())?.is_none() && !Path::new(&storage.place()).exists())
}

/// Forgets what the catalog remembers of a storage and takes it as it is now: typed by a person who replaced a disk.
pub fn accept(world: &World, storage: &dyn Storage) -> Result<String> {
    let id = match storage.id()? {
        Some(id) => id,
        None => storage.initialize()?,
    };
    remember(world, storage.name(), &id)?;
    Ok(id)
}

/// The id that the catalog knows, or the note beside it.
fn remembered(world: &World, name: &str) -> Result<Option<String>> {
    let known = world.catalog.read(|reader| reader.meta(&remembered_key(name)))?;
    let noted = || {
        let text = std::fs::read_to_string(note(world, name)?).ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    };
    Ok(known.or_else(noted))
}

fn remember(world: &World, name: &str, id: &str) -> Result<()> {
    world.catalog.write(|writer| writer.put_meta(&remembered_key(name), id))?;
    if let Some(path) = note(world, name)
        && let Err(error) = std::fs::write(&path, format!("{id}\n"))
    {
        tracing::warn!("{} can't be written, so only the catalog knows the storage {name:?}: {error}", path.display());
    }
    Ok(())
}

/// The note beside the catalog; `None` for a name that no file can have.
fn note(world: &World, name: &str) -> Option<PathBuf> {
    let file = names::project_folder(name).ok()?;
    Some(world.catalog.path().with_file_name(format!("storage-{file}.id")))
}

fn remembered_key(name: &str) -> String {
    format!("storage-id:{name}")
}
