//! A folder beside a project's backups for what must lie on a disk before it can be stored, or restored, as one.
//!
//! Its name is that of an unfinished file, so that whatever sweeps those sweeps it, with all that is in it; while somebody works in it, its
//! mark keeps it from being swept.

use std::path::{Path, PathBuf};

use crate::process::{InUse, Use};

/// An empty folder for its owner alone, removed with its contents when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Let go after the folder is gone.
    _mark: Option<InUse>,
}

impl Scratch {
    /// Takes charge of a folder that was just made.
    pub(super) fn new(path: PathBuf) -> Self {
        let mark = InUse::of_folder(&path, Use::Reading);
        Self { path, _mark: mark }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It follows no link; what it can't remove is swept later.
        let _swept_later = std::fs::remove_dir_all(&self.path);
    }
}

/// Whether nobody works in such a folder any more.
pub(super) fn is_left(path: &Path) -> bool {
    InUse::of_folder(path, Use::Removing).is_some()
}
