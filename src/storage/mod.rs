//! Where backups lie: one trait, two-phase writing, and names that can't leave their folder.
//!
//! A storage knows names and bytes, not what they mean; deciding what to write or delete is the verbs' work.

pub mod names;

#[cfg(test)]
mod conformance;
mod local;
mod memory;
mod scratch;

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use crate::process::{InUse, Use};
pub use local::{Given, Local, Loose, SCOPE, is_held_proof};
pub use memory::Memory;
pub use scratch::Scratch;

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::settings::StorageSettings;

/// The storage that settings describe. Nothing is touched yet.
#[must_use]
pub fn open(name: &str, settings: &StorageSettings, clock: &Clock) -> Arc<dyn Storage> {
    match settings {
        StorageSettings::Local { path, reserve } => Arc::new(Local::new(name, path, *reserve, clock)),
    }
}

/// A file of a project: the raw project name (encoded by the storage) and a safe file name made by `storage::names`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Project name as configured.
    pub project: String,
    /// File name within the project's folder.
    pub file: String,
}

/// One stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its length, bytes.
    pub size: u64,
}

/// A file being written. Dropping it without [`Pending::commit`] removes what was written.
pub trait Pending: Write + Send {
    /// What has been written, to be read again from its start before it has its final name; none where the bytes are gone already, or can be
    /// read only afterwards.
    fn written(&self) -> Result<Option<Box<dyn Read + Send>>> {
        Ok(None)
    }
    /// Makes the bytes durable under their final name, which must not exist yet.
    fn commit(self: Box<Self>) -> Result<()>;
    /// Removes what was written.
    fn abort(self: Box<Self>) -> Result<()>;
}

/// A place for backups.
pub trait Storage: Send + Sync + Debug {
    /// The name in the configuration.
    fn name(&self) -> &str;
    /// The id in the marker file; `None` where there is no marker (not mounted, or never used).
    fn id(&self) -> Result<Option<String>>;
    /// Makes the root and its marker, for a storage that has never been used; refuses a folder that isn't empty. Returns the new id.
    fn initialize(&self) -> Result<String>;
    /// Fails where it has no marker and holds what isn't ours, so that [`Storage::initialize`] would refuse it; touches nothing.
    fn takeable(&self) -> Result<()> {
        Ok(())
    }
    /// Begins a file. `run` names the temporary file, so that debris can be told from a living run's work.
    fn begin(&self, key: &Key, run: &str) -> Result<Box<dyn Pending>>;
    /// Reads a file from its start.
    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>>;
    /// Reads a part of a file.
    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>>;
    /// The length of a file, or `None` where it doesn't exist.
    fn size(&self, key: &Key) -> Result<Option<u64>>;
    /// Replaces a small file (a proof, a pin) as a whole, or makes it.
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()>;
    /// All files of a project with a final name; empty where the project has no folder. Unfinished files are not listed.
    fn list(&self, project: &str) -> Result<Vec<Entry>>;
    /// The same files' names alone, which may cost less.
    fn names(&self, project: &str) -> Result<HashSet<String>> {
        Ok(self.list(project)?.into_iter().map(|entry| entry.key.file).collect())
    }
    /// The projects that have a folder.
    fn projects(&self) -> Result<Vec<String>>;
    /// Marks a file as being read (by many at once) or as about to be removed (by one alone) until the mark is dropped or the process ends;
    /// `None` where somebody else's use forbids it. A file that isn't there can be marked, which keeps nothing.
    fn mark(&self, key: &Key, wanted: Use) -> Result<Option<InUse>>;
    /// Deletes a file durably; one that is gone already is fine.
    fn delete(&self, key: &Key) -> Result<()>;
    /// An empty folder with the space of this storage, for the parts of a run's artifact; it counts as one of the run's unfinished files.
    fn scratch(&self, project: &str, run: &str) -> Result<Scratch>;
    /// The names of a project's unfinished files, also of those that somebody is writing.
    fn unfinished(&self, project: &str) -> Result<Vec<String>>;
    /// Removes a project's unfinished files, of one run or of all, and scratch that nobody works in; returns their names. Call it only while
    /// holding the project's lock.
    fn sweep(&self, project: &str, run: Option<&str>) -> Result<Vec<String>>;
    /// Bytes that can still be written; `None` where there is no such bound.
    fn free_space(&self) -> Result<Option<u64>>;
    /// Whether it can be written, as far as can be told without doing so.
    fn writable(&self) -> Result<()> {
        Ok(())
    }
    /// Where it is, for people: `/var/backups/pgdumpd`.
    fn place(&self) -> String;
    /// Where the project's lock file lies; the folder is made if missing.
    fn lock_file(&self, project: &str) -> Result<PathBuf>;
    /// The very file or folder where this is nothing else than one dump that a person named; tools may be pointed at it.
    fn lies_at(&self) -> Option<&Path> {
        None
    }
}

/// Lets only such keys pass as pgdumpd makes: a file name from outside that isn't one of those is refused, not corrected.
fn checked(key: &Key) -> Result<&Key> {
    if names::is_safe(&key.file) {
        return Ok(key);
    }
    Err(Failure::new(Cause::UnsafePath, format!("{:?} is no file name of a backup", key.file)))
}

/// What the names of unfinished files begin with: those of one run, or of all.
fn unfinished_prefix(run: Option<&str>) -> Result<String> {
    match run {
        None => Ok(format!("{}tmp-", names::OWN)),
        Some(run) if !run.is_empty() && run.len() <= 64 && run.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(format!("{}tmp-{run}-", names::OWN))
        }
        Some(run) => Err(Failure::new(Cause::UnsafePath, format!("{run:?} is no id of a run"))),
    }
}
