//! The only place that reads the time.
//!
//! Owns [`Clock`]: the system's, or one that a test sets by hand. Nothing else in the crate may call `Utc::now`.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

/// Where "now" comes from. Cheap to clone; clones of a manual clock share their hands.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// The machine's wall clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(start))))
    }

    /// The wall-clock time, in UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Manual(hands) => *hands.lock(),
        }
    }

    /// Moves a manual clock by `delta`, which may be negative; a system clock is left alone.
    pub fn advance(&self, delta: TimeDelta) {
        if let Source::Manual(hands) = &self.0 {
            let mut now = hands.lock();
            *now += delta;
        }
    }

    /// Sets a manual clock; a system clock is left alone.
    pub fn set(&self, to: DateTime<Utc>) {
        if let Source::Manual(hands) = &self.0 {
            *hands.lock() = to;
        }
    }
}
