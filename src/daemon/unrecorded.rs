//! What the catalog could not be told of: slots and ended runs, kept in memory and told as soon as it can be written again.
//!
//! Without this a full state folder would leave holes in the diary: what was due meanwhile ran, or failed, and nobody knew. As long as it
//! lasts, failures are mailed past the outbox, by the same decisions as ever; what that comes to is made up for afterwards.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::alert::AlertKey;
use crate::catalog::SlotKey;
use crate::error::Result;
use crate::model::run::{Run, SlotOutcome, SlotRow};
use crate::ops::World;
use crate::ops::deliver::{self, Direct};
use crate::ops::notice::{self, Desk};

/// So many are remembered; a catalog that can't be written for longer says so in the log at each.
const MOST_SLOTS: usize = 100_000;
const MOST_RUNS: usize = 10_000;

/// After a mail past the outbox, other failures gather for this long before the next; and what could not be sent waits as long.
const MAIL_EVERY: Duration = Duration::from_secs(60);

/// What is still to be told, with what is known of the outcomes by now.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    slots: Vec<SlotRow>,
    /// In the order they ended.
    runs: Vec<Run>,
    /// So many of the runs have become mail, or need none.
    told: usize,
    /// The alerts that such mails began, with the mail's id.
    begun: Vec<(AlertKey, String)>,
    letters: Vec<Direct>,
    mailed: Option<Instant>,
    sending: Option<JoinHandle<Vec<Direct>>>,
}

impl Unrecorded {
    pub(super) fn add(&mut self, rows: impl IntoIterator<Item = SlotRow>) {
        let room = MOST_SLOTS.saturating_sub(self.slots.len());
        self.slots.extend(rows.into_iter().take(room));
    }

    pub(super) fn add_runs(&mut self, runs: &[Run]) {
        let room = MOST_RUNS.saturating_sub(self.runs.len());
        for run in runs.iter().skip(room) {
            tracing::error!(run = %run.id, project = run.project, "the run will not be found in the catalog: too many wait for it to be writable");
        }
        self.runs.extend(runs.iter().take(room).cloned());
    }

    /// Notes the outcome of a slot that is still to be told; `false` where the catalog knows the slot.
    pub(super) fn settle(&mut self, slot: &SlotKey, outcome: SlotOutcome) -> bool {
        let row =
            self.slots.iter_mut().find(|row| row.due_at == slot.due_at && row.project == slot.project && row.schedule == slot.schedule);
        row.map(|row| row.outcome = outcome).is_some()
    }

    /// Tells the catalog, if there is anything; what fails is tried again at the next look.
    pub(super) fn tell(&mut self, world: &World, desk: &Desk<'_>) {
        self.collect();
        if self.slots.is_empty() && self.runs.is_empty() && self.letters.is_empty() {
            return;
        }
        let (told, untold) = self.runs.split_at(self.told);
        let written = world.catalog.write(|writer| {
            for row in &self.slots {
                writer.record_slot(row)?;
                let key = SlotKey { project: row.project.clone(), schedule: row.schedule.clone(), due_at: row.due_at };
                if row.outcome != SlotOutcome::Claimed {
                    writer.finish_slot(&key, row.outcome)?;
                }
            }
            notice::record_told(writer, desk, told, &self.begun)?;
            untold.iter().try_for_each(|run| writer.finish_run(run))?;
            self.letters.iter().try_for_each(|letter| deliver::queue(writer, letter))
        });
        if written.is_ok() {
            let (slots, runs) = (self.slots.len(), self.runs.len());
            tracing::info!(slots, runs, "the catalog can be written again and knows of the slots and runs meanwhile");
            *self = Self { mailed: self.mailed, sending: self.sending.take(), ..Self::default() };
        }
    }

    /// Mails the failures among the runs past the outbox, beside the owner: without it nothing else would.
    pub(super) fn mail(&mut self, world: &World, desk: &Desk<'_>) {
        self.collect();
        if self.sending.is_some() || self.mailed.is_some_and(|mailed| mailed.elapsed() < MAIL_EVERY) {
            return;
        }
        if let Some(letters) = self.due(world, desk) {
            let world = world.clone();
            self.mailed = Some(Instant::now());
            self.sending = Some(std::thread::spawn(move || deliver::directly(&world, letters)));
        }
    }

    /// Before the end: what neither the catalog nor the mail server has taken by then is only in the log.
    pub(super) fn last_words(&mut self, world: &World, desk: &Desk<'_>) {
        if let Some(sending) = self.sending.take() {
            self.letters.extend(sending.join().unwrap_or_default());
        }
        self.tell(world, desk);
        if let Some(letters) = self.due(world, desk) {
            self.letters = deliver::directly(world, letters);
        }
    }

    /// The mails to send now, if there are any; what is still to be worded is.
    fn due(&mut self, world: &World, desk: &Desk<'_>) -> Option<Vec<Direct>> {
        if let Err(failure) = self.word(world, desk) {
            tracing::error!("failed runs can't be turned into mail: {failure}");
        }
        let (letters, refused) = std::mem::take(&mut self.letters).into_iter().partition(|letter: &Direct| letter.refused.is_none());
        self.letters = refused;
        Some(letters).filter(|letters| !letters.is_empty())
    }

    fn word(&mut self, world: &World, desk: &Desk<'_>) -> Result<()> {
        if self.told == self.runs.len() {
            return Ok(());
        }
        for (message, begins) in notice::unrecorded(world, desk, &self.runs, self.told)? {
            let id = message.message_id.clone();
            self.begun.extend(begins.into_iter().map(|key| (key, id.clone())));
            self.letters.push(Direct { message, refused: None });
        }
        self.told = self.runs.len();
        Ok(())
    }

    /// Takes back what could not be sent.
    fn collect(&mut self) {
        if self.sending.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(sending) = self.sending.take()
        {
            self.letters.extend(sending.join().unwrap_or_default());
        }
    }
}
