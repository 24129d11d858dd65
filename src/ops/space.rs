//! How much room the next backup needs: told from the last one of the same selection.

use crate::catalog::BackupFilter;
use crate::error::Result;
use crate::model::dump::Selection;

use super::World;

/// The share of the last backup's size that must be free before the next one begins.
const SPACE_FACTOR: f64 = 1.2;

/// Bytes that the next backup of this selection is expected to need, from its last one: 1.2 × its size; `None` without history.
pub fn estimate(world: &World, project: &str, database: &str, selection: &Selection) -> Result<Option<u64>> {
    let filter = BackupFilter {
        project: Some(project.to_owned()),
        database: Some(database.to_owned()),
        selection: Some(selection.clone()),
        ..BackupFilter::default()
    };
    let last = world.catalog.read(|reader| reader.latest_backup(&filter))?;
    Ok(last.map(|backup| (backup.size as f64 * SPACE_FACTOR) as u64))
}
