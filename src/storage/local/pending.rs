//! A file on its way to its final name: temporary name, fsync, rename, fsync of the folder. Before the end there is nothing to trust.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::folder::Folder;
use crate::error::{Cause, Failure, Result};
use crate::storage::{Key, Pending};

/// How much is written before the disk is told to begin: the last fsync then has little left to do.
const WRITEBACK: u64 = 64 << 20;

/// The folder as its path leads to it now.
pub(super) type Now = Box<dyn Fn() -> Result<Option<Folder>> + Send>;

/// A file under its temporary name.
pub(super) struct LocalPending {
    now: Now,
    folder: Folder,
    key: Key,
    temporary: String,
    file: Arc<File>,
    unsynced: u64,
    writeback: Option<Writeback>,
    settled: bool,
    replaces: bool,
    outdated: Vec<String>,
}

impl LocalPending {
    pub(super) fn new(now: Now, folder: Folder, key: Key, temporary: String, file: File) -> Self {
        let file = Arc::new(file);
        Self { now, folder, key, temporary, file, unsynced: 0, writeback: None, settled: false, replaces: false, outdated: Vec::new() }
    }

    /// Takes the place of a file that has the final name already.
    pub(super) fn replacing(mut self) -> Self {
        self.replaces = true;
        self
    }

    /// What is about the file that is replaced; it goes with it.
    pub(super) fn outdating(mut self, outdated: Vec<String>) -> Self {
        self.outdated = outdated;
        self
    }

    fn told(&self, doing: &str, error: &io::Error) -> Failure {
        let path = self.folder.path().join(&self.key.file);
        let errno = rustix::io::Errno::from_io_error(error);
        errno.map_or_else(
            || Failure::storage(format!("{doing} {}", path.display()), error),
            |errno| self.folder.failure(doing, &self.key.file, errno),
        )
    }

    /// Everything up to the final name being durable. On failure the caller removes both names.
    fn make_durable(&mut self) -> Result<()> {
        if let Some(failed) = self.writeback.take().and_then(Writeback::finish) {
            return Err(self.told("syncing", &failed));
        }
        self.file.sync_all().map_err(|error| self.told("syncing", &error))?;
        if !(self.now)()?.is_some_and(|now| now.is_same(&self.folder)) {
            let path = self.folder.path().display();
            return Err(Failure::new(Cause::NotMounted, format!("{path} is no longer the folder that {} was written into", self.key.file))
                .hint("the storage was unmounted or replaced meanwhile; see what is mounted there now"));
        }
        // Before the new file has the name: at no moment, and after no power cut, does what tells of the old one lie beside the new one.
        if !self.outdated.is_empty() {
            self.outdated.iter().try_for_each(|name| self.folder.remove(name))?;
            self.folder.sync()?;
        }
        if self.replaces {
            self.folder.rename_over(&self.temporary, &self.key.file)?;
        } else {
            self.folder.rename_new(&self.temporary, &self.key.file)?;
        }
        self.settled = true;
        if let Err(failure) = self.folder.sync() {
            // Whether the name would be there after a power cut is unknown: it must not be there now either.
            let _told_already = self.folder.remove(&self.key.file);
            return Err(failure);
        }
        Ok(())
    }

    /// Writes a small file as a whole and puts it in the place of the one that is there.
    pub(super) fn replace(self, bytes: &[u8]) -> Result<()> {
        self.hold(bytes)?;
        self.take_name()
    }

    /// Writes a small file as a whole, still under its temporary name.
    pub(super) fn hold(&self, bytes: &[u8]) -> Result<()> {
        (&*self.file).write_all(bytes).and_then(|()| self.file.sync_all()).map_err(|error| self.told("writing", &error))
    }

    /// Puts what was written and synced in the place of the one that is there.
    pub(super) fn take_name(mut self) -> Result<()> {
        self.folder.rename_over(&self.temporary, &self.key.file)?;
        self.settled = true;
        self.folder.sync()
    }

    fn remove(&mut self) -> Result<()> {
        drop(self.writeback.take().and_then(Writeback::finish));
        if self.settled {
            return Ok(());
        }
        self.settled = true;
        self.folder.remove(&self.temporary)
    }
}

impl Write for LocalPending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.folder.path().join(&self.key.file).display()));
        if let Some(failed) = self.writeback.as_ref().and_then(Writeback::failed) {
            return Err(named(failed));
        }
        let count = match (&*self.file).write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(named(error)),
        };
        self.unsynced += count as u64;
        if self.unsynced >= WRITEBACK {
            self.unsynced = 0;
            if self.writeback.is_none() {
                self.writeback = Writeback::start(Arc::clone(&self.file)).ok();
            }
            if let Some(writeback) = &self.writeback {
                writeback.nudge();
            }
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pending for LocalPending {
    fn written(&self) -> Result<Option<Box<dyn Read + Send>>> {
        match self.folder.read(&self.temporary)? {
            Some((file, _)) => Ok(Some(Box::new(file))),
            None => Err(Failure::new(Cause::Storage, format!("the unfinished {} has vanished while it was written", self.key.file))),
        }
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        let outcome = self.make_durable();
        if outcome.is_err() {
            let _told_already = self.remove();
        }
        outcome
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.remove()
    }
}

impl Drop for LocalPending {
    fn drop(&mut self) {
        // What stays behind after an error here is swept by repair.
        let _swept_later = self.remove();
    }
}

/// A thread that syncs what has been written while more is being written.
struct Writeback {
    nudges: SyncSender<()>,
    thread: JoinHandle<()>,
    /// Linux tells a failed sync once for each open file, and this thread shares that with the writer: it must pass the word on.
    error: Arc<Mutex<Option<io::Error>>>,
}

impl Writeback {
    fn start(file: Arc<File>) -> io::Result<Self> {
        let (nudges, inbox) = sync_channel(1);
        let error = Arc::new(Mutex::new(None));
        let found = Arc::clone(&error);
        let thread = std::thread::Builder::new().name(String::from("writeback")).stack_size(64 * 1024).spawn(move || {
            while inbox.recv().is_ok() {
                if let Err(error) = file.sync_data() {
                    found.lock().get_or_insert(error);
                }
            }
        })?;
        Ok(Self { nudges, thread, error })
    }

    /// Asks for a sync, unless one is waiting already.
    fn nudge(&self) {
        let _one_waits = self.nudges.try_send(());
    }

    fn failed(&self) -> Option<io::Error> {
        self.error.lock().as_ref().map(copy)
    }

    /// Ends the thread; returns what a sync failed with, if one did.
    fn finish(self) -> Option<io::Error> {
        drop(self.nudges);
        let panicked = self.thread.join().is_err();
        let error = self.error.lock().take();
        error.or_else(|| panicked.then(|| io::Error::other("the thread that syncs has died")))
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
