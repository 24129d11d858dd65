//! Durations and sizes, both ways.

use std::time::Duration;

use proptest::prelude::*;

use super::{parse_duration, parse_size, show_age, show_duration, show_size};

#[test]
fn durations_are_read_as_people_write_them() {
    let table = [
        ("26h", 93_600),
        ("15 min", 900),
        ("15m", 900),
        ("30 days", 2_592_000),
        ("1h 30m", 5400),
        ("1h30min", 5400),
        ("2 weeks", 1_209_600),
        ("1 week 1 day 1 hour 1 minute 1 second", 694_861),
        (" 90 Seconds ", 90),
        ("0", 0),
        ("0 s", 0),
    ];
    for (text, seconds) in table {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
}

#[test]
fn refused_durations_say_what_to_write() {
    let table = [
        ("", "a duration is missing"),
        ("26", "`26` has no unit: write `26 s`, `26 min`, `26 h` or `26 days`"),
        ("1h 30", "has no unit: write `30 s`"),
        ("soon", "write a number and a unit"),
        ("-1h", "write a number and a unit"),
        ("1.5h", "has a fraction"),
        ("1,5 h", "has a fraction"),
        ("5M", "months differ in length"),
        ("2 months", "months differ in length"),
        ("1 year", "such as `365 days`"),
        ("5 parsecs", "the unit `parsecs` is unknown"),
        ("30m 1h", "the larger ones first"),
        ("1h 1h", "each unit comes once"),
        ("99999999999999999999 h", "too long"),
        ("18446744073709551615 ms 1 h", "the larger ones first"),
        ("3 ħ", "the unit `ħ` is unknown"),
    ];
    for (text, expected) in table {
        let why = parse_duration(text).expect_err(text);
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn durations_and_ages_are_shown() {
    let shown = |seconds| show_duration(Duration::from_secs(seconds));
    assert_eq!([shown(0), shown(900), shown(93_600), shown(90_061)], ["0s", "15min", "1d 2h", "1d 1h 1min 1s"]);
    let aged = |seconds| show_age(Duration::from_secs(seconds));
    assert_eq!([aged(0), aged(40), aged(60), aged(119)], ["0 s", "40 s", "1 min", "1 min 59 s"]);
    assert_eq!(
        [aged(3_660), aged(93_600), aged(90_061), aged(172_800), aged(273_600)],
        ["1 h 1 min", "26 h", "25 h 1 min", "2 days", "3 days 4 h"]
    );
}

#[test]
fn sizes_are_read_as_people_write_them() {
    let table = [
        ("1048576", 1_048_576),
        ("2 GiB", 2 << 30),
        ("500 MB", 500_000_000),
        ("1.5 KiB", 1536),
        ("1kB", 1000),
        ("3G", 3 << 30),
        ("7 bytes", 7),
        ("0.1 GB", 100_000_000),
        ("16383 PiB", 16_383 << 50),
    ];
    for (text, bytes) in table {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for (text, expected) in [
        ("", "is not a size"),
        ("GiB", "is not a size"),
        ("1.", "is not a size"),
        (".5 GB", "is not a size"),
        ("1.2.3 GB", "is not a size"),
        ("-1 GB", "is not a size"),
        ("5 pounds", "the unit `pounds` is unknown"),
        ("99999 PiB", "too large"),
        ("99999999999999999999", "too large"),
    ] {
        let why = parse_size(text).expect_err(text);
        assert!(why.contains(expected), "{text}: {why}");
    }
}

#[test]
fn sizes_are_shown_rounded() {
    let table =
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_288_490_189, "1.2 GiB"), (1_048_575, "1.0 MiB"), (u64::MAX, "16.0 EiB")];
    for (bytes, text) in table {
        assert_eq!(show_size(bytes), text);
    }
}

proptest! {
    #[test]
    fn shown_durations_are_read_back(millis in prop_oneof![0_u64..100_000, 0_u64..1_000_000_000_000]) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
    }

    #[test]
    fn shown_sizes_are_read_back_nearly(bytes in prop_oneof![0_u64..10_000_000, 0_u64..1 << 50]) {
        let read = parse_size(&show_size(bytes)).unwrap();
        prop_assert!(read.abs_diff(bytes) <= bytes / 18 + 1, "{bytes} became {read}");
    }

    #[test]
    fn reading_hostile_text_never_panics(text in "\\PC{0,30}", near in "[0-9. ,a-zA-Zµ]{0,20}") {
        for text in [text, near] {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
