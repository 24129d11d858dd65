//! Reading crontab lines, and the readings they match.

use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::Cron;

fn reading(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap()
}

/// The next `count` readings at or after `from`.
fn readings(line: &str, from: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(line).unwrap_or_else(|why| panic!("{why}"));
    let mut from = reading(from);
    (0..count)
        .map(|_| {
            let found = cron.first_reading(from).unwrap();
            from = found + TimeDelta::seconds(1);
            found.format("%a %Y-%m-%d %H:%M:%S").to_string()
        })
        .collect()
}

#[test]
fn lines_match_what_crontab_says() {
    let table: &[(&str, &[&str])] = &[
        ("15 2 * * *", &["Sun 2026-11-22 02:15:00", "Mon 2026-11-23 02:15:00"]),
        ("5 15 2 * * *", &["Sun 2026-11-22 02:15:05", "Mon 2026-11-23 02:15:05"]),
        ("*/20 * * * *", &["Sat 2026-11-21 12:00:00", "Sat 2026-11-21 12:20:00"]),
        ("50-59/4,7 12 * * *", &["Sat 2026-11-21 12:07:00", "Sat 2026-11-21 12:50:00", "Sat 2026-11-21 12:54:00"]),
        ("0 0 * FEB,apr Mon-wed", &["Mon 2027-02-01 00:00:00", "Tue 2027-02-02 00:00:00"]),
        ("0 0 * * 7", &["Sun 2026-11-22 00:00:00", "Sun 2026-11-29 00:00:00"]),
        ("0 0 * * 5-7", &["Sun 2026-11-22 00:00:00", "Fri 2026-11-27 00:00:00", "Sat 2026-11-28 00:00:00"]),
        ("0 0 * * fri-sun", &["Sun 2026-11-22 00:00:00", "Fri 2026-11-27 00:00:00"]),
        // Either day is enough when both are restricted …
        ("0 0 13 * 5", &["Fri 2026-11-27 00:00:00", "Fri 2026-12-04 00:00:00", "Fri 2026-12-11 00:00:00", "Sun 2026-12-13 00:00:00"]),
        // … both are needed when one begins with a star.
        ("0 0 */2 * 1", &["Mon 2026-11-23 00:00:00", "Mon 2026-12-07 00:00:00"]),
        // The old trick for the first Sunday of a month.
        ("0 0 1-7 * */7", &["Sun 2026-12-06 00:00:00", "Sun 2027-01-03 00:00:00"]),
        ("0 0 1-7 * */6", &["Sat 2026-12-05 00:00:00", "Sun 2026-12-06 00:00:00", "Sat 2027-01-02 00:00:00"]),
        ("0 0 29 2 *", &["Tue 2028-02-29 00:00:00", "Sun 2032-02-29 00:00:00"]),
        ("0 0 31 * *", &["Thu 2026-12-31 00:00:00", "Sun 2027-01-31 00:00:00", "Wed 2027-03-31 00:00:00"]),
        ("@hourly", &["Sat 2026-11-21 12:00:00", "Sat 2026-11-21 13:00:00"]),
        ("@Daily", &["Sun 2026-11-22 00:00:00"]),
        ("@midnight", &["Sun 2026-11-22 00:00:00"]),
        ("@weekly", &["Sun 2026-11-22 00:00:00"]),
        ("@monthly", &["Tue 2026-12-01 00:00:00"]),
        ("@yearly", &["Fri 2027-01-01 00:00:00"]),
        ("@annually", &["Fri 2027-01-01 00:00:00"]),
        ("\t15  2\t* * * ", &["Sun 2026-11-22 02:15:00"]),
    ];
    for (line, expected) in table {
        assert_eq!(readings(line, "2026-11-21 12:00:00", expected.len()), *expected, "{line}");
    }
}

#[test]
fn refusals_say_what_to_write() {
    let table = [
        ("", "the schedule is empty: write five fields"),
        ("15 2 * *", "`15 2 * *` has 4 fields: five are needed"),
        ("0 0 2 * * * 2027", "has 7 fields"),
        ("60 2 * * *", "minute `60`: 60 is outside 0 to 59"),
        ("0 24 * * *", "hour `24`: 24 is outside 0 to 23"),
        ("0 0 0 * *", "day of month `0`: 0 is outside 1 to 31"),
        ("0 0 * 13 *", "month `13`: 13 is outside 1 to 12"),
        ("0 0 * * 8", "day of week `8`: 8 is outside 0 to 7"),
        ("0 0 * * foo", "`foo` is neither a number from 0 to 7 nor a name from sun to sat"),
        ("0 0 ? * *", "`?` is not crontab's: write `*`"),
        ("0 0 L * *", "`L` is not a number from 1 to 31"),
        ("*/90 * * * *", "a step of 90 is longer than the field (0-59)"),
        ("*/0 * * * *", "a step of 0 never moves on"),
        ("5/15 * * * *", "write `5-59/15`"),
        ("*/x * * * *", "the step `x` is not a number"),
        ("*/+5 * * * *", "the step `+5` is not a number"),
        ("0 22-2 * * *", "the range `22-2` runs backwards: write `22-23,0-2`"),
        ("1,,2 * * * *", "an item of the list is empty"),
        ("-1 * * * *", "`` is not a number from 0 to 59"),
        ("4294967297 * * * *", "4294967297 is outside 0 to 59"),
        ("0 0 30 2 *", "`0 0 30 2 *` can never come due: February has no day 30"),
        ("0 0 31 2,4,6 *", "February or April or June has no day 31"),
        ("0 0 30 2 1", "February has no day 30"),
        ("@reboot", "@reboot is not a time"),
        ("@every 15m", "is written every = \"15 min\""),
        ("@dayly", "`@dayly` is unknown: @hourly, @daily"),
        ("é * * * *", "`é` is not a number"),
    ];
    for (line, expected) in table {
        let why = Cron::parse(line).expect_err(line);
        assert!(why.contains(expected), "{line}: {why}");
    }
}

#[test]
fn the_text_is_kept_as_written() {
    assert_eq!(Cron::parse(" @daily ").unwrap().text(), "@daily");
}

/// Fields that mean the same to crontab and to croner's matcher.
fn line() -> impl Strategy<Value = String> {
    let minute = prop_oneof![Just("*"), Just("*/7"), Just("0,30"), Just("17"), Just("10-40/13"), Just("59")];
    let hour = prop_oneof![Just("*"), Just("*/5"), Just("2"), Just("1-3"), Just("0,23"), Just("4-20/8")];
    let day = prop_oneof![Just("*"), Just("1"), Just("31"), Just("13,29"), Just("10-20/3")];
    let month = prop_oneof![Just("*"), Just("2,3"), Just("*/5"), Just("12"), Just("JAN-MAR")];
    let weekday = prop_oneof![Just("*"), Just("0"), Just("7"), Just("MON-FRI"), Just("2,6")];
    (minute, hour, day, month, weekday).prop_map(|(m, h, d, mo, w)| format!("{m} {h} {d} {mo} {w}"))
}

proptest! {
    /// Without clock changes (UTC) another implementation must agree; it knows the OR of days, and stars only as a whole field.
    #[test]
    fn readings_agree_with_croner_in_utc(line in line(), second in 0_i64..4_000_000_000) {
        let ours = Cron::parse(&line).unwrap();
        let theirs = croner::Cron::from_str(&line).unwrap();
        let mut at = DateTime::<Utc>::from_timestamp(second, 0).unwrap();
        for _ in 0..5 {
            let expected = theirs.find_next_occurrence(&at, true).unwrap();
            prop_assert_eq!(ours.first_reading(at.naive_utc()).unwrap(), expected.naive_utc(), "{}", line);
            at = expected + TimeDelta::seconds(1);
        }
    }

    #[test]
    fn reading_hostile_lines_never_panics(line in "\\PC{0,40}", fields in "[-0-9*/,a-zA-Z@ ?]{0,30}") {
        for text in [line, fields] {
            if let Ok(cron) = Cron::parse(&text) {
                let _ = cron.first_reading(reading("2026-11-21 12:00:00"));
                let _ = cron.first_reading(NaiveDateTime::MAX);
                let _ = cron.first_reading(NaiveDateTime::MIN);
            }
        }
    }
}
