//! The last slots of a project for which nothing was run.

use crate::catalog::{Page, Reader, SlotFilter};
use crate::error::Result;
use crate::model::run::{SlotOutcome, SlotRow};

/// Ways in which a slot passes without a run of its own that would tell of it.
const SKIPPED: [SlotOutcome; 5] = [
    SlotOutcome::SkippedOverrun,
    SlotOutcome::SkippedPaused,
    SlotOutcome::SkippedLocked,
    SlotOutcome::SkippedDisabled,
    SlotOutcome::Missed,
];

/// At most `most` of them, the latest first.
pub(super) fn last(reader: &Reader, project: &str, most: u32) -> Result<Vec<SlotRow>> {
    let mut slots = Vec::new();
    for outcome in SKIPPED {
        let filter = SlotFilter { project: Some(project.to_owned()), outcome: Some(outcome), ..SlotFilter::default() };
        slots.extend(reader.slots(&filter, Page::first(most))?);
    }
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.due_at));
    slots.truncate(most as usize);
    Ok(slots)
}
