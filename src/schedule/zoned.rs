//! From readings of a wall clock to instants: everything about clock changes.
//!
//! A fixed hour is due once per reading: a reading that the clock skipped is due at the skip's end, several of them as one, and a
//! repeated reading on its first pass. An hour of `*` or `*/n` is due at every instant whose reading matches, both passes of a repeat
//! included, and after a change the old clock's readings go on counting until the new clock's first slot, at most for as long as the
//! change was (one to three hours), so that neither a skip nor a change by half an hour leaves a hole.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::cron::{Cron, HourKind};

/// Offsets from UTC lie between -16 and +16 hours everywhere and always, so readings of one instant lie at most this far apart.
const WIDEST: TimeDelta = TimeDelta::hours(36);

/// The first slot strictly after `after`.
pub(super) fn next_after(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let clock = WallClock(zone);
    let found = match cron.hour_kind() {
        HourKind::Fixed => next_fixed(cron, clock, after.naive_utc()),
        HourKind::Elapsed => next_elapsed(cron, clock, after.naive_utc()),
    };
    found.map(|instant| instant.and_utc())
}

/// A zone seen as a clock on a wall. Instants and readings are both `NaiveDateTime`; the former are UTC.
#[derive(Clone, Copy)]
struct WallClock(Tz);

impl WallClock {
    /// How far the clock is ahead of UTC at an instant.
    fn offset(self, instant: NaiveDateTime) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.0.offset_from_utc_datetime(&instant).fix().local_minus_utc()))
    }

    fn reading(self, instant: NaiveDateTime) -> Option<NaiveDateTime> {
        instant.checked_add_signed(self.offset(instant))
    }

    /// The first instant at which the clock shows at least `reading`: its first pass, or the end of the skip that swallowed it.
    fn first_pass(self, reading: NaiveDateTime) -> Option<NaiveDateTime> {
        match self.0.offset_from_local_datetime(&reading) {
            chrono::LocalResult::Single(offset) => reading.checked_sub_offset(offset.fix()),
            chrono::LocalResult::Ambiguous(one, other) => {
                Some(reading.checked_sub_offset(one.fix())?.min(reading.checked_sub_offset(other.fix())?))
            }
            chrono::LocalResult::None => {
                let (low, high) = (reading.checked_sub_signed(WIDEST)?, reading.checked_add_signed(WIDEST)?);
                halve(low, high, |instant| self.reading(instant).is_some_and(|shown| shown >= reading))
            }
        }
    }

    /// The first change of the offset in `(from, to]`, looked for at least every half day.
    fn change(self, from: NaiveDateTime, to: NaiveDateTime) -> Option<Change> {
        let mut low = from;
        let old = self.offset(from);
        while low < to {
            let high = to.min(low.checked_add_signed(TimeDelta::hours(12))?);
            if self.offset(high) != old {
                let at = halve(low, high, |instant| self.offset(instant) != old)?;
                return Some(Change { at, old, new: self.offset(at) });
            }
            low = high;
        }
        None
    }
}

/// A clock change: the first instant with the new offset.
#[derive(Clone, Copy)]
struct Change {
    at: NaiveDateTime,
    old: TimeDelta,
    new: TimeDelta,
}

impl Change {
    /// Until when the old clock's readings count, at most.
    fn grace_end(&self) -> Option<NaiveDateTime> {
        let length = (self.new - self.old).abs().clamp(TimeDelta::hours(1), LONGEST_GRACE);
        self.at.checked_add_signed(length)
    }
}

/// Debian's cron takes changes beyond three hours for corrections of the clock and follows the new one at once.
const LONGEST_GRACE: TimeDelta = TimeDelta::hours(3);

/// The first whole second in `(low, high]` at which `is_past` holds, given that it doesn't at `low` and does at `high`.
fn halve(low: NaiveDateTime, high: NaiveDateTime, is_past: impl Fn(NaiveDateTime) -> bool) -> Option<NaiveDateTime> {
    let (mut low, mut high) = (low.and_utc().timestamp(), high.and_utc().timestamp());
    let instant = |second| DateTime::from_timestamp(second, 0).map(|time| time.naive_utc());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_past(instant(middle)?) {
            high = middle;
        } else {
            low = middle;
        }
    }
    instant(high)
}

fn next_fixed(cron: &Cron, clock: WallClock, after: NaiveDateTime) -> Option<NaiveDateTime> {
    let mut reading = cron.first_reading(clock.reading(after)?)?;
    loop {
        let instant = clock.first_pass(reading)?;
        if instant > after {
            return Some(instant);
        }
        // Either `after` is the slot itself, or it lies in a second pass, whose readings have all had their first.
        reading = cron.first_reading(reading.checked_add_signed(TimeDelta::seconds(1))?)?;
    }
}

fn next_elapsed(cron: &Cron, clock: WallClock, after: NaiveDateTime) -> Option<NaiveDateTime> {
    let second = TimeDelta::seconds(1);
    // Slots lie on whole seconds: the first candidate is the next of them.
    let mut from = halve(after.checked_sub_signed(second)?, after.checked_add_signed(second)?, |instant| instant > after)?;
    if let Some(change) = clock.change(from.checked_sub_signed(LONGEST_GRACE)?, from)
        && let Some(slot) = old_clock_slot(cron, change, from)
    {
        return Some(slot);
    }
    loop {
        let offset = clock.offset(from);
        let slot = cron.first_reading(from.checked_add_signed(offset)?)?.checked_sub_signed(offset)?;
        let near = from.checked_add_signed(WIDEST)?;
        match clock.change(from, slot.min(near)) {
            // Up to and without the change the old clock is the only one.
            Some(change) if slot < change.at => return Some(slot),
            Some(change) => {
                if let Some(slot) = old_clock_slot(cron, change, change.at) {
                    return Some(slot);
                }
                from = change.at;
            }
            None if slot <= near => return Some(slot),
            // Far away: no clock shows a matching reading before this, whatever changes lie between.
            None => from = near.max(slot.checked_sub_signed(WIDEST)?),
        }
    }
}

/// The old clock's next slot at or after `from` (itself at or after the change), if the new clock hasn't had one by then.
fn old_clock_slot(cron: &Cron, change: Change, from: NaiveDateTime) -> Option<NaiveDateTime> {
    let slot = cron.first_reading(from.checked_add_signed(change.old)?)?.checked_sub_signed(change.old)?;
    if slot >= change.grace_end()? {
        return None;
    }
    let new = cron.first_reading(change.at.checked_add_signed(change.new)?)?.checked_sub_signed(change.new)?;
    (slot < new).then_some(slot)
}
