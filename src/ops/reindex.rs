//! Rebuilds the catalog's index of backups from what lies in the storages: manifests, proofs and pins are the truth.
//!
//! It takes no lock: jobs go on meanwhile, and what they change while it looks is newer than what it saw.

use std::collections::BTreeSet;

use crate::catalog::{BackupFilter, Page, Sort};
use crate::error::{Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, RunId};
use crate::model::run::{SlotOutcome, SlotRow};
use crate::storage::Storage;

use super::{World, lost, mount};

/// Where a catalog keeps what tells it from one that took its place.
const CATALOG: &str = "catalog-id";

/// What is known of the catalog that is compared with the storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catalog {
    /// It has been kept all the time.
    Kept,
    /// It is new: what the backups say of their slots is all that is known of them.
    New,
    /// It is another than before, perhaps an older copy: what it lists in vain may have been pruned since.
    Exchanged,
}

/// What a look through the storages found.
#[derive(Debug, Default)]
pub struct Reindexed {
    /// Backups indexed.
    pub backups: usize,
    /// The projects they belong to.
    pub projects: BTreeSet<String>,
    /// Files that are not ours, as `STORAGE/PROJECT/FILE`; reported, never touched.
    pub unknown: Vec<String>,
    /// Manifests that could not be used, and storages that could not be read.
    pub problems: Vec<Failure>,
    /// Whether every storage could be read.
    pub whole: bool,
}

/// Reads every storage that is there and brings its part of the index up to date. A storage that can't be read keeps what the index knew
/// of it. Where the catalog is new, the slots that backups served are recorded again, so that none is run twice.
pub fn reindex(world: &World) -> Result<Reindexed> {
    let catalog = if world.catalog.needs_reindex()?.is_some() { Catalog::New } else { Catalog::Kept };
    world.catalog.write(|writer| match writer.meta(CATALOG)? {
        Some(_) => Ok(()),
        None => writer.put_meta(CATALOG, RunId::random().as_str()),
    })?;
    Ok(each(world, |storage, project, seen| read(world, storage, project, catalog, seen)))
}

/// The same where somebody put another catalog in the place of the one that served: nothing that it lists in vain counts as lost.
#[must_use]
pub fn exchanged(world: &World) -> Reindexed {
    each(world, |storage, project, seen| read(world, storage, project, Catalog::Exchanged, seen))
}

/// The same for those projects alone whose folders hold other files than the index says, by their names: somebody removed backups, or brought
/// some, or put an old catalog in the place of the new one.
#[must_use]
pub fn look(world: &World) -> Reindexed {
    each(world, |storage, project, seen| {
        let difference = lost::compare(world, storage, project)?;
        if difference.gone.is_empty() && difference.new.is_empty() { Ok(()) } else { read(world, storage, project, Catalog::Kept, seen) }
    })
}

fn each(world: &World, mut read: impl FnMut(&dyn Storage, &str, &mut Reindexed) -> Result<()>) -> Reindexed {
    let mut seen = Reindexed { whole: true, ..Reindexed::default() };
    for storage in world.storages.values() {
        let storage = storage.as_ref();
        let done = mount::ensure(world, storage).and_then(|()| {
            let mut projects: BTreeSet<String> = storage.projects()?.into_iter().collect();
            // A project whose folder is gone has backups in the index alone.
            projects.extend(world.catalog.read(|reader| reader.totals())?.into_iter().map(|totals| totals.project));
            projects.iter().try_for_each(|project| read(storage, project, &mut seen))
        });
        if let Err(failure) = done {
            seen.whole = false;
            seen.problems.push(failure.context(format!("reading storage {:?}", storage.name())));
        }
    }
    seen
}

fn of(storage: &dyn Storage, project: &str) -> BackupFilter {
    BackupFilter { storage: Some(storage.name().to_owned()), project: Some(project.to_owned()), ..BackupFilter::default() }
}

fn read(world: &World, storage: &dyn Storage, project: &str, catalog: Catalog, seen: &mut Reindexed) -> Result<()> {
    let (name, now) = (storage.name(), world.clock.now());
    let (id, before) =
        world.catalog.read(|reader| Ok((reader.meta(CATALOG)?, reader.backups(&of(storage, project), Sort::Date, Page::all())?)))?;
    let scan = manifest::scan(storage, project)?;
    let rows: Vec<BackupRow> = scan.backups.iter().map(|found| found.row(name)).collect();
    world.catalog.write(|writer| {
        // Lost and made anew since that look: what it held says nothing about this one.
        let same = writer.meta(CATALOG)? == id;
        // What can't be read just now is there all the same, as it was known before.
        let kept: Vec<&BackupRow> = before.iter().filter(|row| same && scan.unread.contains(&row.file)).collect();
        let read = rows.iter().filter(|row| kept.iter().all(|kept| kept.file != row.file));
        let found: Vec<BackupRow> = read.chain(kept.iter().copied()).cloned().collect();
        let gone = writer.merge_project(name, project, if same { &before } else { &[] }, &found)?;
        lost::note(writer, if catalog == Catalog::Exchanged { Vec::new() } else { gone })?;
        rows.iter()
            .filter(|_| catalog == Catalog::New)
            .filter_map(served)
            .filter(|slot| slot.due_at <= now)
            .try_for_each(|slot| writer.record_slot(&slot).map(drop))
    })?;
    seen.unknown.extend(scan.unknown.iter().map(|file| format!("{name}/{project}/{file}")));
    seen.problems.extend(scan.problems);
    seen.backups += rows.len();
    if !rows.is_empty() {
        seen.projects.insert(project.to_owned());
    }
    Ok(())
}

/// The slot that a backup served, as far as its manifest knows.
fn served(row: &BackupRow) -> Option<SlotRow> {
    Some(SlotRow {
        project: row.project.clone(),
        schedule: row.schedule.clone()?,
        due_at: row.slot?,
        until: None,
        count: 1,
        recorded_at: row.finished_at,
        outcome: SlotOutcome::Ok,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use crate::storage::{Key, Memory};

    #[test]
    fn a_manifest_that_can_not_be_read_by_this_pgdumpd_is_not_told_as_lost() {
        let storage = Memory::new("main");
        let world = World::over(&[&storage]);
        mount::ensure(&world, &storage).unwrap();
        let manifest = manifest();
        let (project, artifact) = (manifest.project.clone(), manifest.backup_file.clone());
        storage.put(&Key { project: project.clone(), file: artifact.clone() }, b"rows").unwrap();
        manifest::commit(&storage, &manifest).unwrap();
        assert_eq!(reindex(&world).unwrap().backups, 1);
        let known = || world.catalog.read(|reader| Ok((reader.project_backups(&project)?.len(), lost::recall(reader)?.len()))).unwrap();

        let mut later = serde_json::to_value(&manifest).unwrap();
        later["format"] = 4_000_000_000_u32.into();
        let beside = manifest::key(&project, &artifact);
        storage.put(&beside, later.to_string().as_bytes()).unwrap();
        let seen = reindex(&world).unwrap();
        assert!(seen.problems.iter().any(|problem| problem.message.contains("made by a later pgdumpd")), "{:?}", seen.problems);
        assert_eq!(known(), (1, 0));
        // One that can't be believed is no backup any more, and neither is one that is gone.
        storage.put(&beside, b"{}").unwrap();
        reindex(&world).unwrap();
        assert_eq!(known(), (0, 1));
    }
}
