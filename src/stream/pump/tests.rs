use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;

use super::*;
use crate::stream::hash::Sum;
use crate::stream::{Blind, Waiting, decompress};

const EVERY: [Compression; 5] = [Compression::Zstd(3), Compression::Gzip(6), Compression::Bzip2(1), Compression::None, Compression::Native];

/// Asks for a cut at each multiple of its step.
struct Cutting {
    step: u64,
    seen: u64,
}

impl Observe for Cutting {
    fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> crate::error::Result<()> {
        let end = self.seen + chunk.len() as u64;
        let mut next = self.seen.next_multiple_of(self.step);
        while next < end {
            cuts.push((next - self.seen) as usize);
            next += self.step;
        }
        self.seen = end;
        Ok(())
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..=(length / 8)).flat_map(|i| format!("{:x} row\n", i * 2_654_435_761 % 9973).into_bytes()).take(length).collect()
}

fn run(bytes: &[u8], compression: Compression, workers: u32, observer: &mut dyn Observe) -> Result<Done<Vec<u8>>, PumpError> {
    let source = io::Cursor::new(bytes.to_vec());
    pump(Box::new(source), observer, compression, workers, Vec::new(), &Gauge::new(), &|| false)
}

fn read_back(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decompress(compression, Box::new(io::Cursor::new(bytes.to_vec()))).unwrap().read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn what_goes_in_comes_out_and_every_frame_is_a_place_to_begin() {
    let bytes = text(3_000_000);
    for compression in EVERY {
        let done = run(&bytes, compression, 1, &mut Cutting { step: 700_001, seen: 0 }).unwrap();
        let Pumped { stored, archive, sha256, frames } = done.pumped;
        assert_eq!((stored, archive), (done.sink.len() as u64, 3_000_000));
        let mut sum = Sum::default();
        sum.update(&done.sink);
        assert_eq!(sha256, sum.hex());
        let begins: Vec<u64> = frames.iter().map(|frame| frame.archive).collect();
        assert_eq!(begins, [0, 700_001, 1_400_002, 2_100_003, 2_800_004], "{compression:?}");
        for frame in frames {
            let (stored, archive) = (frame.stored as usize, frame.archive as usize);
            assert!(read_back(compression, &done.sink[stored..]).unwrap() == bytes[archive..], "{compression:?} at {frame:?}");
        }
    }
}

#[test]
fn empty_input_and_several_workers_work() {
    for compression in EVERY {
        let done = run(&[], compression, 1, &mut Blind).unwrap();
        assert_eq!(read_back(compression, &done.sink).unwrap(), Vec::<u8>::new(), "{compression:?}");
    }
    let bytes = text(5_000_000);
    let done = run(&bytes, Compression::Zstd(3), 2, &mut Blind).unwrap();
    assert!(read_back(Compression::Zstd(3), &done.sink).unwrap() == bytes);
}

#[test]
fn a_flipped_or_missing_byte_is_a_read_error() {
    let bytes = text(200_000);
    for compression in [Compression::Zstd(3), Compression::Gzip(6), Compression::Bzip2(1)] {
        let mut stored = run(&bytes, compression, 1, &mut Blind).unwrap().sink;
        assert!(read_back(compression, &stored[..stored.len() - 1]).is_err(), "{compression:?} cut");
        let middle = stored.len() / 2;
        stored[middle] ^= 1;
        assert!(read_back(compression, &stored).is_err(), "{compression:?} flipped");
    }
}

/// A source that delivers some bytes and then nothing until it is let go.
struct Stalling(io::Cursor<Vec<u8>>, mpsc::Receiver<()>);

impl Read for Stalling {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => self.1.recv().map_or(Ok(0), |()| Ok(0)),
            count => Ok(count),
        }
    }
}

/// A sink that says when it is dropped, and blocks or fails as told.
struct Faulty {
    dropped: Arc<AtomicBool>,
    blocked: Option<mpsc::Receiver<()>>,
}

impl Write for Faulty {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match &self.blocked {
            Some(until) => until.recv().map_or(Err(io::Error::other("let go")), |()| Ok(0)),
            None => Err(io::Error::from_raw_os_error(28)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.dropped.store(true, SeqCst);
    }
}

/// Runs until the gauge shows `expected` for a while, then stops; returns how long the stop took.
fn stop_when(expected: Waiting, source: Box<dyn Read + Send>, sink: impl Write + Send + 'static) -> Duration {
    let gauge = Gauge::new();
    let shown = gauge.clone();
    let stopped = parking_lot::Mutex::new(None);
    let begun = Instant::now();
    let stop = || {
        let reading = shown.snapshot();
        let due = reading.waiting == expected && reading.still_for > Duration::from_millis(150);
        if due {
            stopped.lock().get_or_insert_with(Instant::now);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the gauge never showed {expected:?}: {reading:?}");
        due
    };
    let error = pump(source, &mut Blind, Compression::None, 1, sink, &gauge, &stop).map(|_| ()).unwrap_err();
    assert_eq!(error.side, Side::Cancelled);

    stopped.lock().unwrap().elapsed()
}

#[test]
fn the_stop_ends_a_stalled_source_and_a_stalled_sink_which_the_gauge_tells_apart() {
    let (_keep, let_go) = mpsc::channel();
    let taken = stop_when(Waiting::OnSource, Box::new(Stalling(io::Cursor::new(text(600_000)), let_go)), io::sink());
    assert!(taken < Duration::from_millis(150), "{taken:?}");

    let (let_go, blocked) = mpsc::channel();
    let dropped = Arc::new(AtomicBool::new(false));
    let sink = Faulty { dropped: Arc::clone(&dropped), blocked: Some(blocked) };
    let taken = stop_when(Waiting::OnSink, Box::new(io::repeat(7)), sink);
    assert!(taken < Duration::from_millis(150), "{taken:?}");
    assert!(!dropped.load(SeqCst));
    drop(let_go);
    let until = Instant::now() + Duration::from_secs(5);
    while !dropped.load(SeqCst) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(dropped.load(SeqCst), "the sink must be dropped once its write returns");
}

#[test]
fn a_full_sink_is_named_and_dropped_even_while_the_source_stalls() {
    // A zstd worker gives nothing before it has 8 MiB.
    let noise: Vec<u8> = rand::random_iter::<u64>().take(3_000_000).flat_map(u64::to_le_bytes).collect();
    for compression in EVERY {
        let (_keep, let_go) = mpsc::channel();
        let source = Stalling(io::Cursor::new(noise.clone()), let_go);
        let dropped = Arc::new(AtomicBool::new(false));
        let sink = Faulty { dropped: Arc::clone(&dropped), blocked: None };
        let error = pump(Box::new(source), &mut Blind, compression, 1, sink, &Gauge::new(), &|| false).map(|_| ()).unwrap_err();
        assert_eq!((error.side, error.failure.cause), (Side::Sink, Cause::Space), "{compression:?}");
        assert!(dropped.load(SeqCst), "{compression:?}");
    }
}

#[test]
fn a_failing_source_and_a_refusing_observer_are_named() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    struct Refusing;
    impl Observe for Refusing {
        fn observe(&mut self, _: &[u8], _: &mut Vec<usize>) -> crate::error::Result<()> {
            Err(Failure::new(Cause::ArchiveIncomplete, "not what was expected"))
        }
    }
    let failed = pump(Box::new(Failing), &mut Blind, Compression::None, 1, io::sink(), &Gauge::new(), &|| false).unwrap_err();
    assert_eq!(failed.side, Side::Source);
    let refused = run(&text(10), Compression::None, 1, &mut Refusing).unwrap_err();
    assert_eq!((refused.side, refused.failure.cause), (Side::Observer, Cause::ArchiveIncomplete));
}
