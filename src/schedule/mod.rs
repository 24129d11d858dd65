//! From (cron or interval, time zone) to due slots, with the DST policy of Debian's cron.
//!
//! Owns [`Timing`], catch-up after downtime and the spread by name. It never reads the clock or the catalog: `now` and what was recorded
//! are handed in. The daemon, `plan` and the configuration call it.

mod catch_up;
mod cron;
mod field;
mod slots;
mod zoned;

#[cfg(test)]
mod dst_tests;
#[cfg(test)]
mod property_tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use sha2::{Digest, Sha256};

pub use catch_up::{CatchUp, catch_up};
pub use cron::Cron;
pub use slots::Slots;

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timing {
    /// A crontab line, checked when it was read.
    Cron(Cron),
    /// A plain interval, counted from the last start. Whole seconds; anything shorter than one second counts as one.
    Every(Duration),
}

impl Timing {
    /// The first slot strictly after `after`, or none within the calendar.
    ///
    /// `last_start` matters to [`Timing::Every`] alone: its slots lie whole intervals away from it, in both directions, so that a clock
    /// set back neither stops them nor makes them storm. An interval that has never started is due one second after `after`.
    #[must_use]
    pub fn next_after(&self, zone: Tz, after: DateTime<Utc>, last_start: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron(cron) => zoned::next_after(cron, zone, after),
            Self::Every(interval) => next_interval(*interval, after, last_start),
        }
    }
}

fn next_interval(interval: Duration, after: DateTime<Utc>, last_start: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let step = i64::try_from(interval.as_secs()).ok()?.max(1);
    let Some(start) = last_start else { return after.checked_add_signed(TimeDelta::seconds(1)) };
    // Whole seconds since the start, rounded towards the past, so that the next multiple lies strictly after.
    let elapsed = after.signed_duration_since(start);
    let whole = elapsed.num_seconds() - i64::from(elapsed < TimeDelta::seconds(elapsed.num_seconds()));
    let ahead = whole.div_euclid(step).checked_add(1)?.checked_mul(step)?;
    start.checked_add_signed(TimeDelta::try_seconds(ahead)?)
}

/// A fixed delay from zero to just below `span`, in whole seconds, chosen by the name: the same in every version and on every machine.
#[must_use]
pub fn spread(name: &str, span: Duration) -> Duration {
    let digest = Sha256::digest(name.as_bytes());
    let fraction = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let seconds = (u128::from(fraction) * u128::from(span.as_secs())) >> 64;
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
