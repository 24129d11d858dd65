//! How far a stream is, and which end it waits for, readable from any thread while it runs.
//!
//! A watchdog reads it to end a run that makes no progress, and to blame the right side. It never decides that by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Which end the stream waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The source has not delivered the bytes asked for.
    OnSource,
    /// The sink has not taken the bytes given to it; a stalled sink soon stops the reading too, so it is named first.
    OnSink,
    /// Neither: bytes are being looked at, compressed or handed on.
    Working,
}

/// What the gauge shows at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Bytes read from the source.
    pub archive_bytes: u64,
    /// Bytes the sink has taken.
    pub stored_bytes: u64,
    /// The end waited for.
    pub waiting: Waiting,
    /// Time since a byte last moved at either end.
    pub still_for: Duration,
}

/// What is being done just now, where there is more than one thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In a word or two, before the name of what it is done to: `restoring`.
    pub doing: &'static str,
    /// Since when.
    pub since: Instant,
    /// The table that is worked on: its number, how many there are, its name.
    pub table: Option<(u64, u64, String)>,
}

/// The gauge of one stream. Clones show the same figures.
#[derive(Debug, Clone)]
pub struct Gauge(Arc<Figures>);

#[derive(Debug)]
struct Figures {
    start: Instant,
    archive: AtomicU64,
    stored: AtomicU64,
    moved_at_millis: AtomicU64,
    reading: AtomicBool,
    writing: AtomicBool,
    step: Mutex<Option<Step>>,
    held_up: Mutex<Option<String>>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Figures {
            start: Instant::now(),
            archive: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            moved_at_millis: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            step: Mutex::new(None),
            held_up: Mutex::new(None),
        }))
    }

    /// What it shows now.
    #[must_use]
    pub fn snapshot(&self) -> Reading {
        let figures = &self.0;
        let waiting = if figures.writing.load(Relaxed) {
            Waiting::OnSink
        } else if figures.reading.load(Relaxed) {
            Waiting::OnSource
        } else {
            Waiting::Working
        };
        Reading {
            archive_bytes: figures.archive.load(Relaxed),
            stored_bytes: figures.stored.load(Relaxed),
            waiting,
            still_for: self.0.start.elapsed().saturating_sub(Duration::from_millis(figures.moved_at_millis.load(Relaxed))),
        }
    }

    /// What is being done just now, where that was said.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.0.step.lock().clone()
    }

    /// Who keeps it waiting now, for people.
    #[must_use]
    pub fn held_up(&self) -> Option<String> {
        self.0.held_up.lock().clone()
    }

    /// Somebody keeps it waiting, or nobody any more.
    pub fn held_up_by(&self, who: Option<String>) {
        *self.0.held_up.lock() = who;
    }

    /// Another thing begins: its bytes count from zero.
    pub fn begin(&self, doing: &'static str) {
        self.show(0);
        *self.0.step.lock() = Some(Step { doing, since: Instant::now(), table: None });
    }

    /// It is at this table now, the `number`th `of` so many.
    pub fn table(&self, number: u64, of: u64, name: &str) {
        if let Some(step) = &mut *self.0.step.lock()
            && step.table.as_ref().is_none_or(|(known, ..)| *known != number)
        {
            step.table = Some((number, of, name.to_owned()));
        }
    }

    /// So many more bytes of an archive have been read back and handed on.
    pub fn passed(&self, bytes: usize) {
        self.moved(&self.0.archive, bytes);
    }

    /// Shows a count of bytes that don't come through a pump; a changed one counts as movement.
    pub fn show(&self, archive_bytes: u64) {
        if self.0.archive.swap(archive_bytes, Relaxed) != archive_bytes {
            self.0.moved_at_millis.store(self.0.start.elapsed().as_millis() as u64, Relaxed);
        }
    }

    pub(super) fn begin_read(&self) {
        self.0.reading.store(true, Relaxed);
    }

    pub(super) fn end_read(&self, bytes: usize) {
        self.0.reading.store(false, Relaxed);
        self.moved(&self.0.archive, bytes);
    }

    pub(super) fn begin_write(&self) {
        self.0.writing.store(true, Relaxed);
    }

    pub(super) fn end_write(&self, bytes: usize) {
        self.0.writing.store(false, Relaxed);
        self.moved(&self.0.stored, bytes);
    }

    fn moved(&self, counter: &AtomicU64, bytes: usize) {
        if bytes > 0 {
            counter.fetch_add(bytes as u64, Relaxed);
            self.0.moved_at_millis.store(self.0.start.elapsed().as_millis() as u64, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_holds_the_stream_is_named_before_the_source() {
        let gauge = Gauge::new();
        assert_eq!(gauge.snapshot().waiting, Waiting::Working);
        gauge.begin_read();
        assert_eq!(gauge.snapshot().waiting, Waiting::OnSource);
        gauge.begin_write();
        assert_eq!(gauge.snapshot().waiting, Waiting::OnSink);
        gauge.end_write(5);
        gauge.end_read(10);
        let shown = gauge.snapshot();
        assert_eq!((shown.archive_bytes, shown.stored_bytes, shown.waiting), (10, 5, Waiting::Working));
    }
}
