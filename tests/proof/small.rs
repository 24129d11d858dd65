//! A disk that is full, small or read-only.

use std::path::PathBuf;
use std::process::Command;

use crate::skip::skip;

/// A small file system in memory at the place of a folder.
pub(crate) struct Small(PathBuf);

impl Small {
    /// Mounted there; `None`, and told so, where this machine doesn't let the test mount.
    pub(crate) fn mount(test: &str, at: PathBuf, options: &str) -> Option<Self> {
        if !crate::cluster::is_root() {
            skip(test, "mounting needs root");
            return None;
        }
        must(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", &at.display().to_string()]);
        Some(Self(at))
    }

    pub(crate) fn remount(&self, how: &str) {
        must(&["mount", "-o", &format!("remount,{how}"), &self.0.display().to_string()]);
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    pub(crate) fn fill(&self) {
        let filled = Command::new("cp").arg("/dev/zero").arg(self.filler()).stderr(std::process::Stdio::null()).status().unwrap();
        assert!(!filled.success(), "it takes everything");
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        must(&["umount", "-l", &self.0.display().to_string()]);
    }
}

fn must(words: &[&str]) {
    assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success(), "{words:?}");
}
