//! The time behind the `@` of a backup's name: a date, a minute or a second, each of which means its end, in the project's zone or as an
//! offset says; also as file names hold it.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::error::Result;

use super::plan;

/// A time as it is written, and how long what is written lasts.
const FORMS: [(&str, TimeDelta); 3] =
    [("%Y-%m-%d %H:%M:%S", TimeDelta::seconds(1)), ("%Y-%m-%d %H:%M", TimeDelta::minutes(1)), ("%Y%m%d %H%M%S", TimeDelta::seconds(1))];

/// The last moment that the text means: a backup of 06:48:26.3 is one of 06:48:26, and of 06:48.
pub(super) fn end(text: &str, zone: Tz) -> Result<DateTime<Utc>> {
    let plain = text.replacen('T', " ", 1);
    if let Ok(day) = NaiveDate::parse_from_str(&plain, "%Y-%m-%d") {
        let next = day.succ_opt().and_then(|day| day.and_hms_opt(0, 0, 0)).and_then(|next| zone.from_local_datetime(&next).earliest());
        let begin = plan::time(text, zone)?;
        return Ok(next.map_or(begin + TimeDelta::days(1), |next| next.to_utc()) - TimeDelta::microseconds(1));
    }
    let (local, offset) = offset(&plain);
    for (form, lasts) in FORMS {
        let Ok(begin) = NaiveDateTime::parse_from_str(local, form) else { continue };
        let begin = match offset {
            Some(offset) => offset.from_local_datetime(&begin).latest().map(|begin| begin.to_utc()),
            None => zone.from_local_datetime(&begin).latest().map(|begin| begin.to_utc()),
        };
        if let Some(begin) = begin {
            return Ok(begin + lasts - TimeDelta::microseconds(1));
        }
    }
    plan::time(text, zone)
}

/// The text before its offset from UTC, and that offset, where it has one.
fn offset(text: &str) -> (&str, Option<FixedOffset>) {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return (local.trim_end(), FixedOffset::east_opt(0));
    }
    // A sign within the date is none of an offset's.
    let Some((local, written)) = text.rfind(['+', '-']).filter(|at| *at > "2026-11-30".len()).map(|at| text.split_at(at)) else {
        return (text, None);
    };
    match written.parse() {
        Ok(offset) => (local.trim_end(), Some(offset)),
        Err(_) => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_means_its_end() {
        let end = |text: &str, zone: Tz| end(text, zone).map(|time| time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()).unwrap_or_default();
        for (text, expected) in [
            ("2026-11-30", "2026-11-30T23:59:59.999999"),
            ("2026-11-30 06:48", "2026-11-30T06:48:59.999999"),
            ("2026-11-30T06:48", "2026-11-30T06:48:59.999999"),
            ("2026-11-30 06:48:26", "2026-11-30T06:48:26.999999"),
            ("2026-11-30T06:48:26Z", "2026-11-30T06:48:26.999999"),
            ("20261130T064826Z", "2026-11-30T06:48:26.999999"),
            ("2026-11-30T08:48:26+02:00", "2026-11-30T06:48:26.999999"),
            ("2026-11-30 08:48+02:00", "2026-11-30T06:48:59.999999"),
            ("2026-11-30T01:48:26-05:00", "2026-11-30T06:48:26.999999"),
            ("2026-11-30T06:48:26.25Z", "2026-11-30T06:48:26.250000"),
            ("yesterday", ""),
            ("2026-11-30 06:48+99:00", ""),
        ] {
            assert_eq!(end(text, Tz::UTC), expected, "{text}");
        }
        let berlin = chrono_tz::Europe::Berlin;
        // A day of 23 hours, and an hour that is there twice.
        assert_eq!(end("2026-03-29", berlin), "2026-03-29T21:59:59.999999");
        assert_eq!(end("2026-10-25 02:30", berlin), "2026-10-25T01:30:59.999999");
        assert_eq!(end("20261130T064826Z", berlin), "2026-11-30T06:48:26.999999");
    }
}
