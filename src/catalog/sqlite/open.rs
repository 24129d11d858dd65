//! Opening the file, and starting anew where it is missing or bad.
//!
//! Opening and setting aside happen under `catalog.lock`, so that of several processes that notice the same loss one makes the new file
//! and the others find it. The file itself is never opened except through SQLite: closing such a descriptor would drop SQLite's locks.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::schema::{self, Prepared};
use super::{Mode, Reader, Shared, Writer, damage, failure};
use crate::error::{Cause, Failure, Result};
use crate::{shell, units};

/// How long another process's transaction is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// A connection, and which file it is to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) file: FileId,
    pub(super) log: Option<FileId>,
}

/// A file beyond its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let facts = std::fs::symlink_metadata(path).ok()?;
        Some(Self { device: facts.dev(), inode: facts.ino() })
    }
}

/// Makes the state folder if it is missing.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::new(Cause::Catalog, format!("the state folder {} can't be made: {error}", folder.display()))
            .hint("make it by hand for the user that runs pgdumpd, or set state_dir to another folder")
    })
}

/// What the catalog needs to be opened and to record something, bytes: with less its disk is full.
const NEEDED: u64 = 256 * 1024;

/// The failure of a catalog whose disk is full, or has no more files to give; `None` where neither is so.
pub(super) fn full(catalog: &Path, doing: &str) -> Option<Failure> {
    let folder = catalog.parent()?;
    let found = rustix::fs::statvfs(folder).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let left = if free < NEEDED {
        format!("{} free", units::show_size(free))
    } else if found.f_files > 0 && found.f_favail == 0 {
        String::from("no more files can be made there")
    } else {
        return None;
    };
    let sentence = format!("the disk of the state folder {} is full ({left}), so the catalog in it failed at {doing}", folder.display());
    Some(Failure::new(Cause::Space, sentence).hint(format!(
        "free some space there (df {}), or move the folder to another disk and set state_dir; what was recorded before is safe",
        shell::word(&folder.display().to_string())
    )))
}

impl Shared {
    /// Opens the file, making it where it is missing. `lost`: it was there before; `left_behind`: the log that belonged to it.
    pub(super) fn open(&self, mode: Mode, lost: bool, left_behind: Option<FileId>) -> Result<Opened> {
        if self.in_memory {
            return self.connect(Mode::Write, "it is kept in memory").map_err(|trouble| match trouble {
                Trouble::Damaged(why) => Failure::new(Cause::Catalog, why),
                Trouble::Other(failure) => failure,
            });
        }
        let _one_at_a_time = self.lock()?;
        let log = with_suffix(&self.path, "-wal");
        if left_behind.is_some() && FileId::of(&log) == left_behind {
            // SQLite would play the old file's log into the new one.
            drop(std::fs::remove_file(&log));
        }
        let because = self.make_if_missing(lost)?;
        match self.connect(mode, &because) {
            Ok(opened) => Ok(opened),
            Err(Trouble::Damaged(why)) => {
                let because = self.move_away(&why)?;
                self.make_if_missing(false)?;
                self.connect(mode, &because).map_err(|trouble| match trouble {
                    Trouble::Damaged(why) => Failure::new(Cause::Catalog, why),
                    Trouble::Other(failure) => failure,
                })
            }
            Err(Trouble::Other(failure)) => Err(failure),
        }
    }

    /// Moves a damaged file aside and leaves a new one with the reason in it, unless another process has done so already.
    pub(super) fn set_aside(&self, file: FileId, why: &str) -> Result<()> {
        let _one_at_a_time = self.lock()?;
        if FileId::of(&self.path) != Some(file) {
            return Ok(());
        }
        let because = self.move_away(why)?;
        self.make_if_missing(false)?;
        match self.connect(Mode::Write, &because) {
            Ok(_) => Ok(()),
            Err(Trouble::Damaged(why)) => Err(Failure::new(Cause::Catalog, why)),
            Err(Trouble::Other(failure)) => Err(failure),
        }
    }

    fn move_away(&self, why: &str) -> Result<String> {
        let aside = with_suffix(&self.path, &format!(".corrupt-{}", self.clock.now().format("%Y%m%dT%H%M%SZ")));
        for suffix in ["", "-wal"] {
            let (from, to) = (with_suffix(&self.path, suffix), with_suffix(&aside, suffix));
            match rustix::fs::rename(&from, &to) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(self.cannot(&format!("be moved aside to {}", to.display()), &error.into())),
            }
        }
        drop(std::fs::remove_file(with_suffix(&self.path, "-shm")));
        Ok(format!("{why}; the damaged file was moved to {}", aside.display()))
    }

    /// Makes an empty file where there is none. Returns why a catalog without tables is about to get new ones.
    fn make_if_missing(&self, lost: bool) -> Result<String> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(facts) if facts.is_file() => return Ok(format!("the catalog {} was empty", self.path.display())),
            Ok(_) => {
                return Err(Failure::new(Cause::UnsafePath, format!("the catalog {} is no plain file", self.path.display()))
                    .hint("move away what stands there; pgdumpd rebuilds its index from the storages"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(self.cannot("be looked at", &error)),
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            drop(std::fs::remove_file(with_suffix(&self.path, suffix)));
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).map_err(|error| self.cannot("be made", &error))?;
        Ok(if lost {
            format!("the catalog {} was deleted or replaced while it was in use", self.path.display())
        } else {
            format!("there was no catalog at {}", self.path.display())
        })
    }

    fn connect(&self, mode: Mode, because: &str) -> Result<Opened, Trouble> {
        let trouble = |error: rusqlite::Error| match damage(&error) {
            Some(_) => Trouble::Damaged(format!("the catalog {} was damaged: {error}", self.path.display())),
            None => Trouble::Other(failure(&self.path, "opening", &error)),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags).map_err(trouble)?;
        connection.busy_timeout(BUSY).map_err(trouble)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;",
            )
            .map_err(trouble)?;
        let foreign = |what: String| Trouble::Other(Failure::new(Cause::Catalog, what).hint("set state_dir to a folder of its own"));
        match schema::prepare(&mut connection).map_err(trouble)? {
            Prepared::Ready => {}
            Prepared::Made => {
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('rebuilt_because', ?1)", [because]).map_err(trouble).map(drop)?;
            }
            Prepared::Foreign => return Err(foreign(format!("{} is a database of another program", self.path.display()))),
            Prepared::TooNew(version) => {
                let sentence = format!("the catalog {} has version {version}, made by a later pgdumpd", self.path.display());
                return Err(Trouble::Other(Failure::new(Cause::Catalog, sentence).hint("install that pgdumpd, or move the file away")));
            }
        }
        if mode == Mode::Read {
            connection.pragma_update(None, "query_only", true).map_err(trouble)?;
        }
        let file = if self.in_memory { Some(FileId { device: 0, inode: 0 }) } else { FileId::of(&self.path) };
        let file = file.ok_or_else(|| Trouble::Other(self.cannot("be opened", &ErrorKind::NotFound.into())))?;
        let reader = Reader { connection, path: self.path.clone(), clock: self.clock.clone(), damage: Cell::new(None) };
        Ok(Opened { writer: Writer(reader), file, log: FileId::of(&with_suffix(&self.path, "-wal")) })
    }

    /// Waits at most as long as for a transaction: who holds it is opening the catalog, too.
    fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .map_err(|error| self.cannot(&format!("be locked through {}", path.display()), &error))?;
        let end = Instant::now() + BUSY;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(self.cannot(&format!("be locked through {}", path.display()), &error.into())),
            }
        }
    }

    fn cannot(&self, what: &str, error: &std::io::Error) -> Failure {
        if error.kind() == ErrorKind::StorageFull
            && let Some(full) = full(&self.path, "opening")
        {
            return full;
        }
        let cause = if error.kind() == ErrorKind::StorageFull { Cause::Space } else { Cause::Catalog };
        Failure::new(cause, format!("the catalog {} can't {what}: {error}", self.path.display()))
            .hint("see that the state folder is writable for the user that runs pgdumpd, and that its disk isn't full")
    }
}

enum Trouble {
    /// The file is bad, and why.
    Damaged(String),
    Other(Failure),
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
