//! What was found of backups and can't be written down beside them: told once for a project, whichever backup shows it, and its end too.

use std::collections::BTreeMap;

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind};
use crate::error::{Failure, Result};
use crate::model::backup::BackupRow;
use crate::notify::letter::{Letter, Unwritten, Written};

use super::super::World;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// Tells of looks, each with the reason why it lies nowhere, where one does; returns the number of mails queued.
pub(super) fn unwritten<'a>(
    world: &World,
    desk: &Desk<'_>,
    looks: impl Iterator<Item = (&'a BackupRow, Option<&'a Failure>)>,
) -> Result<usize> {
    let mut projects: BTreeMap<&str, (&BackupRow, Option<&Failure>)> = BTreeMap::new();
    for (row, failure) in looks {
        let told = projects.entry(&row.project).or_insert((row, failure));
        if told.1.is_none() && failure.is_some() {
            *told = (row, failure);
        }
    }
    if projects.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut letters = Vec::new();
        for (name, (row, failure)) in &projects {
            let Some(project) = desk.settings.project(name) else { continue };
            let known = known(tx, &AlertKey::proofs(name))?;
            if known.is_none() && failure.is_none() {
                continue;
            }
            let before = known.unwrap_or_else(|| Alert::new(AlertKey::proofs(name), now));
            let event = failure.cloned().map_or(Event::Succeeded, Event::Failed);
            let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
            put(tx, &after)?;
            let Some(kind) = kind else { continue };
            let (about, backup) = (facts::about(world, desk, project, now), facts::last_good((*row).clone()));
            let letter = match failure.cloned() {
                Some(failure) => Letter::Unwritten(Unwritten {
                    about,
                    since: after.since,
                    is_reminder: kind == NoticeKind::Reminder,
                    id: row.id.to_string(),
                    backup,
                    failure,
                    reminder: project.notify.reminder,
                }),
                None => {
                    let was = before.message.clone().unwrap_or_default();
                    Letter::Written(Written { about, since: before.since, was, backup })
                }
            };
            let change = Change { before, after, kind, run: None };
            letters.push(waiting(desk, project, facts::due(letter, &[&change]), now));
        }
        queue(tx, letters, now)
    })
}
