//! The pump: source → observer → compression → SHA-256 → sink, overlapping, with a fixed set of buffers.
//!
//! The caller's thread shows the bytes to the observer and watches for the stop; reading, compressing and writing have a thread each.
//! A thread stuck in a read or a write never holds the caller: it is left to end when its call returns, and then drops what it owns.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, bounded};

use super::compress::Encoder;
use super::gauge::Gauge;
use super::observe::Observe;
use crate::error::{Cause, Failure};
use crate::model::backup::Frame;
use crate::model::dump::Compression;

mod stages;

use stages::{Blocks, Chunk, Written};

/// How often the stop is looked at while nothing moves.
const TICK: Duration = Duration::from_millis(20);
/// How long an ended pump waits for its writer to let go of the sink.
const LETTING_GO: Duration = Duration::from_millis(60);
/// Capacity asked for the pipe from `pg_dump`; the most a plain user gets by default.
const PIPE: usize = 1024 * 1024;

/// What came through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pumped {
    /// Bytes written to the sink.
    pub stored: u64,
    /// Bytes read from the source.
    pub archive: u64,
    /// SHA-256 of the stored bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Where decompression can begin, ascending; the first is the beginning.
    pub frames: Vec<Frame>,
}

/// A finished pump: the figures, and the sink with every byte handed to it and flushed, to be committed or dropped.
#[derive(Debug)]
pub struct Done<W> {
    /// The figures.
    pub pumped: Pumped,
    /// The sink, given back.
    pub sink: W,
}

/// Which part ended a pump early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Reading from the source failed.
    Source,
    /// The observer refused what it saw.
    Observer,
    /// The compressor failed (out of memory, a level it doesn't know).
    Compression,
    /// Writing to the sink failed.
    Sink,
    /// The caller's stop was set.
    Cancelled,
}

/// Why a pump ended early. The sink has been dropped, or will be as soon as its stuck write returns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct PumpError {
    /// The part that ended it.
    pub side: Side,
    /// What it said.
    pub failure: Failure,
}

impl PumpError {
    fn from_io(side: Side, error: &io::Error) -> Self {
        let failure = match side {
            Side::Sink => Failure::storage("writing the backup", error),
            Side::Compression => Failure::new(Cause::System, format!("compressing the dump: {error}")),
            _ => Failure::new(Cause::System, format!("reading the dump: {error}")),
        };
        Self { side, failure }
    }

    fn cancelled() -> Self {
        Self { side: Side::Cancelled, failure: Failure::new(Cause::Interrupted, "the dump was stopped before it was complete") }
    }
}

/// Enlarges the pipe behind a descriptor to 1 MiB, so that `pg_dump` is woken less often. Where that is refused (not a pipe, the
/// user's pipe quota is used up) it stays as it is; returns its size then and now, where it has one.
pub fn enlarge_pipe(pipe: impl AsFd) -> Option<usize> {
    rustix::pipe::fcntl_setpipe_size(&pipe, PIPE).or_else(|_| rustix::pipe::fcntl_getpipe_size(&pipe)).ok()
}

/// Moves everything from `source` to `sink`; every byte is shown to `observer` before it is compressed.
///
/// `workers` as in `zstd -T`: 0 is smallest (13 MB resident in all at level 3), 1 is faster and packs better (49 MB), each further one
/// costs more. `stop` is looked at every 20 ms and honoured within 100 ms, even while the source or the sink blocks; the caller then ends whatever feeds the source, which lets the reading thread end too.
pub fn pump<W: Write + Send + 'static>(
    source: Box<dyn Read + Send>,
    observer: &mut dyn Observe,
    compression: Compression,
    workers: u32,
    sink: W,
    gauge: &Gauge,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Done<W>, PumpError> {
    let lines = start(source, compression, workers, sink, gauge)?;
    let result = feed(&lines, observer, stop).and_then(|archive| {
        send(&lines, None, stop)?;
        let written = lines.verdict(stop)?;
        let (stored, sha256) = (written.sum.length(), written.sum.hex());
        Ok(Done { pumped: Pumped { stored, archive, sha256, frames: written.frames }, sink: written.sink })
    });
    if result.is_err() {
        lines.let_go();
    }
    result
}

/// The caller's ends of the channels between the stages.
struct Lines<W> {
    chunks: Receiver<io::Result<Option<Chunk>>>,
    compressor: Sender<Option<Chunk>>,
    verdicts: Receiver<Result<Written<W>, PumpError>>,
}

impl<W> Lines<W> {
    /// Waits for the writer's last word, or the first failure downstream.
    fn verdict(&self, stop: &(dyn Fn() -> bool + Sync)) -> Result<Written<W>, PumpError> {
        loop {
            match self.verdicts.recv_timeout(TICK) {
                Ok(verdict) => return verdict,
                Err(RecvTimeoutError::Timeout) if stop() => return Err(PumpError::cancelled()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PumpError::from_io(Side::Compression, &io::Error::other("it ended early")));
                }
            }
        }
    }

    /// Takes the stages' inputs away and gives the writer a moment to drop the sink, so that an unfinished file is gone on return.
    fn let_go(self) {
        let Self { chunks, compressor, verdicts } = self;
        drop((chunks, compressor));
        let until = Instant::now() + LETTING_GO;
        while verdicts.recv_deadline(until).is_ok() {}
    }
}

fn start<W: Write + Send + 'static>(
    source: Box<dyn Read + Send>,
    compression: Compression,
    workers: u32,
    sink: W,
    gauge: &Gauge,
) -> Result<Lines<W>, PumpError> {
    let (chunk_out, chunks) = bounded(stages::CHUNKS);
    let (spare_chunk, spare_chunks) = bounded(stages::CHUNKS);
    let (compressor, to_compress) = bounded(stages::CHUNKS);
    let (block_out, blocks) = bounded(stages::BLOCKS);
    let (spare_block, spare_blocks) = bounded(stages::BLOCKS);
    let (verdict, verdicts) = bounded(4);
    for _ in 0..stages::CHUNKS {
        let _ = spare_chunk.try_send(Chunk::new());
    }
    for _ in 0..stages::BLOCKS {
        let _ = spare_block.try_send(Vec::with_capacity(super::compress::OUT));
    }
    let of_encoder = |error: io::Error| PumpError::from_io(Side::Compression, &error);
    let encoder = Encoder::new(compression, workers, Blocks::new(block_out, spare_blocks)).map_err(of_encoder)?;
    let (reading, writing, compressing) = (gauge.clone(), gauge.clone(), verdict.clone());
    let named = |name: &str| thread::Builder::new().name(format!("stream-{name}"));
    let spawned = named("read")
        .spawn(move || stages::read(source, &spare_chunks, &chunk_out, &reading))
        .and_then(|_| named("compress").spawn(move || stages::compress(encoder, &to_compress, &spare_chunk, &compressing)))
        .and_then(|_| named("write").spawn(move || stages::write(sink, &blocks, &spare_block, &verdict, &writing)));
    spawned
        .map_err(|error| PumpError { side: Side::Source, failure: Failure::new(Cause::System, format!("starting a thread: {error}")) })?;
    Ok(Lines { chunks, compressor, verdicts })
}

/// Shows every chunk to the observer and hands it on; returns the bytes seen.
fn feed<W>(lines: &Lines<W>, observer: &mut dyn Observe, stop: &(dyn Fn() -> bool + Sync)) -> Result<u64, PumpError> {
    let mut seen = 0;
    loop {
        if stop() {
            return Err(PumpError::cancelled());
        }
        match lines.chunks.recv_timeout(TICK) {
            Ok(Ok(Some(mut chunk))) => {
                seen += chunk.filled as u64;
                observe(observer, &mut chunk)?;
                send(lines, Some(chunk), stop)?;
            }
            Ok(Ok(None)) => return Ok(seen),
            Ok(Err(error)) => return Err(PumpError::from_io(Side::Source, &error)),
            // While the source says nothing, a sink that failed is heard here.
            Err(RecvTimeoutError::Timeout) => match lines.verdicts.try_recv() {
                Ok(Err(error)) => return Err(error),
                Ok(Ok(_)) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            },
            // The reading thread gives up silently only when what comes after it has failed, which says why.
            Err(RecvTimeoutError::Disconnected) => {
                return Err(match lines.verdicts.recv_timeout(LETTING_GO) {
                    Ok(Err(error)) => error,
                    _ => PumpError::from_io(Side::Source, &io::Error::other("the reading thread ended early")),
                });
            }
        }
    }
}

fn observe(observer: &mut dyn Observe, chunk: &mut Chunk) -> Result<(), PumpError> {
    let Chunk { bytes, filled, cuts } = chunk;
    cuts.clear();
    let seen = bytes.get(..*filled).unwrap_or_default();
    observer.observe(seen, cuts).map_err(|failure| PumpError { side: Side::Observer, failure })
}

/// Hands a chunk, or the end, to the compressor; a failure downstream or the stop ends the waiting.
fn send<W>(lines: &Lines<W>, chunk: Option<Chunk>, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), PumpError> {
    let mut message = chunk;
    loop {
        match lines.compressor.send_timeout(message, TICK) {
            Ok(()) => return Ok(()),
            Err(SendTimeoutError::Timeout(_)) if stop() => return Err(PumpError::cancelled()),
            Err(SendTimeoutError::Timeout(back)) => message = back,
            Err(SendTimeoutError::Disconnected(_)) => {
                return match lines.verdict(stop) {
                    Err(error) => Err(error),
                    Ok(_) => Err(PumpError::from_io(Side::Compression, &io::Error::other("it ended early"))),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
