//! What a schedule and a policy come to: which backups there will be after a while.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::policy::Policy;
use super::reason::Reason;
use super::select::{self, Candidate};
use crate::model::backup::RunId;

/// The backups left, newest first, if every slot makes a good one and pruning follows each. Slots in any order.
#[must_use]
pub fn simulate(policy: &Policy, zone: Tz, slots: &[DateTime<Utc>]) -> Vec<(DateTime<Utc>, Vec<Reason>)> {
    let nameless = RunId(String::new());
    let mut slots = slots.to_vec();
    slots.sort_unstable();
    let mut stored: Vec<Candidate<'_>> = Vec::new();
    let mut prune_at = PRUNE_EVERY;
    for slot in &slots {
        stored.push(Candidate::imagined(&nameless, *slot, zone));
        // What one prune would have removed, a later one removes as well: pruning in batches ends the same and costs far less.
        if stored.len() >= prune_at && !policy.keeps_all() {
            prune(policy, &mut stored, *slot);
            prune_at = 2 * stored.len() + PRUNE_EVERY;
        }
    }
    let Some(now) = slots.last() else { return Vec::new() };
    let why = prune(policy, &mut stored, *now);
    stored.iter().rev().map(|candidate| candidate.time).zip(why).collect()
}

/// Backups between two prunes at least.
const PRUNE_EVERY: usize = 16;

/// Removes what no rule keeps from backups in order of time, and returns the reasons for the others, newest first.
fn prune(policy: &Policy, stored: &mut Vec<Candidate<'_>>, now: DateTime<Utc>) -> Vec<Vec<Reason>> {
    stored.reverse();
    let mut reasons = select::reasons(policy, stored, now);
    let mut stays = reasons.iter().map(|reasons| !reasons.is_empty());
    stored.retain(|_| stays.next().unwrap_or(true));
    stored.reverse();
    reasons.retain(|reasons| !reasons.is_empty());
    reasons
}
