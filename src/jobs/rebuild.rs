//! Making a lost index whole again: reindex → notice. What only the catalog knew is gone, and somebody is told so.

use crate::error::Result;
use crate::ops::World;
use crate::ops::notice::{self, Desk};
use crate::ops::reindex::{self, Reindexed};

/// An index that had to be made anew, and from what.
#[derive(Debug)]
pub struct Rebuilt {
    /// Why the one before is gone.
    pub why: String,
    /// What the storages held.
    pub found: Reindexed,
}

/// Indexes the storages where the catalog is new, and says so; `None` where it isn't. A storage that can't be read leaves the index
/// incomplete, and this to be done again.
pub fn if_needed(world: &World, desk: &Desk<'_>) -> Result<Option<Rebuilt>> {
    let Some(why) = world.catalog.needs_reindex()? else { return Ok(None) };
    let found = reindex::reindex(world)?;
    for problem in &found.problems {
        tracing::warn!("while indexing: {problem}");
    }
    if found.whole {
        notice::rebuilt(world, desk, &why, found.backups, found.projects.len())?;
    }
    if found.backups > 0 {
        tracing::warn!(backups = found.backups, "{why}; the index was rebuilt from the storages, the diary before is lost");
    }
    Ok(Some(Rebuilt { why, found }))
}
