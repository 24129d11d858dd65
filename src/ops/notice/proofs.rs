//! Stored backups that are not what was written, or can't be read, and those that are good again: told once for each of them.
//!
//! What the catalog says of a backup is the state; its alert only remembers what was told, so a crash in between loses nothing.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind, Status};
use crate::catalog::Writer;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, RunId};
use crate::notify::letter::{Damaged, Ill, Letter, Mended};

use super::super::verify::{Looked, Verdict};
use super::super::{World, origin};
use super::unwritten::unwritten;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// What is to be made of one backup's alert.
enum News {
    Event(Box<BackupRow>, Event),
    /// The backup is no more.
    Gone(AlertKey),
}

/// Tells of backups that were just looked at; returns the number of mails queued.
pub fn looked(world: &World, desk: &Desk<'_>, looked: &[Looked]) -> Result<usize> {
    let news = looked.iter().map(|looked| {
        let row = &looked.backup;
        let event = match &looked.verdict {
            Verdict::Good if row.damaged.is_none() => Event::Succeeded,
            Verdict::Good => Event::Failed(damage(row)),
            Verdict::Damaged(why) => Event::Failed(Failure::new(Cause::Damaged, why.clone())),
            Verdict::Unread(failure) => Event::Failed(failure.clone()),
            Verdict::Gone => return News::Gone(key(row)),
        };
        News::Event(Box::new(row.clone()), event)
    });
    let told = tell(world, desk, &news.collect::<Vec<_>>())?;
    // What could not be looked at has found nothing.
    let found = looked.iter().filter(|looked| looked.unwritten.is_some() || looked.verdict == Verdict::Good);
    Ok(told + unwritten(world, desk, found.map(|looked| (&looked.backup, looked.unwritten.as_ref())))?)
}

/// Tells of damage that stands in the catalog and that nobody was told of, however it came to be known; returns the number of mails queued.
pub fn damages(world: &World, desk: &Desk<'_>) -> Result<usize> {
    let news = world.catalog.read(|reader| {
        let damaged: HashMap<RunId, BackupRow> = reader.damaged_backups()?.into_iter().map(|row| (row.id.clone(), row)).collect();
        let mut news = Vec::new();
        let mut told: BTreeMap<RunId, Alert> = BTreeMap::new();
        for alert in reader.alerts::<Alert>()?.into_iter().filter(|alert| alert.status != Status::Ok) {
            told.extend(alert.key.of_backup().map(|id| (id, alert)));
        }
        for (id, alert) in &told {
            match reader.backup(id)? {
                None => news.push(News::Gone(alert.key.clone())),
                Some(row) if alert.cause == Some(Cause::Damaged) && row.damaged.is_none() => {
                    news.push(News::Event(Box::new(row), Event::Succeeded));
                }
                Some(_) => {}
            }
        }
        let untold = damaged.into_values().filter(|row| told.get(&row.id).is_none_or(|alert| alert.cause != Some(Cause::Damaged)));
        news.extend(untold.map(|row| {
            let event = Event::Failed(damage(&row));
            News::Event(Box::new(row), event)
        }));
        Ok(news)
    })?;
    tell(world, desk, &news)
}

fn key(row: &BackupRow) -> AlertKey {
    AlertKey::backup(&row.project, &row.database, &row.id)
}

fn damage(row: &BackupRow) -> Failure {
    Failure::new(Cause::Damaged, row.damaged.clone().unwrap_or_default())
}

fn tell(world: &World, desk: &Desk<'_>, news: &[News]) -> Result<usize> {
    if news.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut letters = Vec::new();
        for news in news {
            match news {
                News::Gone(key) => tx.remove_alert(&key.project, &key.database, &key.selection)?,
                News::Event(row, event) => letters.extend(letter(world, tx, desk, row, event, now)?),
            }
        }
        queue(tx, letters, now)
    })
}

fn letter(
    world: &World,
    tx: &Writer,
    desk: &Desk<'_>,
    row: &BackupRow,
    event: &Event,
    now: DateTime<Utc>,
) -> Result<Option<crate::notify::group::Waiting>> {
    // A project that is no longer configured has nobody to be told; `list` shows its damage.
    let Some(project) = desk.settings.project(&row.project) else { return Ok(None) };
    let key = key(row);
    let before = known(tx, &key)?;
    if before.is_none() && *event == Event::Succeeded {
        return Ok(None);
    }
    let before = before.unwrap_or_else(|| Alert::new(key, now));
    let (after, kind) = alert::decide(&before, event, project.notify.reminder, now);
    put(tx, &after)?;
    let Some(kind) = kind else { return Ok(None) };
    let about = facts::about(world, desk, project, now);
    let letter = if kind == NoticeKind::Recovered {
        let was = before.message.clone().unwrap_or_default();
        Letter::Mended(Mended { about, backup: facts::last_good(row.clone()), since: before.since, was })
    } else {
        let problem = after.message.clone().unwrap_or_default();
        let ill = match after.cause {
            Some(Cause::Damaged) if is_of_a_missing_file(&after) => Ill::Gone,
            Some(Cause::Damaged) => Ill::Damaged,
            _ => Ill::Unread,
        };
        let (backup, last_good) = (facts::last_good(row.clone()), origin::instead_of(tx, row, now)?.map(facts::last_good));
        Letter::Damaged(Damaged { about, ill, id: row.id.to_string(), backup, problem, last_good })
    };
    let change = Change { before, after, kind, run: None };
    Ok(Some(waiting(desk, project, facts::due(letter, &[&change]), now)))
}

/// Whether a backup's alert is of a file that is gone, by the look's own words: only how letters read hangs on them.
pub(super) fn is_of_a_missing_file(alert: &Alert) -> bool {
    alert.cause == Some(Cause::Damaged) && alert.message.as_ref().is_some_and(|problem| problem.ends_with(" is missing"))
}
