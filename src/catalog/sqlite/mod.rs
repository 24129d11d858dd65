//! The catalog in one SQLite file, `catalog.db` in the state folder.
//!
//! Owns connections and transactions; what is asked within them stands in the files beside this one. A file that was deleted, replaced or
//! damaged is noticed at the next transaction and started anew, with the reason kept until the storages have been indexed again.

mod alerts;
mod backups;
mod diary;
mod open;
mod outbox;
mod removals;
mod runs;
mod schema;
mod slots;
mod storages;
mod value;
mod waits;
mod week;

use std::cell::Cell;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode};

use self::open::{FileId, Opened};
use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};

/// The catalog of a state folder. Clones share their connections; other processes may have it open as well.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    clock: Clock,
    /// Kept in memory only, by the one connection that writes.
    in_memory: bool,
    /// One connection writes and others read, so that a long list never holds up a slot's claim.
    writing: Mutex<Option<Opened>>,
    reading: [Mutex<Option<Opened>>; READERS],
}

/// How many transactions can read side by side. A connection takes up to 2 MiB for its pages, and is opened when it is first needed.
const READERS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

/// Its name in the state folder.
pub const FILE: &str = "catalog.db";

impl Catalog {
    /// Opens the catalog of a state folder; folder and file are made if missing, for their owner only.
    pub fn open(state_dir: &Path, clock: &Clock) -> Result<Self> {
        open::make_folder(state_dir)?;
        let path = state_dir.join(FILE);
        Self::at(path, clock, false)
    }

    /// A catalog that nobody else sees and that is gone with this process. Within a transaction of it none may be begun.
    pub fn in_memory(clock: &Clock) -> Result<Self> {
        Self::at(PathBuf::from(":memory:"), clock, true)
    }

    fn at(path: PathBuf, clock: &Clock, in_memory: bool) -> Result<Self> {
        let clock = clock.clone();
        let catalog = Self(Arc::new(Shared { path, clock, in_memory, writing: Mutex::default(), reading: Default::default() }));
        catalog.read(|_| Ok(()))?;
        Ok(catalog)
    }

    /// The file; none where it is kept in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        (!self.0.in_memory).then_some(self.0.path.as_path())
    }

    /// Runs `work` in one transaction that sees one state throughout. A catalog found damaged is started anew and asked again.
    pub fn read<T>(&self, mut work: impl FnMut(&Reader) -> Result<T>) -> Result<T> {
        self.0.transact(Mode::Read, |writer| work(writer))
    }

    /// Runs `work` in one transaction: all of it becomes durable, or, if it fails, none. A catalog found damaged is started anew and
    /// written again, so `work` may be called twice. It must not begin another writing transaction of this catalog: that one would wait for ever.
    pub fn write<T>(&self, work: impl FnMut(&Writer) -> Result<T>) -> Result<T> {
        self.0.transact(Mode::Write, work)
    }

    /// Why the catalog was made anew, until [`Writer::reindexed`]; while it is set, the index of backups is not complete.
    pub fn needs_reindex(&self) -> Result<Option<String>> {
        self.read(Reader::rebuilt_because)
    }
}

/// What can be asked within a transaction.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    clock: Clock,
    damage: Cell<Option<ErrorCode>>,
}

/// What can be asked and changed within a transaction. Only [`Catalog::write`] hands it out.
#[derive(Debug)]
pub struct Writer(Reader);

impl Deref for Writer {
    type Target = Reader;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Reader {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Asks SQLite; an error is told with what was being done, and damage is remembered for the end of the transaction.
    fn ask<T>(&self, doing: &str, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        question(&self.connection).map_err(|error| {
            if let Some(code) = damage(&error) {
                self.damage.set(Some(code));
            }
            failure(&self.path, doing, &error)
        })
    }
}

impl Shared {
    fn transact<T>(&self, mode: Mode, mut work: impl FnMut(&Writer) -> Result<T>) -> Result<T> {
        let mut place = match mode {
            Mode::Read if !self.in_memory => self.reader(),
            _ => self.writing.lock(),
        };
        let (mut outcome, damaged) = self.attempt(&mut place, mode, &mut work);
        if let Some(file) = damaged {
            *place = None;
            let why = outcome.as_ref().err().map_or_else(String::new, ToString::to_string);
            self.set_aside(file, &why)?;
            (outcome, _) = self.attempt(&mut place, mode, &mut work);
        }
        outcome
    }

    /// The first connection that nobody reads through just now, or else the first.
    fn reader(&self) -> MutexGuard<'_, Option<Opened>> {
        let [first, ..] = &self.reading;
        self.reading.iter().find_map(Mutex::try_lock).unwrap_or_else(|| first.lock())
    }

    /// One attempt; with it the file, if it turned out to be damaged.
    fn attempt<T>(
        &self,
        place: &mut Option<Opened>,
        mode: Mode,
        work: &mut impl FnMut(&Writer) -> Result<T>,
    ) -> (Result<T>, Option<FileId>) {
        let opened = match self.opened(place, mode) {
            Ok(opened) => opened,
            Err(failure) => return (Err(failure), None),
        };
        let writer = &opened.writer;
        if !writer.connection.is_autocommit() {
            // Left open by work that broke off in a panic.
            drop(writer.connection.execute_batch("ROLLBACK"));
        }
        let begin = match mode {
            Mode::Read => "BEGIN",
            Mode::Write => "BEGIN IMMEDIATE",
        };
        let outcome = writer.ask("beginning", |sql| sql.execute_batch(begin)).and_then(|()| {
            let outcome = work(writer).and_then(|answer| writer.ask("committing", |sql| sql.execute_batch("COMMIT")).map(|()| answer));
            if outcome.is_err() && !writer.connection.is_autocommit() {
                // Some errors roll back by themselves; where this fails, closing the connection does it.
                drop(writer.connection.execute_batch("ROLLBACK"));
            }
            outcome
        });
        let damaged = writer.damage.take().filter(|_| outcome.is_err()).map(|_| opened.file);
        if outcome.is_err() && !writer.connection.is_autocommit() {
            *place = None;
        }
        (outcome, damaged)
    }

    /// The connection, made anew where there is none yet or its file isn't the one that stands there now.
    fn opened<'o>(&self, place: &'o mut Option<Opened>, mode: Mode) -> Result<&'o Opened> {
        let stale = place.as_ref().is_some_and(|opened| !self.in_memory && FileId::of(&self.path) != Some(opened.file));
        let left_behind = if stale { place.take().and_then(|opened| opened.log) } else { None };
        match place {
            Some(opened) => Ok(opened),
            None => Ok(place.insert(self.open(mode, stale, left_behind)?)),
        }
    }
}

/// The codes that mean the file itself is bad, as opposed to the disk, the locks or the rights.
fn damage(error: &rusqlite::Error) -> Option<ErrorCode> {
    error.sqlite_error_code().filter(|code| matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn failure(path: &Path, doing: &str, error: &rusqlite::Error) -> Failure {
    let sentence = format!("the catalog {} failed at {doing}: {error}", path.display());
    // SQLite has other words for a full disk where it can't grow what readers and writers share.
    if matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
        && let Some(full) = open::full(path, doing)
    {
        return full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => open::full(path, doing).unwrap_or_else(|| {
            Failure::new(Cause::Space, sentence).hint("free some space on its file system; what was recorded before is safe")
        }),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failure::new(Cause::Catalog, sentence).hint("another process holds it for long; look who has it open (fuser)")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => Failure::new(Cause::Catalog, sentence)
            .hint("run as the user that owns the state folder, and see that the file system is writable"),
        _ => Failure::new(Cause::Catalog, sentence),
    }
}
