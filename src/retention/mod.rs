//! Which backups stay: (policy, zone, backups) to a plan with a reason for each. Pure.
//!
//! Owns [`Policy`], [`plan`] and the rule for a drastic change. It deletes nothing and reads no clock: `now` is handed in, and only tells
//! which backups are dated in the future. `prune`, `plan` and the daemon call it.

mod buckets;
mod policy;
mod reason;
mod select;
mod servers;
mod simulate;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::model::backup::{BackupRow, RunId, Trigger};
use crate::model::dump::Selection;
pub use policy::{Policy, policy_change, policy_fingerprint};
pub use reason::{Bucket, Reason};
use select::Candidate;
pub use servers::{Divided, Origin, divided};
pub use simulate::simulate;

/// What pruning would do. Both lists are in the order of the groups (project, database, selection, ad-hoc last), newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// What stays, and every reason for it.
    pub keep: Vec<(RunId, Vec<Reason>)>,
    /// What goes, and why.
    pub remove: Vec<(RunId, Reason)>,
    /// The figures of each group.
    pub groups: Vec<Group>,
}

/// Backups that retention compares with each other, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Database name.
    pub database: String,
    /// What the backups hold.
    pub selection: Selection,
    /// Whether they were made by hand outside the project's settings.
    pub ad_hoc: bool,
    /// How many stay.
    pub keep: usize,
    /// How many go.
    pub remove: usize,
}

impl Plan {
    /// Keeps, for this reason, what would go of the groups that `chosen` names by database and selection; `group_of` tells whose a backup is.
    pub fn spare<'a>(
        &mut self,
        reason: Reason,
        chosen: impl Fn(&str, &Selection) -> bool,
        group_of: impl Fn(&RunId) -> Option<(&'a str, &'a Selection)>,
    ) {
        let spared = |id: &RunId| group_of(id).is_some_and(|(database, selection)| chosen(database, selection));
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.remove).into_iter().partition(|(id, _)| spared(id));
        self.keep.extend(kept.into_iter().map(|(id, _)| (id, vec![reason])));
        self.remove = gone;
        for group in self.groups.iter_mut().filter(|group| chosen(&group.database, &group.selection)) {
            group.keep += std::mem::take(&mut group.remove);
        }
    }

    /// What it removes, to be asked for each of thousands of backups.
    #[must_use]
    pub fn removed(&self) -> HashSet<&RunId> {
        self.remove.iter().map(|(id, _)| id).collect()
    }

    /// `keep` or `remove`, and why, in words, for each backup it speaks of.
    #[must_use]
    pub fn verdicts(&self) -> HashMap<&RunId, (&'static str, String)> {
        let words = |reasons: &[Reason]| reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let keep = self.keep.iter().map(|(id, reasons)| (id, ("keep", words(reasons))));
        keep.chain(self.remove.iter().map(|(id, why)| (id, ("remove", why.to_string())))).collect()
    }
}

/// Decides about one project's backups, in whatever order they come.
///
/// Backups compete within their database and selection only, and ad-hoc ones among themselves. Nothing is removed that is pinned,
/// damaged or dated after `now`.
#[must_use]
pub fn plan(policy: &Policy, zone: Tz, backups: &[BackupRow], now: DateTime<Utc>) -> Plan {
    // The project is part of the key so that a caller's mistake can't make one project's backups push out another's.
    let mut groups: BTreeMap<(&str, &str, &Selection, bool), Vec<Candidate<'_>>> = BTreeMap::new();
    for row in backups {
        let key = (row.project.as_str(), row.database.as_str(), &row.selection, row.trigger == Trigger::AdHoc);
        groups.entry(key).or_default().push(Candidate::from_row(row, zone));
    }
    let mut plan = Plan::default();
    for ((_, database, selection, ad_hoc), mut candidates) in groups {
        let (kept, removed) = (plan.keep.len(), plan.remove.len());
        let policy = &policy.of_group(selection);
        select::sort(&mut candidates);
        for (candidate, reasons) in candidates.iter().zip(select::reasons(policy, &candidates, now)) {
            let id = candidate.id.clone();
            if reasons.is_empty() {
                plan.remove.push((id, Reason::NoRule { newer_kept: plan.keep.len() - kept }));
            } else {
                plan.keep.push((id, reasons));
            }
        }
        plan.groups.push(Group {
            database: database.to_owned(),
            selection: selection.clone(),
            ad_hoc,
            keep: plan.keep.len() - kept,
            remove: plan.remove.len() - removed,
        });
    }
    plan
}

/// Whether the plan removes more than half of more than five backups, in all or within any one group.
///
/// After a change of the policy such a plan is held until a person confirms it.
#[must_use]
pub fn is_drastic(plan: &Plan) -> bool {
    let drastic = |keep: usize, remove: usize| keep + remove > 5 && remove > keep;
    drastic(plan.keep.len(), plan.remove.len()) || plan.groups.iter().any(|group| drastic(group.keep, group.remove))
}
