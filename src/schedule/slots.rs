//! All slots of a span, counted without listing them.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::Timing;

/// The slots of a span: where they begin and end, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// The earliest.
    pub first: DateTime<Utc>,
    /// The latest, exact whatever the count.
    pub last: DateTime<Utc>,
    /// How many; where `exact` is false, at least this many.
    pub count: u32,
    /// False where counting stopped at the limit.
    pub exact: bool,
}

impl Timing {
    /// The slots in `(from_exclusive, to_inclusive]`, or none. Counts at most `limit` of them; `first` and `last` are exact anyway.
    #[must_use]
    pub fn between(
        &self,
        zone: Tz,
        from_exclusive: DateTime<Utc>,
        to_inclusive: DateTime<Utc>,
        last_start: Option<DateTime<Utc>>,
        limit: usize,
    ) -> Option<Slots> {
        // An interval that never started would move along with the question; hold it to the span's beginning.
        let last_start = last_start.or(Some(from_exclusive));
        let next = |after| self.next_after(zone, after, last_start).filter(|slot| *slot <= to_inclusive);
        let first = next(from_exclusive)?;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).max(1);
        let mut slots = Slots { first, last: first, count: 1, exact: true };
        while let Some(slot) = next(slots.last) {
            if slots.count >= limit {
                slots.last = latest(slot, to_inclusive, next);
                slots.exact = false;
                return Some(slots);
            }
            slots.last = slot;
            slots.count += 1;
        }
        Some(slots)
    }
}

/// The latest slot up to `to`, by halving the span between a known slot and the end: 30 steps for a century.
fn latest(known: DateTime<Utc>, to: DateTime<Utc>, next: impl Fn(DateTime<Utc>) -> Option<DateTime<Utc>>) -> DateTime<Utc> {
    let mut found = known;
    let mut end = to;
    while end.signed_duration_since(found) > TimeDelta::seconds(1) {
        let middle = found + end.signed_duration_since(found) / 2;
        match next(middle) {
            Some(slot) => found = slot,
            None => end = middle,
        }
    }
    next(found).unwrap_or(found)
}
