//! Proof on schedule: drills that are due, and the rounds on which stored backups are looked at again.
//!
//! The rounds are one thread of low priority that looks at one backup at a time and stands still while a dump runs or waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::drill::{self, begun};
use crate::jobs::scheduled::{Order, Report};
use crate::jobs::verify::{self, Setting, Turn};
use crate::model::run::SlotOutcome;
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::drill::Drilled;
use crate::ops::notice::{self, Desk, Hands};
use crate::ops::verify::Verdict;
use crate::process::{Cancel, CancelReason};

/// After a backup that could not be looked at, for a disk that isn't there, nothing is looked at for so long.
const PAUSE: TimeDelta = TimeDelta::minutes(10);

/// How much less important the rounds are to the processor than anything else.
const NICE: i32 = 15;

/// Carries out the drill of a due slot and tells of it.
pub(super) fn drill(world: &World, desk: &Desk<'_>, order: &Order, setting: &drill::Setting<'_>) -> Report {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let (drilled, outcome) = drill::slot(world, desk.settings, &order.project, setting)?;
        let untold = if tell(world, desk, &order.project.name, &drilled) { Vec::new() } else { drilled };
        Ok(Report { untold, ..Report::nothing(outcome) })
    }));
    let broken = |_| Err(Failure::new(Cause::System, "it broke off by an error in pgdumpd itself"));
    let report: Result<Report> = done.unwrap_or_else(broken);
    report.unwrap_or_else(|failure| {
        tracing::error!(project = order.project.name, "the drill could not be carried out: {failure}");
        tell_untold(world, desk, &order.project.name);
        Report::nothing(SlotOutcome::Failed)
    })
}

/// Tells of drills that have ended; `false` where that can't be recorded.
fn tell(world: &World, desk: &Desk<'_>, project: &str, drilled: &[Drilled]) -> bool {
    match notice::drilled(world, desk, project, drilled) {
        Ok(_) => {
            begun::told(world, project);
            true
        }
        Err(failure) => {
            tracing::error!(project, "a drill can't be turned into mail yet: {failure}");
            false
        }
    }
}

/// Tells of what a drill has begun and nobody has heard of.
pub(super) fn tell_untold(world: &World, desk: &Desk<'_>, project: &str) {
    match begun::untold(world, project).and_then(|drilled| notice::drilled(world, desk, project, &drilled)) {
        Ok(_) => begun::forget(world, project),
        Err(failure) => tracing::error!(project, "a drill that was cut off can't be turned into mail: {failure}"),
    }
}

/// The rounds.
#[derive(Default)]
pub(super) struct Rounds {
    thread: Option<JoinHandle<DateTime<Utc>>>,
    next: Option<DateTime<Utc>>,
    cancel: Cancel,
    held: Arc<AtomicBool>,
    /// Drills of each project that ended, and could not be told of.
    untold: Vec<(String, Vec<Drilled>)>,
}

impl Rounds {
    /// Keeps what is to be told of a project's drill as soon as the catalog can be written again.
    pub(super) fn keep(&mut self, project: &str, drilled: Vec<Drilled>) {
        self.untold.push((project.to_owned(), drilled));
    }

    /// Tells of what was kept.
    pub(super) fn tell_kept(&mut self, world: &World, desk: &Desk<'_>) {
        self.untold.retain(|(project, drilled)| {
            let told = notice::drilled(world, desk, project, drilled).is_ok();
            if told {
                drilled.iter().for_each(|one| begun::end(world, one));
                begun::told(world, project);
            }
            !told
        });
    }

    /// Says whether a dump runs or waits: the rounds stand still as long as that is so.
    pub(super) fn give_way(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Begins to look at the next backup where one is due and nobody looks.
    pub(super) fn tick(&mut self, world: &World, settings: &Arc<Settings>, config_file: &Path, board: &Board) {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        if let Some(thread) = self.thread.take() {
            self.next = thread.join().ok();
        }
        let now = world.clock.now();
        // A clock that went back makes everything due.
        let waits = self.next.is_some_and(|next| next > now && next - now <= PAUSE);
        let wanted = settings.projects.iter().any(|project| project.verify.recheck_every.is_some());
        if waits || !wanted || self.held.load(Ordering::Relaxed) {
            return;
        }
        let (world, settings, config_file, board) = (world.clone(), Arc::clone(settings), config_file.to_owned(), board.clone());
        let (cancel, held) = (self.cancel.clone(), Arc::clone(&self.held));
        self.thread = Some(std::thread::spawn(move || {
            // Of this thread alone, and of what it starts.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!("the rounds can't be made less important: {error}");
            }
            let desk = Desk { settings: &settings, config_file: config::unusual(&config_file), hands: Hands::Daemon };
            let setting = Setting { cancel: &cancel, board: &board, held: &|| held.load(Ordering::Relaxed) };
            round(&world, &desk, &setting).unwrap_or_else(|failure| {
                tracing::error!("stored backups can't be looked at: {failure}");
                world.clock.now() + PAUSE
            })
        }));
    }

    /// Ends the look that is going on.
    pub(super) fn stop(&mut self) {
        self.cancel.cancel(CancelReason::Interrupted);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Looks at the backup whose turn it is; returns when the next one's is.
fn round(world: &World, desk: &Desk<'_>, setting: &Setting<'_>) -> Result<DateTime<Utc>> {
    let Turn { row, level, next } = verify::due(world, desk.settings)?;
    let Some(row) = row else { return Ok(next.min(world.clock.now() + PAUSE)) };
    if setting.cancel.reason().is_some() {
        return Ok(next);
    }
    let looked = verify::run(world, desk.settings, &row, level, setting)?;
    let could = !matches!(looked.verdict, Verdict::Unread(_));
    notice::looked(world, desk, &[looked])?;
    Ok(if could { world.clock.now() } else { world.clock.now() + PAUSE })
}
