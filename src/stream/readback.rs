//! Reading stored bytes back in one pass: their length and SHA-256, and at the same time what is inside them, decompressed.
//!
//! One thread reads and hashes, whatever becomes of the rest; one decompresses; the caller's thread shows the bytes to an [`Observe`]r and
//! hands them to a program. Nothing is kept whole. Verification calls it.

use std::io::{self, BufRead, Read, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::ahead::Ahead;
use super::compress::decompress;
use super::gauge::Gauge;
use super::hash::Sum;
use super::observe::Observe;
use crate::error::{Cause, Failure, Result};
use crate::model::dump::Compression;

/// Bytes of one read.
const CHUNK: usize = 128 * 1024;

/// Buffers between reading and decompressing: 2 MiB.
const CHUNKS: usize = 16;

/// What is wanted of the bytes' inside.
pub struct Inside<'a> {
    /// How they were compressed.
    pub compression: Compression,
    /// Looks at the archive.
    pub watch: &'a mut dyn Observe,
    /// Gets the archive as well; it may stop taking it, and then says itself why.
    pub sink: Option<Box<dyn Write + Send + 'a>>,
}

/// What came of it.
#[derive(Debug)]
pub struct ReadBack {
    /// Stored bytes read.
    pub stored: u64,
    /// Their SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Archive bytes seen inside, where that was asked for.
    pub archive: u64,
    /// Why the inside can't be what was written, if it can't.
    pub broken: Option<Failure>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
}

/// Reads `source` to its end. `go_on` is asked before each read: it may wait, and ends everything by `false`.
///
/// # Errors
/// Only where the source itself can't be read: that says nothing about the bytes.
pub fn read_back(
    source: Box<dyn Read + Send>,
    inside: Option<Inside<'_>>,
    gauge: &Gauge,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<ReadBack> {
    let Some(inside) = inside else {
        let (sum, stopped) = sum_up(source, None, gauge, go_on)?;
        return Ok(ReadBack { stored: sum.length(), sha256: sum.hex(), archive: 0, broken: None, stopped });
    };
    let (sender, receiver) = bounded(CHUNKS);
    thread::scope(|scope| {
        let read = scope.spawn(move || sum_up(source, Some(sender), gauge, go_on));
        let (archive, broken) = look_inside(receiver, inside, gauge);
        let died = || Failure::new(Cause::System, "reading back broke off by an error in pgdumpd itself");
        let (sum, stopped) = read.join().unwrap_or_else(|_| Err(died()))?;
        Ok(ReadBack { stored: sum.length(), sha256: sum.hex(), archive, broken, stopped })
    })
}

/// Hashes everything, and passes it on as long as somebody takes it.
fn sum_up(
    mut source: Box<dyn Read + Send>,
    pass_on: Option<Sender<Vec<u8>>>,
    gauge: &Gauge,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<(Sum, bool)> {
    let alone = pass_on.is_none();
    let (mut sum, mut pass_on) = (Sum::default(), pass_on);
    let mut buffer = vec![0; CHUNK];
    loop {
        if !go_on() {
            return Ok((sum, true));
        }
        let got = match source.read(&mut buffer) {
            Ok(0) => return Ok((sum, false)),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::storage("reading the stored bytes back", &error)),
        };
        let bytes = buffer.get(..got).unwrap_or_default();
        sum.update(bytes);
        if alone {
            gauge.end_read(got);
        }
        // Whoever decompresses may have seen enough; the hash still wants every byte.
        if pass_on.as_ref().is_some_and(|channel| channel.send(bytes.to_vec()).is_err()) {
            pass_on = None;
        }
    }
}

fn look_inside(chunks: Receiver<Vec<u8>>, inside: Inside<'_>, gauge: &Gauge) -> (u64, Option<Failure>) {
    let Inside { compression, watch, mut sink } = inside;
    let passed = Passed { chunks, now: Vec::new(), at: 0 };
    let mut reader = match decompress(compression, Box::new(passed)).and_then(Ahead::of) {
        Ok(reader) => reader,
        Err(failure) => return (0, Some(failure)),
    };
    let (mut archive, mut cuts) = (0, Vec::new());
    loop {
        let bytes = match reader.fill_buf() {
            Ok([]) => return (archive, None),
            Ok(bytes) => bytes,
            Err(error) => {
                let words = format!("it can't be decompressed beyond byte {archive} of the archive: {error}");
                return (archive, Some(Failure::new(Cause::Damaged, words)));
            }
        };
        let got = bytes.len();
        archive += got as u64;
        gauge.end_read(got);
        if let Err(failure) = watch.observe(bytes, &mut cuts) {
            return (archive, Some(failure));
        }
        cuts.clear();
        if sink.as_mut().is_some_and(|sink| sink.write_all(bytes).is_err()) {
            sink = None;
        }
        reader.consume(got);
    }
}

/// What was read on the other thread, as one stream.
struct Passed {
    chunks: Receiver<Vec<u8>>,
    now: Vec<u8>,
    at: usize,
}

impl Read for Passed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.now.len() {
            match self.chunks.recv() {
                Ok(chunk) => (self.now, self.at) = (chunk, 0),
                Err(_) => return Ok(0),
            }
        }
        let mut rest = self.now.get(self.at..).unwrap_or_default();
        let got = rest.read(buffer)?;
        self.at += got;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Blind, hash};

    fn stored(archive: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(archive).unwrap();
        encoder.finish().unwrap()
    }

    fn back(stored: Vec<u8>) -> (ReadBack, Vec<u8>) {
        let mut seen = Vec::new();
        let inside = Inside { compression: Compression::Zstd(3), watch: &mut Blind, sink: Some(Box::new(&mut seen)) };
        let read = read_back(Box::new(io::Cursor::new(stored)), Some(inside), &Gauge::new(), &|| true).unwrap();
        (read, seen)
    }

    fn text() -> Vec<u8> {
        (0..400_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).collect()
    }

    #[test]
    fn one_pass_hashes_and_shows_the_inside() {
        let (text, bytes) = (text(), stored(&text()));
        let sum = hash::sha256(&bytes[..]).unwrap();
        let (read, seen) = back(bytes.clone());
        assert_eq!((read.stored, read.archive, read.broken), (bytes.len() as u64, text.len() as u64, None));
        assert_eq!(read.sha256, sum);
        assert!(seen == text);
    }

    #[test]
    fn damage_inside_does_not_keep_the_hash_from_the_end() {
        let mut bytes = stored(&text());
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let sum = hash::sha256(&bytes[..]).unwrap();
        let (read, _) = back(bytes.clone());
        assert!(read.broken.is_some_and(|failure| failure.cause == Cause::Damaged));
        assert_eq!((read.sha256, read.stored), (sum, bytes.len() as u64));
    }

    #[test]
    fn a_read_error_says_nothing_about_the_bytes() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                if self.0 > 2 { Err(io::Error::from_raw_os_error(5)) } else { Ok(buffer.len()) }
            }
        }
        let failure = read_back(Box::new(Failing(0)), None, &Gauge::new(), &|| true).unwrap_err();
        assert_eq!(failure.cause, Cause::Storage);
    }

    #[test]
    fn it_stops_when_told() {
        let stopped = read_back(Box::new(io::repeat(0)), None, &Gauge::new(), &|| false).unwrap();
        assert!(stopped.stopped);
    }
}
