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
    let mut kept: Vec<Candidate<'_>> = Vec::new();
    let mut why: Vec<Vec<Reason>> = Vec::new();
    for slot in slots {
        kept.insert(0, Candidate::imagined(&nameless, slot, zone));
        if policy.keeps_all() {
            continue;
        }
        let reasons = select::reasons(policy, &kept, slot);
        let mut stays = reasons.iter().map(|reasons| !reasons.is_empty());
        kept.retain(|_| stays.next().unwrap_or(true));
        why = reasons.into_iter().filter(|reasons| !reasons.is_empty()).collect();
    }
    if policy.keeps_all() {
        why = vec![vec![Reason::KeepAll]; kept.len()];
    }
    kept.into_iter().map(|candidate| candidate.time).zip(why).collect()
}
