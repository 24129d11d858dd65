//! Scratch for what can't be read from a pipe: a file without a name, which nothing can leave behind.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::error::{Cause, Failure, Result};
use crate::units::show_size;

use super::Means;
use super::feed::{self, Source};

/// Bytes copied at once.
const PIECE: usize = 256 * 1024;

/// The folder for scratch: the project's own in the storage, where there is room for backups, else the system's for temporary files.
fn folders(means: Means<'_>) -> Vec<PathBuf> {
    let beside = means.storage.lock_file(&means.manifest.project).ok().and_then(|lock| lock.parent().map(Path::to_path_buf));
    beside.into_iter().chain([std::env::temp_dir()]).collect()
}

/// Refuses where the archive will not fit.
pub(super) fn room(means: Means<'_>) -> Result<()> {
    let needed = means.manifest.uncompressed_size_bytes;
    let Some(free) = means.storage.free_space().ok().flatten() else { return Ok(()) };
    if free >= needed {
        return Ok(());
    }
    let words = format!(
        "storage {:?} has {} free beyond its reserve, and unpacking this backup needs {}",
        means.storage.name(),
        show_size(free),
        show_size(needed)
    );
    Err(Failure::new(Cause::Space, words).hint("free some space, or restore with --jobs 1, which a custom archive needs no scratch for"))
}

/// The whole archive in a file that has no name: it is gone with the last process that has it open, however that ends.
pub(super) fn unpacked(means: Means<'_>) -> Result<Arc<OwnedFd>> {
    let mut file = nameless(&folders(means))?;
    let mut source = Source::open(means.storage.as_ref(), means.manifest)?;
    copy(means, &mut source, &mut file)?;
    source.check(means.manifest)?;
    file.rewind().map_err(|error| Failure::storage("unpacking the backup", &error))?;
    Ok(Arc::new(OwnedFd::from(file)))
}

fn copy(means: Means<'_>, source: &mut Source, file: &mut File) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        feed::cancelled(means.cancel)?;
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(feed::unreadable(means.manifest, &error)),
        };
        file.write_all(&buffer[..count]).map_err(|error| {
            Failure::storage("unpacking the backup", &error).hint("free some space, or restore with --jobs 1, which needs no scratch")
        })?;
        means.gauge.passed(count);
    }
}

/// A file for its owner alone that stands in no folder. The next folder is tried only where one can't be written at all.
fn nameless(folders: &[PathBuf]) -> Result<File> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for folder in folders {
        match rustix::fs::open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => return Ok(File::from(fd)),
            Err(error) => last = error.into(),
        }
    }
    Err(Failure::storage("making a scratch file", &last).hint("the file system has to allow files without a name (O_TMPFILE)"))
}
