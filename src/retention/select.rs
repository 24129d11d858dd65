//! The rules at work on one group of backups: restic's `forget`, with what must never go put on top.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::buckets;
use super::policy::Policy;
use super::reason::{Bucket, Reason};
use crate::model::backup::{BackupRow, ProofLevel, RunId};

/// What the rules look at.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a RunId,
    pub(super) time: DateTime<Utc>,
    keys: [i64; 5],
    proof: ProofLevel,
    pinned: bool,
    damaged: bool,
    suspicious: bool,
}

impl<'a> Candidate<'a> {
    pub(super) fn from_row(row: &'a BackupRow, zone: Tz) -> Self {
        Self {
            id: &row.id,
            time: row.started_at,
            keys: buckets::keys(zone, row.started_at),
            proof: row.proof,
            pinned: row.pinned,
            damaged: row.damaged.is_some(),
            suspicious: row.suspicious.is_some(),
        }
    }

    /// A backup that will be made at `time`, as pruning will see it.
    pub(super) fn imagined(id: &'a RunId, time: DateTime<Utc>, zone: Tz) -> Self {
        Self { id, time, keys: buckets::keys(zone, time), proof: ProofLevel::Whole, pinned: false, damaged: false, suspicious: false }
    }
}

/// Newest first; equal times by id, so that the order of input never matters.
pub(super) fn sort(candidates: &mut [Candidate<'_>]) {
    candidates.sort_by_key(|candidate| (Reverse(candidate.time), candidate.id));
}

/// The reasons to keep each of one group's backups, given newest first. No reason: it goes.
pub(super) fn reasons(policy: &Policy, candidates: &[Candidate<'_>], now: DateTime<Utc>) -> Vec<Vec<Reason>> {
    let mut reasons: Vec<Vec<Reason>> = vec![Vec::new(); candidates.len()];
    // Only whole backups from the past are counted by the rules, and suspicious ones apart from the others: see below.
    let mut counted = Vec::with_capacity(candidates.len());
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.pinned {
            reasons[index].push(Reason::Pinned);
        }
        if candidate.damaged {
            reasons[index].push(Reason::Damaged);
        } else if candidate.time > now {
            reasons[index].push(Reason::Future);
        } else {
            counted.push(index);
        }
    }
    if policy.keeps_all() {
        for reasons in &mut reasons {
            reasons.push(Reason::KeepAll);
        }
        return reasons;
    }
    let good: Vec<usize> = counted.iter().copied().filter(|index| !candidates[*index].suspicious).collect();
    keep_by_rules(policy, candidates, &good, &mut |index, reason| reasons[index].push(reason));
    if good.len() < counted.len() {
        // A suspicious one takes no good one's place, and stays as long as it would if it were one of them.
        keep_by_rules(policy, candidates, &counted, &mut |index: usize, reason| {
            if !reasons[index].contains(&reason) {
                reasons[index].push(reason);
            }
        });
    }
    reasons
}

/// What the rules keep of those that count, newest first.
fn keep_by_rules(policy: &Policy, candidates: &[Candidate<'_>], counted: &[usize], mut keep: &mut dyn FnMut(usize, Reason)) {
    counted.iter().take(as_count(policy.keep_last)).for_each(|index| keep(*index, Reason::Last));
    keep_within(policy, candidates, counted, &mut keep);
    let counts = [policy.keep_hourly, policy.keep_daily, policy.keep_weekly, policy.keep_monthly, policy.keep_yearly];
    for (slot, (bucket, count)) in buckets::ALL.into_iter().zip(counts).enumerate() {
        keep_buckets((slot, bucket), as_count(count), candidates, counted, &mut keep);
    }
    counted.iter().take(policy.min_keep as usize).for_each(|index| keep(*index, Reason::MinKeep));
    keep_proven(candidates, counted, &mut keep);
}

fn as_count(rule: Option<u32>) -> usize {
    rule.unwrap_or(0) as usize
}

/// Everything at most the policy's span older than the newest.
///
/// One silence longer than the span is left out of the reckoning where at least two older backups gain by it: a clock that jumps ahead,
/// or a long outage, would otherwise have the first new backup push out all good ones at once. They go one by one as new ones come.
fn keep_within(policy: &Policy, candidates: &[Candidate<'_>], counted: &[usize], keep: &mut impl FnMut(usize, Reason)) {
    let Some(span) = policy.within().map(|span| TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)) else { return };
    let Some(newest) = counted.first().map(|index| candidates[*index].time) else { return };
    let age = |position: usize| newest.signed_duration_since(candidates[counted[position]].time);
    let silence = (1..counted.len()).find(|position| age(*position) - age(position - 1) > span);
    let recent = counted.partition_point(|index| newest.signed_duration_since(candidates[*index].time) <= span);
    counted[..recent].iter().for_each(|index| keep(*index, Reason::Within));
    let Some(first) = silence.filter(|first| *first == recent) else { return };
    let left_out = age(first) - age(first - 1);
    let before: Vec<usize> = (first..counted.len()).take_while(|position| age(*position) - left_out <= span).collect();
    if before.len() >= 2 {
        for position in before {
            keep(counted[position], Reason::WithinBeforeSilence);
        }
    }
}

/// The newest of each of the last `count` buckets that have a backup; while the count is unfilled, the oldest too.
fn keep_buckets(
    (slot, bucket): (usize, Bucket),
    count: usize,
    candidates: &[Candidate<'_>],
    counted: &[usize],
    keep: &mut impl FnMut(usize, Reason),
) {
    let mut left = count;
    let mut last = i64::MAX;
    for (position, index) in counted.iter().enumerate() {
        if left == 0 {
            return;
        }
        // "Earlier", not "other": a clock set back over midnight must not count a day twice.
        let key = candidates[*index].keys[slot];
        if key < last {
            keep(*index, Reason::Newest { of: bucket });
            last = key;
            left -= 1;
        } else if position + 1 == counted.len() {
            keep(*index, Reason::Oldest { of: bucket });
        }
    }
}

/// The newest backup that reached each level of proof, named by the highest level it is the newest of.
fn keep_proven(candidates: &[Candidate<'_>], counted: &[usize], keep: &mut impl FnMut(usize, Reason)) {
    let mut best = None;
    for index in counted {
        let level = candidates[*index].proof;
        if best.is_none_or(|best| level > best) {
            keep(*index, Reason::Proof { level });
            best = Some(level);
        }
    }
}
