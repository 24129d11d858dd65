//! Tells when jobs wait long for a place: once when it begins, again while it lasts, and when it is over.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ops::standing::LAG;

use super::queue::Queue;

/// How often it is said again.
const AGAIN: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, Default)]
pub(super) struct Lag {
    told: Option<DateTime<Utc>>,
}

impl Lag {
    pub(super) fn look(&mut self, queue: &Queue, now: DateTime<Utc>) {
        let behind = queue.since().filter(|since| now - *since >= LAG);
        match (behind, self.told) {
            (Some(since), told) if told.is_none_or(|told| now - told >= AGAIN || told > now) => {
                self.told = Some(now);
                tracing::warn!(
                    waiting = queue.len(),
                    %since,
                    "jobs wait for a place, the first for {} min; raise max_parallel or max_parallel_per_server, or spread the schedules",
                    (now - since).num_minutes()
                );
            }
            (None, Some(_)) => {
                self.told = None;
                tracing::info!(waiting = queue.len(), "jobs no longer wait long for a place");
            }
            _ => {}
        }
    }
}
