//! The alert's decisions, as stories of events and notices.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::{Alert, AlertKey, Event, NoticeKind, Status, decide};
use crate::error::{Cause, Failure};
use crate::model::dump::Selection;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn start() -> DateTime<Utc> {
    "2026-11-21T02:15:00Z".parse().unwrap()
}

fn key() -> AlertKey {
    AlertKey { project: "shop".into(), database: "shop".into(), selection: Selection("full".into()) }
}

fn failed(cause: Cause) -> Event {
    Event::Failed(Failure::new(cause, "no"))
}

/// A tick that knows the newest good backup, given in hours after the story's start.
fn tick(last_good: Option<i64>, max_age: Option<Duration>) -> Event {
    Event::Tick { last_good: last_good.map(|hours| start() + TimeDelta::hours(hours)), max_age }
}

/// Plays events at hours after the start.
fn play(story: &[(i64, Event, Option<NoticeKind>)]) -> Alert {
    let mut alert = Alert::new(key(), start());
    for (step, (hours, event, expected)) in story.iter().enumerate() {
        let (next, notice) = decide(&alert, event, DAY, start() + TimeDelta::hours(*hours));
        assert_eq!(notice, *expected, "step {step}, {hours} h: {event:?} on {alert:?}");
        alert = next;
    }
    alert
}

use Cause::{Connection, DumpFailed, Space};
use NoticeKind::{CauseChanged, FirstFailure, Recovered, Reminder, Stale};

#[test]
fn first_failure_reminder_and_recovery() {
    let alert = play(&[
        (0, Event::Succeeded, None),
        (1, failed(Connection), Some(FirstFailure)),
        (2, failed(Connection), None),
        (24, failed(Connection), None),
        (25, failed(Connection), Some(Reminder)),
        (26, tick(Some(0), None), None),
        // The reminder comes with time, too, when no run does.
        (49, tick(Some(0), None), Some(Reminder)),
        (50, Event::Succeeded, Some(Recovered)),
        (51, Event::Succeeded, None),
        (99, tick(Some(50), None), None),
    ]);
    assert_eq!((alert.status, alert.failures_in_row, alert.cause), (Status::Ok, 0, None));
}

#[test]
fn a_new_cause_is_told_once_and_turns_do_not_storm() {
    play(&[
        (0, failed(Connection), Some(FirstFailure)),
        (1, failed(Space), Some(CauseChanged)),
        (2, failed(Connection), None),
        (3, failed(Space), None),
        (4, failed(DumpFailed), Some(CauseChanged)),
        (27, failed(Space), None),
        (28, failed(Space), Some(Reminder)),
        (29, failed(Connection), Some(CauseChanged)),
        (30, Event::Succeeded, Some(Recovered)),
        (31, failed(Connection), Some(FirstFailure)),
    ]);
}

#[test]
fn silence_makes_stale_and_a_good_backup_ends_it() {
    let limit = Some(26 * HOUR);
    let alert = play(&[
        (0, Event::Succeeded, None),
        (26, tick(Some(0), limit), None),
        (27, tick(Some(0), limit), Some(Stale)),
        (28, tick(Some(0), limit), None),
        (51, tick(Some(0), limit), Some(Reminder)),
        (52, Event::Succeeded, Some(Recovered)),
        (53, tick(Some(52), limit), None),
    ]);
    assert_eq!(alert.status, Status::Ok);
}

#[test]
fn a_project_that_never_had_a_backup_becomes_stale_from_when_it_was_seen() {
    let limit = Some(26 * HOUR);
    play(&[(0, tick(None, limit), None), (26, tick(None, limit), None), (27, tick(None, limit), Some(Stale))]);
    play(&[(1000, tick(None, None), None)]);
}

#[test]
fn failing_for_long_becomes_stale_too_and_failures_go_on_counting() {
    let limit = Some(26 * HOUR);
    let alert = play(&[
        (1, failed(Connection), Some(FirstFailure)),
        (20, failed(Connection), None),
        (27, tick(None, limit), Some(Stale)),
        (28, failed(Connection), None),
        (29, failed(Space), Some(CauseChanged)),
    ]);
    assert_eq!((alert.status, alert.failures_in_row), (Status::Stale, 4));
    let first = start() + TimeDelta::hours(1);
    assert_eq!((alert.since, alert.row_since()), (first, first), "the row began with its first failure");
    // Stale first: the first failure is news.
    play(&[(27, tick(None, limit), Some(Stale)), (28, failed(Connection), Some(FirstFailure)), (29, Event::Succeeded, Some(Recovered))]);
}

#[test]
fn staleness_ends_when_the_limit_or_the_knowledge_changes() {
    let limit = Some(26 * HOUR);
    play(&[(27, tick(None, limit), Some(Stale)), (28, tick(None, Some(48 * HOUR)), Some(Recovered))]);
    play(&[(27, tick(None, limit), Some(Stale)), (28, tick(Some(20), limit), Some(Recovered))]);
    let alert = play(&[(1, failed(Space), Some(FirstFailure)), (27, tick(None, limit), Some(Stale)), (28, tick(None, None), None)]);
    assert_eq!((alert.status, alert.failures_in_row), (Status::Failing, 1));
    let alert = play(&[(27, tick(None, limit), Some(Stale)), (28, failed(Space), Some(FirstFailure)), (29, failed(Space), None)]);
    assert_eq!((alert.since, alert.row_since()), (start() + TimeDelta::hours(27), start() + TimeDelta::hours(28)));
}

#[test]
fn f41_failing_every_minute_500_times() {
    let count = |minutes: i64, reminder| {
        let mut alert = Alert::new(key(), start());
        let mut told = Vec::new();
        for minute in 0..minutes {
            let now = start() + TimeDelta::minutes(minute);
            for event in [failed(Connection), tick(None, None)] {
                let (next, notice) = decide(&alert, &event, reminder, now);
                alert = next;
                told.extend(notice);
            }
        }
        assert_eq!(alert.failures_in_row, u32::try_from(minutes).unwrap());
        let (_, notice) = decide(&alert, &Event::Succeeded, reminder, start() + TimeDelta::minutes(minutes));
        told.extend(notice);
        told
    };
    assert_eq!(count(500, DAY), [FirstFailure, Recovered]);
    assert_eq!(count(500, 2 * HOUR), [FirstFailure, Reminder, Reminder, Reminder, Reminder, Recovered]);
}

#[test]
fn an_incident_has_one_thread_and_the_next_another() {
    let mut alert = Alert::new(key(), start());
    let mut threads = Vec::new();
    for (hours, event) in
        [(0, failed(Connection)), (1, failed(Space)), (2, Event::Succeeded), (3, failed(Connection)), (30, tick(None, Some(HOUR)))]
    {
        alert = decide(&alert, &event, DAY, start() + TimeDelta::hours(hours)).0;
        threads.push(alert.thread.clone().unwrap());
    }
    assert!(threads[0] == threads[1] && threads[1] == threads[2], "{threads:?}");
    assert!(threads[2] != threads[3] && threads[3] == threads[4], "{threads:?}");
    let other = AlertKey { database: "billing".into(), ..key() };
    let elsewhere = decide(&Alert::new(other, start()), &failed(Connection), DAY, start()).0;
    assert_ne!(elsewhere.thread.as_ref(), Some(&threads[0]));
    assert!(threads[0].starts_with("incident.") && threads[0].ends_with("@pgdumpd") && threads[0].is_ascii());
}

#[test]
fn f28_a_clock_set_back_neither_storms_nor_silences() {
    let year = 365 * 24;
    play(&[
        (year, failed(Connection), Some(FirstFailure)),
        (0, failed(Connection), None),
        (23, failed(Connection), None),
        (24, failed(Connection), Some(Reminder)),
        // A backup dated in the future says nothing about freshness.
        (27, tick(Some(year), Some(26 * HOUR)), Some(Stale)),
    ]);
}

#[test]
fn the_state_survives_being_stored() {
    let alert = play(&[(0, failed(Connection), Some(FirstFailure))]);
    let text = serde_json::to_string(&alert).unwrap();
    assert_eq!(serde_json::from_str::<Alert>(&text).unwrap(), alert);
    let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
    older.as_object_mut().unwrap().remove("failing_since");
    let older: Alert = serde_json::from_value(older).unwrap();
    assert_eq!(older.row_since(), alert.since, "one of an older version counts from when it began");
}

proptest! {
    #[test]
    fn notices_are_bounded_and_every_incident_is_closed_once(events in proptest::collection::vec((0_u8..6, -30_i64..300), 1..200)) {
        let mut alert = Alert::new(key(), start());
        let mut now = start();
        let mut open = false;
        let mut quiet_since = None;
        for (kind, minutes) in events {
            now += TimeDelta::minutes(minutes);
            // A clock set back takes the last notice along: the wait begins anew from there.
            quiet_since = quiet_since.map(|since: DateTime<Utc>| since.min(now));
            let event = match kind {
                0 => Event::Succeeded,
                1 => failed(Connection),
                2 => failed(Space),
                3 => failed(DumpFailed),
                4 => tick(None, Some(3 * HOUR)),
                _ => tick(None, None),
            };
            let (next, notice) = decide(&alert, &event, DAY, now);
            match notice {
                Some(Recovered) => {
                    prop_assert!(open);
                    open = false;
                }
                Some(Reminder) => {
                    prop_assert!(open);
                    prop_assert!(quiet_since.is_some_and(|since| now - since >= TimeDelta::hours(24)));
                }
                Some(_) => open = true,
                None => {}
            }
            prop_assert_eq!(open, next.status != Status::Ok);
            if notice.is_some() {
                quiet_since = Some(now);
            }
            alert = next;
        }
    }
}
