//! Properties of retention over random backups, policies and clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::option::weighted;
use proptest::prelude::*;

use super::tests::{DAY, backup};
use super::{Plan, Policy, plan, simulate};
use crate::model::backup::{BackupRow, ProofLevel, RunId, Trigger};
use crate::model::dump::Selection;

fn policy() -> impl Strategy<Value = Policy> {
    let count = || weighted(0.3, 0_u32..8);
    (count(), weighted(0.3, 0_u32..60), count(), count(), count(), count(), count(), 0_u32..5).prop_map(
        |(keep_last, days, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, min_keep)| Policy {
            keep_last,
            keep_within: days.map(|days| DAY * days),
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            min_keep,
        },
    )
}

const START: i64 = 1_700_000_000;

/// Up to 60 backups: some in bunches, some years apart, a few pinned, damaged, ad hoc or of another selection.
fn backups() -> impl Strategy<Value = Vec<BackupRow>> {
    let one = (prop_oneof![0_i64..200_000, 0_i64..8_000_000, 0_i64..150_000_000], 0_u8..40, 0_u8..20, 0_u8..4);
    proptest::collection::vec(one, 0..60).prop_map(|rows| {
        let row = |(number, (seconds, pinned, kind, proof)): (usize, (i64, u8, u8, u8))| {
            let mut row = backup(DateTime::from_timestamp(START + seconds, 0).unwrap());
            row.id = RunId(format!("{number:03}"));
            row.pinned = pinned == 0;
            match kind {
                0 => row.damaged = Some("flipped".into()),
                4..=6 => row.suspicious = Some("rows fell".into()),
                1 => row.trigger = Trigger::AdHoc,
                2 | 3 => row.selection = Selection("schema".into()),
                _ => {}
            }
            row.proof = [ProofLevel::Whole, ProofLevel::Checksum, ProofLevel::Read, ProofLevel::Restored][proof as usize];
            row
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

fn zone() -> impl Strategy<Value = Tz> {
    proptest::sample::select(&TZ_VARIANTS[..])
}

/// Any clock, most of them near the backups.
fn now() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![3 => 0_i64..160_000_000, 1 => -2_000_000_000_i64..20_000_000_000]
        .prop_map(|seconds| DateTime::from_timestamp(START + seconds, 0).unwrap())
}

fn removed(plan: &Plan) -> BTreeSet<RunId> {
    plan.remove.iter().map(|(id, _)| id.clone()).collect()
}

fn left(backups: &[BackupRow], plan: &Plan) -> Vec<BackupRow> {
    let gone = removed(plan);
    backups.iter().filter(|row| !gone.contains(&row.id)).cloned().collect()
}

fn same_group(one: &BackupRow, other: &BackupRow) -> bool {
    one.selection == other.selection && (one.trigger == Trigger::AdHoc) == (other.trigger == Trigger::AdHoc)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn every_backup_is_kept_or_removed_once(policy in policy(), zone in zone(), backups in backups(), now in now()) {
        let plan = plan(&policy, zone, &backups, now);
        let mut all: Vec<RunId> = plan.keep.iter().map(|(id, _)| id.clone()).chain(plan.remove.iter().map(|(id, _)| id.clone())).collect();
        all.sort();
        let mut given: Vec<RunId> = backups.iter().map(|row| row.id.clone()).collect();
        given.sort();
        prop_assert_eq!(all, given);
        prop_assert!(plan.keep.iter().all(|(_, reasons)| !reasons.is_empty()));
    }

    #[test]
    fn adding_a_rule_never_removes_more(mut policy in policy(), zone in zone(), backups in backups(), now in now(), rule in 0..8, count in 1_u32..8) {
        // From "keep all" to any rule is the one step that may remove.
        prop_assume!(!policy.keeps_all());
        let before = removed(&plan(&policy, zone, &backups, now));
        let more = |old: Option<u32>| Some(old.unwrap_or(0) + count);
        match rule {
            0 => policy.keep_last = more(policy.keep_last),
            1 => policy.keep_hourly = more(policy.keep_hourly),
            2 => policy.keep_daily = more(policy.keep_daily),
            3 => policy.keep_weekly = more(policy.keep_weekly),
            4 => policy.keep_monthly = more(policy.keep_monthly),
            5 => policy.keep_yearly = more(policy.keep_yearly),
            6 => policy.min_keep += count,
            _ if policy.keep_within.is_none_or(|span| span.is_zero()) => policy.keep_within = Some(DAY * count),
            _ => {}
        }
        let after = removed(&plan(&policy, zone, &backups, now));
        prop_assert!(after.is_subset(&before), "{policy}: {after:?} not within {before:?}");
    }

    #[test]
    fn min_keep_and_the_untouchable_always_hold(policy in policy(), zone in zone(), backups in backups(), now in now()) {
        let plan = plan(&policy, zone, &backups, now);
        let stays = left(&backups, &plan);
        for row in &backups {
            let untouchable = row.pinned || row.damaged.is_some() || row.started_at > now;
            prop_assert!(!untouchable || stays.contains(row), "{row:?}");
            let good = |other: &&BackupRow| same_group(row, other) && other.damaged.is_none();
            let (had, has) = (backups.iter().filter(good).count(), stays.iter().filter(good).count());
            prop_assert!(has >= had.min(policy.min_keep as usize).max(usize::from(had > 0)));
            let level = |rows: &[BackupRow]| rows.iter().filter(good).map(|other| other.proof).max();
            prop_assert_eq!(level(&backups), level(&stays));
        }
    }

    #[test]
    fn planning_again_removes_nothing(policy in policy(), zone in zone(), backups in backups(), now in now()) {
        let first = plan(&policy, zone, &backups, now);
        let again = plan(&policy, zone, &left(&backups, &first), now);
        prop_assert!(again.remove.is_empty(), "{policy}: {:?}", again.remove);
    }

    #[test]
    fn the_order_of_input_does_not_matter(policy in policy(), zone in zone(), (backups, shuffled) in backups().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())), now in now()) {
        prop_assert_eq!(plan(&policy, zone, &backups, now), plan(&policy, zone, &shuffled, now));
    }

    /// Once everything has been pruned by a right clock, no other clock removes anything but what it takes for future-dated until then.
    #[test]
    fn f28_no_clock_prunes_what_a_right_clock_kept(policy in policy(), zone in zone(), backups in backups(), wrong in now()) {
        let right = backups.iter().map(|row| row.started_at).max().unwrap_or_default();
        let stays = left(&backups, &plan(&policy, zone, &backups, right));
        let later = right + Duration::from_secs(400 * 86_400);
        prop_assert!(plan(&policy, zone, &stays, later).remove.is_empty());
        // A clock set back sees some as future-dated; the others have nothing newer to be pushed out by.
        let gone = plan(&policy, zone, &stays, wrong).remove;
        prop_assert!(gone.is_empty(), "{policy} at {wrong}: {gone:?}");
    }

    #[test]
    fn future_dated_backups_push_nothing_out(policy in policy(), zone in zone(), backups in backups(), now in now()) {
        let past: Vec<BackupRow> = backups.iter().filter(|row| row.started_at <= now).cloned().collect();
        prop_assert_eq!(removed(&plan(&policy, zone, &backups, now)), removed(&plan(&policy, zone, &past, now)));
    }

    #[test]
    fn a_simulation_ends_as_pruning_after_each_backup_would(policy in policy(), zone in zone(), backups in backups()) {
        let mut slots: Vec<DateTime<Utc>> = backups.iter().map(|row| row.started_at).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut stored: Vec<BackupRow> = Vec::new();
        for slot in &slots {
            stored.push(backup(*slot));
            stored = left(&stored, &plan(&policy, zone, &stored, *slot));
        }
        let simulated: Vec<DateTime<Utc>> = simulate(&policy, zone, &slots).into_iter().map(|(time, _)| time).collect();
        prop_assert_eq!(simulated, stored.iter().rev().map(|row| row.started_at).collect::<Vec<_>>());
    }
}
