//! The pump's three threads and what passes between them.
//!
//! A message that says "end" is the only good end: a channel that merely closes means that the stage before it gave up, and what has
//! been written is dropped. No stage outlives its neighbours for longer than its present system call.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::{PumpError, Side};
use crate::model::backup::Frame;
use crate::stream::compress::{Encoder, OUT};
use crate::stream::gauge::Gauge;
use crate::stream::hash::Sum;

/// Buffers between source and compressor: 2 MiB, enough, with the pipe before them, to bridge the bursts of a disk.
pub(super) const CHUNKS: usize = 8;
/// Bytes of one such buffer.
const CHUNK: usize = 256 * 1024;
/// Buffers between compressor and sink: 1 MiB.
pub(super) const BLOCKS: usize = 8;
/// `pg_dump` writes 4 KiB at a time. The reader leaves the pipe to fill with about so many bytes, instead of being woken for each of them; a
/// pipe of the usual 64 KiB is never full by that.
const HANDFUL: usize = 48 * 1024;
/// For at least and at most so long.
const NAP: Range<Duration> = Duration::from_micros(50)..Duration::from_millis(2);

/// How long to leave the pipe alone next time, after a nap so long brought so many bytes.
fn nap_after(nap: Duration, brought: usize) -> Duration {
    let next = match brought {
        ..24_576 => nap * 2,
        24_576..HANDFUL => nap,
        HANDFUL.. => nap / 2,
    };
    next.clamp(NAP.start, NAP.end)
}

/// A buffer from the source; recycled.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Box<[u8]>,
    pub(super) filled: usize,
    pub(super) cuts: Vec<usize>,
}

impl Chunk {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; CHUNK].into_boxed_slice(), filled: 0, cuts: Vec::new() }
    }
}

/// What the writer gets.
pub(super) enum Block {
    /// Bytes to store.
    Bytes(Vec<u8>),
    /// All bytes have come; the frames they form.
    End(Vec<Frame>),
}

/// What the writer gives back.
pub(super) struct Written<W> {
    pub(super) sink: W,
    pub(super) sum: Sum,
    pub(super) frames: Vec<Frame>,
}

/// Fills buffers from the source until it ends.
pub(super) fn read(mut source: Box<dyn Read + Send>, spare: &Receiver<Chunk>, out: &Sender<io::Result<Option<Chunk>>>, gauge: &Gauge) {
    let mut nap = NAP.start;
    while let Ok(mut chunk) = spare.recv() {
        let ended = fill(&mut *source, &mut chunk, &mut nap, gauge);
        let stops = !matches!(ended, Ok(false));
        let sent = match ended {
            Ok(_) if chunk.filled > 0 => out.send(Ok(Some(chunk))),
            Ok(_) => Ok(()),
            Err(error) => out.send(Err(error)),
        };
        if sent.is_err() {
            return;
        }
        if stops {
            // After an error nobody listens any more.
            let _ = out.send(Ok(None));
            return;
        }
    }
}

/// Fills one buffer; says whether the source has ended.
fn fill(source: &mut dyn Read, chunk: &mut Chunk, nap: &mut Duration, gauge: &Gauge) -> io::Result<bool> {
    chunk.filled = 0;
    while let Some(room) = chunk.bytes.get_mut(chunk.filled..).filter(|room| !room.is_empty()) {
        let wanted = room.len();
        gauge.begin_read();
        let got = source.read(room);
        gauge.end_read(*got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) => return Ok(true),
            Ok(count) => {
                chunk.filled += count;
                *nap = nap_after(*nap, count);
                if count < wanted && count < HANDFUL {
                    thread::sleep(*nap);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Compresses chunks until the end is said, beginning a frame at each cut.
pub(super) fn compress<W>(
    encoder: Encoder<Blocks>,
    chunks: &Receiver<Option<Chunk>>,
    spare: &Sender<Chunk>,
    verdict: &Sender<Result<Written<W>, PumpError>>,
) {
    if let Err(error) = compress_all(encoder, chunks, spare) {
        // A writer that has gone away has told its own reason before.
        if error.kind() != io::ErrorKind::BrokenPipe {
            let _ = verdict.send(Err(PumpError::from_io(Side::Compression, &error)));
        }
    }
}

fn compress_all(mut encoder: Encoder<Blocks>, chunks: &Receiver<Option<Chunk>>, spare: &Sender<Chunk>) -> io::Result<()> {
    let mut frames = vec![Frame { stored: 0, archive: 0 }];
    let mut archive = 0;
    while let Ok(message) = chunks.recv() {
        let Some(chunk) = message else {
            return encoder.finish()?.end(frames);
        };
        let mut from = 0;
        for &cut in &chunk.cuts {
            let at = cut.clamp(from, chunk.filled);
            encoder.write(chunk.bytes.get(from..at).unwrap_or_default())?;
            from = at;
            let here = archive + at as u64;
            if frames.last().is_some_and(|frame| frame.archive < here) {
                encoder = encoder.cut()?;
                frames.push(Frame { stored: encoder.get_ref().passed(), archive: here });
            }
        }
        encoder.write(chunk.bytes.get(from..chunk.filled).unwrap_or_default())?;
        archive += chunk.filled as u64;
        // The reader may have ended; then nobody needs the buffer.
        let _ = spare.send(chunk);
    }
    Ok(())
}

/// A writer that packs what the encoder gives into recycled blocks for the writing thread.
pub(super) struct Blocks {
    out: Sender<Block>,
    spare: Receiver<Vec<u8>>,
    block: Vec<u8>,
    passed: u64,
}

impl Blocks {
    pub(super) fn new(out: Sender<Block>, spare: Receiver<Vec<u8>>) -> Self {
        Self { out, spare, block: Vec::with_capacity(OUT), passed: 0 }
    }

    /// Bytes taken so far.
    fn passed(&self) -> u64 {
        self.passed
    }

    fn hand_on(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let mut next = self.spare.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        next.clear();
        self.out.send(Block::Bytes(std::mem::replace(&mut self.block, next))).map_err(gone)
    }

    fn end(mut self, frames: Vec<Frame>) -> io::Result<()> {
        self.hand_on()?;
        self.out.send(Block::End(frames)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Blocks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() >= OUT {
            self.hand_on()?;
        }
        let taken = bytes.len().min(OUT - self.block.len());
        self.block.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        self.passed += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sums up and stores blocks until the end is said, then gives the sink back. Where the end never comes, the sink is dropped.
pub(super) fn write<W: Write>(
    mut sink: W,
    blocks: &Receiver<Block>,
    spare: &Sender<Vec<u8>>,
    verdict: &Sender<Result<Written<W>, PumpError>>,
    gauge: &Gauge,
) {
    let mut sum = Sum::default();
    while let Ok(block) = blocks.recv() {
        let result = match block {
            Block::Bytes(bytes) => {
                sum.update(&bytes);
                gauge.begin_write();
                let stored = sink.write_all(&bytes);
                gauge.end_write(if stored.is_ok() { bytes.len() } else { 0 });
                let _ = spare.send(bytes);
                stored
            }
            Block::End(frames) => {
                gauge.begin_write();
                let flushed = sink.flush();
                gauge.end_write(0);
                if flushed.is_ok() {
                    let _ = verdict.send(Ok(Written { sink, sum, frames }));
                    return;
                }
                flushed
            }
        };
        if let Err(error) = result {
            drop(sink);
            let _ = verdict.send(Err(PumpError::from_io(Side::Sink, &error)));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a writer of this speed leaves in a pipe of this size meanwhile.
    fn after(speed: u64, pipe: usize) -> usize {
        let mut nap = NAP.start;
        let brought = |nap: Duration| usize::try_from(speed * nap.as_micros() as u64 / 1_000_000).unwrap().min(pipe);
        for _ in 0..20 {
            nap = nap_after(nap, brought(nap));
        }
        brought(nap)
    }

    #[test]
    fn naps_are_as_long_as_a_handful_takes_and_never_fill_the_pipe() {
        for speed in [20_000_000, 100_000_000, 400_000_000] {
            for pipe in [65_536, 1_048_576] {
                let brought = after(speed, pipe);
                assert!((HANDFUL / 2..HANDFUL).contains(&brought), "{speed} bytes a second, a pipe of {pipe}: {brought}");
            }
        }
        assert_eq!(nap_after(NAP.end, 0), NAP.end);
        assert_eq!(nap_after(NAP.start, 1_000_000), NAP.start);
    }
}
