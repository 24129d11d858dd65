//! From (cron, time zone) to due slots, with the DST policy of Debian's cron.

use std::time::Duration;

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timing {
    /// A crontab line, checked when it was read.
    Cron(Cron),
    /// A plain interval, counted from the last start.
    Every(Duration),
}

/// A parsed crontab line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
}
