//! Drills that failed, and that work again: one alert per project, threaded and repeated like a failed backup's.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind};
use crate::catalog::{Reader, Writer};
use crate::error::{Cause, Result};
use crate::model::backup::BackupRow;
use crate::model::project::Project;
use crate::notify::letter::{DrillFailed, DrillWorks, LastGood, Letter};

use super::super::World;
use super::super::drill::Drilled;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// Tells of one project's drill, of however many backups; returns the number of mails queued. One that was ended early says nothing.
pub fn drilled(world: &World, desk: &Desk<'_>, project: &str, drilled: &[Drilled]) -> Result<usize> {
    let Some(project) = desk.settings.project(project) else { return Ok(0) };
    let ended = |one: &&Drilled| one.failure.as_ref().is_none_or(|failure| failure.cause != Cause::Interrupted);
    let failed = drilled.iter().filter(ended).find(|one| one.failure.is_some());
    let Some(tried) = failed.or_else(|| drilled.iter().find(ended)) else { return Ok(0) };
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let key = AlertKey::drill(&project.name);
        let before = known(tx, &key)?;
        let event = tried.failure.clone().map_or(Event::Succeeded, Event::Failed);
        if before.is_none() && event == Event::Succeeded {
            return Ok(0);
        }
        let before = before.unwrap_or_else(|| Alert::new(key, now));
        let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
        put(tx, &after)?;
        let Some(kind) = kind else { return Ok(0) };
        let letter = letter(world, tx, desk, project, tried, (&before, &after, kind), now)?;
        let change = Change { before, after, kind, run: None };
        let letter = waiting(desk, project, facts::due(letter, &[&change]), now);
        queue(tx, vec![letter], now)
    })
}

fn letter(
    world: &World,
    tx: &Writer,
    desk: &Desk<'_>,
    project: &Project,
    tried: &Drilled,
    (before, after, kind): (&Alert, &Alert, NoticeKind),
    now: DateTime<Utc>,
) -> Result<Letter> {
    let about = facts::about(world, desk, project, now);
    let backup = facts::last_good(tried.backup.clone());
    let Some(failure) = tried.failure.clone().filter(|_| kind != NoticeKind::Recovered) else {
        let took = tried.restored.as_ref().map(|restored| Duration::from_millis(restored.took_ms));
        let was = before.message.clone().unwrap_or_default();
        return Ok(Letter::DrillWorks(DrillWorks { about, since: before.since, was, backup, took }));
    };
    Ok(Letter::DrillFailed(DrillFailed {
        about,
        in_row: after.failures_in_row,
        since: after.since,
        is_reminder: kind == NoticeKind::Reminder,
        id: tried.backup.id.to_string(),
        backup,
        failure,
        on: tried.place.clone(),
        left: tried.left.clone(),
        proven: proven(tx, &tried.backup)?,
        reminder: project.notify.reminder,
    }))
}

/// The newest backup of the same database that was restored with success, another than this one.
fn proven(tx: &Reader, row: &BackupRow) -> Result<Option<LastGood>> {
    let rows = tx.project_backups(&row.project)?.into_iter();
    let mut good = rows.filter(|other| other.id != row.id && other.database == row.database && other.selection == row.selection);
    Ok(good.find(|other| other.restored_at.is_some() && other.damaged.is_none()).map(facts::last_good))
}
