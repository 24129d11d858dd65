//! Schedules whose runs outlast their intervals, or find the project locked by somebody else: told when two slots in a row were skipped, and
//! again when two in a row have run.
//!
//! The slots' own rows are the count, so a crash forgets nothing. One skipped slot is no news: a dump may take long once.

use chrono::{DateTime, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind, Status};
use crate::catalog::{Page, Reader, SlotFilter, SlotKey, Writer};
use crate::error::{Cause, Failure, Result};
use crate::lock;
use crate::model::project::Project;
use crate::model::run::SlotOutcome;
use crate::notify::letter::{Letter, Locked, OnTime, Overrun};

use super::super::World;
use super::{Change, Desk, facts, known, put, queue, waiting};

/// So many slots in a row decide.
const IN_ROW: u32 = 2;

/// Looks at slots that were just skipped because the run before them was not over, and at those that were claimed; returns the number of
/// mails queued.
pub fn overruns(world: &World, desk: &Desk<'_>, skipped: &[SlotKey], claimed: &[SlotKey]) -> Result<usize> {
    let due = world.catalog.read(|reader| {
        let mut due: Vec<(&SlotKey, Event)> = Vec::new();
        for slot in skipped {
            if last(reader, slot)?.iter().all(|outcome| was_skipped(*outcome)) {
                due.push((slot, Event::Failed(failure(slot))));
            }
        }
        for slot in claimed {
            let alert: Option<Alert> = known(reader, &AlertKey::schedule(&slot.project, &slot.schedule))?;
            let told = alert.is_some_and(|alert| alert.status != Status::Ok);
            if told && last(reader, slot)?.iter().all(|outcome| ran(*outcome)) {
                due.push((slot, Event::Succeeded));
            }
        }
        Ok(due)
    })?;
    tell(world, desk, &due, None)
}

/// Looks at a slot that was just skipped because somebody else held the project, in these words; returns the number of mails queued.
pub fn locked_out(world: &World, desk: &Desk<'_>, slot: &SlotKey, held: &Failure) -> Result<usize> {
    if !world.catalog.read(|reader| last(reader, slot))?.iter().all(|outcome| was_skipped(*outcome)) {
        return Ok(0);
    }
    let words = format!("slots of schedule {} are skipped in a row: {}", slot.schedule, held.message);
    let failure = Failure::new(Cause::Overrun, words).hint("wait for the end of whoever holds it, or end it");
    let locked = desk.settings.project(&slot.project).map(|project| locked(world, project, held));
    tell(world, desk, &[(slot, Event::Failed(failure))], locked.as_ref())
}

fn tell(world: &World, desk: &Desk<'_>, due: &[(&SlotKey, Event)], locked: Option<&Locked>) -> Result<usize> {
    if due.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut letters = Vec::new();
        for (slot, event) in due {
            // A drill that is skipped costs no backup.
            let project = desk.settings.project(&slot.project).filter(|project| !project.is_drill(&slot.schedule));
            let Some(project) = project else { continue };
            let key = AlertKey::schedule(&slot.project, &slot.schedule);
            let before = known(tx, &key)?.unwrap_or_else(|| Alert::new(key, now));
            let (after, kind) = alert::decide(&before, event, project.notify.reminder, now);
            put(tx, &after)?;
            let Some(kind) = kind else { continue };
            let mut letter = letter(world, tx, desk, project, slot, (&before, &after, kind), now)?;
            if let Letter::Overrun(overrun) = &mut letter {
                overrun.locked = locked.cloned();
            }
            let change = Change { before, after, kind, run: None };
            letters.push(waiting(desk, project, facts::due(letter, &[&change]), now));
        }
        queue(tx, letters, now)
    })
}

/// The lock, and who can be seen to hold it just now.
fn locked(world: &World, project: &Project, held: &Failure) -> Locked {
    let file = world.storage(project).and_then(|storage| storage.lock_file(&project.name)).ok();
    let name = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{pid} ({})", name.trim())
    };
    let processes = file.as_deref().map(lock::processes).unwrap_or_default().into_iter().map(name).collect();
    Locked { held: held.message.clone(), file: file.map(|file| file.display().to_string()), processes }
}

fn failure(slot: &SlotKey) -> Failure {
    let words = format!("slots of schedule {} are skipped in a row, because the run before them is not over", slot.schedule);
    Failure::new(Cause::Overrun, words).hint("give the schedule a longer interval, or find what makes its dumps slow")
}

fn was_skipped(outcome: SlotOutcome) -> bool {
    matches!(outcome, SlotOutcome::SkippedOverrun | SlotOutcome::SkippedLocked)
}

/// The outcomes of the schedule's last slots; fewer where it has fewer, none where that is not enough to decide.
fn last(reader: &Reader, slot: &SlotKey) -> Result<Vec<SlotOutcome>> {
    let filter = SlotFilter { project: Some(slot.project.clone()), schedule: Some(slot.schedule.clone()), ..SlotFilter::default() };
    let rows = reader.slots_until(&filter, slot.due_at, Page::first(IN_ROW))?;
    let decided = rows.len() as u32 == IN_ROW;
    Ok(if decided { rows.into_iter().map(|row| row.outcome).collect() } else { vec![SlotOutcome::Missed] })
}

fn ran(outcome: SlotOutcome) -> bool {
    matches!(outcome, SlotOutcome::Claimed | SlotOutcome::Ok | SlotOutcome::Failed | SlotOutcome::Interrupted)
}

fn letter(
    world: &World,
    tx: &Writer,
    desk: &Desk<'_>,
    project: &Project,
    slot: &SlotKey,
    (before, after, kind): (&Alert, &Alert, NoticeKind),
    now: DateTime<Utc>,
) -> Result<Letter> {
    let about = facts::about(world, desk, project, now);
    let next = facts::next(tx, project, &|plan| plan.name == slot.schedule, now)?;
    let schedule = slot.schedule.clone();
    // The first skipped slot came before the alert.
    if kind == NoticeKind::Recovered {
        return Ok(Letter::OnTime(OnTime { about, schedule, since: before.since, skipped: before.failures_in_row + IN_ROW - 1, next }));
    }
    let running = tx.unfinished_runs()?.into_iter().map(|unfinished| unfinished.run);
    let running = running.filter(|run| run.project == slot.project && run.schedule.as_ref() == Some(&slot.schedule));
    Ok(Letter::Overrun(Overrun {
        about,
        schedule,
        reminder: project.notify.reminder,
        is_reminder: kind == NoticeKind::Reminder,
        skipped: after.failures_in_row + IN_ROW - 1,
        since: after.since,
        running: running.map(|run| (run.database, run.started_at)).collect(),
        locked: None,
        next,
    }))
}
