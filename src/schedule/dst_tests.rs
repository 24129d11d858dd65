//! FAULTS row 27: clock changes in many zones, as tables of local times. `A` and `B` mark the passes of a repeated hour.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::{Cron, Timing};

/// The slots of a local span as `HH:MM`, with `B` behind readings on their second pass and the day where it isn't the span's first.
fn slots(zone: Tz, line: &str, from: &str, to: &str) -> Vec<String> {
    let timing = Timing::Cron(Cron::parse(line).unwrap_or_else(|why| panic!("{why}")));
    let (from, to) = (instant(zone, from), instant(zone, to));
    let first_day = from.with_timezone(&zone).date_naive();
    let mut after = from - TimeDelta::seconds(1);
    let mut found = Vec::new();
    while let Some(slot) = timing.next_after(zone, after, None).filter(|slot| *slot < to) {
        let local = slot.with_timezone(&zone);
        let earlier = zone.from_local_datetime(&local.naive_local()).earliest().unwrap();
        let day = if local.date_naive() == first_day { String::new() } else { local.format("%d ").to_string() };
        let pass = if earlier == slot { "" } else { "B" };
        found.push(format!("{day}{}{pass}", local.format("%H:%M")));
        after = slot;
    }
    found
}

fn instant(zone: Tz, text: &str) -> DateTime<Utc> {
    let local = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
    zone.from_local_datetime(&local).earliest().unwrap().to_utc()
}

/// Lines without their days and months, and what they come to between two local times.
fn check(zone: Tz, from: &str, to: &str, table: &[(&str, &str)]) {
    for (line, expected) in table {
        let found = slots(zone, &format!("{line} * * *"), from, to).join(" ");
        assert_eq!(found, *expected, "{zone} {from} `{line}`");
    }
}

#[test]
fn f27_berlin() {
    // 02:00 becomes 03:00.
    check(
        Tz::Europe__Berlin,
        "2026-03-29 00:00",
        "2026-03-29 05:00",
        &[
            ("30 2", "03:00"),
            ("0,30 2", "03:00"),
            ("*/15 2", "03:00"),
            ("15 1,2", "01:15 03:00"),
            ("0 1-3", "01:00 03:00"),
            ("30 1-3", "01:30 03:00 03:30"),
            ("0 3", "03:00"),
            ("*/20 1-2", "01:00 01:20 01:40 03:00"),
            ("0 *", "00:00 01:00 03:00 04:00"),
            ("30 *", "00:30 01:30 03:30 04:30"),
            ("*/20 *", "00:00 00:20 00:40 01:00 01:20 01:40 03:00 03:20 03:40 04:00 04:20 04:40"),
            ("30 */2", "00:30 03:30 04:30"),
            ("0 */2", "00:00 03:00 04:00"),
            ("0 */3", "00:00 03:00"),
        ],
    );
    // 03:00 becomes 02:00.
    check(
        Tz::Europe__Berlin,
        "2026-10-25 00:00",
        "2026-10-25 05:00",
        &[
            ("30 2", "02:30"),
            ("0,30 2", "02:00 02:30"),
            ("*/15 2", "02:00 02:15 02:30 02:45"),
            ("15 1,2", "01:15 02:15"),
            ("0 1-3", "01:00 02:00 03:00"),
            ("0 3", "03:00"),
            ("0 *", "00:00 01:00 02:00 02:00B 03:00 04:00"),
            ("30 *", "00:30 01:30 02:30 02:30B 03:30 04:30"),
            ("*/20 1,2", "01:00 01:20 01:40 02:00 02:20 02:40"),
            ("*/30 *", "00:00 00:30 01:00 01:30 02:00 02:30 02:00B 02:30B 03:00 03:30 04:00 04:30"),
            ("30 */2", "00:30 02:30 02:30B 04:30"),
            // Three hours after 00:00 and 00:45, and on the new clock's three o'clock again.
            ("0 */3", "00:00 02:00B 03:00"),
            ("45 */3", "00:45 02:45B 03:45"),
        ],
    );
}

#[test]
fn f27_new_york() {
    check(
        Tz::America__New_York,
        "2026-03-08 00:00",
        "2026-03-08 05:00",
        &[
            ("0,30 2", "03:00"),
            ("*/15 2", "03:00"),
            ("15 1,2", "01:15 03:00"),
            ("0 1-3", "01:00 03:00"),
            ("*/20 *", "00:00 00:20 00:40 01:00 01:20 01:40 03:00 03:20 03:40 04:00 04:20 04:40"),
            ("30 */2", "00:30 03:30 04:30"),
        ],
    );
    // 02:00 becomes 01:00.
    check(
        Tz::America__New_York,
        "2026-11-01 00:00",
        "2026-11-01 04:00",
        &[
            ("0,30 1", "01:00 01:30"),
            ("15 1,2", "01:15 02:15"),
            ("0 1-3", "01:00 02:00 03:00"),
            ("0 *", "00:00 01:00 01:00B 02:00 03:00"),
            ("30 */2", "00:30 01:30B 02:30"),
        ],
    );
}

#[test]
fn f27_lord_howe_changes_by_half_an_hour() {
    // 02:00 becomes 02:30.
    check(
        Tz::Australia__Lord_Howe,
        "2026-10-04 00:00",
        "2026-10-04 05:00",
        &[
            ("0,30 2", "02:30"),
            ("*/15 2", "02:30 02:45"),
            ("15 1,2", "01:15 02:30"),
            ("0 1-3", "01:00 02:30 03:00"),
            ("0 *", "00:00 01:00 02:30 03:00 04:00"),
            ("*/20 *", "00:00 00:20 00:40 01:00 01:20 01:40 02:30 02:40 03:00 03:20 03:40 04:00 04:20 04:40"),
            ("30 */2", "00:30 02:30 04:30"),
        ],
    );
    // 02:00 becomes 01:30.
    check(
        Tz::Australia__Lord_Howe,
        "2026-04-05 00:00",
        "2026-04-05 04:00",
        &[
            ("0,30 1", "01:00 01:30"),
            ("*/15 1", "01:00 01:15 01:30 01:45"),
            ("0 1-3", "01:00 02:00 03:00"),
            // An hour after 01:00 is the change itself.
            ("0 *", "00:00 01:00 01:30B 02:00 03:00"),
            ("30 *", "00:30 01:30 01:30B 02:30 03:30"),
            ("*/20 1-2", "01:00 01:20 01:40 02:00 02:20 02:40"),
            ("*/20 *", "00:00 00:20 00:40 01:00 01:20 01:40 01:30B 01:40B 02:00 02:20 02:40 03:00 03:20 03:40"),
        ],
    );
}

#[test]
fn f27_troll_changes_by_two_hours() {
    // 01:00 becomes 03:00.
    check(
        Tz::Antarctica__Troll,
        "2026-03-29 00:00",
        "2026-03-29 06:00",
        &[
            ("0,30 2", "03:00"),
            ("15 1,2", "03:00"),
            ("0 1-3", "03:00"),
            ("45 0-3", "00:45 03:00 03:45"),
            ("0 *", "00:00 03:00 04:00 05:00"),
            ("30 */2", "00:30 04:30"),
        ],
    );
    // 03:00 becomes 01:00.
    check(
        Tz::Antarctica__Troll,
        "2026-10-25 00:00",
        "2026-10-25 05:00",
        &[
            ("0,30 2", "02:00 02:30"),
            ("15 1,2", "01:15 02:15"),
            ("0 1-3", "01:00 02:00 03:00"),
            ("0 *", "00:00 01:00 02:00 01:00B 02:00B 03:00 04:00"),
            ("30 */2", "00:30 02:30 02:30B 04:30"),
        ],
    );
}

#[test]
fn f27_chatham() {
    // 02:45 becomes 03:45.
    check(
        Tz::Pacific__Chatham,
        "2026-09-27 00:00",
        "2026-09-27 06:00",
        &[
            ("0,30 2", "02:00 02:30"),
            ("*/15 2", "02:00 02:15 02:30 03:45"),
            ("0 1-3", "01:00 02:00 03:45"),
            ("30 */3", "00:30 04:30"),
            ("0 *", "00:00 01:00 02:00 04:00 05:00"),
        ],
    );
    // 03:45 becomes 02:45.
    check(
        Tz::Pacific__Chatham,
        "2026-04-05 00:00",
        "2026-04-05 05:00",
        &[
            ("0,30 3", "03:00 03:30"),
            ("50 2", "02:50"),
            ("*/15 3", "03:00 03:15 03:30 03:45"),
            ("0 *", "00:00 01:00 02:00 03:00 03:00B 04:00"),
        ],
    );
}

#[test]
fn f27_casablanca_turns_back_for_ramadan() {
    // 03:00 becomes 02:00 on 15 February 2026, and 02:00 becomes 03:00 on 22 March.
    check(
        Tz::Africa__Casablanca,
        "2026-02-15 01:00",
        "2026-02-15 04:00",
        &[("0,30 2", "02:00 02:30"), ("0 *", "01:00 02:00 02:00B 03:00")],
    );
    check(
        Tz::Africa__Casablanca,
        "2026-03-22 01:00",
        "2026-03-22 05:00",
        &[("0,30 2", "03:00"), ("15 1,2", "01:15 03:00"), ("0 *", "01:00 03:00 04:00"), ("30 */2", "03:30 04:30")],
    );
}

#[test]
fn f27_apia_skips_a_day() {
    // There was no 30 December 2011.
    check(
        Tz::Pacific__Apia,
        "2011-12-29 20:00",
        "2011-12-31 04:00",
        &[
            ("0 2", "31 00:00 31 02:00"),
            ("15 1,2", "31 00:00 31 01:15 31 02:15"),
            ("0 */2", "20:00 22:00 31 00:00 31 02:00"),
            ("30 *", "20:30 21:30 22:30 23:30 31 00:30 31 01:30 31 02:30 31 03:30"),
        ],
    );
}

#[test]
fn changes_at_midnight_keep_daily_slots() {
    // Havana: 00:00 becomes 01:00 on 8 March 2026, 01:00 becomes 00:00 on 1 November.
    check(Tz::America__Havana, "2026-03-07 00:00", "2026-03-09 12:00", &[("0 0", "00:00 08 01:00 09 00:00")]);
    check(Tz::America__Havana, "2026-10-31 00:00", "2026-11-02 12:00", &[("0 0", "00:00 01 00:00 02 00:00")]);
}

#[test]
fn seconds_within_a_gap_are_one_slot() {
    let found = slots(Tz::Europe__Berlin, "* * 2 * * *", "2026-03-29 00:00", "2026-03-29 12:00");
    assert_eq!(found, ["03:00"]);
    let found = slots(Tz::Europe__Berlin, "* * 2 * * *", "2026-10-25 00:00", "2026-10-25 12:00");
    assert_eq!(found.len(), 3600);
}

#[test]
fn rare_dates_in_far_years_are_found() {
    let timing = Timing::Cron(Cron::parse("0 * 29 2 *").unwrap());
    let after = DateTime::from_timestamp(4_000_000_000, 0).unwrap();
    let slot = timing.next_after(Tz::Europe__Berlin, after, None).unwrap();
    // 2100 is no leap year.
    assert_eq!(slot, instant(Tz::Europe__Berlin, "2104-02-29 00:00"));
}
