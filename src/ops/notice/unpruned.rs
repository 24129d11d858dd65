//! Pruning that failed after a good backup, and that works again: told once for a project, repeated like a failed backup.

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind};
use crate::error::{Failure, Result};
use crate::model::project::Project;
use crate::notify::letter::{Letter, Prunes, Unpruned};

use super::super::World;
use super::super::prune::Pruned;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// Tells what came of a project's pruning; returns the number of mails queued.
pub fn pruned(world: &World, desk: &Desk<'_>, project: &Project, pruned: Result<&Pruned, &Failure>) -> Result<usize> {
    let (failure, more) = match pruned {
        Ok(pruned) => (pruned.failures.first(), pruned.failures.len().saturating_sub(1)),
        Err(failure) => (Some(failure), 0),
    };
    let key = AlertKey::pruning(&project.name);
    if failure.is_none() && world.catalog.read(|reader| known(reader, &key))?.is_none() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let before = known(tx, &key)?.unwrap_or_else(|| Alert::new(key.clone(), now));
        let event = failure.cloned().map_or(Event::Succeeded, Event::Failed);
        let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
        put(tx, &after)?;
        let Some(kind) = kind else { return Ok(0) };
        let about = facts::about(world, desk, project, now);
        let letter = match failure.cloned() {
            Some(failure) => Letter::Unpruned(Unpruned {
                about,
                since: after.since,
                is_reminder: kind == NoticeKind::Reminder,
                failure,
                more,
                reminder: project.notify.reminder,
            }),
            None => Letter::Prunes(Prunes { about, since: before.since, was: before.message.clone().unwrap_or_default() }),
        };
        let change = Change { before, after, kind, run: None };
        queue(tx, vec![waiting(desk, project, facts::due(letter, &[&change]), now)], now)
    })
}
