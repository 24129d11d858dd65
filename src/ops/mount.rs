//! Is the storage there? The one answer to "not mounted?", asked before anything is written.
//!
//! A storage is marked the first time it is used and remembered in the catalog by the marker's id; from then on a missing or foreign marker
//! is refused, so that nothing is ever written below an empty mount point. The id is noted beside the catalog as well: one that is lost
//! together with the mount must not make an empty mount point look like a storage that was never used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Cause, Failure, Result};
use crate::model::project::Project;
use crate::storage::{Storage, names};

use super::World;
use super::renaming::{self, When};

/// What the note of a storage's id is called in the catalog, before its name.
pub(super) const ID: &str = "storage-id:";

/// Makes sure that `storage` is the one the catalog remembers; marks it where neither knows of the other.
pub fn ensure(world: &World, storage: &dyn Storage) -> Result<()> {
    match (storage.id()?, remembered(world, storage.name())?) {
        (found, Some(known)) => same(world, storage.name(), found.as_deref(), &known),
        (Some(found), None) => unless_renamed(world, storage, &found),
        (None, None) => {
            let id = storage.initialize()?;
            remember(world, storage, &id)
        }
    }
}

/// The same question for whoever is about to write nothing: is what lies there what the catalog remembers, if it remembers anything?
pub fn look(world: &World, storage: &dyn Storage) -> Result<()> {
    let found = storage.id()?;
    remembered(world, storage.name())?.map_or(Ok(()), |known| same(world, storage.name(), found.as_deref(), &known))
}

/// Refuses where the marker that was found is not the one that is known.
fn same(world: &World, name: &str, found: Option<&str>, known: &str) -> Result<()> {
    match found {
        Some(found) if found == known => Ok(()),
        Some(found) => Err(another(world, name, found, known)?),
        None => Err(Failure::new(Cause::NotMounted, format!("storage {name:?} has no marker file: not mounted?"))
            .hint(format!("mount it; if the disk was replaced by an empty one on purpose, run `pgdumpd doctor --accept-storage {name}`"))),
    }
}

/// What is wrong with the storages that these projects' backups go to, by name: not there, another one, or not to be read.
pub fn absent<'a>(world: &World, projects: impl Iterator<Item = &'a Project>) -> BTreeMap<String, Failure> {
    let used: BTreeSet<&str> = projects.filter(|project| project.enabled).map(|project| project.storage.as_str()).collect();
    let storages = used.into_iter().filter_map(|name| world.storages.get(name));
    storages.filter_map(|storage| Some((storage.name().to_owned(), look(world, storage.as_ref()).err()?))).collect()
}

/// A storage that the catalog doesn't know by this name, but perhaps by another.
fn unless_renamed(world: &World, storage: &dyn Storage, found: &str) -> Result<()> {
    let name = storage.name();
    let Some(old) = other_name(world, name, found)?.filter(|old| !world.storages.contains_key(old)) else {
        return remember(world, storage, found);
    };
    renaming::follow(world, When::Running)?;
    if remembered(world, name)?.as_deref() == Some(found) {
        return Ok(());
    }
    let words = format!("the storage {old:?} is to be called {name:?}, but the daemon goes by the old name");
    Err(Failure::new(Cause::Configuration, words).hint(renaming::READ_AGAIN))
}

/// Another storage than the one that was expected under this name.
fn another(world: &World, name: &str, found: &str, known: &str) -> Result<Failure> {
    Ok(match other_name(world, name, found)? {
        Some(other) => Failure::new(
            Cause::NotMounted,
            format!("storage {name:?} is what was storage {other:?} before, by its id {found}; {known} was expected"),
        )
        .hint(format!(
            "mount the right disk; or, if the names were changed on purpose, let the configuration have the folder that was \
             {name:?} as well, under any name, and restart pgdumpd"
        )),
        None => Failure::new(
            Cause::NotMounted,
            format!("storage {name:?} carries the id {found}, but {known} was expected: another disk is mounted there"),
        )
        .hint(format!("mount the right disk, or accept this one with `pgdumpd doctor --accept-storage {name}`")),
    })
}

/// Another name under which the catalog knows a storage of this id.
fn other_name(world: &World, name: &str, id: &str) -> Result<Option<String>> {
    let known = world.catalog.read(|reader| reader.metas(ID))?;
    Ok(known.into_iter().find(|(other, known)| other != name && known == id).map(|(other, _)| other))
}

/// Whether it carries another marker than the one that is remembered under its name: nothing that is missed there is known to be gone.
pub(super) fn is_another(world: &World, storage: &dyn Storage) -> bool {
    let known = remembered(world, storage.name()).ok().flatten();
    known.is_some_and(|known| storage.id().is_ok_and(|found| found.is_some_and(|found| found != known)))
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
    let name = storage.name();
    if other_name(world, name, &id)?.is_some_and(|other| world.storages.contains_key(&other)) {
        // Its backups would be looked for under a name that they don't have.
        let known = remembered(world, name)?.unwrap_or_else(|| String::from("none"));
        return Err(another(world, name, &id, &known)?);
    }
    remember(world, storage, &id)?;
    Ok(id)
}

/// The id that the catalog knows, or the note beside it.
pub(super) fn remembered(world: &World, name: &str) -> Result<Option<String>> {
    // A job goes on under the name it began with.
    let known = world.catalog.read(|reader| match reader.meta(&remembered_key(name))? {
        None => match reader.storage_now(name)?.filter(|now| !world.storages.contains_key(now)) {
            Some(now) => reader.meta(&remembered_key(&now)),
            None => Ok(None),
        },
        known => Ok(known),
    })?;
    let noted = || {
        let text = std::fs::read_to_string(note(world, name)?).ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    };
    Ok(known.or_else(noted))
}

fn remember(world: &World, storage: &dyn Storage, id: &str) -> Result<()> {
    let name = storage.name();
    world.catalog.write(|writer| {
        writer.put_meta(&remembered_key(name), id)?;
        writer.settle_storage_name(name)?;
        renaming::stands(writer, name, storage.place())
    })?;
    put_note(world, name, id);
    Ok(())
}

/// A name that is given up leaves no note: it may be another storage's one day.
pub(super) fn remove_note(world: &World, name: &str) {
    if let Some(path) = note(world, name) {
        drop(std::fs::remove_file(path));
    }
}

pub(super) fn put_note(world: &World, name: &str, id: &str) {
    if let Some(path) = note(world, name)
        && let Err(error) = written(&path, &format!("{id}\n"))
    {
        tracing::warn!("{} can't be written, so only the catalog knows the storage {name:?}: {error}", path.display());
    }
}

fn written(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}

/// The note beside the catalog; `None` for a name that no file can have, and where the catalog is no file.
fn note(world: &World, name: &str) -> Option<PathBuf> {
    let file = names::project_folder(name).ok()?;
    Some(world.catalog.path()?.with_file_name(format!("storage-{file}.id")))
}

fn remembered_key(name: &str) -> String {
    format!("{ID}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::storage::Memory;

    #[test]
    fn a_catalog_in_memory_leaves_no_note_in_the_folder_of_whoever_asks() {
        let world = World::alone(Clock::system()).unwrap();
        let storage = Memory::new("of-a-test");
        ensure(&world, &storage).unwrap();
        let id = remembered(&world, "of-a-test").unwrap();
        assert!(id.is_some() && id == storage.id().unwrap());
        assert!(!Path::new("storage-of-a-test.id").exists());
    }
}
