//! A storage in memory: the second implementation that keeps the trait honest, and the one that tests of higher floors use.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Entry, InUse, Key, Pending, Scratch, Storage, Use, checked, names};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;

/// A storage in memory. Clones share their contents.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    id: Option<String>,
    files: BTreeMap<Key, Arc<Vec<u8>>>,
    /// By project and temporary name.
    unfinished: BTreeMap<(String, String), Vec<u8>>,
    begun: u64,
    /// Lock files are real: their holders are processes.
    folder: Option<PathBuf>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(folder) = &self.contents.get_mut().folder {
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

impl Memory {
    /// A storage that has never been used.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), shared: Arc::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Contents) -> Result<T>) -> Result<T> {
        let mut contents = self.shared.contents.lock();
        if contents.id.is_none() {
            return Err(Failure::new(Cause::NotMounted, format!("the storage {} has never been used", self.name)));
        }
        work(&mut contents)
    }

    fn file(&self, key: &Key) -> Result<Arc<Vec<u8>>> {
        checked(key)?;
        self.with(|contents| match contents.files.get(key) {
            Some(bytes) => Ok(Arc::clone(bytes)),
            None => Err(Failure::new(Cause::Storage, format!("reading {} of {}: no such file", key.file, key.project))),
        })
    }
}

struct MemoryPending {
    storage: Memory,
    key: Key,
    place: (String, String),
}

impl Write for MemoryPending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut contents = self.storage.shared.contents.lock();
        let file = contents.unfinished.get_mut(&self.place).ok_or(std::io::ErrorKind::NotFound)?;
        file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pending for MemoryPending {
    fn commit(self: Box<Self>) -> Result<()> {
        self.storage.with(|contents| {
            if contents.files.contains_key(&self.key) {
                return Err(Failure::new(Cause::Storage, format!("storing {}: there is one already", self.key.file)));
            }
            let Some(bytes) = contents.unfinished.remove(&self.place) else {
                return Err(Failure::new(Cause::Storage, format!("storing {}: what was written is gone", self.key.file)));
            };
            contents.files.insert(self.key.clone(), Arc::new(bytes));
            Ok(())
        })
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for MemoryPending {
    fn drop(&mut self) {
        self.storage.shared.contents.lock().unfinished.remove(&self.place);
    }
}

impl Storage for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        String::from("memory")
    }

    fn id(&self) -> Result<Option<String>> {
        Ok(self.shared.contents.lock().id.clone())
    }

    fn initialize(&self) -> Result<String> {
        let mut contents = self.shared.contents.lock();
        if contents.id.is_some() {
            return Err(Failure::new(Cause::Storage, format!("the storage {} has been made before", self.name)));
        }
        let id = RunId::random().0;
        contents.id = Some(id.clone());
        Ok(id)
    }

    fn begin(&self, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        checked(key)?;
        let place = self.with(|contents| {
            contents.begun += 1;
            let place = (key.project.clone(), format!("{}{}", super::unfinished_prefix(Some(run))?, contents.begun));
            contents.unfinished.insert(place.clone(), Vec::new());
            Ok(place)
        })?;
        Ok(Box::new(MemoryPending { storage: self.clone(), key: key.clone(), place }))
    }

    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.file(key)?.to_vec())))
    }

    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let mut cursor = Cursor::new(self.file(key)?.to_vec());
        cursor.set_position(range.start);
        Ok(Box::new(cursor.take(range.end.saturating_sub(range.start))))
    }

    fn size(&self, key: &Key) -> Result<Option<u64>> {
        checked(key)?;
        self.with(|contents| Ok(contents.files.get(key).map(|bytes| bytes.len() as u64)))
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        checked(key)?;
        self.with(|contents| {
            contents.files.insert(key.clone(), Arc::new(bytes.to_vec()));
            Ok(())
        })
    }

    fn list(&self, project: &str) -> Result<Vec<Entry>> {
        self.with(|contents| {
            let of_project = contents.files.iter().filter(|(key, _)| key.project == project);
            Ok(of_project.map(|(key, bytes)| Entry { key: key.clone(), size: bytes.len() as u64 }).collect())
        })
    }

    fn projects(&self) -> Result<Vec<String>> {
        self.with(|contents| {
            let mut projects: Vec<String> = contents.files.keys().map(|key| key.project.clone()).collect();
            projects.dedup();
            Ok(projects)
        })
    }

    fn mark(&self, key: &Key, wanted: Use) -> Result<Option<InUse>> {
        checked(key)?;
        if self.size(key)?.is_none() {
            return Ok(Some(InUse::nothing()));
        }
        // Like the lock file it is a real one.
        let place = self.lock_file(&key.project)?.with_extension(&key.file);
        let failed = |error: std::io::Error| Failure::storage(format!("marking {}", place.display()), &error);
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&place).map_err(failed)?;
        InUse::mark(file.into(), wanted).map_err(|error| failed(error.into()))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        checked(key)?;
        self.with(|contents| {
            contents.files.remove(key);
            Ok(())
        })
    }

    fn scratch(&self, project: &str, run: &str) -> Result<Scratch> {
        let name = format!("{}{}", super::unfinished_prefix(Some(run))?, RunId::random());
        let folder = self.lock_file(project)?.with_extension("scratch").join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder);
        made.map_err(|error| Failure::storage(format!("making {}", folder.display()), &error))?;
        Ok(Scratch::new(folder))
    }

    fn unfinished(&self, project: &str) -> Result<Vec<String>> {
        self.with(|contents| Ok(contents.unfinished.keys().filter(|(of, _)| of == project).map(|(_, name)| name.clone()).collect()))
    }

    fn sweep(&self, project: &str, run: Option<&str>) -> Result<Vec<String>> {
        let prefix = super::unfinished_prefix(run)?;
        let scratches = self.lock_file(project)?.with_extension("scratch");
        for debris in std::fs::read_dir(scratches).into_iter().flatten().flatten() {
            if debris.file_name().to_string_lossy().starts_with(&prefix) && super::scratch::is_left(&debris.path()) {
                drop(std::fs::remove_dir_all(debris.path()));
            }
        }
        self.with(|contents| {
            let swept: Vec<_> =
                contents.unfinished.keys().filter(|(of, name)| of == project && name.starts_with(&prefix)).cloned().collect();
            for place in &swept {
                contents.unfinished.remove(place);
            }
            Ok(swept.into_iter().map(|(_, name)| name).collect())
        })
    }

    fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn lock_file(&self, project: &str) -> Result<PathBuf> {
        let name = names::project_folder(project)?;
        self.with(|contents| {
            if contents.folder.is_none() {
                let folder = std::env::temp_dir().join(format!("pgdumpd-memory-{}", RunId::random()));
                let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
                made.map_err(|error| Failure::storage(format!("making {}", folder.display()), &error))?;
                contents.folder = Some(folder);
            }
            Ok(contents.folder.clone().unwrap_or_default().join(name))
        })
    }
}
