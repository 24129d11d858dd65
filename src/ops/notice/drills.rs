//! Drills that failed, and that work again: one alert per database, threaded and repeated like a failed backup's.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind, Status};
use crate::catalog::{Reader, Writer};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::project::Project;
use crate::model::run::ANY_DATABASE;
use crate::notify::letter::{DrillFailed, DrillWorks, LastGood, Letter};

use super::super::World;
use super::super::drill::Drilled;
use super::super::there;
use super::unwritten::unwritten;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// Tells of one project's drill, of however many backups; returns the number of mails queued. One that proved nothing says nothing.
pub fn drilled(world: &World, desk: &Desk<'_>, project: &str, drilled: &[Drilled]) -> Result<usize> {
    let found = drilled.iter().filter(|one| one.unwritten.is_some() || one.failure.is_none());
    let unwritten = unwritten(world, desk, found.map(|one| (&one.backup, one.unwritten.as_ref())))?;
    Ok(unwritten + tell(world, desk, project, drilled)?)
}

fn tell(world: &World, desk: &Desk<'_>, project: &str, drilled: &[Drilled]) -> Result<usize> {
    let Some(project) = desk.settings.project(project) else { return Ok(0) };
    let mut tried: BTreeMap<&str, &Drilled> = BTreeMap::new();
    for one in drilled.iter().filter(|one| one.proves()) {
        let told = tried.entry(&one.backup.database).or_insert(one);
        if told.failure.is_none() && one.failure.is_some() {
            *told = one;
        }
    }
    if tried.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut steps = Vec::new();
        for (database, tried) in &tried {
            let key = AlertKey::drill(&project.name, database);
            let event = tried.failure.clone().map_or(Event::Succeeded, Event::Failed);
            let known = match known(tx, &key)? {
                None if event != Event::Succeeded => inherited(tx, &key)?,
                known => known,
            };
            if known.is_some() || event != Event::Succeeded {
                steps.push((*tried, known.unwrap_or_else(|| Alert::new(key, now)), event));
            }
        }
        if let Some(before) = ended(tx, project)?
            && let Some(good) = tried.values().find(|one| one.failure.is_none())
        {
            steps.push((*good, before, Event::Succeeded));
        }
        let mut changes = Vec::new();
        for (tried, before, event) in steps {
            let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
            put(tx, &after)?;
            changes.extend(kind.map(|kind| (tried, Change { before, after, kind, run: None })));
        }
        let mut letters = Vec::new();
        for (tried, change) in changes {
            let letter = letter(world, tx, desk, project, tried, &change, now)?;
            letters.push(waiting(desk, project, facts::due(letter, &[&change]), now));
        }
        queue(tx, letters, now)
    })
}

/// An alert of all of a project's drills, from before each database had its own, becomes that of the first one that fails.
fn inherited(tx: &Writer, key: &AlertKey) -> Result<Option<Alert>> {
    let old = AlertKey::drill(&key.project, ANY_DATABASE);
    let Some(alert) = known(tx, &old)? else { return Ok(None) };
    tx.remove_alert(&old.project, &old.database, &old.selection)?;
    Ok(Some(Alert { key: key.clone(), ..alert }))
}

/// Such an alert, where every database of the project came back since it began: which of them had failed, nobody knows any more.
fn ended(tx: &Reader, project: &Project) -> Result<Option<Alert>> {
    let Some(alert) = known(tx, &AlertKey::drill(&project.name, ANY_DATABASE))?.filter(|alert| alert.status != Status::Ok) else {
        return Ok(None);
    };
    let (selection, there) = (project.shape.selection(), there::recall(tx, &project.name)?);
    let mut rows = tx.project_backups(&project.name)?;
    rows.retain(|row| row.selection == selection && row.damaged.is_none());
    let back = |database: &str| {
        let mut of_it = rows.iter().filter(|row| row.database == database);
        of_it.any(|row| row.restored_at.is_some_and(|at| at >= alert.since))
    };
    let all = there::covered(Some(project), there.as_ref(), &rows).into_iter().all(back);
    Ok(all.then_some(alert))
}

fn letter(
    world: &World,
    tx: &Writer,
    desk: &Desk<'_>,
    project: &Project,
    tried: &Drilled,
    Change { before, after, kind, .. }: &Change,
    now: DateTime<Utc>,
) -> Result<Letter> {
    let about = facts::about(world, desk, project, now);
    let backup = facts::last_good(tried.backup.clone());
    let Some(failure) = tried.failure.clone().filter(|_| *kind != NoticeKind::Recovered) else {
        let took = tried.restored.as_ref().map(|restored| Duration::from_millis(restored.took_ms));
        let was = before.message.clone().unwrap_or_default();
        return Ok(Letter::DrillWorks(DrillWorks { about, since: before.since, was, backup, took, still: still(tx, &after.key)? }));
    };
    Ok(Letter::DrillFailed(DrillFailed {
        about,
        in_row: after.failures_in_row,
        since: after.since,
        is_reminder: *kind == NoticeKind::Reminder,
        id: tried.backup.id.to_string(),
        backup,
        failure,
        on: tried.place.clone(),
        typed: tried.on.clone(),
        left: tried.left.clone(),
        proven: proven(tx, &tried.backup)?,
        reminder: project.notify.reminder,
    }))
}

/// The project's other databases whose drills fail.
fn still(tx: &Reader, key: &AlertKey) -> Result<Vec<String>> {
    let failing = tx.alerts::<Alert>()?.into_iter().filter(|alert| alert.status != Status::Ok && alert.key.is_drill());
    let others = failing.filter(|alert| alert.key.project == key.project && alert.key.database != key.database);
    Ok(others.map(|alert| alert.key.database).filter(|database| database != ANY_DATABASE).collect())
}

/// The newest backup of the same database that was restored with success, another than this one.
fn proven(tx: &Reader, row: &BackupRow) -> Result<Option<LastGood>> {
    let rows = tx.project_backups(&row.project)?.into_iter();
    let mut good = rows.filter(|other| other.id != row.id && other.database == row.database && other.selection == row.selection);
    Ok(good.find(|other| other.restored_at.is_some() && other.damaged.is_none()).map(facts::last_good))
}
