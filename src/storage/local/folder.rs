//! One opened folder. Everything in it is reached through its descriptor and by one plain name, so that no link is ever followed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::error::{Cause, Failure, Result};
use crate::process::{InUse, Use};

/// A folder below which nothing is followed.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// What stands in a folder.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) is_folder: bool,
    pub(super) size: u64,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the root; `None` where it doesn't exist. The path leads through links as its owner has set them, but must not end in one.
    pub(super) fn root(path: &Path) -> Result<Option<Self>> {
        // Without a slash at the end, which would lead through a link after all.
        let path: PathBuf = path.components().collect();
        match rustix::fs::open(&path, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(unopened(&path, error)),
        }
    }

    /// Opens a folder within; `None` where it doesn't exist.
    pub(super) fn open(&self, name: &str) -> Result<Option<Self>> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.fd, name, FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(unopened(&path, error)),
        }
    }

    /// Opens a folder within, made for its owner alone if missing.
    pub(super) fn open_or_make(&self, name: &str) -> Result<Self> {
        if let Some(folder) = self.open(name)? {
            return Ok(folder);
        }
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => self.sync()?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failure("making", name, error)),
        }
        self.open(name)?.ok_or_else(|| self.failure("opening", name, Errno::NOENT))
    }

    /// Opens a plain file for reading; `None` where it doesn't exist.
    pub(super) fn read(&self, name: &str) -> Result<Option<(File, u64)>> {
        // NONBLOCK so that a pipe somebody put there can't hold us; it means nothing to a plain file.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failure("opening", name, error)),
        };
        let facts = rustix::fs::fstat(&file).map_err(|error| self.failure("looking at", name, error))?;
        self.plain(name, &facts)?;
        Ok(Some((file, facts.st_size as u64)))
    }

    /// Makes a file that must not exist yet, for its owner alone.
    pub(super) fn create(&self, name: &str) -> Result<Option<File>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(self.failure("making", name, error)),
        }
    }

    /// The length of a plain file; `None` where it doesn't exist.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => self.plain(name, &facts).map(|()| Some(facts.st_size as u64)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failure("looking at", name, error)),
        }
    }

    /// Marks a file as in use; `None` where another use forbids it.
    pub(super) fn mark(&self, name: &str, wanted: Use) -> Result<Option<InUse>> {
        let open = |access: OFlags| {
            let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            rustix::fs::openat(&self.fd, name, flags, Mode::empty())
        };
        let opened = match wanted {
            Use::Reading => open(OFlags::RDONLY),
            // On a network file system only who may write may lock others out; elsewhere it makes no difference.
            Use::Removing => open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)),
        };
        let file = match opened {
            Ok(fd) => fd,
            // A link that stands there is removed itself, and nobody reads through it.
            Err(Errno::NOENT | Errno::LOOP) => return Ok(Some(InUse::nothing())),
            Err(error) => return Err(self.failure("opening", name, error)),
        };
        InUse::mark(file, wanted).map_err(|error| self.failure("locking", name, error))
    }

    /// Removes a file, if it is there. A link is removed itself.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failure("removing", name, error)),
        }
    }

    /// Makes a folder that must not exist yet, for its owner alone.
    pub(super) fn make(&self, name: &str) -> Result<bool> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(self.failure("making", name, error)),
        }
    }

    /// Removes a folder with all that is in it, if it is there, unless somebody works in it; whether it did. Links in it are removed themselves.
    fn remove_unused_tree(&self, name: &str) -> Result<bool> {
        match self.mark(name, Use::Removing)? {
            Some(_alone) => self.remove_tree(name).map(|()| true),
            None => Ok(false),
        }
    }

    /// The same, whoever works in it.
    fn remove_tree(&self, name: &str) -> Result<()> {
        let Some(folder) = self.open(name)? else { return Ok(()) };
        for found in folder.list()? {
            if found.is_folder { folder.remove_tree(&found.name)? } else { folder.remove(&found.name)? }
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failure("removing", name, error)),
        }
    }

    /// Removes what begins like this, files, and folders that nobody works in; returns their names.
    pub(super) fn sweep(&self, prefix: &str) -> Result<Vec<String>> {
        self.sweep_but(prefix, &|_| false)
    }

    /// The same, except for what is to be kept.
    pub(super) fn sweep_but(&self, prefix: &str, kept: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        for found in self.list()?.into_iter().filter(|found| found.name.starts_with(prefix) && !kept(&found.name)) {
            let removed = if found.is_folder { self.remove_unused_tree(&found.name)? } else { self.remove(&found.name).map(|()| true)? };
            swept.extend(removed.then_some(found.name));
        }
        if !swept.is_empty() {
            self.sync()?;
        }
        Ok(swept)
    }

    /// Gives a file its final name, which must not be taken.
    pub(super) fn rename_new(&self, from: &str, to: &str) -> Result<()> {
        let done = match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // Some network and foreign file systems lack it. A hard link refuses a taken name just as well.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rustix::fs::linkat(&self.fd, from, &self.fd, to, AtFlags::empty())
                .and_then(|()| rustix::fs::unlinkat(&self.fd, from, AtFlags::empty())),
            done => done,
        };
        done.map_err(|error| self.failure("giving its final name to", to, error))
    }

    /// Puts a file in the place of another.
    pub(super) fn rename_over(&self, from: &str, to: &str) -> Result<()> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(|error| self.failure("replacing", to, error))
    }

    /// Makes names durable.
    pub(super) fn sync(&self) -> Result<()> {
        let failed =
            |error: Errno| explained(Failure::storage(format!("syncing the folder {}", self.path.display()), &error.into()), error);
        rustix::fs::fsync(&self.fd).map_err(failed)
    }

    /// Everything in it, in no order. Names that aren't UTF-8 come with their bad bytes replaced: to be told, not to be opened.
    pub(super) fn list(&self) -> Result<Vec<Found>> {
        let failed = |error: Errno| Failure::storage(format!("listing {}", self.path.display()), &error.into());
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let facts = match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(facts) => facts,
                // Removed meanwhile.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed(error)),
            };
            let is_folder = FileType::from_raw_mode(facts.st_mode) == FileType::Directory;
            found.push(Found { name: name.to_string_lossy().into_owned(), is_folder, size: facts.st_size as u64 });
        }
        Ok(found)
    }

    /// The names alone, at a third of the cost.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let failed = |error: Errno| Failure::storage(format!("listing {}", self.path.display()), &error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// Whether this process may write into it, as far as can be told without doing so: by its rights, and by how its file system is mounted.
    pub(super) fn writable(&self) -> Result<()> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        rustix::fs::accessat(&self.fd, ".", wanted, AtFlags::EACCESS).map_err(|error| self.failure("writing into", "", error))
    }

    /// Whether both descriptors lead to one folder.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let id = |folder: &Self| rustix::fs::fstat(&folder.fd).map(|facts| (facts.st_dev, facts.st_ino)).ok();
        id(self).is_some() && id(self) == id(other)
    }

    /// Bytes that this process may still write on its file system.
    pub(super) fn free_space(&self) -> Result<u64> {
        let facts = rustix::fs::fstatvfs(self.fd.as_fd())
            .map_err(|error| Failure::storage(format!("asking for the free space of {}", self.path.display()), &error.into()))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failure(&self, doing: &str, name: &str, error: Errno) -> Failure {
        explained(Failure::storage(format!("{doing} {}", self.path.join(name).display()), &error.into()), error)
    }

    fn plain(&self, name: &str, facts: &Stat) -> Result<()> {
        if FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile {
            return Ok(());
        }
        Err(Failure::new(Cause::UnsafePath, format!("{} is no plain file", self.path.join(name).display()))
            .hint("look who put it there, and move it away"))
    }
}

fn unopened(path: &Path, error: Errno) -> Failure {
    let failure = Failure::storage(format!("opening the folder {}", path.display()), &error.into());
    if failure.cause == Cause::UnsafePath {
        return failure.hint("a symbolic link or a file stands where a folder is expected; nothing is read or written through it");
    }
    explained(failure, error)
}

/// What to do about the usual refusals.
pub(super) fn explained(failure: Failure, error: Errno) -> Failure {
    match error {
        Errno::ACCESS | Errno::PERM => {
            failure.hint("the user that runs pgdumpd must own the storage; run it as that user, or chown the folder")
        }
        Errno::ROFS => failure.hint("the file system is mounted read-only; look into the kernel log, and mount it again for writing"),
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => failure.hint("free some space, or let the retention keep less"),
        Errno::IO => failure.hint("the disk reports errors; look into the kernel log (dmesg)"),
        _ => failure,
    }
}
