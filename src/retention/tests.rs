//! Retention by tables: policy, backups, what is left.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Bucket, Plan, Policy, Reason, is_drastic, plan, policy_change, policy_fingerprint, simulate};
use crate::model::backup::{BackupRow, ProofLevel, RunId, Trigger};
use crate::model::dump::{Content, Selection};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A good, full, scheduled backup of `shop` that started then; its id is the time.
pub(super) fn backup(started: DateTime<Utc>) -> BackupRow {
    BackupRow {
        id: RunId(started.format("%Y-%m-%dT%H:%M:%S").to_string()),
        storage: "main".into(),
        project: "shop".into(),
        database: "shop".into(),
        content: Content::Full,
        selection: Selection("full".into()),
        trigger: Trigger::Scheduled,
        schedule: Some("nightly".into()),
        slot: Some(started),
        started_at: started,
        finished_at: started,
        file: "shop.dump.zst".into(),
        size: 1,
        uncompressed_size: 1,
        sha256: String::new(),
        tables: 1,
        rows: None,
        pinned: false,
        proof: ProofLevel::Whole,
        proven_at: started,
        damaged: None,
        suspicious: None,
        checked_at: None,
        restored_at: None,
        restore_ms: None,
        makes_database: false,
        system_identifier: None,
        server: None,
    }
}

#[test]
fn a_suspicious_backup_takes_no_good_ones_place() {
    let mut backups = daily("2026-11-21T00:00:00Z", 6);
    backups[0].suspicious = Some("rows fell".into());
    backups[2].suspicious = Some("rows fell".into());
    let policy = Policy { keep_last: Some(2), ..Policy::default() };
    let plan = plan(&policy, Tz::UTC, &backups, at("2026-11-21T12:00:00Z"));
    assert_eq!(
        kept(&plan),
        ["2026-11-21T00:00:00", "2026-11-20T00:00:00", "2026-11-18T00:00:00"],
        "two good ones, and it as if it were one"
    );
}

/// `count` backups a day apart, the last of them at `newest`.
fn daily(newest: &str, count: i64) -> Vec<BackupRow> {
    (0..count).map(|ago| backup(at(newest) - TimeDelta::days(ago))).collect()
}

fn kept(plan: &Plan) -> Vec<&str> {
    plan.keep.iter().map(|(id, _)| id.as_str()).collect()
}

fn reasons(plan: &Plan, id: &str) -> Vec<Reason> {
    plan.keep.iter().find(|(kept, _)| kept.as_str() == id).map(|(_, reasons)| reasons.clone()).unwrap_or_default()
}

fn last(count: u32) -> Policy {
    Policy { keep_last: Some(count), ..Policy::default() }
}

const NOW: &str = "2026-11-21T12:00:00Z";

#[test]
fn nothing_set_or_only_zeros_keeps_all() {
    let backups = daily("2026-11-21T02:00:00Z", 400);
    for policy in [Policy::default(), Policy { keep_daily: Some(0), keep_within: Some(Duration::ZERO), ..last(0) }] {
        let plan = plan(&policy, Tz::UTC, &backups, at(NOW));
        assert_eq!((plan.keep.len(), plan.remove.len()), (400, 0));
        assert_eq!(plan.keep[0].1, [Reason::KeepAll]);
    }
}

#[test]
fn each_rule_keeps_what_it_says() {
    let two_a_day: Vec<BackupRow> = (0..800).map(|half| backup(at("2026-11-21T11:00:00Z") - TimeDelta::hours(12 * half))).collect();
    let rule = Policy::default;
    let table: Vec<(Policy, usize, &str)> = vec![
        (last(3), 3, "2026-11-20T11:00:00"),
        (Policy { keep_hourly: Some(4), ..rule() }, 4, "2026-11-19T23:00:00"),
        (Policy { keep_daily: Some(7), ..rule() }, 7, "2026-11-15T23:00:00"),
        (Policy { keep_weekly: Some(3), ..rule() }, 3, "2026-11-08T23:00:00"),
        (Policy { keep_monthly: Some(3), ..rule() }, 3, "2026-09-30T23:00:00"),
        // Two years have backups; the third count is unfilled, so the oldest stays too.
        (Policy { keep_yearly: Some(3), ..rule() }, 3, "2025-10-17T23:00:00"),
        (Policy { keep_within: Some(2 * DAY), ..rule() }, 5, "2026-11-19T11:00:00"),
        (Policy { keep_last: Some(1), min_keep: 6, ..rule() }, 6, "2026-11-18T23:00:00"),
        (Policy { keep_last: Some(2), keep_daily: Some(3), keep_monthly: Some(2), ..rule() }, 4, "2026-10-31T23:00:00"),
    ];
    for (policy, count, oldest) in table {
        let plan = plan(&policy, Tz::UTC, &two_a_day, at(NOW));
        assert_eq!((plan.keep.len(), kept(&plan).last().copied()), (count, Some(oldest)), "{policy}");
        assert_eq!(plan.keep.len() + plan.remove.len(), two_a_day.len());
    }
}

#[test]
fn buckets_are_those_of_the_zone() {
    // 23:30 and 00:30 UTC are one day in Berlin, two in UTC.
    let backups = [backup(at("2026-11-20T23:30:00Z")), backup(at("2026-11-21T00:30:00Z")), backup(at("2026-11-19T12:00:00Z"))];
    let policy = Policy { keep_daily: Some(2), ..Policy::default() };
    assert_eq!(kept(&plan(&policy, Tz::UTC, &backups, at(NOW))), ["2026-11-21T00:30:00", "2026-11-20T23:30:00"]);
    assert_eq!(kept(&plan(&policy, Tz::Europe__Berlin, &backups, at(NOW))), ["2026-11-21T00:30:00", "2026-11-19T12:00:00"]);
    // Both passes of a repeated hour are hours of their own.
    let fold = [backup(at("2026-10-25T00:10:00Z")), backup(at("2026-10-25T01:10:00Z"))];
    let hourly = Policy { keep_hourly: Some(2), ..Policy::default() };
    assert_eq!(plan(&hourly, Tz::Europe__Berlin, &fold, at(NOW)).keep.len(), 2);
    // ISO weeks go from Monday to Sunday, over the year's end.
    let weekly = Policy { keep_weekly: Some(2), min_keep: 0, ..Policy::default() };
    let turn = [backup(at("2026-12-31T12:00:00Z")), backup(at("2027-01-03T12:00:00Z")), backup(at("2026-12-27T12:00:00Z"))];
    assert_eq!(kept(&plan(&weekly, Tz::UTC, &turn, at("2027-02-01T00:00:00Z"))), ["2027-01-03T12:00:00", "2026-12-27T12:00:00"]);
}

#[test]
fn selections_databases_and_ad_hoc_backups_do_not_compete() {
    let mut backups = daily("2026-11-21T02:00:00Z", 4);
    for (shift, change) in [
        (1, (|row| row.selection = Selection("schema".into())) as fn(&mut BackupRow)),
        (2, |row| row.database = "billing".into()),
        (3, |row| row.trigger = Trigger::AdHoc),
        (4, |row| row.project = "shop-staging".into()),
    ] {
        backups.extend(daily("2026-11-21T02:00:00Z", 4).into_iter().map(|mut row| {
            row.id = RunId(format!("{shift}-{}", row.id));
            change(&mut row);
            row
        }));
    }
    let plan = plan(&last(1), Tz::UTC, &backups, at(NOW));
    assert_eq!((plan.keep.len(), plan.remove.len(), plan.groups.len()), (5, 15, 5));
    assert!(plan.groups.iter().all(|group| group.keep == 1 && group.remove == 3));
    // Manual and caught-up backups of the project do compete.
    let mut mixed = daily("2026-11-21T02:00:00Z", 3);
    mixed[0].trigger = Trigger::Manual;
    mixed[1].trigger = Trigger::CatchUp;
    assert_eq!(super::plan(&last(1), Tz::UTC, &mixed, at(NOW)).keep.len(), 1);
}

#[test]
fn of_what_was_kept_before_restores_the_newest_few_and_the_last_weeks_stay() {
    let mut backups = daily("2026-11-21T02:00:00Z", 2);
    let before_restore = |time| {
        let mut row = backup(time);
        (row.trigger, row.selection) = (Trigger::AdHoc, Selection::before_restore());
        row
    };
    backups.extend((0..5).map(|number| before_restore(at("2026-11-21T03:00:00Z") - TimeDelta::days(10 * number))));
    let daily = Policy { keep_daily: Some(7), ..Policy::default() };
    let of =
        |policy: &Policy, backups: &[_]| plan(policy, Tz::UTC, backups, at(NOW)).groups.iter().map(|group| group.keep).collect::<Vec<_>>();
    let rule = |policy: &Policy| of(policy, &backups);
    assert_eq!(rule(&daily), [2, 5]);
    assert_eq!(rule(&last(1)), [1, 3]);
    assert_eq!(rule(&Policy { min_keep: 4, ..last(1) }), [2, 4]);
    assert_eq!(rule(&last(5)), [2, 5]);
    assert_eq!(rule(&Policy::default()), [2, 5]);
    // Attempts of one night push nothing out.
    let night: Vec<_> = (0..9).map(|minute| before_restore(at("2026-11-21T03:00:00Z") + TimeDelta::minutes(minute))).collect();
    assert_eq!(of(&last(1), &night), [9]);
    assert_eq!(of(&Policy { keep_within: Some(std::time::Duration::from_secs(60)), ..last(1) }, &night), [9]);
}

#[test]
fn pinned_and_damaged_stay_and_damaged_count_for_nothing() {
    let mut backups = daily("2026-11-21T02:00:00Z", 6);
    backups[0].damaged = Some("checksum differs".into());
    backups[1].damaged = Some("checksum differs".into());
    backups[5].pinned = true;
    let plan = plan(&last(2), Tz::UTC, &backups, at(NOW));
    assert_eq!(
        kept(&plan),
        ["2026-11-21T02:00:00", "2026-11-20T02:00:00", "2026-11-19T02:00:00", "2026-11-18T02:00:00", "2026-11-16T02:00:00"]
    );
    assert_eq!(reasons(&plan, "2026-11-21T02:00:00"), [Reason::Damaged]);
    assert_eq!(reasons(&plan, "2026-11-16T02:00:00"), [Reason::Pinned]);
    assert_eq!(plan.remove, [(RunId("2026-11-17T02:00:00".into()), Reason::NoRule { newer_kept: 4 })]);
}

#[test]
fn the_newest_of_each_proof_level_stays() {
    let mut backups = daily("2026-11-21T02:00:00Z", 10);
    backups[4].proof = ProofLevel::Checksum;
    backups[6].proof = ProofLevel::Restored;
    backups[7].proof = ProofLevel::Read;
    backups[8].proof = ProofLevel::Restored;
    let plan = plan(&last(1), Tz::UTC, &backups, at(NOW));
    assert_eq!(kept(&plan), ["2026-11-21T02:00:00", "2026-11-17T02:00:00", "2026-11-15T02:00:00"]);
    assert_eq!(reasons(&plan, "2026-11-15T02:00:00"), [Reason::Proof { level: ProofLevel::Restored }]);
    // A damaged one has lost its proof.
    backups[6].damaged = Some("truncated".into());
    let plan = super::plan(&last(1), Tz::UTC, &backups, at(NOW));
    assert!(kept(&plan).contains(&"2026-11-14T02:00:00") && kept(&plan).contains(&"2026-11-13T02:00:00"));
}

#[test]
fn f30_dumps_that_fail_for_longer_than_the_retention_cost_nothing() {
    // The last good backup is a year old: nothing is measured from the clock.
    let backups = daily("2025-11-21T02:00:00Z", 10);
    let policy = Policy { keep_within: Some(7 * DAY), ..Policy::default() };
    assert_eq!(plan(&policy, Tz::UTC, &backups, at(NOW)).keep.len(), 8);
    assert_eq!(plan(&Policy { keep_daily: Some(5), ..Policy::default() }, Tz::UTC, &backups, at(NOW)).keep.len(), 5);
}

#[test]
fn f28_a_clock_a_year_ahead_or_back_causes_no_mass_prune() {
    let policies = [
        Policy { keep_within: Some(30 * DAY), ..Policy::default() },
        Policy { keep_daily: Some(14), keep_monthly: Some(6), ..Policy::default() },
        last(10),
    ];
    for policy in policies {
        let mut backups = daily("2026-11-21T02:00:00Z", 30);
        backups.retain(|row| plan(&policy, Tz::UTC, &daily("2026-11-21T02:00:00Z", 30), at(NOW)).keep.iter().any(|(id, _)| *id == row.id));
        for now in ["2027-11-21T12:00:00Z", "2025-11-21T12:00:00Z", "1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] {
            assert!(plan(&policy, Tz::UTC, &backups, at(now)).remove.is_empty(), "{policy} at {now}");
            // Backups made under that clock push out at most one each, as they would on any day.
            let mut more = backups.clone();
            let mut removed = 0;
            for day in 0..5 {
                more.push(backup(at(now) + TimeDelta::days(day)));
                let plan = plan(&policy, Tz::UTC, &more, at(now) + TimeDelta::days(day));
                removed += plan.remove.len();
                more.retain(|row| !plan.remove.iter().any(|(id, _)| *id == row.id));
                assert!(removed <= day as usize + 1, "{policy} at {now}, day {day}: {removed} removed");
            }
        }
    }
}

#[test]
fn future_dated_backups_stay_and_push_nothing_out() {
    let mut backups = daily("2026-11-21T02:00:00Z", 5);
    backups.extend(daily("2030-01-05T02:00:00Z", 5));
    let plan = plan(&last(5), Tz::UTC, &backups, at(NOW));
    assert_eq!(plan.keep.len(), 10);
    assert_eq!(reasons(&plan, "2030-01-05T02:00:00"), [Reason::Future]);
}

#[test]
fn within_is_measured_from_the_newest_and_a_silence_does_not_empty_it() {
    let week = Policy { keep_within: Some(7 * DAY), ..Policy::default() };
    // Rare backups: only the newest is recent.
    let rare: Vec<BackupRow> = (0..4).map(|ago| backup(at("2026-11-21T02:00:00Z") - TimeDelta::days(30 * ago))).collect();
    assert_eq!(kept(&plan(&week, Tz::UTC, &rare, at(NOW))), ["2026-11-21T02:00:00"]);
    // Two months of outage after dense backups: the first new one doesn't take eight good ones along.
    let mut dense = daily("2026-09-21T02:00:00Z", 8);
    dense.push(backup(at("2026-11-20T02:00:00Z")));
    let found = plan(&week, Tz::UTC, &dense, at(NOW));
    assert_eq!(found.remove, []);
    assert_eq!(reasons(&found, "2026-09-14T02:00:00"), [Reason::WithinBeforeSilence]);
    // The next one takes one.
    dense.push(backup(at("2026-11-21T02:00:00Z")));
    assert_eq!(plan(&week, Tz::UTC, &dense, at(NOW)).remove.len(), 1);
}

#[test]
fn drastic_is_more_than_half_of_more_than_five() {
    for (count, keep, expected) in [(5, 1, false), (6, 3, false), (6, 2, true), (100, 50, false), (100, 49, true)] {
        let plan = plan(&last(keep), Tz::UTC, &daily("2026-11-21T02:00:00Z", count), at(NOW));
        assert_eq!(is_drastic(&plan), expected, "{count} to {keep}");
    }
    // One selection nearly emptied is drastic, however many others stay.
    let mut backups = daily("2026-11-21T02:00:00Z", 10);
    backups.extend(daily("2026-11-21T02:00:00Z", 90).into_iter().map(|row| BackupRow { pinned: true, database: "billing".into(), ..row }));
    assert!(is_drastic(&plan(&last(1), Tz::UTC, &backups, at(NOW))));
}

#[test]
fn the_fingerprint_changes_with_policy_and_zone_alone() {
    let policy = Policy { keep_daily: Some(14), keep_within: Some(36 * DAY / 24), ..last(3) };
    assert_eq!(policy_fingerprint(&policy, Tz::Europe__Berlin), "keep_last=3 keep_daily=14 keep_within=1d12h min_keep=1 Europe/Berlin");
    assert_ne!(policy_fingerprint(&policy, Tz::UTC), policy_fingerprint(&policy, Tz::Europe__Berlin));
    assert_ne!(policy_fingerprint(&Policy { min_keep: 2, ..policy.clone() }, Tz::UTC), policy_fingerprint(&policy, Tz::UTC));
    assert_eq!(policy_fingerprint(&last(0), Tz::UTC), policy_fingerprint(&Policy::default(), Tz::UTC));
}

#[test]
fn a_change_of_policy_reads_as_it_is_written() {
    let old = Policy { keep_daily: Some(14), keep_within: Some(std::time::Duration::from_secs(36 * 3600)), ..last(7) };
    let line = |policy: &Policy, zone| policy_fingerprint(policy, zone);
    let change = |old: &Policy, new: &Policy| policy_change(&line(old, Tz::UTC), &line(new, Tz::UTC));
    let words = |old: &str, new: &str| (old.to_owned(), new.to_owned());
    assert_eq!(change(&old, &last(2)), words("keep_last 7, keep_daily 14, keep_within 1d12h", "keep_last 2"));
    assert_eq!(change(&Policy::default(), &Policy { min_keep: 3, ..last(2) }), words("keep all", "keep_last 2, min_keep 3"));
    let moved = policy_change(&line(&last(2), Tz::UTC), &line(&last(2), Tz::Europe__Berlin));
    assert_eq!(moved, words("keep_last 2, time zone UTC", "keep_last 2, time zone Europe/Berlin"));
}

#[test]
fn reasons_have_words() {
    assert_eq!(Reason::Newest { of: Bucket::Day }.to_string(), "newest of its day (keep_daily)");
    assert_eq!(Reason::Oldest { of: Bucket::Year }.to_string(), "oldest, while keep_yearly is unfilled");
    assert_eq!(Reason::Proof { level: ProofLevel::Restored }.to_string(), "newest that is proven: restored");
    assert_eq!(Reason::NoRule { newer_kept: 3 }.to_string(), "no rule keeps it; newer ones that stay: 3");
}

#[test]
fn a_simulation_ends_as_pruning_after_each_backup_would() {
    let policy = Policy { keep_daily: Some(3), keep_monthly: Some(2), ..last(2) };
    let slots: Vec<DateTime<Utc>> = (0..200).map(|half| at("2026-09-01T06:00:00Z") + TimeDelta::hours(12 * half)).collect();
    let mut stored: Vec<BackupRow> = Vec::new();
    for slot in &slots {
        stored.push(backup(*slot));
        let plan = plan(&policy, Tz::Europe__Berlin, &stored, *slot);
        stored.retain(|row| !plan.remove.iter().any(|(id, _)| *id == row.id));
    }
    let left: Vec<DateTime<Utc>> = simulate(&policy, Tz::Europe__Berlin, &slots).into_iter().map(|(time, _)| time).collect();
    assert_eq!(left, stored.iter().rev().map(|row| row.started_at).collect::<Vec<_>>());
    assert_eq!(left.len(), 5);
    assert_eq!(simulate(&Policy::default(), Tz::UTC, &slots).len(), 200);
    assert!(simulate(&policy, Tz::UTC, &[]).is_empty());
}

#[test]
fn ten_thousand_backups_are_planned_quickly() {
    let backups: Vec<BackupRow> = (0..10_000).map(|hours| backup(at("2026-11-21T11:00:00Z") - TimeDelta::hours(hours))).collect();
    let policy = Policy {
        keep_within: Some(3 * DAY),
        keep_hourly: Some(48),
        keep_daily: Some(30),
        keep_weekly: Some(52),
        keep_monthly: Some(24),
        keep_yearly: Some(5),
        ..last(3)
    };
    let began = Instant::now();
    let plan = plan(&policy, Tz::Europe__Berlin, &backups, at(NOW));
    assert!(!plan.remove.is_empty());
    // 100 ms is for an optimised build; this one isn't.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
