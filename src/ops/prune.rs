//! Removes what the retention no longer keeps: plans first, shows, then carries out that very plan.
//!
//! What is kept is decided in `retention`; here stand the checks against the storage, the hold on a changed policy, and the order of deletion.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;

use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::habit::{self, Suspension};
use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;
use crate::model::project::Project;
use crate::retention::{self, Divided, Plan, Reason};
use crate::storage::names;

use super::removal::{self, Removal};
use super::{World, held, mount, origin, there};

/// A plan for one project, with the rows it speaks of.
#[derive(Debug, Clone)]
pub struct PrunePlan {
    /// The project.
    pub project: String,
    /// Every backup of the project whose files are there, newest first.
    pub backups: Vec<BackupRow>,
    /// What stays, what goes, and why.
    pub plan: Plan,
    /// Backups that the catalog lists but whose files are gone; never counted as kept.
    pub absent: Vec<BackupRow>,
    /// Why the plan must be confirmed by a person first, if it must.
    pub held: Option<String>,
    /// Suspicious backups because of which nothing is pruned.
    pub suspended: Vec<Suspension>,
    /// Databases with backups of several servers, of which nothing is pruned until a person has said that they are one line.
    pub divided: Vec<Divided>,
    /// How many backups of those would go otherwise.
    pub held_back: usize,
    fingerprint: String,
    agreed: Option<String>,
}

impl PrunePlan {
    /// Removes only from those backups for which `allowed` says so; everything else stays.
    pub fn only(&mut self, allowed: impl Fn(&BackupRow) -> bool) {
        let allowed: HashSet<&RunId> = self.backups.iter().filter(|row| allowed(row)).map(|row| &row.id).collect();
        self.plan.remove.retain(|(id, _)| allowed.contains(id));
    }

    /// The policy and zone the plan was made with, as one word.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The policy that was last agreed to, and the one in force, in words; `None` where nobody knows the old one.
    #[must_use]
    pub fn change(&self) -> Option<(String, String)> {
        self.agreed.as_deref().map(|agreed| retention::policy_change(agreed, &self.fingerprint))
    }
}

/// What carrying out a plan did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Backups removed.
    pub removed: Vec<RunId>,
    /// Stored bytes given back.
    pub freed: u64,
    /// Backups that somebody restores just now; the next prune removes them.
    pub in_use: Vec<RunId>,
    /// Removals that failed; they are tried again by the next prune.
    pub failures: Vec<Failure>,
}

impl Pruned {
    /// With the failures of earlier removals that could not be gone on with, before its own.
    #[must_use]
    pub fn after(self, stuck: Vec<Failure>) -> Self {
        Self { failures: [stuck, self.failures].concat(), ..self }
    }
}

/// Decides what would go of each of some projects, in the order given; each processor takes a share.
pub fn plans(world: &World, projects: &[&Project]) -> Vec<Result<PrunePlan>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = projects.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let plan_all = |some: &[&Project]| some.iter().map(|project| plan(world, project)).collect::<Vec<_>>();
        let others: Vec<_> = projects.chunks(share).skip(1).map(|some| scope.spawn(move || plan_all(some))).collect();
        let mut plans = plan_all(projects.chunks(share).next().unwrap_or_default());
        for other in others {
            plans.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        plans
    })
}

/// Decides what would go. Reads, writes nothing.
pub fn plan(world: &World, project: &Project) -> Result<PrunePlan> {
    let storage = world.storage(project)?;
    let (mut indexed, agreed, on_server) = world.catalog.read(|reader| {
        let agreed = reader.meta(&held::agreed_key(&project.name))?;
        Ok((reader.project_backups(&project.name)?, agreed, there::recall(reader, &project.name)?))
    })?;
    indexed.retain(|row| row.storage == project.storage);
    // What was never used holds nothing, and is not made for the asking.
    let unused = indexed.is_empty() && mount::is_new(world, storage.as_ref())?;
    if !unused {
        // Of an empty mount point everything would look gone.
        mount::look(world, storage.as_ref())?;
    }
    let there = if unused { HashSet::default() } else { storage.names(&project.name)? };
    let (backups, absent): (Vec<_>, Vec<_>) =
        indexed.into_iter().partition(|row| there.contains(&row.file) && there.contains(&names::manifest_file(&row.file)));
    let mut plan = retention::plan(&project.retention, project.time_zone, &backups, world.clock.now());
    let ended = |database: &str, selection: &Selection| origin::ended(project, on_server.as_ref(), database, selection);
    spare(&mut plan, Reason::NotBackedUp, &backups, &ended);
    let divided = world.catalog.read(|reader| origin::divided(reader, project, on_server.as_ref(), &backups))?;
    let would_go = plan.remove.len();
    let of_several =
        |database: &str, selection: &Selection| divided.iter().any(|group| group.database == database && group.selection == *selection);
    spare(&mut plan, Reason::OtherServer, &backups, &of_several);
    let held_back = would_go - plan.remove.len();
    let fingerprint = retention::policy_fingerprint(&project.retention, project.time_zone);
    let suspended = habit::suspension(&backups);
    let name = project.name.clone();
    let mut plan = PrunePlan { project: name, backups, plan, absent, held: None, suspended, divided, held_back, fingerprint, agreed };
    if plan.agreed.as_deref() != Some(plan.fingerprint()) {
        plan.held = held(&plan);
    }
    Ok(plan)
}

/// Keeps, for this reason, what would go of the databases and selections that are chosen.
fn spare(plan: &mut Plan, reason: Reason, backups: &[BackupRow], chosen: &dyn Fn(&str, &Selection) -> bool) {
    if plan.groups.iter().any(|group| group.remove > 0 && chosen(&group.database, &group.selection)) {
        let groups: HashMap<&RunId, (&str, &Selection)> =
            backups.iter().map(|row| (&row.id, (row.database.as_str(), &row.selection))).collect();
        plan.spare(reason, chosen, |id| groups.get(id).copied());
    }
}

/// A changed policy that would remove more than half of more than five backups waits for a person.
fn held(plan: &PrunePlan) -> Option<String> {
    retention::is_drastic(&plan.plan).then(|| {
        let (keep, remove) = (plan.plan.keep.len(), plan.plan.remove.len());
        let (project, all) = (&plan.project, remove + keep);
        plan.change().map_or_else(
            || {
                format!(
                    "the retention of {project:?} would remove {remove} of {all} backups, and this catalog doesn't know that anybody agreed \
                     to it: it was made anew, or nothing was pruned before"
                )
            },
            |(was, now)| {
                format!("the retention of {project:?} has changed and would remove {remove} of {all} backups (was: {was}; now: {now})")
            },
        )
    })
}

/// A person agrees to the policy as it is now; the next prune carries it out.
pub fn confirm(world: &World, plan: &PrunePlan) -> Result<()> {
    world.catalog.write(|writer| writer.put_meta(&held::agreed_key(&plan.project), &plan.fingerprint))
}

/// Removes what the plan removes. The caller holds the project's lock; a held or suspended plan is refused.
///
/// Each backup goes in the reverse order of its making: catalog, manifest, artifact. A crash between leaves a note from which the next
/// prune or start goes on.
pub fn carry_out(world: &World, project: &Project, plan: &PrunePlan) -> Result<Pruned> {
    if let Some(why) = &plan.held {
        return Err(Failure::new(Cause::Configuration, why.clone()).hint(format!(
            "look at `pgdumpd prune {} --dry-run`, then agree with `pgdumpd prune {} --confirm`",
            project.name, project.name
        )));
    }
    if let Some(first) = plan.suspended.first() {
        return Err(refused(project, first));
    }
    let storage = world.storage(project)?;
    let mut pruned = Pruned::default();
    let removed = plan.plan.removed();
    for row in plan.backups.iter().filter(|row| removed.contains(&row.id)) {
        match removal::remove(world, storage.as_ref(), row) {
            Ok(Removal::Done) => {
                pruned.freed += row.size;
                pruned.removed.push(row.id.clone());
            }
            Ok(Removal::InUse) => {
                tracing::info!(backup = %row.id, project = row.project, "not removed yet: it is being restored just now");
                pruned.in_use.push(row.id.clone());
            }
            Ok(Removal::Pinned) => tracing::info!(backup = %row.id, project = row.project, "not removed: it was pinned meanwhile"),
            Err(failure) => {
                tracing::warn!(backup = %row.id, project = row.project, "not removed yet: {failure}");
                pruned.failures.push(failure);
            }
        }
    }
    // While something is held back nobody knows yet what this policy comes to.
    if plan.held_back == 0 {
        confirm(world, plan)?;
    }
    Ok(pruned)
}

/// A suspicious backup is no reason to lose the good ones before it.
fn refused(project: &Project, first: &Suspension) -> Failure {
    let sentence =
        format!("pruning of {:?} is suspended, because its newest backup of {} is suspicious: {}", project.name, first.database, first.why);
    Failure::new(Cause::Suspicious, sentence).hint(format!(
        "look at `pgdumpd show {}`, then `pgdumpd accept {}` if it is meant to be so; or `pgdumpd prune {} --confirm` to prune this once",
        first.backup, first.backup, project.name
    ))
}
