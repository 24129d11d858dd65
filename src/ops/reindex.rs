//! Rebuilds the catalog's index of backups from what lies in the storages: manifests, proofs and pins are the truth.

use crate::error::{Failure, Result};
use crate::manifest;
use crate::model::backup::BackupRow;
use crate::storage::Storage;

use super::{World, mount};

/// What a look through the storages found.
#[derive(Debug, Default)]
pub struct Reindexed {
    /// Backups indexed.
    pub backups: usize,
    /// Files that are not ours, as `STORAGE/PROJECT/FILE`; reported, never touched.
    pub unknown: Vec<String>,
    /// Manifests that could not be used, and storages that could not be read.
    pub problems: Vec<Failure>,
}

/// Reads every storage that is there and replaces its part of the index. A storage that can't be read keeps what the index knew of it.
pub fn reindex(world: &World) -> Result<Reindexed> {
    let mut seen = Reindexed::default();
    let mut whole = true;
    for (name, storage) in world.storages.iter() {
        let read = mount::ensure(world, storage.as_ref()).and_then(|()| read_storage(name, storage.as_ref(), &mut seen));
        match read {
            Ok(rows) => {
                seen.backups += rows.len();
                world.catalog.write(|writer| writer.replace_storage(name, &rows))?;
            }
            Err(failure) => {
                whole = false;
                seen.problems.push(failure.context(format!("reading storage {name:?}")));
            }
        }
    }
    if whole {
        world.catalog.write(|writer| writer.reindexed())?;
    }
    Ok(seen)
}

fn read_storage(name: &str, storage: &dyn Storage, seen: &mut Reindexed) -> Result<Vec<BackupRow>> {
    let mut rows = Vec::new();
    for project in storage.projects()? {
        let scan = manifest::scan(storage, &project)?;
        seen.unknown.extend(scan.unknown.iter().map(|file| format!("{name}/{project}/{file}")));
        seen.problems.extend(scan.problems);
        rows.extend(scan.backups.iter().map(|found| found.row(name)));
    }
    Ok(rows)
}
