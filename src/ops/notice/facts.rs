//! Fills in what a letter says: gathers from the catalog what is still safe, what happens next and what was tried.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::alert::{AlertKey, NoticeKind, Status};
use crate::catalog::{BackupFilter, Reader, SlotKey};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, Trigger};
use crate::model::dump::{Content, Selection, restore_command};
use crate::model::project::{Project, Schedule};
use crate::model::run::{ANY_DATABASE, Run, RunStatus};
use crate::notify::group::Waiting;
use crate::notify::letter::{About, FailedDatabase, Failing, HeldPrune, LastGood, Letter, Next, Occasion, Stale, Told};

use crate::storage::names;

use super::super::prune::PrunePlan;
use super::super::seen;
use super::super::{World, origin};
use super::{Change, Desk, doubt, recovered, waiting};

/// A letter, the first mail of its incident where that has gone out, and the alerts whose incident begins with it.
pub(super) struct Due {
    pub(super) letter: Letter,
    pub(super) thread: Option<String>,
    pub(super) begins: Vec<AlertKey>,
}

/// The letters of one project's changes: failures in one, recoveries in one, stale databases one each.
pub(super) fn letters(
    world: &World,
    tx: &Reader,
    desk: &Desk<'_>,
    project: &Project,
    changes: &[Change],
    runs: &[&Run],
    now: DateTime<Utc>,
) -> Result<Vec<Waiting>> {
    let about = about(world, desk, project, now);
    let (doubts, changes): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.after.key.of_anomaly().is_some());
    let mut letters = doubt::letters(tx, project, &about, &doubts, now)?;
    let failing: Vec<&Change> = changes.iter().copied().filter(|change| is_failing(change)).collect();
    if let Some(letter) = failing_letter(tx, project, &about, &failing, runs, now)? {
        letters.push(due(Letter::Failing(letter), &failing));
    }
    let well: Vec<&Change> = changes.iter().copied().filter(|change| change.kind == NoticeKind::Recovered).collect();
    if let Some(letter) = recovered::letter(tx, project, &about, &well, now)? {
        letters.push(due(Letter::Recovered(letter), &well));
    }
    for change in changes.iter().copied().filter(|change| is_stale(change)) {
        letters.push(due(Letter::Stale(stale_letter(tx, project, &about, change, now)?), &[change]));
    }
    Ok(letters.into_iter().map(|due| waiting(desk, project, due, now)).collect())
}

fn is_stale(change: &Change) -> bool {
    change.kind == NoticeKind::Stale
        || (change.kind == NoticeKind::Reminder && change.after.status == Status::Stale && change.run.is_none())
}

fn is_failing(change: &Change) -> bool {
    matches!(change.kind, NoticeKind::FirstFailure | NoticeKind::CauseChanged | NoticeKind::Reminder) && !is_stale(change)
}

pub(super) fn due(letter: Letter, changes: &[&Change]) -> Due {
    let (first, later): (Vec<&&Change>, Vec<&&Change>) = changes.iter().partition(|change| change.before.status == Status::Ok);
    Due {
        letter,
        thread: later.iter().find_map(|change| change.before.thread.clone()).map(|id| format!("<{id}>")),
        begins: first.iter().map(|change| change.after.key.clone()).collect(),
    }
}

fn failing_letter(
    tx: &Reader,
    project: &Project,
    about: &About,
    changes: &[&Change],
    runs: &[&Run],
    now: DateTime<Utc>,
) -> Result<Option<Failing>> {
    let Some(worst) = changes.iter().max_by_key(|change| change.after.failures_in_row) else { return Ok(None) };
    let mut databases = Vec::new();
    let mut occasion = Occasion::Start;
    for change in changes {
        let run = match &change.run {
            Some(run) => Some(run.clone()),
            None => {
                let key = &change.after.key;
                tx.last_run(&key.project, &key.database, &key.selection)?
            }
        };
        let Some(run) = run else { continue };
        if !matches!(occasion, Occasion::Slot { .. }) {
            occasion = occasion_of(&run);
        }
        databases.push(failed(tx, &run)?);
    }
    let seen = seen::recall(tx, &project.name)?;
    let fine = fine(tx, &project.name, &occasion, runs, &databases)?;
    Ok(Some(Failing {
        about: about.clone(),
        told: told(worst),
        in_row: worst.after.failures_in_row,
        since: worst.after.row_since(),
        databases,
        fine,
        occasion,
        next: next_of(tx, project, &selections(changes), now)?,
        reminder: project.notify.reminder,
        client: seen.client,
        server_version: seen.server,
    }))
}

/// What else the same job backed up, those told of before a retry too: the runs of the slot, or those by hand beside the failed ones.
fn fine(tx: &Reader, project: &str, occasion: &Occasion, runs: &[&Run], failed: &[FailedDatabase]) -> Result<Vec<String>> {
    let of_job = match occasion {
        Occasion::Slot { at, schedule } => {
            tx.runs_of_slot(&SlotKey { project: project.to_owned(), schedule: schedule.clone(), due_at: *at })?
        }
        Occasion::Hand | Occasion::Start => {
            runs.iter().filter(|run| run.slot.is_none() && !run.selection.is_before_restore()).map(|run| (*run).clone()).collect()
        }
    };
    let done = of_job.into_iter().filter(|run| run.status == RunStatus::Completed).map(|run| run.database);
    let done: BTreeSet<String> = done.filter(|name| failed.iter().all(|failed| failed.database != *name)).collect();
    Ok(done.into_iter().collect())
}

fn occasion_of(run: &Run) -> Occasion {
    match (run.slot, &run.schedule, run.trigger) {
        (Some(at), Some(schedule), _) => Occasion::Slot { at, schedule: schedule.clone() },
        (_, _, Trigger::Scheduled | Trigger::CatchUp) => Occasion::Start,
        _ => Occasion::Hand,
    }
}

pub(super) fn selections<'a>(changes: &[&'a Change]) -> Vec<&'a Selection> {
    changes.iter().map(|change| &change.after.key.selection).collect()
}

fn told(change: &Change) -> Told {
    match change.kind {
        NoticeKind::CauseChanged => Told::CauseChanged(change.before.message.clone().unwrap_or_default()),
        NoticeKind::Reminder => Told::Reminder,
        _ => Told::First,
    }
}

fn failed(tx: &Reader, run: &Run) -> Result<FailedDatabase> {
    let key = AlertKey { project: run.project.clone(), database: run.database.clone(), selection: run.selection.clone() };
    let unknown = || Failure::new(Cause::System, "the run ended without saying why");
    Ok(FailedDatabase {
        database: run.database.clone(),
        selection: run.selection.to_string(),
        run: run.id.to_string(),
        failure: run.failure.clone().unwrap_or_else(unknown),
        started_at: run.started_at,
        ended_at: run.finished_at.unwrap_or(run.started_at),
        attempts: run.attempts,
        last_good: newest_of_each(tx, &key)?.into_iter().map(last_good).collect(),
    })
}

/// The newest good one; of each database, by name, where what failed struck before they were known.
pub(super) fn newest_of_each(tx: &Reader, key: &AlertKey) -> Result<Vec<BackupRow>> {
    if key.database != ANY_DATABASE {
        return Ok(newest(tx, key)?.into_iter().collect());
    }
    let databases: BTreeSet<String> =
        tx.project_backups(&key.project)?.into_iter().filter(|row| row.selection == key.selection).map(|row| row.database).collect();
    let mut found = Vec::new();
    for database in databases {
        found.extend(newest(tx, &AlertKey { database, ..key.clone() })?);
    }
    Ok(found)
}

pub(super) fn newest(tx: &Reader, key: &AlertKey) -> Result<Option<BackupRow>> {
    let these = BackupFilter {
        project: Some(key.project.clone()),
        // What failed before the databases were known leaves all of them to fall back on.
        database: Some(key.database.clone()).filter(|database| database != ANY_DATABASE),
        selection: Some(key.selection.clone()),
        undamaged: true,
        normal: true,
        ..BackupFilter::default()
    };
    origin::own_newest(tx, &these)
}

fn is_paused(tx: &Reader, project: &Project) -> Result<bool> {
    Ok(tx.pauses()?.iter().any(|pause| pause.project == project.name))
}

pub(super) fn last_good(row: BackupRow) -> LastGood {
    LastGood {
        id: (row.content != Content::Globals).then(|| row.id.to_string()),
        restore: restore_command(&row.file, row.content, row.makes_database.then_some(row.database.as_str())),
        file: below_root(&row.project, &row.file),
        database: row.database,
        taken_at: row.started_at,
        size: row.size,
        server: row.server,
        proof: row.proof,
        proven_at: row.proven_at,
    }
}

/// A file's path below its storage's root.
pub(super) fn below_root(project: &str, file: &str) -> String {
    format!("{}/{file}", names::project_folder(project).unwrap_or_else(|_| project.to_owned()))
}

fn stale_letter(tx: &Reader, project: &Project, about: &About, change: &Change, now: DateTime<Utc>) -> Result<Stale> {
    let reason = match &change.after.message {
        Some(message) => Some(format!("the last run failed: {message}")),
        None if is_paused(tx, project)? => Some(String::from("the project is paused")),
        None => project
            .makes_parts_alone()
            .filter(|_| change.after.key.selection.is_full())
            .map(|hint| format!("no schedule of the project makes full backups: {hint}")),
    };
    Ok(Stale {
        about: about.clone(),
        database: change.after.key.database.clone(),
        selection: (!change.after.key.selection.is_full()).then(|| change.after.key.selection.to_string()),
        allowed: project.max_backup_age.unwrap_or_default(),
        last_good: newest(tx, &change.after.key)?.map(last_good),
        reason,
        next: next_of(tx, project, &[&change.after.key.selection], now)?,
        reminder: project.notify.reminder,
    })
}

/// What comes by itself for the one who waits: the next slot of a schedule that makes such a backup, not of any.
pub(super) fn next_of(tx: &Reader, project: &Project, selections: &[&Selection], now: DateTime<Utc>) -> Result<Next> {
    let makes = |plan: &Schedule| {
        let of_roles = |selection: &Selection| *selection == Selection::globals() && plan.shape.content == Content::Full;
        selections.iter().any(|selection| plan.shape.selection() == **selection || of_roles(selection))
    };
    next(tx, project, &makes, now)
}

/// The next slot of those schedules.
pub(super) fn next(tx: &Reader, project: &Project, of: &dyn Fn(&Schedule) -> bool, now: DateTime<Utc>) -> Result<Next> {
    if !project.enabled {
        return Ok(Next::Nothing(String::from("the project is disabled")));
    }
    if is_paused(tx, project)? {
        return Ok(Next::Nothing(String::from("the project is paused")));
    }
    let mut soonest: Option<(DateTime<Utc>, &Schedule)> = None;
    for plan in project.schedules.iter().filter(|plan| plan.enabled && of(plan)) {
        let last = tx.last_due_of(&project.name, &plan.name)?;
        if let Some(at) = plan.timing.next_after(plan.time_zone, now, last) {
            soonest = Some(soonest.map_or((at, plan), |known| if at < known.0 { (at, plan) } else { known }));
        }
    }
    Ok(soonest.map_or_else(
        || {
            Next::Nothing(String::from(if project.schedules.is_empty() {
                "the project has no schedule"
            } else {
                "no schedule of the project makes such a backup"
            }))
        },
        |(at, plan)| Next::Slot { at, schedule: plan.name.clone() },
    ))
}

pub(super) fn held(world: &World, desk: &Desk<'_>, project: &Project, plan: &PrunePlan, now: DateTime<Utc>) -> HeldPrune {
    let removed = plan.plan.removed();
    let going: Vec<&BackupRow> = plan.backups.iter().filter(|row| removed.contains(&row.id)).collect();
    let times = going.iter().map(|row| row.started_at);
    let (before, after) = plan.change().map_or_else(|| (None, project.retention.to_string()), |(was, now)| (Some(was), now));
    HeldPrune {
        about: about(world, desk, project, now),
        before,
        after,
        remove: going.len(),
        keep: plan.plan.keep.len(),
        bytes: going.iter().map(|row| row.size).sum(),
        range: times.clone().min().zip(times.max()),
    }
}

pub(super) fn about(world: &World, desk: &Desk<'_>, project: &Project, now: DateTime<Utc>) -> About {
    let place = world.storages.get(&project.storage).map(|storage| storage.place()).unwrap_or_default();
    About {
        project: project.name.clone(),
        zone: project.time_zone,
        now,
        server: project.connection.server(),
        machine: machine(),
        storage: format!("{}, {place}", project.storage),
        root: Some(place).filter(|place| place.starts_with('/')),
        config: config(desk),
        hands: desk.hands,
    }
}

/// The configuration file, where it isn't at its usual place.
pub(super) fn config(desk: &Desk<'_>) -> Option<String> {
    desk.config_file.as_ref().map(|path| path.display().to_string())
}

/// The machine's name.
pub(super) fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
