//! Backups that vanished from a storage without pgdumpd's doing: found by names, noted when a look finds them, kept until somebody is told.

use std::collections::{HashMap, HashSet};

use crate::catalog::{BackupFilter, Page, Reader, Sort, Writer};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::storage::names::{self, Kind};
use crate::storage::{Key, Storage};

use super::{World, mount};

/// Where the note is kept.
const LOST: &str = "backups-lost";

/// What a project's folder and the index say differently, by the names of files alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// Backups of the index that lack their artifact or their manifest.
    pub gone: Vec<BackupRow>,
    /// Artifacts whose manifests the index doesn't know.
    pub new: Vec<String>,
    /// Files that belong to no manifest: a dump that lost its own, or something that isn't pgdumpd's.
    pub loose: Vec<String>,
}

/// Compares the index with what lies in a project's folder. Reads, writes nothing.
pub fn compare(world: &World, storage: &dyn Storage, project: &str) -> Result<Difference> {
    let filter = BackupFilter { storage: Some(storage.name().to_owned()), project: Some(project.to_owned()), ..BackupFilter::default() };
    let rows = world.catalog.read(|reader| reader.backups(&filter, Sort::Date, Page::all()))?;
    let there = storage.names(project)?;
    let known: HashSet<&str> = rows.iter().map(|row| row.file.as_str()).collect();
    let has_manifest = |artifact: &str| there.contains(&names::manifest_file(artifact));
    let mut difference = Difference::default();
    for name in &there {
        match names::kind(name) {
            Kind::Manifest(artifact) if known.contains(artifact.as_str()) => {}
            Kind::Manifest(artifact) => difference.new.push(artifact),
            Kind::Proof(artifact) | Kind::Pin(artifact) | Kind::Accepted(artifact) if has_manifest(&artifact) => {}
            Kind::Other if has_manifest(name) => {}
            _ => difference.loose.push(name.clone()),
        }
    }
    difference.loose.sort();
    difference.gone = rows.into_iter().filter(|row| !there.contains(&row.file) || !has_manifest(&row.file)).collect();
    Ok(difference)
}

/// Looks for the files of one backup after the other; each storage is asked once who it is.
#[derive(Debug)]
pub struct Files<'a> {
    world: &'a World,
    exchanged: HashMap<String, bool>,
}

impl<'a> Files<'a> {
    /// Nothing is looked at yet.
    #[must_use]
    pub fn of(world: &'a World) -> Self {
        Self { world, exchanged: HashMap::new() }
    }

    /// What a backup lacks just now, in words; `None` where its files are there, and where its storage can't be asked.
    pub fn lacks(&mut self, row: &BackupRow) -> Option<String> {
        let storage = self.world.storages.get(&row.storage)?;
        let is_another = || mount::is_another(self.world, storage.as_ref());
        if *self.exchanged.entry(row.storage.clone()).or_insert_with(is_another) {
            return None;
        }
        let key = |file: &str| Key { project: row.project.clone(), file: file.to_owned() };
        let is_gone = |file: &str| storage.size(&key(file)).is_ok_and(|size| size.is_none());
        let manifest = names::manifest_file(&row.file);
        if is_gone(&row.file) {
            Some(format!("the artifact {} is missing", row.file))
        } else {
            is_gone(&manifest).then(|| format!("its manifest {manifest} is missing"))
        }
    }
}

/// The same for a single one.
#[must_use]
pub fn lacks(world: &World, row: &BackupRow) -> Option<String> {
    Files::of(world).lacks(row)
}

/// Adds to the note.
pub fn note(writer: &Writer, rows: Vec<BackupRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut lost = recall(writer)?;
    lost.extend(rows);
    writer.put_meta(LOST, &serde_json::to_string(&lost).unwrap_or_default())
}

/// What nobody has been told of yet.
pub fn recall(reader: &Reader) -> Result<Vec<BackupRow>> {
    Ok(reader.meta(LOST)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Somebody was told.
pub fn forget(writer: &Writer) -> Result<()> {
    writer.remove_meta(LOST)
}
