//! Times in JSON, as chrono itself writes them, but a whole at a time: a plan of ten thousand backups holds fifty thousand, and chrono's own way
//! goes letter by letter through the escaping of JSON.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// `2026-11-21T01:15:00.25Z`.
pub(super) fn one<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The same, or `null`.
#[expect(clippy::ref_option, reason = "serde hands it over so")]
pub(super) fn maybe<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => one(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_chrono_writes(seconds in -62_000_000_000_i64..250_000_000_000, nanos in prop_oneof![Just(0), Just(250_000_000), 0..999_999_999_u32]) {
            let time = Utc.timestamp_opt(seconds, nanos).unwrap();
            let mut ours = Vec::new();
            one(&time, &mut serde_json::Serializer::new(&mut ours)).unwrap();
            prop_assert_eq!(String::from_utf8(ours).unwrap(), serde_json::to_string(&time).unwrap());
        }
    }
}
