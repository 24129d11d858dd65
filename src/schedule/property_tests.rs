//! Properties of slots over random lines, zones and instants; intervals, spread and catch-up.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::{CatchUp, Cron, Timing, catch_up, spread};

fn cron(line: &str) -> Timing {
    Timing::Cron(Cron::parse(line).unwrap_or_else(|why| panic!("{why}")))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn zone() -> impl Strategy<Value = Tz> {
    prop_oneof![
        proptest::sample::select(&TZ_VARIANTS[..]),
        proptest::sample::select(vec![
            Tz::Europe__Berlin,
            Tz::America__New_York,
            Tz::Australia__Lord_Howe,
            Tz::Antarctica__Troll,
            Tz::Pacific__Chatham,
            Tz::Africa__Casablanca,
            Tz::Pacific__Apia,
            Tz::UTC,
        ]),
    ]
}

/// From 1850 to 2100: local mean times, war times and skipped days included.
fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (-3_786_912_000_i64..4_102_444_800).prop_map(|second| DateTime::from_timestamp(second, 0).unwrap())
}

/// An instant and its zone, two times in three within two days before a clock change of that zone.
fn zoned_instant() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let offset = |zone: Tz, time: DateTime<Utc>| time.with_timezone(&zone).offset().fix();
    (zone(), instant(), 0_u8..3, 0_i64..172_800).prop_map(move |(zone, start, near, before)| {
        let steps = (0..800).map(|half_day| start + TimeDelta::hours(12 * half_day));
        let change = steps.skip(1).find(|time| near > 0 && offset(zone, *time) != offset(zone, *time - TimeDelta::hours(12)));
        (zone, change.map_or(start, |change| change - TimeDelta::seconds(before)))
    })
}

fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::from("*")),
        2 => (2..=(max / 2)).prop_map(|step| format!("*/{step}")),
        3 => (min..=max).prop_map(|number| number.to_string()),
        1 => proptest::collection::vec(min..=max, 2..4).prop_map(|list| list.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
        1 => (min..=max, min..=max).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![3 => Just(String::new()), 1 => field(0, 59).prop_map(|field| format!("{field} "))];
    let rare = prop_oneof![4 => Just(String::from("*")), 1 => field(1, 12)];
    let day = prop_oneof![4 => Just(String::from("*")), 1 => field(1, 28)];
    let weekday = prop_oneof![4 => Just(String::from("*")), 1 => field(0, 6)];
    (seconds, field(0, 59), field(0, 23), day, rare, weekday).prop_map(|(s, m, h, d, mo, w)| format!("{s}{m} {h} {d} {mo} {w}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_strictly_later_on_whole_seconds_and_skip_nothing(line in line(), (zone, start) in zoned_instant(), nanos in 0_u32..999_999_999) {
        let timing = cron(&line);
        let mut after = start + TimeDelta::nanoseconds(i64::from(nanos));
        for _ in 0..20 {
            let Some(slot) = timing.next_after(zone, after, None) else { break };
            prop_assert!(slot > after, "{line} {zone} {after}: {slot}");
            prop_assert_eq!(slot.nanosecond(), 0);
            // Asked from anywhere in between, the answer is the same.
            let between = after + (slot - after) / 3;
            prop_assert_eq!(timing.next_after(zone, between, None), Some(slot), "{} {} {} asked at {}", line, zone, after, between);
            prop_assert_eq!(timing.next_after(zone, slot - TimeDelta::nanoseconds(1), None), Some(slot));
            after = slot;
        }
    }

    #[test]
    fn the_hour_star_has_no_hole_and_no_double(minute in 0_u32..60, step in prop_oneof![Just(60_u32), Just(30), Just(20), Just(15)], (zone, start) in zoned_instant()) {
        let line = if step == 60 { format!("{minute} * * * *") } else { format!("*/{step} * * * *") };
        let timing = cron(&line);
        let mut after = timing.next_after(zone, start, None).unwrap();
        for _ in 0..100 {
            let slot = timing.next_after(zone, after, None).unwrap();
            prop_assert!(slot - after <= TimeDelta::minutes(i64::from(step)), "{line} {zone}: hole from {after} to {slot}");
            after = slot;
        }
    }

    #[test]
    fn every_matching_reading_of_the_hour_star_is_a_slot(minute in 0_u32..60, hours in 1_u32..12, (zone, start) in zoned_instant()) {
        let timing = cron(&format!("{minute} */{hours} * * *"));
        let mut after = start;
        for _ in 0..72 {
            // Walk the clock by minutes' readings: the brute-force answer.
            after += TimeDelta::hours(1);
            let near = (0..60).map(|ahead| after + TimeDelta::minutes(ahead));
            for instant in near {
                let local = instant.with_timezone(&zone);
                if local.minute() == minute && local.hour() % hours == 0 && local.second() == 0 {
                    let found = timing.next_after(zone, instant - TimeDelta::seconds(1), None);
                    prop_assert_eq!(found, Some(instant));
                }
            }
        }
    }

    #[test]
    fn a_fixed_time_comes_exactly_once_for_each_day(hour in 0_u32..24, minute in 0_u32..60, zone in zone(), day in 0_i32..80_000) {
        let first = NaiveDate::from_num_days_from_ce_opt(675_000 + day).unwrap();
        let timing = cron(&format!("{minute} {hour} * * *"));
        let mut after = (first.and_hms_opt(0, 0, 0).unwrap() - TimeDelta::hours(40)).and_utc();
        let end = after + TimeDelta::days(40);
        let mut slots = Vec::new();
        while let Some(slot) = timing.next_after(zone, after, None).filter(|slot| *slot < end) {
            slots.push(slot);
            after = slot;
        }
        // Days without the reading (skipped) give one slot, days with it twice (repeated) one too: never 0 or 2 a day, whole days
        // lost or lived twice at the date line aside.
        for pair in slots.windows(2) {
            let distance = pair[1] - pair[0];
            prop_assert!(distance > TimeDelta::zero() && distance <= TimeDelta::hours(49), "{zone} {pair:?}");
        }
        prop_assert!((39..=41).contains(&slots.len()), "{zone}: {} slots", slots.len());
    }

    /// Against the definition: the first pass of every matching reading is a slot, and every other slot is the end of a skip.
    #[test]
    fn fixed_hours_come_once_per_reading_or_at_the_end_of_a_skip(minute in 0_u32..60, hours in (0_u32..24, 0_u32..24), (zone, start) in zoned_instant()) {
        let timing = cron(&format!("{minute} {},{} * * *", hours.0, hours.1));
        let matches = |time: DateTime<Utc>| {
            let local = time.with_timezone(&zone);
            let first = zone.from_local_datetime(&local.naive_local()).earliest().map(|time| time.to_utc());
            local.minute() == minute && [hours.0, hours.1].contains(&local.hour()) && local.second() == 0 && first == Some(time)
        };
        let end = start + TimeDelta::days(3);
        let mut after = start;
        let mut slots = Vec::new();
        while let Some(slot) = timing.next_after(zone, after, None).filter(|slot| *slot <= end) {
            let offset = |time: DateTime<Utc>| time.with_timezone(&zone).offset().fix().local_minus_utc();
            prop_assert!(matches(slot) || offset(slot) > offset(slot - TimeDelta::seconds(1)), "{zone} {slot}");
            slots.push(slot);
            after = slot;
        }
        for ahead in 1..=3 * 1440 {
            let minute = DateTime::from_timestamp((start.timestamp().div_euclid(60) + ahead) * 60, 0).unwrap();
            prop_assert!(minute > end || !matches(minute) || slots.contains(&minute), "{zone} {minute}");
        }
    }

    #[test]
    fn intervals_stay_on_their_grid(seconds in 1_u64..1_000_000, start in instant(), ahead in -10_000_000_i64..10_000_000, millis in 0_i64..1000) {
        let timing = Timing::Every(Duration::from_secs(seconds));
        let after = start + TimeDelta::seconds(ahead) + TimeDelta::milliseconds(millis);
        let slot = timing.next_after(Tz::UTC, after, Some(start)).unwrap();
        prop_assert!(slot > after && slot - after <= TimeDelta::seconds(seconds as i64));
        prop_assert_eq!((slot - start).num_seconds().rem_euclid(seconds as i64), 0);
        prop_assert_eq!((slot - start).subsec_nanos(), 0);
    }

    #[test]
    fn spans_are_counted_as_walked(line in line(), (zone, from) in zoned_instant(), hours in 1_i64..200, limit in 1_usize..40) {
        let timing = cron(&line);
        let to = from + TimeDelta::hours(hours);
        let mut all = Vec::new();
        let mut after = from;
        while let Some(slot) = timing.next_after(zone, after, None).filter(|slot| *slot <= to && all.len() < 3000) {
            all.push(slot);
            after = slot;
        }
        prop_assume!(all.len() < 3000);
        let found = timing.between(zone, from, to, None, limit);
        prop_assert_eq!(found.map(|slots| (slots.first, slots.last)), all.first().copied().zip(all.last().copied()), "{} {} {}", line, zone, from);
        if let Some(slots) = found {
            prop_assert_eq!(slots.exact, all.len() <= limit);
            prop_assert_eq!(slots.count as usize, all.len().min(limit));
        }
    }

    #[test]
    fn spread_stays_below_its_span(name in "\\PC{0,20}", seconds in 0_u64..1_000_000) {
        let delay = spread(&name, Duration::from_secs(seconds));
        prop_assert!(delay < Duration::from_secs(seconds.max(1)));
        prop_assert_eq!(delay, spread(&name, Duration::from_secs(seconds)));
    }
}

#[test]
fn spread_is_the_same_in_every_version() {
    let hour = Duration::from_secs(3600);
    // sha256("shop") and sha256("billing") begin with these eight bytes (sha256sum).
    let expected = |prefix: u64| Duration::from_secs(((u128::from(prefix) * 3600) >> 64) as u64);
    assert_eq!(spread("shop", hour), expected(SHOP));
    assert_eq!(spread("billing", hour), expected(BILLING));
}

const SHOP: u64 = 0x8d90_01d3_2c6a_703d;
const BILLING: u64 = 0x0c95_c7ec_e1ce_1a97;

#[test]
fn intervals_count_from_the_last_start() {
    let quarter = Timing::Every(Duration::from_secs(900));
    let start = at("2026-11-21T10:05:00Z");
    let next = |after, start| quarter.next_after(Tz::UTC, at(after), start);
    assert_eq!(next("2026-11-21T10:05:00Z", Some(start)), Some(at("2026-11-21T10:20:00Z")));
    assert_eq!(next("2026-11-21T10:20:00Z", Some(start)), Some(at("2026-11-21T10:35:00Z")));
    // Never started: at once.
    assert_eq!(next("2026-11-21T10:05:00Z", None), Some(at("2026-11-21T10:05:01Z")));
    // The clock was set back by a year: no storm, and no year of silence.
    assert_eq!(next("2025-11-21T10:06:00Z", Some(start)), Some(at("2025-11-21T10:20:00Z")));
}

#[test]
fn catching_up_runs_the_latest_once() {
    let day = Duration::from_secs(86_400);
    let nightly = cron("15 2 * * *");
    let decide = |recorded: Option<&str>, now, window| catch_up(&nightly, Tz::UTC, recorded.map(at), None, at(now), window);
    let missed = |found: CatchUp| found.missed.map(|slots| (slots.first, slots.last, slots.count));
    // A new project.
    assert_eq!(decide(None, "2026-11-21T10:00:00Z", day), CatchUp::default());
    // Nothing missed.
    assert_eq!(decide(Some("2026-11-21T02:15:00Z"), "2026-11-21T10:00:00Z", day), CatchUp::default());
    // One missed, recent.
    let one = decide(Some("2026-11-20T02:15:00Z"), "2026-11-21T10:00:00Z", day);
    assert_eq!((one.run, missed(one)), (Some(at("2026-11-21T02:15:00Z")), None));
    // Three missed: the latest runs, two are one row.
    let three = decide(Some("2026-11-18T02:15:00Z"), "2026-11-21T10:00:00Z", day);
    assert_eq!(three.run, Some(at("2026-11-21T02:15:00Z")));
    assert_eq!(missed(three), Some((at("2026-11-19T02:15:00Z"), at("2026-11-20T02:15:00Z"), 2)));
    // Older than the window: all are missed.
    let old = decide(Some("2026-11-18T02:15:00Z"), "2026-11-21T10:00:00Z", Duration::from_secs(3600));
    assert_eq!((old.run, missed(old).map(|row| row.2)), (None, Some(3)));
    // Just at the window's edge it still runs.
    let edge = decide(Some("2026-11-20T02:15:00Z"), "2026-11-21T03:15:00Z", Duration::from_secs(3600));
    assert_eq!(edge.run, Some(at("2026-11-21T02:15:00Z")));
    // The clock was set back.
    assert_eq!(decide(Some("2027-11-20T02:15:00Z"), "2026-11-21T03:15:00Z", day), CatchUp::default());
}

#[test]
fn f29_asleep_for_thirty_hours() {
    let hourly = cron("@hourly");
    let found = catch_up(
        &hourly,
        Tz::Europe__Berlin,
        Some(at("2026-11-20T04:00:00Z")),
        None,
        at("2026-11-21T10:30:00Z"),
        Duration::from_secs(86_400),
    );
    assert_eq!(found.run, Some(at("2026-11-21T10:00:00Z")));
    assert_eq!(
        found.missed.map(|slots| (slots.first, slots.last, slots.count)),
        Some((at("2026-11-20T05:00:00Z"), at("2026-11-21T09:00:00Z"), 29))
    );
}

#[test]
fn catching_up_on_two_years_of_seconds_is_bounded() {
    let began = Instant::now();
    let each_second = cron("* * * * * *");
    let (from, now) = (at("2024-11-21T10:00:00Z"), at("2026-11-21T10:00:00Z"));
    let found = catch_up(&each_second, Tz::Europe__Berlin, Some(from), None, now, Duration::from_secs(86_400));
    assert_eq!(found.run, Some(now));
    let missed = found.missed.unwrap();
    assert_eq!((missed.first, missed.last, missed.exact), (from + TimeDelta::seconds(1), now - TimeDelta::seconds(1), false));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn ten_thousand_projects_are_planned_at_once() {
    let lines: Vec<Timing> = (0..10_000).map(|n| cron(&format!("{} {} * * *", n % 60, n % 24))).collect();
    let began = Instant::now();
    let after = at("2026-10-24T23:30:00Z");
    for (index, timing) in lines.iter().enumerate() {
        let zone = TZ_VARIANTS[index % TZ_VARIANTS.len()];
        assert!(timing.next_after(zone, after, None).is_some());
    }
    let each = began.elapsed() / 10_000;
    assert!(each < Duration::from_micros(200), "{each:?} each, in an unoptimised build");
}
