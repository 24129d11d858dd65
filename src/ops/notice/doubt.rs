//! Backups that fall out of the habit: told once at the first, reminded of, and told when the newest is normal again or was accepted.
//!
//! The mark stands with the backup; the alert here only remembers what was told.

use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind, Status};
use crate::catalog::{BackupFilter, Reader, Writer};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::BackupRow;
use crate::model::project::Project;
use crate::model::run::{Run, RunStatus};
use crate::notify::letter::{About, DoubtEnded, Letter, NormalAgain, Suspicious};

use super::super::accepted;
use super::facts::{self, Due};
use super::{Change, known, put};

/// What the backups of these runs mean for the alerts of doubt.
pub(super) fn changes(tx: &Writer, project: &Project, runs: &[&Run], now: DateTime<Utc>) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    for run in runs.iter().filter(|run| run.status == RunStatus::Completed) {
        let Some(row) = tx.backup(&run.id)? else { continue };
        let key = AlertKey::anomaly(&run.project, &run.database, &run.selection);
        let before: Option<Alert> = known(tx, &key)?;
        let event = match (row.suspicious, &before) {
            (Some(why), _) => Event::Failed(Failure::new(Cause::Suspicious, why)),
            (None, Some(alert)) if alert.status != Status::Ok => Event::Succeeded,
            (None, _) => continue,
        };
        let before = before.unwrap_or_else(|| Alert::new(key.clone(), now));
        let (after, kind) = alert::decide(&before, &event, project.notify.reminder, run.finished_at.unwrap_or(now));
        put(tx, &after)?;
        // Two runs told of in one round: the later one says how things stand.
        changes.retain(|change| change.after.key != key || kind.is_none());
        changes.extend(kind.map(|kind| Change { before, after, kind, run: Some((*run).clone()) }));
    }
    Ok(changes)
}

/// One letter for each of them.
pub(super) fn letters(tx: &Reader, project: &Project, about: &About, changes: &[&Change], now: DateTime<Utc>) -> Result<Vec<Due>> {
    let mut letters = Vec::new();
    for change in changes {
        let Some(selection) = change.after.key.of_anomaly() else { continue };
        let row = change.run.as_ref().map(|run| tx.backup(&run.id)).transpose()?.flatten();
        let Some(row) = row else { continue };
        let next = facts::next_of(tx, project, &[&selection], now)?;
        let usual = AlertKey { selection, ..change.after.key.clone() };
        let id = row.id.to_string();
        let letter = if change.kind == NoticeKind::Recovered {
            let was = change.before.message.clone().unwrap_or_default();
            let ended = ended(tx, &row, change.before.since)?;
            let (since, id) = (change.before.since, row.id.to_string());
            Letter::NormalAgain(NormalAgain { about: about.clone(), since, was, id, backup: facts::last_good(row), ended, next })
        } else {
            let normal = facts::newest(tx, &usual)?;
            Letter::Suspicious(Suspicious {
                about: about.clone(),
                why: change.after.message.clone().unwrap_or_default(),
                id,
                since: change.after.since,
                in_row: change.after.failures_in_row,
                backup: facts::last_good(row),
                normal_id: normal.as_ref().map(|row| row.id.to_string()),
                normal: normal.map(facts::last_good),
                after: project.anomaly.map(|rule| (rule.after, rule.after_span)),
                next,
                reminder: project.notify.reminder,
            })
        };
        letters.push(facts::due(letter, &[change]));
    }
    Ok(letters)
}

/// What ended the doubt.
fn ended(tx: &Reader, row: &BackupRow, since: DateTime<Utc>) -> Result<DoubtEnded> {
    let settled = accepted::settled_by(tx, &row.project, &row.id)?;
    if let Some(first) = settled.last() {
        let filter = BackupFilter {
            project: Some(row.project.clone()),
            database: Some(row.database.clone()),
            selection: Some(row.selection.clone()),
            until: Some(first.started_at - TimeDelta::microseconds(1)),
            undamaged: true,
            normal: true,
            ..BackupFilter::default()
        };
        let before = tx.latest_backup(&filter)?.map(|row| (row.id.to_string(), facts::last_good(row)));
        return Ok(DoubtEnded::NewHabit { alike: settled.len() + 1, first: first.started_at, last: row.started_at, before });
    }
    Ok(accepted::by_whom(tx, row, since)?.map_or(DoubtEnded::Normal, DoubtEnded::Accepted))
}
