//! A folder beside a project's backups for what must lie on a disk before it can be stored as one file.
//!
//! Its name is that of an unfinished file, so that whatever sweeps those sweeps it, with all that is in it.

use std::path::{Path, PathBuf};

/// An empty folder for its owner alone, removed with its contents when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Takes charge of a folder that was just made.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It follows no link; what it can't remove is swept later.
        let _swept_later = std::fs::remove_dir_all(&self.0);
    }
}
