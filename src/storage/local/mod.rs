//! A storage in a folder of this machine, with a marker file that says that it is the one and that it is mounted.
//!
//! Every operation starts at the root and looks at the marker: below a mount point without its disk nothing is read, written or missed.

mod folder;
mod given;
mod loose;
mod pending;

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use self::given::Given;
pub use self::loose::{Loose, SCOPE, is_held_proof};

use self::folder::Folder;
use self::pending::LocalPending;
use super::{Entry, InUse, Key, Pending, Scratch, Storage, Use, checked, names, unfinished_prefix};
use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;

/// The marker's name in the root.
const MARKER: &str = ".pgdumpd-storage";

const MARKER_FORMAT: u32 = 1;
const LOCK: &str = ".pgdumpd-lock";

/// A storage in a folder.
#[derive(Debug, Clone)]
pub struct Local {
    name: String,
    path: PathBuf,
    reserve: u64,
    clock: Clock,
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    id: String,
    created: DateTime<Utc>,
}

impl Local {
    /// A storage in the folder `path`; `reserve` bytes of its file system are never counted as free. Nothing is touched yet.
    #[must_use]
    pub fn new(name: &str, path: &Path, reserve: u64, clock: &Clock) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), reserve, clock: clock.clone() }
    }

    /// The root, after a look at the marker.
    fn root(&self) -> Result<Folder> {
        let (path, name) = (self.path.display(), &self.name);
        let Some(root) = Folder::root(&self.path)? else {
            return Err(self.not_mounted(format!("the folder {path} of the storage {name} doesn't exist: not mounted?")));
        };
        match self.marker(&root)? {
            Some(_) => Ok(root),
            None => Err(self.not_mounted(format!("the folder {path} of the storage {name} has no marker file {MARKER}: not mounted?"))),
        }
    }

    fn not_mounted(&self, sentence: String) -> Failure {
        Failure::new(Cause::NotMounted, sentence)
            .hint(format!("mount the disk; if an empty one took its place on purpose, run `pgdumpd doctor --accept-storage {}`", self.name))
    }

    fn marker(&self, root: &Folder) -> Result<Option<Marker>> {
        let Some((file, _)) = root.read(MARKER)? else { return Ok(None) };
        let path = root.path().join(MARKER);
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).map_err(|error| Failure::storage(format!("reading {}", path.display()), &error))?;
        match serde_json::from_str::<Marker>(&text) {
            Ok(marker) if marker.format <= MARKER_FORMAT && !marker.id.is_empty() => Ok(Some(marker)),
            Ok(marker) => Err(self.bad_marker(&path, &format!("format {} is not known to this pgdumpd", marker.format))),
            Err(error) => Err(self.bad_marker(&path, &error.to_string())),
        }
    }

    fn new_marker(&self) -> Marker {
        Marker { format: MARKER_FORMAT, id: RunId::random().0, created: self.clock.now() }
    }

    fn empty(&self, root: &Folder) -> Result<()> {
        let strange = root.list()?.into_iter().find(|found| found.name != "lost+found");
        strange.map_or(Ok(()), |found| Err(self.not_ours(root.path(), &found.name)))
    }

    /// Somebody's folder: whose it is only a person knows.
    fn not_ours(&self, path: &Path, holds: &str) -> Failure {
        let marker = serde_json::to_string(&self.new_marker()).unwrap_or_default();
        let file = path.join(MARKER).display().to_string().replace('\'', "'\\''");
        Failure::new(Cause::Storage, format!("the folder {} isn't empty: it holds {holds:?}", path.display())).hint(format!(
            "give the storage a folder of its own, or move away what is there; if these are its backups and only its marker was lost, \
             write another and accept it with `pgdumpd doctor --accept-storage {}`\n\
             type: printf '%s\\n' '{marker}' >'{file}'",
            self.name
        ))
    }

    fn bad_marker(&self, path: &Path, why: &str) -> Failure {
        Failure::new(Cause::Storage, format!("the marker file {} of the storage {} can't be understood: {why}", path.display(), self.name))
            .hint("restore it from a copy; if the backups beside it are this storage's, an older pgdumpd may have left another format")
    }

    /// The project's folder as the path leads to it now.
    fn folder_now(&self, project: &str) -> Result<Option<Folder>> {
        self.root()?.open(&names::project_folder(project)?)
    }

    /// A new file under a temporary name in a project's folder.
    fn temporary(&self, folder: Folder, key: &Key, run: &str) -> Result<LocalPending> {
        let prefix = unfinished_prefix(Some(run))?;
        for _ in 0..100 {
            // By chance and not by count: a writer that hung and is dropped late must not find a later attempt's file under its name.
            let name = format!("{prefix}{}", RunId::random());
            if let Some(file) = folder.create(&name)? {
                let (storage, project) = (self.clone(), key.project.clone());
                return Ok(LocalPending::new(Box::new(move || storage.folder_now(&project)), folder, key.clone(), name, file));
            }
        }
        Err(Failure::new(
            Cause::Storage,
            format!(
                "{} holds a hundred unfinished files of the run {run} under names that chance should not meet",
                folder.path().display()
            ),
        )
        .hint("they are debris of a crash; a start of pgdumpd serve removes them"))
    }
}

impl Storage for Local {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn id(&self) -> Result<Option<String>> {
        match Folder::root(&self.path)? {
            Some(root) => Ok(self.marker(&root)?.map(|marker| marker.id)),
            None => Ok(None),
        }
    }

    fn initialize(&self) -> Result<String> {
        let path: PathBuf = self.path.components().collect();
        if std::fs::symlink_metadata(&path).is_err() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| {
                let failure = Failure::storage(format!("making the folder {}", path.display()), &error);
                Errno::from_io_error(&error).map_or(failure.clone(), |errno| folder::explained(failure, errno))
            })?;
        }
        let root = Folder::root(&path)?.ok_or_else(|| self.not_mounted(format!("the folder {} has vanished", path.display())))?;
        self.empty(&root)?;
        let marker = self.new_marker();
        let text = serde_json::to_vec_pretty(&marker).map_err(|error| Failure::new(Cause::System, error.to_string()))?;
        let failed = |error: std::io::Error| Failure::storage(format!("writing {}", path.join(MARKER).display()), &error);
        let Some(mut file) = root.create(MARKER)? else {
            return Err(Failure::new(Cause::Storage, format!("another process has just made the storage {}", self.name)));
        };
        let written = file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed).and_then(|()| root.sync());
        if written.is_err() {
            let _told_already = root.remove(MARKER);
        }
        written.map(|()| marker.id)
    }

    fn takeable(&self) -> Result<()> {
        match Folder::root(&self.path)? {
            Some(root) if self.marker(&root)?.is_none() => self.empty(&root),
            _ => Ok(()),
        }
    }

    fn begin(&self, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        checked(key)?;
        let folder = self.root()?.open_or_make(&names::project_folder(&key.project)?)?;
        Ok(Box::new(self.temporary(folder, key, run)?))
    }

    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>> {
        self.get_range(key, 0..u64::MAX)
    }

    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        checked(key)?;
        let file = match self.folder_now(&key.project)? {
            Some(folder) => folder.read(&key.file)?,
            None => None,
        };
        let Some((mut file, _)) = file else {
            let path = self.path.join(names::project_folder(&key.project)?).join(&key.file);
            return Err(Failure::new(Cause::Storage, format!("reading {}: no such file", path.display())));
        };
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start))
                .map_err(|error| Failure::storage(format!("reading {} from byte {}", key.file, range.start), &error))?;
        }
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    fn size(&self, key: &Key) -> Result<Option<u64>> {
        checked(key)?;
        match self.folder_now(&key.project)? {
            Some(folder) => folder.size(&key.file),
            None => Ok(None),
        }
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        checked(key)?;
        let folder = self.root()?.open_or_make(&names::project_folder(&key.project)?)?;
        self.temporary(folder, key, "put")?.replace(bytes)
    }

    fn list(&self, project: &str) -> Result<Vec<Entry>> {
        let Some(folder) = self.folder_now(project)? else { return Ok(Vec::new()) };
        let key = |file: String| Key { project: project.to_owned(), file };
        let finished = folder.list()?.into_iter().filter(|found| !found.name.starts_with(names::OWN));
        let mut entries: Vec<_> = finished.map(|found| Entry { size: found.size, key: key(found.name) }).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
    }

    fn names(&self, project: &str) -> Result<HashSet<String>> {
        let Some(folder) = self.folder_now(project)? else { return Ok(HashSet::new()) };
        Ok(folder.names()?.into_iter().filter(|name| !name.starts_with(names::OWN)).collect())
    }

    fn projects(&self) -> Result<Vec<String>> {
        let folders = self.root()?.list()?.into_iter().filter(|found| found.is_folder);
        let mut projects: Vec<String> = folders.filter_map(|found| names::project_of(&found.name)).collect();
        projects.sort();
        Ok(projects)
    }

    fn mark(&self, key: &Key, wanted: Use) -> Result<Option<InUse>> {
        checked(key)?;
        match self.folder_now(&key.project)? {
            Some(folder) => folder.mark(&key.file, wanted),
            None => Ok(Some(InUse::nothing())),
        }
    }

    fn delete(&self, key: &Key) -> Result<()> {
        checked(key)?;
        match self.folder_now(&key.project)? {
            Some(folder) => folder.remove(&key.file).and_then(|()| folder.sync()),
            None => Ok(()),
        }
    }

    fn scratch(&self, project: &str, run: &str) -> Result<Scratch> {
        let folder = self.root()?.open_or_make(&names::project_folder(project)?)?;
        let name = format!("{}{}", unfinished_prefix(Some(run))?, RunId::random());
        if folder.make(&name)? {
            return Ok(Scratch::new(folder.path().join(name)));
        }
        let place = folder.path().join(name);
        Err(Failure::new(Cause::Storage, format!("{} is there already, under a name that chance should not meet", place.display())))
    }

    fn unfinished(&self, project: &str) -> Result<Vec<String>> {
        let prefix = unfinished_prefix(None)?;
        let Some(folder) = self.folder_now(project)? else { return Ok(Vec::new()) };
        Ok(folder.names()?.into_iter().filter(|name| name.starts_with(&prefix)).collect())
    }

    fn sweep(&self, project: &str, run: Option<&str>) -> Result<Vec<String>> {
        let prefix = unfinished_prefix(run)?;
        let Some(folder) = self.folder_now(project)? else { return Ok(Vec::new()) };
        folder.sweep(&prefix)
    }

    fn free_space(&self) -> Result<Option<u64>> {
        Ok(Some(self.root()?.free_space()?.saturating_sub(self.reserve)))
    }

    fn writable(&self) -> Result<()> {
        let root = self.root()?;
        root.writable()?;
        for project in self.projects()? {
            if let Some(folder) = self.folder_now(&project)? {
                folder.writable()?;
            }
        }
        Ok(())
    }

    fn lock_file(&self, project: &str) -> Result<PathBuf> {
        let folder = self.root()?.open_or_make(&names::project_folder(project)?)?;
        Ok(folder.path().join(LOCK))
    }
}
