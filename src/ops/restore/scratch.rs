//! Scratch for what can't be read from a pipe: a file without a name, which nothing can leave behind.

use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::error::{Cause, Failure, Result};
use crate::model::dump::{Compression, Format};
use crate::postgres::archive::members::lay_out;
use crate::postgres::archive::unpack;
use crate::storage::Scratch;
use crate::units::show_size;

use super::Means;
use super::source::{Paced, Source};

/// The folder for scratch: the project's own in the storage, where there is room for backups, else the system's for temporary files.
fn folders(means: Means<'_>) -> Vec<PathBuf> {
    let beside = means.storage.lock_file(&means.manifest.project).ok().and_then(|lock| lock.parent().map(Path::to_path_buf));
    beside.into_iter().chain([std::env::temp_dir()]).collect()
}

/// Where the archive lies as `pg_restore` takes it, if it does: a tar that nothing compresses, or a folder, which a person named.
pub(super) fn lies(means: Means<'_>) -> Option<PathBuf> {
    let place = means.storage.lies_at().filter(|_| matches!(means.manifest.compression, Compression::None | Compression::Native))?;
    let fits = match means.manifest.dump_format {
        Format::Tar => place.is_file(),
        Format::Directory => place.is_dir(),
        Format::Custom | Format::Plain => false,
    };
    fits.then(|| place.to_path_buf())
}

/// Refuses where the archive will not fit.
pub(super) fn room(means: Means<'_>) -> Result<()> {
    if lies(means).is_some() {
        return Ok(());
    }
    let needed = means.manifest.uncompressed_size_bytes;
    let Some(free) = means.storage.free_space().ok().flatten() else { return Ok(()) };
    if free >= needed {
        return Ok(());
    }
    if means.manifest.is_of_given_file() {
        let (free, needed, folder) = (show_size(free), show_size(needed), std::env::temp_dir());
        let words = format!("{} has {free} free, and unpacking the file for pg_restore needs {needed}", folder.display());
        return Err(Failure::new(Cause::Space, words).hint("name a folder with more room in TMPDIR"));
    }
    let words = format!(
        "storage {:?} has {} free beyond its reserve, and unpacking this backup needs {}",
        means.storage.name(),
        show_size(free),
        show_size(needed)
    );
    Err(Failure::new(Cause::Space, words).hint(instead(means)))
}

/// What to do where there is no room for scratch: only a custom archive can do without.
fn instead(means: Means<'_>) -> &'static str {
    match means.manifest.dump_format {
        Format::Custom => "free some space on the storage, or restore with --jobs 1, which needs no scratch",
        _ => {
            "free some space on the storage: pg_restore can't read this format from a pipe; or copy the backup and its manifest to a machine with \
             more room, and restore the file from there"
        }
    }
}

/// The whole archive in a file that has no name: it is gone with the last process that has it open, however that ends. A custom archive
/// gets the places of its data noted, so that each connection finds its own at once.
pub(super) fn unpacked(means: Means<'_>) -> Result<Arc<OwnedFd>> {
    means.gauge.begin("unpacking");
    let mut file = nameless(&folders(means))?;
    let mut source = Source::ahead(means)?;
    let mut paced = Paced { inner: &mut source, gauge: means.gauge, cancel: means.cancel };
    let done = match means.manifest.dump_format {
        Format::Custom => unpack(&mut paced, &file).map(drop),
        _ => io::copy(&mut paced, &mut file).map(drop).map_err(|error| match error.raw_os_error() {
            Some(_) => Failure::storage("unpacking the backup", &error),
            None => Failure::from_io("unpacking the backup", error),
        }),
    };
    done.map_err(|failure| match failure.cause {
        Cause::Space => failure.hint(instead(means)),
        _ => failure,
    })?;
    source.check()?;
    file.rewind().map_err(|error| Failure::storage("unpacking the backup", &error))?;
    Ok(Arc::new(OwnedFd::from(file)))
}

/// A directory archive laid out in a folder again. The folder goes with what is returned; a kill leaves it to whatever sweeps the project's
/// unfinished files.
pub(super) fn laid_out(means: Means<'_>) -> Result<Scratch> {
    means.gauge.begin("unpacking");
    let scratch = means.storage.scratch(&means.manifest.project, means.run.as_str())?;
    let mut source = Source::ahead(means)?;
    lay_out(Paced { inner: &mut source, gauge: means.gauge, cancel: means.cancel }, scratch.path())?;
    source.check()?;
    Ok(scratch)
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
