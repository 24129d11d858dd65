//! A backup's artifact read back: decompressed, from its start or from the middle, never further than its manifest says.
//!
//! A reader's errors carry a [`Failure`] ([`Failure::from_io`] takes it out): a disk that fails is told from bytes that were altered. Used
//! by every verb that reads what was stored.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Frame, Manifest};
use crate::model::dump::Compression;
use crate::process::Cancel;
use crate::storage::{InUse, Key, Storage, Use};
use crate::stream::{self, Gauge};

use super::{World, mount};

/// A backup that may be restored. Nobody prunes it as long as this lives.
#[derive(Debug)]
pub struct Restorable<'w> {
    /// Where it lies.
    pub storage: &'w Arc<dyn Storage>,
    /// What it says of itself.
    pub manifest: Manifest,
    _in_use: InUse,
}

/// Takes hold of a backup that is to be restored, merged or restored for trial.
///
/// # Errors
/// Where it counts as damaged, its storage is no longer configured or not there, or it was removed, or is being removed just now.
pub fn restorable<'w>(world: &'w World, row: &BackupRow) -> Result<Restorable<'w>> {
    let list = || format!("take another one: `pgdumpd list {}`", row.project);
    if let Some(damaged) = &row.damaged {
        return Err(Failure::new(Cause::Damaged, format!("the backup {} counts as damaged: {damaged}", row.id)).hint(list()));
    }
    let storage = world.storage_of(row)?;
    mount::ensure(world, storage.as_ref())?;
    let removed = || Failure::new(Cause::NotFound, format!("the backup {} was removed, as the retention no longer keeps it", row.id));
    let key = Key { project: row.project.clone(), file: row.file.clone() };
    // Marked before anything of it is read: what is there then stays until the end.
    let in_use = storage.mark(&key, Use::Reading)?.ok_or_else(|| removed().hint(list()))?;
    let manifest_key = manifest::key(&row.project, &row.file);
    if storage.size(&manifest_key)?.is_none() && world.catalog.read(|reader| reader.backup_now(row))?.is_none() {
        return Err(removed().hint(list()));
    }
    Ok(Restorable { storage, manifest: manifest::read(storage.as_ref(), &manifest_key)?, _in_use: in_use })
}

/// The archive as `pg_dump` wrote it, from its start.
pub fn open(storage: &dyn Storage, manifest: &Manifest) -> Result<Box<dyn Read + Send>> {
    open_at(storage, manifest, 0)
}

/// The archive as `pg_dump` wrote it, from this offset on: decompression begins at the last frame before it. Only what follows that
/// frame is read from the storage.
pub fn open_at(storage: &dyn Storage, manifest: &Manifest, archive_offset: u64) -> Result<Box<dyn Read + Send>> {
    let length = manifest.uncompressed_size_bytes;
    if archive_offset > length {
        let words = format!("byte {archive_offset} of {} was asked for, and it has {length}", manifest.backup_file);
        return Err(damaged(manifest, words));
    }
    let frame = manifest.frames.iter().rev().find(|frame| frame.archive <= archive_offset);
    let frame = frame.copied().unwrap_or(Frame { stored: 0, archive: 0 });
    if frame.stored > manifest.backup_size_bytes {
        let words = format!("byte {archive_offset} of {} lies beyond what is left of it", manifest.backup_file);
        return Err(damaged(manifest, words));
    }
    let stored = stored(storage, manifest, frame.stored..manifest.backup_size_bytes)?;
    let inner = stream::decompress(manifest.compression, stored)?;
    let mut archive = Archive { inner, at: frame.archive, length, file: manifest.backup_file.clone(), project: manifest.project.clone() };
    let skipped = archive_offset - frame.archive;
    io::copy(&mut Read::by_ref(&mut archive).take(skipped), &mut io::sink())
        .map_err(|error| Failure::from_io(format!("reading {}", manifest.backup_file), error))?;
    Ok(Box::new(archive))
}

/// A part of the stored bytes as they lie there. An artifact that is missing or has another length than its manifest says is refused.
pub fn stored(storage: &dyn Storage, manifest: &Manifest, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
    let (file, wanted) = (&manifest.backup_file, manifest.backup_size_bytes);
    let key = Key { project: manifest.project.clone(), file: file.clone() };
    match storage.size(&key)? {
        None => Err(damaged(manifest, format!("{file} is missing in {}", storage.place()))),
        Some(found) if found != wanted => Err(damaged(manifest, format!("{file} has {found} bytes instead of {wanted}"))),
        Some(_) => Ok(Box::new(Stored { inner: storage.get_range(&key, range)?, file: file.clone() })),
    }
}

/// Reads every stored byte, and compares their SHA-256 with the manifest's. Before bytes go where they can't be taken back from, and where
/// nothing else tells altered ones.
pub fn check(storage: &dyn Storage, manifest: &Manifest, cancel: &Cancel) -> Result<()> {
    let source = stored(storage, manifest, 0..manifest.backup_size_bytes)?;
    let read = stream::read_back(source, None, &Gauge::new(), &|| cancel.reason().is_none())?;
    if let Some(reason) = cancel.reason().filter(|_| read.stopped) {
        return Err(Failure::new(Cause::Interrupted, format!("reading {} was ended: {reason}", manifest.backup_file)));
    }
    if read.sha256 == manifest.checksum_sha256 {
        return Ok(());
    }
    Err(damaged(
        manifest,
        format!("{} is damaged: its SHA-256 is {} instead of {}", manifest.backup_file, read.sha256, manifest.checksum_sha256),
    ))
}

/// Whether what is stored carries checksums that decompression compares: zstd's of a frame, gzip's of a member, bzip2's of a block.
#[must_use]
pub fn checks_itself(manifest: &Manifest) -> bool {
    !matches!(manifest.compression, Compression::None | Compression::Native)
}

/// What to say where stored bytes aren't what the manifest promises.
fn damaged(manifest: &Manifest, words: String) -> Failure {
    Failure::new(Cause::Damaged, words).hint(what_to_do(&manifest.project, &manifest.backup_file))
}

fn what_to_do(project: &str, file: &str) -> String {
    if project.is_empty() {
        return format!("fetch {file} from a copy, or make the dump again");
    }
    format!("compare {file} with its checksum, fetch it from a copy, or take another backup: `pgdumpd list {project}`")
}

/// Stored bytes; a failing disk is told as such.
struct Stored {
    inner: Box<dyn Read + Send>,
    file: String,
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::storage(format!("reading {}", self.file), &error).into()),
                Ok(count) => return Ok(count),
            }
        }
    }
}

/// The decompressed bytes, which must be as many as the manifest says.
struct Archive {
    inner: Box<dyn Read + Send>,
    at: u64,
    length: u64,
    file: String,
    project: String,
}

impl Archive {
    fn damaged(&self, why: &str) -> io::Error {
        Failure::new(Cause::Damaged, format!("{} is damaged: {why}", self.file)).hint(what_to_do(&self.project, &self.file)).into()
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Failure>()) => return Err(error),
            Err(error) => return Err(self.damaged(&format!("decompression fails after {} bytes ({error})", self.at))),
        };
        self.at += count as u64;
        if self.at > self.length {
            return Err(self.damaged(&format!("it holds more than the {} bytes that were dumped", self.length)));
        }
        if count == 0 && !buffer.is_empty() && self.at < self.length {
            return Err(self.damaged(&format!("it ends after {} of the {} bytes that were dumped", self.at, self.length)));
        }
        Ok(count)
    }
}

/// An archive on its way, shared by whoever takes something out of it and whoever reads on to the end of its frame.
#[derive(Clone)]
pub struct Passing(Arc<Mutex<(Box<dyn Read + Send>, u64)>>);

impl Passing {
    /// An archive that stands at this offset.
    #[must_use]
    pub fn new(archive: Box<dyn Read + Send>, offset: u64) -> Self {
        Self(Arc::new(Mutex::new((archive, offset))))
    }

    /// Where it stands in the archive.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.0.lock().1
    }

    /// Reads on to the end of the frame that holds this byte, where decompression compares its checksum: until then altered bytes pass as good.
    pub fn finish_frame(&mut self, manifest: &Manifest, byte: u64) -> Result<()> {
        let (at, next) = (self.at(), manifest.frames.iter().map(|frame| frame.archive).find(|next| *next > byte));
        // A byte of the next frame comes only after the checksum of this one.
        let left = next.map_or(u64::MAX, |next| (next + 1).saturating_sub(at));
        io::copy(&mut Read::by_ref(self).take(left), &mut io::sink())
            .map(drop)
            .map_err(|error| Failure::from_io(format!("reading {}", manifest.backup_file), error))
    }
}

impl Read for Passing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut both = self.0.lock();
        let count = both.0.read(buffer)?;
        both.1 += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
