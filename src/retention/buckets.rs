//! The hour, day, week, month and year a backup falls into, in the project's zone.

use chrono::{DateTime, Datelike, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::reason::Bucket;

/// All buckets, finest first.
pub(super) const ALL: [Bucket; 5] = [Bucket::Hour, Bucket::Day, Bucket::Week, Bucket::Month, Bucket::Year];

/// A backup's bucket numbers, in the order of [`ALL`]. Later spans have larger numbers.
pub(super) fn keys(zone: Tz, instant: DateTime<Utc>) -> [i64; 5] {
    let offset = i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc());
    let local = instant.naive_utc().checked_add_signed(chrono::TimeDelta::seconds(offset)).unwrap_or(instant.naive_utc());
    // The hour between two full hours on that clock; a repeated hour (the clock set back) is two hours.
    let hour = (instant.timestamp() + offset.rem_euclid(3600)).div_euclid(3600);
    let day = i64::from(local.num_days_from_ce());
    let week = (day - 1).div_euclid(7);
    let month = i64::from(local.year()) * 12 + i64::from(local.month0());
    [hour, day, week, month, i64::from(local.year())]
}
