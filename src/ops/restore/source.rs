//! A backup as it is read for a restore: decompressed on one side, its stored bytes summed up on the other.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::process::Cancel;
use crate::stream::hash::Sum;
use crate::stream::{Ahead, Gauge, decompress};

use super::super::artifact;
use super::{Means, feed};

/// The archive from its start. An error of its reading carries a [`Failure`].
pub(super) struct Source<'a> {
    manifest: &'a Manifest,
    stored: Summing,
    archive: Box<dyn Read + Send>,
    passed: u64,
}

/// Stored bytes on their way into whatever decompresses them.
#[derive(Clone)]
struct Summing(Arc<Mutex<(Box<dyn Read + Send>, Sum)>>);

impl Summing {
    fn of(means: Means<'_>) -> Result<Self> {
        let stored = artifact::stored(means.storage.as_ref(), means.manifest, 0..means.manifest.backup_size_bytes)?;
        Ok(Self(Arc::new(Mutex::new((stored, Sum::default())))))
    }
}

impl Read for Summing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut both = self.0.lock();
        let count = both.0.read(buffer)?;
        both.1.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<'a> Source<'a> {
    /// Opens a backup; an artifact that is missing or has another length is refused.
    pub(super) fn open(means: Means<'a>) -> Result<Self> {
        let stored = Summing::of(means)?;
        let archive = decompress(means.manifest.compression, Box::new(stored.clone()))?;
        Ok(Self { manifest: means.manifest, stored, archive, passed: 0 })
    }

    /// The same, read and summed up on one thread and decompressed on another, for whoever is busy with each piece.
    pub(super) fn ahead(means: Means<'a>) -> Result<Self> {
        let stored = Summing::of(means)?;
        let archive = decompress(means.manifest.compression, Box::new(Ahead::of(Box::new(stored.clone()))?))?;
        Ok(Self { manifest: means.manifest, stored, archive: Box::new(Ahead::of(archive)?), passed: 0 })
    }

    /// The next bytes of the archive, as many as fit; fewer only at its end.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::from_io(format!("reading {}", self.manifest.backup_file), error)),
            }
        }
        Ok(filled)
    }

    /// Reads the stored bytes to their end, and says whether they are those that were stored.
    pub(super) fn check(&self) -> Result<()> {
        io::copy(&mut self.stored.clone(), &mut io::sink())
            .map_err(|error| Failure::from_io(format!("reading {}", self.manifest.backup_file), error))?;
        let found = self.stored.0.lock().1.clone().hex();
        if found == self.manifest.checksum_sha256 {
            return Ok(());
        }
        Err(damaged(self.manifest, &format!("its SHA-256 is {found} instead of {}", self.manifest.checksum_sha256)))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.archive.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted || error.get_ref().is_some_and(|inner| inner.is::<Failure>()) => {
                return Err(error);
            }
            Err(error) => return Err(damaged(self.manifest, &format!("decompression fails after {} bytes ({error})", self.passed)).into()),
        };
        self.passed += count as u64;
        let whole = self.manifest.uncompressed_size_bytes;
        if self.passed > whole {
            return Err(damaged(self.manifest, &format!("it holds more than the {whole} bytes that were dumped")).into());
        }
        if count == 0 && !buffer.is_empty() && self.passed < whole {
            return Err(damaged(self.manifest, &format!("it ends after {} of the {whole} bytes that were dumped", self.passed)).into());
        }
        Ok(count)
    }
}

/// What to say where an artifact isn't what its manifest promises.
pub(super) fn damaged(manifest: &Manifest, why: &str) -> Failure {
    let failure = Failure::new(Cause::Damaged, format!("{} is damaged: {why}", manifest.backup_file));
    if manifest.is_of_given_file() {
        return failure.hint("the target is as it was; fetch the file from a copy, or make the dump again");
    }
    failure
        .hint(format!("the target is as it was; take another backup (`pgdumpd list {}`), or fetch this one from a copy", manifest.project))
}

/// A reader that shows how far it is, and ends where that is wished.
pub(super) struct Paced<'a, R> {
    pub(super) inner: R,
    pub(super) gauge: &'a Gauge,
    pub(super) cancel: &'a Cancel,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        feed::cancelled(self.cancel)?;
        let count = self.inner.read(buffer)?;
        self.gauge.passed(count);
        Ok(count)
    }
}
