//! A file that a person named, or a pipe, as the place of one backup: no marker, no folder of a project, nothing left beside it.
//!
//! The two phases are those of every local file; the manifest stays in memory. Several such places share a folder without sweeping each
//! other's unfinished files or waiting for each other's locks: each has a scope.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::FlockOperation;

use super::folder::Folder;
use super::pending::LocalPending;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::storage::{Entry, InUse, Key, Pending, Scratch, Storage, Use, names, unfinished_prefix};

/// What the scratch folders and locks of pipes are called by; nobody else's are swept.
const PIPE: &str = "pipe";

/// What a dump is called that has to be proven before it gets its name, and what tells of its proof until then.
const UNPROVEN: &str = "unproven";
const PROOF: &str = "proof";

/// So many digits of a checksum are a file's scope.
pub const SCOPE: usize = 12;

/// Whether a lock is called as those of single files and pipes are.
fn is_scope(scope: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    scope.starts_with(PIPE) || (scope.len() == SCOPE && scope.bytes().all(is_hex))
}

/// Whether a file is called as one that tells of a proven dump and had not got its name yet when its run was killed.
#[must_use]
pub fn is_held_proof(name: &str) -> bool {
    let scoped = name.strip_prefix(names::OWN).and_then(|rest| rest.strip_prefix("tmp-")?.split_once('-'));
    scoped.is_some_and(|(scope, rest)| is_scope(scope) && rest.starts_with(&format!("{PROOF}-")))
}

/// One file, or standard output.
#[derive(Debug, Clone)]
pub struct Loose {
    /// Where the file lies, or the scratch of a pipe.
    folder: PathBuf,
    /// The file's name; none for standard output.
    file: Option<String>,
    /// The one that it gets once it is proven.
    proven: Option<String>,
    scope: String,
    replaces: bool,
    outdated: Vec<String>,
    small: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Loose {
    /// A file in a folder that is there and no link. `scope` (letters and digits) is shared by all that must not run at once; `replaces`
    /// puts it in the place of one that has the name already.
    #[must_use]
    pub fn file(folder: &Path, file: &str, scope: &str, replaces: bool) -> Self {
        let (file, scope) = (Some(file.to_owned()), scope.to_owned());
        Self { folder: folder.to_path_buf(), file, proven: None, scope, replaces, outdated: Vec::new(), small: Arc::default() }
    }

    /// Files beside it that are about the one it replaces: they go when that does.
    #[must_use]
    pub fn outdating(self, outdated: Vec<String>) -> Self {
        Self { outdated, ..self }
    }

    /// Gives the file its name only once [`Self::prove`] says so: until then it is an unfinished one.
    pub fn to_be_proven(self) -> Result<Self> {
        let unproven = format!("{}{}", self.prefix(Some(UNPROVEN))?, RunId::random());
        Ok(Self { file: Some(unproven), proven: self.file, ..self })
    }

    /// Where it all lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the file lies that is to be proven.
    #[must_use]
    pub fn unproven(&self) -> Option<PathBuf> {
        self.file.as_ref().filter(|_| self.proven.is_some()).map(|file| self.folder.join(file))
    }

    /// Gives a proven file its name, and then what tells of it (`beside`) its own. That is whole under a temporary name before: what is
    /// killed between the two is put right by whoever asks for [`Self::held_proofs`].
    pub fn prove(&self, beside: &str, bytes: &[u8]) -> Result<()> {
        let (Some(file), Some(proven)) = (&self.file, &self.proven) else { return self.put_beside(beside, bytes) };
        let told = self.begin_file(beside, PROOF)?;
        told.hold(bytes)?;
        let folder = self.root()?;
        folder.sync()?;
        folder.rename_new(file, proven)?;
        folder.sync().and_then(|()| told.take_name()).inspect_err(|_| {
            // Whether the names would be there after a power cut is unknown: they must not be there now either.
            let _told_already = folder.remove(beside).and_then(|()| folder.remove(proven));
        })
    }

    /// What tells of dumps of this scope that were proven, and has no name of its own yet, with what it says; only while holding its lock.
    pub fn held_proofs(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let (root, prefix) = (self.root()?, self.prefix(Some(PROOF))?);
        let mut found = Vec::new();
        for name in root.names()?.into_iter().filter(|name| name.starts_with(&prefix)) {
            let Some((mut file, _)) = root.read(&name)? else { continue };
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(|error| Failure::storage(format!("reading {name}"), &error))?;
            found.push((name, bytes));
        }
        Ok(found)
    }

    /// Gives one of them its name.
    pub fn release_proof(&self, held: &str, beside: &str) -> Result<()> {
        let root = self.root()?;
        root.rename_new(held, beside)?;
        root.sync()
    }

    /// Standard output; what has to lie on a disk first lies in `folder`.
    #[must_use]
    pub fn pipe(folder: &Path) -> Self {
        let scope = format!("{PIPE}{}", RunId::random());
        Self { folder: folder.to_path_buf(), file: None, proven: None, scope, replaces: false, outdated: Vec::new(), small: Arc::default() }
    }

    /// Removes the lock's file; only while holding that lock.
    pub fn remove_lock(&self) -> Result<()> {
        self.root()?.remove(&self.lock_name())
    }

    /// Removes what other runs into the same folder have left that were killed, whatever their files were to be called: what is unfinished or
    /// unpacked, and their locks. A lock that somebody still holds, an orphaned child among them, stays with all that belongs to it; so does
    /// what other users own, and what tells of a proven dump.
    pub fn sweep_others(&self) -> Result<Vec<String>> {
        let root = self.root()?;
        let (begins, own) = (format!("{}lock-", names::OWN), self.lock_name());
        let me = rustix::process::geteuid().as_raw();
        let mut swept = Vec::new();
        for name in root.names()?.into_iter().filter(|name| *name != own) {
            let Some(scope) = name.strip_prefix(&begins).filter(|scope| is_scope(scope)) else { continue };
            let Ok(Some((lock, _))) = root.read(&name) else { continue };
            let is_ours = lock.metadata().is_ok_and(|facts| facts.uid() == me);
            if !is_ours || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            swept.extend(root.sweep_but(&format!("{}tmp-{scope}-", names::OWN), &is_held_proof)?);
            root.remove(&name)?;
            swept.push(name);
        }
        Ok(swept)
    }

    /// Makes sure that bytes are there as a whole under this name beside the file.
    pub fn put_beside(&self, file: &str, bytes: &[u8]) -> Result<()> {
        self.begin_file(file, "put")?.replace(bytes)
    }

    fn root(&self) -> Result<Folder> {
        Folder::root(&self.folder)?.ok_or_else(|| {
            Failure::new(Cause::Storage, format!("the folder {} doesn't exist", self.folder.display())).hint("make it, or name another")
        })
    }

    fn lock_name(&self) -> String {
        format!("{}lock-{}", names::OWN, self.scope)
    }

    /// `.pgdumpd-tmp-SCOPE-`, and the run where one is named.
    fn prefix(&self, run: Option<&str>) -> Result<String> {
        let of_run = unfinished_prefix(run)?;
        let rest = of_run.strip_prefix(names::OWN).and_then(|rest| rest.strip_prefix("tmp-")).unwrap_or_default();
        Ok(format!("{}tmp-{}-{rest}", names::OWN, self.scope))
    }

    fn begin_file(&self, file: &str, run: &str) -> Result<LocalPending> {
        let folder = self.root()?;
        let name = format!("{}{}", self.prefix(Some(run))?, RunId::random());
        let Some(opened) = folder.create(&name)? else {
            return Err(Failure::new(Cause::Storage, format!("{name} is there already, under a name that chance should not meet")));
        };
        let path = self.folder.clone();
        let key = Key { project: String::new(), file: file.to_owned() };
        let pending = LocalPending::new(Box::new(move || Folder::root(&path)), folder, key, name, opened);
        Ok(if self.replaces { pending.replacing() } else { pending })
    }

    fn is_small(key: &Key) -> bool {
        !matches!(names::kind(&key.file), names::Kind::Other)
    }

    fn pipe_only() -> Failure {
        Failure::new(Cause::Storage, "what was written to standard output can't be read again").hint("write to a file: --output FILE")
    }
}

/// Bytes for a small file that stays in memory.
struct Kept {
    name: String,
    bytes: Vec<u8>,
    small: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Pending for Kept {
    fn commit(self: Box<Self>) -> Result<()> {
        self.small.lock().insert(self.name, self.bytes);
        Ok(())
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// Standard output: what has gone is gone, and only the exit code tells whether it was whole.
struct Pipe(File);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Pending for Pipe {
    fn commit(self: Box<Self>) -> Result<()> {
        Ok(())
    }

    fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Storage for Loose {
    fn name(&self) -> &'static str {
        "output"
    }

    fn place(&self) -> String {
        self.file.as_ref().map_or_else(|| String::from("standard output"), |_| self.folder.display().to_string())
    }

    fn id(&self) -> Result<Option<String>> {
        Ok(Some(self.scope.clone()))
    }

    fn initialize(&self) -> Result<String> {
        Ok(self.scope.clone())
    }

    fn begin(&self, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        if Self::is_small(key) {
            return Ok(Box::new(Kept { name: key.file.clone(), bytes: Vec::new(), small: Arc::clone(&self.small) }));
        }
        match &self.file {
            Some(file) => Ok(Box::new(self.begin_file(file, run)?.outdating(self.outdated.clone()))),
            None => {
                let output = std::io::stdout().as_fd().try_clone_to_owned();
                Ok(Box::new(Pipe(output.map_err(|error| Failure::storage("opening standard output", &error))?.into())))
            }
        }
    }

    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>> {
        self.get_range(key, 0..u64::MAX)
    }

    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let length = range.end.saturating_sub(range.start);
        if Self::is_small(key) {
            let mut bytes = Cursor::new(self.small.lock().get(&key.file).cloned().unwrap_or_default());
            bytes.set_position(range.start);
            return Ok(Box::new(bytes.take(length)));
        }
        let file = self.file.as_ref().ok_or_else(Self::pipe_only)?;
        let Some((mut opened, _)) = self.root()?.read(file)? else {
            return Err(Failure::new(Cause::Storage, format!("reading {}: no such file", self.folder.join(file).display())));
        };
        opened.seek(SeekFrom::Start(range.start)).map_err(|error| Failure::storage(format!("reading {file}"), &error))?;
        Ok(Box::new(opened.take(length)))
    }

    fn size(&self, key: &Key) -> Result<Option<u64>> {
        if Self::is_small(key) {
            return Ok(self.small.lock().get(&key.file).map(|bytes| bytes.len() as u64));
        }
        match &self.file {
            Some(file) => self.root()?.size(file),
            None => Ok(None),
        }
    }

    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.small.lock().insert(key.file.clone(), bytes.to_vec());
        Ok(())
    }

    fn list(&self, _project: &str) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn projects(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn mark(&self, _key: &Key, _wanted: Use) -> Result<Option<InUse>> {
        // Nobody else removes anything from it.
        Ok(Some(InUse::nothing()))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        match &self.file {
            Some(file) if !Self::is_small(key) => self.root()?.remove(file),
            _ => {
                self.small.lock().remove(&key.file);
                Ok(())
            }
        }
    }

    fn scratch(&self, _project: &str, run: &str) -> Result<Scratch> {
        let folder = self.root()?;
        let name = format!("{}{}", self.prefix(Some(run))?, RunId::random());
        folder.make(&name)?;
        Ok(Scratch::new(self.folder.join(name)))
    }

    fn unfinished(&self, _project: &str) -> Result<Vec<String>> {
        let prefix = self.prefix(None)?;
        Ok(self.root()?.names()?.into_iter().filter(|name| name.starts_with(&prefix)).collect())
    }

    fn sweep(&self, _project: &str, run: Option<&str>) -> Result<Vec<String>> {
        self.root()?.sweep(&self.prefix(run)?)
    }

    fn free_space(&self) -> Result<Option<u64>> {
        self.file.as_ref().map(|_| self.root()?.free_space()).transpose()
    }

    fn lock_file(&self, _project: &str) -> Result<PathBuf> {
        self.root()?;
        Ok(self.folder.join(self.lock_name()))
    }
}
