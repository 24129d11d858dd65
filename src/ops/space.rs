//! How much room the next backup needs: told from the last one of the same selection.

use crate::catalog::BackupFilter;
use crate::error::Result;
use crate::model::dump::{DumpShape, Format};

use super::World;

/// The share of the last backup's size that must be free before the next one begins.
const SPACE_FACTOR: f64 = 1.2;

/// Bytes that the next backup of this shape is expected to need, from the last one of its selection: 1.2 × its size; `None` without
/// history. A directory dump lies there uncompressed as well while it is packed.
pub fn estimate(world: &World, project: &str, database: &str, shape: &DumpShape) -> Result<Option<u64>> {
    let filter = BackupFilter {
        project: Some(project.to_owned()),
        database: Some(database.to_owned()),
        selection: Some(shape.selection()),
        ..BackupFilter::default()
    };
    let last = world.catalog.read(|reader| reader.latest_backup(&filter))?;
    let unpacked = |last: u64| if shape.format == Format::Directory { last } else { 0 };
    Ok(last.map(|backup| ((backup.size + unpacked(backup.uncompressed_size)) as f64 * SPACE_FACTOR) as u64))
}
