//! What is being read, or worked in, must not be removed meanwhile. The mark is a lock on the open file or folder itself (flock): it holds
//! across processes, and ends with whoever set it, however that ends.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What somebody is about to do with a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read it, and others may as well.
    Reading,
    /// Remove it, which nobody may be reading.
    Removing,
}

/// A file that is marked as in use for as long as this lives.
#[derive(Debug)]
pub struct InUse {
    /// None where there is no such file, and so nothing to keep.
    _file: Option<OwnedFd>,
}

impl InUse {
    /// The mark of what isn't there.
    #[must_use]
    pub fn nothing() -> Self {
        Self { _file: None }
    }

    /// Marks an open file or folder; `None` where somebody else's use forbids it.
    ///
    /// # Errors
    /// Where the file system knows no such marks.
    pub fn mark(file: OwnedFd, wanted: Use) -> Result<Option<Self>, Errno> {
        let how = match wanted {
            Use::Reading => FlockOperation::NonBlockingLockShared,
            Use::Removing => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&file, how) {
                Ok(()) => return Ok(Some(Self { _file: Some(file) })),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Marks a folder that somebody works in, or takes it for removal; `None` also where it can't be opened, or its file system knows no marks.
    #[must_use]
    pub fn of_folder(path: &Path, wanted: Use) -> Option<Self> {
        let folder = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Self::mark(folder, wanted).ok().flatten()
    }
}
