//! How much room there must be: in the storage for the next backup, told from the last one of the same selection, and on a server for what a
//! backup brings there.

use std::path::Path;

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::model::dump::{DumpShape, Format};
use crate::postgres::session::Session;
use crate::units::show_size;

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

/// What some of a backup's rows take on a server with their indexes, as far as it tells: their share of the database's size, by their bytes
/// among all.
#[must_use]
pub fn share(manifest: &Manifest, bytes: u64) -> Option<u64> {
    let all = manifest.tables.iter().map(|table| u128::from(table.bytes)).sum::<u128>();
    u64::try_from(u128::from(manifest.database_size_bytes?) * u128::from(bytes) / all.max(1)).ok()
}

/// Where the server is this very machine and says where its data lies, there must be room for `what`, which takes so much there.
pub fn on_server(session: &mut Session, needed: u64, what: &str, hint: &str) -> Result<()> {
    let host = session.server().reached.host.as_str();
    if !host.starts_with('/') && !matches!(host, "localhost" | "127.0.0.1" | "::1") {
        return Ok(());
    }
    let Some(folder) = session.data_directory()? else { return Ok(()) };
    // Behind a forwarded port it is another machine's folder, which this one hardly has.
    let Ok(found) = rustix::fs::statvfs(Path::new(&folder)) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let words = format!("the server's disk has {} free in {folder}, and {what} {}", show_size(free), show_size(needed));
    Err(Failure::new(Cause::Space, words).hint(hint))
}
