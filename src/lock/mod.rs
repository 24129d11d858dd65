//! A project's lock: one run at a time, across processes and crashes.
//!
//! It is a lock on an open file (flock) beside the project's backups, and never unlinked. `pg_dump` inherits the descriptor, so an orphan
//! keeps the lock for as long as it lives. What stands in the file says who holds it; it is for people and repair, it locks nothing.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::process::{Identity, identity, own_identity};
use crate::storage::Storage;

/// What is read of a lock file at most, bytes; what we write is far shorter.
const LONGEST: usize = 4096;

/// Who holds a lock, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process number of the pgdumpd that took it.
    pub pid: u32,
    /// Start time of that process, clock ticks since the machine started.
    pub start_ticks: u64,
    /// The run or job it was taken for.
    pub run: RunId,
    /// The machine.
    pub host: String,
    /// When it was taken.
    pub since: DateTime<Utc>,
    /// The `pg_dump` that inherited it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Identity>,
}

impl Holder {
    /// This process as the holder.
    #[must_use]
    pub fn own(run: &RunId, since: DateTime<Utc>) -> Self {
        let own = own_identity().unwrap_or(Identity { pid: std::process::id(), start_ticks: 0 });
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { pid: own.pid, start_ticks: own.start_ticks, run: run.clone(), host, since, child: None }
    }

    /// The process that took the lock.
    #[must_use]
    pub fn process(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} (process {} on {}, since {})", self.run, self.pid, self.host, self.since.format("%Y-%m-%d %H:%M:%S UTC"))
    }
}

/// Why a lock was not had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Somebody holds it, and who, where the file says so.
    Held(Option<Holder>),
    /// It could not be asked for.
    Failed(Failure),
}

impl Refused {
    /// As a failure of the project's run.
    #[must_use]
    pub fn failure(self, project: &str) -> Failure {
        let holder = match self {
            Self::Failed(failure) => return failure,
            Self::Held(None) => String::from("another process"),
            Self::Held(Some(holder)) => holder.to_string(),
        };
        Failure::new(Cause::Locked, format!("the project {project:?} is locked by {holder}"))
            .hint("wait until that run has ended; pgdumpd status shows what it does")
    }
}

/// A lock that is held. Dropping it lets go, unless a child that inherited it still runs.
#[derive(Debug)]
pub struct ProjectLock {
    fd: Arc<OwnedFd>,
    path: PathBuf,
    holder: Mutex<Holder>,
}

impl ProjectLock {
    /// Takes the lock of a project, or says who holds it. Never waits for a holder.
    pub fn acquire(storage: &dyn Storage, project: &str, holder: Holder) -> Result<Self, Refused> {
        let path = storage.lock_file(project).map_err(Refused::Failed)?;
        // Somebody who only looks (`inspect`) holds it for an instant; that is no reason to skip a backup.
        for attempt in 0..5 {
            let fd = open(&path, OFlags::CREATE).map_err(Refused::Failed)?;
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if stands_at(&fd, &path) => {
                    let lock = Self { fd: Arc::new(fd), path, holder: Mutex::new(holder) };
                    lock.write().map_err(Refused::Failed)?;
                    return Ok(lock);
                }
                // Removed by hand between opening and locking: the lock of a file that nobody else will find is none.
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if attempt == 4 => return Err(Refused::Held(read(&fd))),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(Refused::Failed(failed("locking", &path, error))),
            }
        }
        Err(Refused::Failed(Failure::new(Cause::Locked, format!("the lock file {} is being replaced again and again", path.display()))))
    }

    /// The descriptor for the child that is to keep the lock as long as it lives.
    #[must_use]
    pub fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// Writes down which child has inherited the lock, or that none has any more.
    pub fn note(&self, child: Option<Identity>) -> Result<()> {
        self.holder.lock().child = child;
        self.write()
    }

    /// Whether the lock still stands where others look for it.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        stands_at(&self.fd, &self.path)
    }

    /// One write, then the cut: a reader sees the first line whole, old or new.
    fn write(&self) -> Result<()> {
        let mut line = serde_json::to_vec(&*self.holder.lock()).map_err(|error| Failure::new(Cause::System, error.to_string()))?;
        line.push(b'\n');
        let written = rustix::io::pwrite(&self.fd, &line, 0).and_then(|_| rustix::fs::ftruncate(&self.fd, line.len() as u64));
        written.map_err(|error| failed("writing", &self.path, error))
    }
}

impl Drop for ProjectLock {
    /// Whoever takes the lock next without writing himself down must not be taken for this one. What a child has inherited stays its own.
    fn drop(&mut self) {
        if !self.holder.lock().child.is_some_and(|child| child.is_alive()) {
            // Its block stays its own: on a full disk the next holder could write nothing into an empty file.
            let length = rustix::fs::fstat(&self.fd).map_or(0, |stat| usize::try_from(stat.st_size).unwrap_or(0).min(LONGEST));
            let _costs_words_only = rustix::io::pwrite(&self.fd, &vec![b' '; length], 0);
        }
    }
}

/// Who holds the lock of a project; `None` where nobody does.
pub fn inspect(storage: &dyn Storage, project: &str) -> Result<Option<Refused>> {
    let path = storage.lock_file(project)?;
    let fd = match rustix::fs::open(&path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed("opening", &path, error)),
    };
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(Some(Refused::Held(read(&fd)))),
        Err(error) => Err(failed("looking at", &path, error)),
    }
}

/// How the environment of a dump begins to name its run; what the dump starts inherits it.
const OF_A_RUN: &[u8] = b"PGAPPNAME=pgdumpd/";

/// The dumps of this machine, and what they started, that inherited the project's lock and still hold it. Repair asks this, since a pgdumpd may
/// have been killed before it could write its child down. A stranger who took the lock for himself (`flock FILE rsync …`), a pgdumpd that has
/// just taken it, and one that has the file open only to ask for it, aren't among them. Processes of other users can't be seen.
pub fn keepers(storage: &dyn Storage, project: &str) -> Result<Vec<Identity>> {
    let path = storage.lock_file(project)?;
    let Ok(file) = rustix::fs::lstat(&path) else { return Ok(Vec::new()) };
    let processes = std::fs::read_dir("/proc").map_err(|error| Failure::new(Cause::System, format!("reading /proc: {error}")))?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = pids.filter(|pid| *pid != std::process::id());
    Ok(others.filter(|pid| holds(*pid, &file) && is_of_a_run(*pid)).filter_map(identity).collect())
}

/// All processes of this machine that hold the project's lock, whoever they are: for people. Processes of other users can't be seen.
#[must_use]
pub fn processes(path: &Path) -> Vec<u32> {
    let (Ok(file), Ok(processes)) = (rustix::fs::lstat(path), std::fs::read_dir("/proc")) else { return Vec::new() };
    let mut pids: Vec<u32> = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.retain(|pid| holds(*pid, &file));
    pids.sort_unstable();
    pids
}

/// Whether a process of this machine holds a lock of the project through a file that no longer stands in the storage: another disk was put
/// in its place while that process worked, or the file was removed.
#[must_use]
pub fn is_held_elsewhere(process: &Identity, path: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", process.pid)) else { return false };
    let alike = |link: &Path| {
        let name = link.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        let (link, path) = (Path::new(&name).iter().rev().take(2), path.iter().rev().take(2));
        link.eq(path)
    };
    let held = descriptors.flatten().any(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|link| alike(&link)) && is_locked(process.pid, &entry.file_name().to_string_lossy())
    });
    held && process.is_alive()
}

/// The kernel lists a lock with each descriptor of the very opening it was taken through (proc(5), fdinfo).
fn is_locked(pid: u32, descriptor: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"))
        .is_ok_and(|facts| facts.lines().any(|line| line.starts_with("lock:") && line.contains("FLOCK")))
}

fn is_of_a_run(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|variables| variables.split(|byte| *byte == 0).any(|variable| variable.starts_with(OF_A_RUN)))
}

fn holds(pid: u32, file: &Stat) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| {
        let same = rustix::fs::stat(entry.path()).is_ok_and(|open| (open.st_dev, open.st_ino) == (file.st_dev, file.st_ino));
        same && is_locked(pid, &entry.file_name().to_string_lossy())
    })
}

fn open(path: &Path, more: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| failed("opening", path, error))?;
    match rustix::fs::fstat(&fd) {
        Ok(facts) if FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile => Ok(fd),
        Ok(_) => Err(Failure::new(Cause::UnsafePath, format!("the lock file {} is no plain file", path.display()))
            .hint("look who put it there, and move it away")),
        Err(error) => Err(failed("looking at", path, error)),
    }
}

fn stands_at(fd: impl AsFd, path: &Path) -> bool {
    let id = |facts: Stat| (facts.st_dev, facts.st_ino);
    let held = rustix::fs::fstat(fd).map(id).ok();
    held.is_some() && held == rustix::fs::lstat(path).map(id).ok()
}

/// What the file says. Anything that isn't a holder's line, such as a torn or hostile one, says nothing.
fn read(fd: &OwnedFd) -> Option<Holder> {
    let mut text = [0; LONGEST];
    let count = rustix::io::pread(fd, &mut text, 0).ok()?;
    let line = text[..count].split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

fn failed(doing: &str, path: &Path, error: Errno) -> Failure {
    let failure = Failure::storage(format!("{doing} the lock file {}", path.display()), &error.into());
    match error {
        Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP => {
            failure.hint("the file system has no locks; use one that has (NFS needs its lock service)")
        }
        Errno::ACCESS | Errno::PERM => failure.hint("the user that runs pgdumpd must own the storage; run it as that user"),
        Errno::ROFS => failure.hint("the file system is mounted read-only; look into the kernel log, and mount it again for writing"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests;
