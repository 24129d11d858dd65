//! Slots that the catalog could not be told of: kept in memory, and told as soon as it can be written again.
//!
//! Without this a full state folder would leave holes in the diary: what was due meanwhile ran, or was skipped, and nobody knew.

use crate::catalog::SlotKey;
use crate::model::run::{SlotOutcome, SlotRow};
use crate::ops::World;

/// So many are remembered; a catalog that can't be written for longer says so in the log at each slot.
const MOST: usize = 100_000;

/// What is still to be told, with what is known of the outcomes by now.
#[derive(Debug, Default)]
pub(super) struct Unrecorded(Vec<SlotRow>);

impl Unrecorded {
    pub(super) fn add(&mut self, rows: impl IntoIterator<Item = SlotRow>) {
        let room = MOST.saturating_sub(self.0.len());
        self.0.extend(rows.into_iter().take(room));
    }

    /// Notes the outcome of a slot that is still to be told; `false` where the catalog knows the slot.
    pub(super) fn settle(&mut self, slot: &SlotKey, outcome: SlotOutcome) -> bool {
        let row = self.0.iter_mut().find(|row| row.due_at == slot.due_at && row.project == slot.project && row.schedule == slot.schedule);
        row.map(|row| row.outcome = outcome).is_some()
    }

    /// Tells the catalog, if there is anything; what fails is tried again at the next look.
    pub(super) fn tell(&mut self, world: &World) {
        if self.0.is_empty() {
            return;
        }
        let rows = &self.0;
        let told = world.catalog.write(|writer| {
            rows.iter().try_for_each(|row| {
                writer.record_slot(row)?;
                let key = SlotKey { project: row.project.clone(), schedule: row.schedule.clone(), due_at: row.due_at };
                if row.outcome == SlotOutcome::Claimed { Ok(()) } else { writer.finish_slot(&key, row.outcome) }
            })
        });
        if told.is_ok() {
            tracing::info!(slots = self.0.len(), "the catalog can be written again and knows of the slots meanwhile");
            self.0.clear();
        }
    }
}
