//! What is being read, or worked in, must not be removed meanwhile. The mark is a lock on the open file or folder itself (flock): it holds
//! across processes, and ends with whoever set it, however that ends.

use std::os::fd::OwnedFd;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// What somebody is about to do with a stored file.
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
    pub(super) fn nothing() -> Self {
        Self { _file: None }
    }

    /// Marks an open file or folder; `None` where somebody else's use forbids it.
    pub(super) fn mark(file: OwnedFd, wanted: Use) -> Result<Option<Self>, Errno> {
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
}
