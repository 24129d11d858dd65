//! `cron`, `every` and how long the longest wait between two slots is.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::item::Item;
use super::report::Trouble;
use crate::schedule::{Cron, Timing};

/// A crontab line, read by the scheduler's own parser, which says why one is bad or impossible.
pub(super) fn cron(item: &Item<'_>) -> Option<Cron> {
    let text = item.name()?;
    match Cron::parse(&text) {
        Ok(cron) => Some(cron),
        Err(why) => {
            item.place.problem(Trouble::new(why));
            None
        }
    }
}

/// The longest wait between two slots of all the timings together, as far as it shows within ten weeks; `None` where it doesn't.
///
/// The weeks are fixed ones in winter and spring: the answer depends on the configuration alone.
pub(super) fn longest_wait(timings: &[(&Timing, Tz)]) -> Option<Duration> {
    const ENOUGH: usize = 200;
    let start = DateTime::<Utc>::from_timestamp(1_767_225_600, 0)?;
    let mut end = start + TimeDelta::weeks(10);
    let mut slots = Vec::new();
    for (timing, zone) in timings {
        let mut at = start;
        for _ in 0..ENOUGH {
            match timing.next_after(*zone, at, Some(start)) {
                Some(next) if next <= end => at = next,
                _ => {
                    at = end;
                    break;
                }
            }
            slots.push(at);
        }
        // Where counting stopped early, what lies behind is not known.
        end = end.min(at);
    }
    slots.retain(|slot| *slot <= end);
    slots.sort_unstable();
    let waits = slots.iter().zip(slots.iter().skip(1)).map(|(one, next)| *next - *one);
    waits.max().and_then(|wait| wait.to_std().ok())
}
