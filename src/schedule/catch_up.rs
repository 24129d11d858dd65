//! What becomes of the slots that went by while nobody was looking: one is run late, the others become one row of the diary.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Slots, Timing};

/// More slots than this are not counted one by one.
const COUNT_LIMIT: usize = 10_000;

/// What to do about the slots missed since the last recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatchUp {
    /// The latest missed slot, where it is recent enough to be run now.
    pub run: Option<DateTime<Utc>>,
    /// All others, as one row for a range.
    pub missed: Option<Slots>,
}

/// Decides about the slots in `(last_recorded, now]`: the latest is run if it is at most `window` old, everything else is missed.
///
/// A schedule without a recorded slot is new and catches up on nothing, and one whose last slot lies ahead of `now` (the clock was set
/// back) has missed nothing. `last_start` serves intervals only.
#[must_use]
pub fn catch_up(
    timing: &Timing,
    zone: Tz,
    last_recorded: Option<DateTime<Utc>>,
    last_start: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    window: Duration,
) -> CatchUp {
    let Some(from) = last_recorded else { return CatchUp::default() };
    let start = last_start.or(last_recorded);
    let Some(all) = timing.between(zone, from, now, start, COUNT_LIMIT) else { return CatchUp::default() };
    let age = now.signed_duration_since(all.last).to_std().unwrap_or_default();
    if age > window {
        return CatchUp { run: None, missed: Some(all) };
    }
    let before = all.last - TimeDelta::milliseconds(1);
    CatchUp { run: Some(all.last), missed: timing.between(zone, from, before, start, COUNT_LIMIT) }
}
