//! From what happened to what is told: ended runs and passing time change alerts, and alerts that change become mail in the outbox.
//!
//! A run stays "untold" in the catalog until the very transaction that changes its alert and queues its mail, so a crash between the two
//! loses nothing and tells nothing twice. What to tell is decided in `alert`; how it reads, in `notify::letter`.

mod facts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind};
use crate::catalog::Writer;
use crate::error::{Cause, Result};
use crate::model::backup::RunId;
use crate::model::dump::Selection;
use crate::model::project::{Databases, Project};
use crate::model::run::{Run, RunStatus};
use crate::model::settings::Settings;
use crate::notify::group::{self, Waiting};
use crate::notify::letter::{Envelope, Letter, message_id};
use crate::notify::redact::Redactor;

use super::World;
use super::prune::PrunePlan;

/// What letters need besides the catalog.
#[derive(Debug, Clone)]
pub struct Desk<'a> {
    /// The configuration in force.
    pub settings: &'a Settings,
    /// Its file, where it isn't at its usual place: it belongs into every line to type.
    pub config_file: Option<PathBuf>,
}

/// The database of an alert about a failure that struck before any database was known.
const UNNAMED: &str = "*";

/// A change of an alert, to be told.
struct Change {
    before: Alert,
    after: Alert,
    kind: NoticeKind,
    run: Option<Run>,
}

/// Turns untold runs into alerts and mail; returns the number of mails queued.
pub fn tell(world: &World, desk: &Desk<'_>) -> Result<usize> {
    if world.catalog.read(|reader| reader.untold_runs())?.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let runs = tx.untold_runs()?;
        let mut waiting = Vec::new();
        for (name, runs) in by_project(&runs) {
            if let Some(project) = desk.settings.project(name) {
                let changes = changes_of(tx, project, &runs, now)?;
                waiting.extend(letters(world, tx, desk, project, &changes, &runs, now)?);
            }
        }
        tx.mark_told(&runs.iter().map(|run| run.id.clone()).collect::<Vec<RunId>>())?;
        queue(tx, waiting, now)
    })
}

fn by_project(runs: &[Run]) -> BTreeMap<&str, Vec<&Run>> {
    let mut projects: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        projects.entry(&run.project).or_default().push(run);
    }
    projects
}

fn changes_of(tx: &Writer, project: &Project, runs: &[&Run], now: DateTime<Utc>) -> Result<Vec<Change>> {
    let mut changes: BTreeMap<AlertKey, Change> = BTreeMap::new();
    for run in runs {
        let Some(event) = event_of(run) else { continue };
        let key = AlertKey { project: run.project.clone(), database: run.database.clone(), selection: run.selection.clone() };
        let before = known(tx, &key)?.unwrap_or_else(|| Alert::new(key.clone(), now));
        let (after, kind) = alert::decide(&before, &event, project.notify.reminder, run.finished_at.unwrap_or(now));
        put(tx, &after)?;
        match kind {
            Some(kind) => drop(changes.insert(key, Change { before, after, kind, run: Some((*run).clone()) })),
            // A failure and its recovery in one round still tell the failure; a later quiet run changes nothing of that.
            None => {
                if let Some(known) = changes.get_mut(&key) {
                    known.after = after;
                }
            }
        }
        if matches!(event, Event::Succeeded) {
            if let Some(change) = settle_unnamed(tx, project, run, now)? {
                changes.insert(change.after.key.clone(), change);
            }
        }
    }
    Ok(changes.into_values().collect())
}

fn known(tx: &Writer, key: &AlertKey) -> Result<Option<Alert>> {
    tx.alert(&key.project, &key.database, &key.selection)
}

fn put(tx: &Writer, alert: &Alert) -> Result<()> {
    let key = &alert.key;
    tx.put_alert(&key.project, &key.database, &key.selection, alert)
}

/// A good run also ends the alert of a failure that struck before any database was known; who was told of that hears of this, too.
fn settle_unnamed(tx: &Writer, project: &Project, run: &Run, now: DateTime<Utc>) -> Result<Option<Change>> {
    let key = AlertKey { project: project.name.clone(), database: String::from(UNNAMED), selection: run.selection.clone() };
    let Some(before) = known(tx, &key)? else { return Ok(None) };
    let (after, kind) = alert::decide(&before, &Event::Succeeded, project.notify.reminder, now);
    put(tx, &after)?;
    Ok(kind.map(|kind| Change { before, after, kind, run: Some(run.clone()) }))
}

/// What a run means for its alert: nothing where it was ended on purpose or found the project in other hands.
fn event_of(run: &Run) -> Option<Event> {
    match (run.status, &run.failure) {
        (RunStatus::Completed, _) => Some(Event::Succeeded),
        (RunStatus::Failed, Some(failure)) if failure.cause != Cause::Locked => Some(Event::Failed(failure.clone())),
        _ => None,
    }
}

/// Looks for projects whose newest good full backup is too old, and for those that are fresh again; returns the number of mails queued.
pub fn stale(world: &World, desk: &Desk<'_>) -> Result<usize> {
    let now = world.clock.now();
    let newest = world.catalog.read(|reader| reader.last_good_full())?;
    world.catalog.write(|tx| {
        let mut waiting = Vec::new();
        for project in desk.settings.projects.iter().filter(|project| project.enabled && project.max_backup_age.is_some()) {
            let mut changes = Vec::new();
            for database in databases_of(project, &newest) {
                let last_good_full = newest.get(&(project.name.clone(), database.clone())).copied();
                let key = AlertKey { project: project.name.clone(), database, selection: Selection::full() };
                let known = known(tx, &key)?;
                let before = known.clone().unwrap_or_else(|| Alert::new(key.clone(), now));
                let event = Event::Tick { last_good_full, max_age: project.max_backup_age };
                let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
                if known.as_ref() != Some(&after) {
                    put(tx, &after)?;
                }
                changes.extend(kind.map(|kind| Change { before, after, kind, run: None }));
            }
            waiting.extend(letters(world, tx, desk, project, &changes, &[], now)?);
        }
        queue(tx, waiting, now)
    })
}

/// The databases whose age counts: the named ones, and of an "all" project those that ever had a backup.
fn databases_of(project: &Project, newest: &HashMap<(String, String), DateTime<Utc>>) -> BTreeSet<String> {
    match &project.databases {
        Databases::Named(names) => names.iter().cloned().collect(),
        _ => newest.keys().filter(|(name, _)| *name == project.name).map(|(_, database)| database.clone()).collect(),
    }
}

/// Tells once that a changed retention waits for a person.
pub fn held(world: &World, desk: &Desk<'_>, project: &Project, plan: &PrunePlan) -> Result<()> {
    let told = format!("held-told:{}", project.name);
    if world.catalog.read(|reader| reader.meta(&told))?.as_deref() == Some(plan.fingerprint()) {
        return Ok(());
    }
    let now = world.clock.now();
    let letter = Letter::HeldPrune(facts::held(world, desk, project, plan, now));
    world.catalog.write(|tx| {
        tx.put_meta(&told, plan.fingerprint())?;
        queue(tx, vec![waiting(desk, project, letter.clone(), None, now)], now).map(|_| ())
    })
}

fn letters(
    world: &World,
    tx: &Writer,
    desk: &Desk<'_>,
    project: &Project,
    changes: &[Change],
    runs: &[&Run],
    now: DateTime<Utc>,
) -> Result<Vec<Waiting>> {
    let letters = facts::letters(world, tx, desk, project, changes, runs, now)?;
    Ok(letters.into_iter().map(|(letter, thread)| waiting(desk, project, letter, thread, now)).collect())
}

fn waiting(desk: &Desk<'_>, project: &Project, letter: Letter, thread: Option<String>, now: DateTime<Utc>) -> Waiting {
    let own = &project.notify.to;
    let to = if own.is_empty() { desk.settings.smtp.as_ref().map(|smtp| smtp.to.clone()).unwrap_or_default() } else { own.clone() };
    // Company has been waited for already: the caller tells in rounds.
    let since = now - TimeDelta::from_std(group::WINDOW).unwrap_or_default();
    Waiting { to: to.into_iter().collect(), since, thread, letter }
}

/// Puts letters into the outbox, those to the same people as one mail.
fn queue(tx: &Writer, waiting: Vec<Waiting>, now: DateTime<Utc>) -> Result<usize> {
    let (ready, _) = group::gather(waiting, now);
    let count = ready.len();
    for ready in ready.into_iter().filter(|ready| !ready.to.is_empty()) {
        let own_id = message_id(RunId::random().as_str(), &facts::machine());
        let envelope = Envelope { to: ready.to.into_iter().collect(), message_id: own_id, threads: ready.threads, written_at: now };
        tx.enqueue(&ready.letter.message(&Redactor::default(), envelope))?;
    }
    Ok(count)
}
