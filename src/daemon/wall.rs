//! Notices when the wall clock is set, or stood still while the machine slept: it is compared with the clock that only ever goes on.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// A difference smaller than this is drift.
const STEP: TimeDelta = TimeDelta::seconds(60);

/// Both clocks at the last look.
#[derive(Debug)]
pub(super) struct Wall {
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Wall {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { wall: now, steady: Instant::now() }
    }

    /// By how much the wall clock has jumped since the last look; `None` where it just went on.
    pub(super) fn jump(&mut self, now: DateTime<Utc>) -> Option<TimeDelta> {
        self.jump_at(now, Instant::now())
    }

    fn jump_at(&mut self, now: DateTime<Utc>, steady: Instant) -> Option<TimeDelta> {
        let gone = TimeDelta::from_std(steady.saturating_duration_since(self.steady)).unwrap_or_default();
        let jump = now - self.wall - gone;
        (self.wall, self.steady) = (now, steady);
        (jump.abs() > STEP).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_the_steady_clock_does_not_know_is_a_jump() {
        let begun = DateTime::from_timestamp(1_795_000_000, 0).expect("a time");
        let mut wall = Wall::new(begun);
        let steady = wall.steady;
        let at = |seconds: i64, gone: u64| (begun + TimeDelta::seconds(seconds), steady + Duration::from_secs(gone));
        let mut look = |(now, steady)| wall.jump_at(now, steady);
        assert_eq!(look(at(600, 600)), None, "stopped for ten minutes, but the clock went on");
        assert_eq!(look(at(655, 610)), None, "45 seconds of correction");
        assert_eq!(look(at(655 + 108_000, 610)), Some(TimeDelta::hours(30)), "asleep");
        assert_eq!(look(at(655, 610)), Some(TimeDelta::hours(-30)), "set back");
    }
}
