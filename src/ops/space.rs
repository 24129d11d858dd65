//! How much room there must be: in the storage for the next backup, told from the last one of the same selection, and on a server for what a
//! backup brings there.

use std::path::{Path, PathBuf};

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::model::dump::{DumpShape, Format};
use crate::postgres::session::Session;
use crate::postgres::tablespace;
use crate::units::show_size;

use super::World;

/// The share of the last backup's size that must be free before the next one begins.
const SPACE_FACTOR: f64 = 1.2;

/// What a database takes with nothing in it, bytes: 7 to 8 MiB in releases 13 to 18.
const SYSTEM: u64 = 8 << 20;

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

/// What a directory dump needs of which no earlier one tells how large it is: it lies there uncompressed before it is packed, as large as the
/// tables. `None` for other formats, and for parts.
pub fn of_tables(session: &mut Session, shape: &DumpShape) -> Result<Option<u64>> {
    let is_one = shape.format == Format::Directory && shape.selection().is_full();
    is_one.then(|| session.tables_size()).transpose()
}

/// What some of a backup's rows take on a server with their indexes, as far as it tells: their share of the database's size, by their bytes
/// among all.
#[must_use]
pub fn share(manifest: &Manifest, bytes: u64) -> Option<u64> {
    share_of(manifest.database_size_bytes?, manifest, bytes)
}

/// The same of what lies outside of the server's own tables, which every database has.
#[must_use]
pub fn share_of_own(manifest: &Manifest, bytes: u64) -> Option<u64> {
    share_of(manifest.database_size_bytes?.saturating_sub(SYSTEM), manifest, bytes)
}

fn share_of(size: u64, manifest: &Manifest, bytes: u64) -> Option<u64> {
    let all = manifest.tables.iter().map(|table| u128::from(table.bytes)).sum::<u128>();
    u64::try_from(u128::from(size) * u128::from(bytes) / all.max(1)).ok()
}

/// A disk of the server, and what is to go there.
struct Disk {
    device: u64,
    folder: PathBuf,
    tablespace: String,
    needed: u64,
}

/// Where the server is this very machine and says where its data lies, there must be room for `what`: so many bytes in each of these
/// tablespaces, of which several may share a disk.
pub fn on_server(session: &mut Session, parts: &[(String, u64)], what: &str, hint: &str) -> Result<()> {
    if !is_here(session) {
        return Ok(());
    }
    let names: Vec<&str> = parts.iter().filter(|(_, bytes)| *bytes > 0).map(|(name, _)| name.as_str()).collect();
    let folders = session.tablespace_folders(&names)?;
    let mut disks: Vec<Disk> = Vec::new();
    for (tablespace, needed) in parts.iter().filter(|(_, bytes)| *bytes > 0) {
        // Behind a forwarded port it is another machine's folder, which this one hardly has.
        let Some((folder, found)) = folders.get(tablespace).and_then(|folder| Some((folder, rustix::fs::stat(folder).ok()?))) else {
            continue;
        };
        match disks.iter_mut().find(|disk| disk.device == found.st_dev) {
            Some(disk) => disk.needed = disk.needed.saturating_add(*needed),
            None => {
                let (folder, tablespace) = (folder.clone(), tablespace.clone());
                disks.push(Disk { device: found.st_dev, folder, tablespace, needed: *needed });
            }
        }
    }
    let what = if disks.len() > 1 { "what goes there takes about" } else { what };
    for Disk { folder, tablespace, needed, .. } in disks {
        let Some(free) = free(&folder).filter(|free| *free < needed) else { continue };
        let of = if tablespace == tablespace::DEFAULT { String::new() } else { format!(" (tablespace {tablespace})") };
        let (free, needed) = (show_size(free), show_size(needed));
        let words = format!("the server's disk has {free} free in {}{of}, and {what} {needed}", folder.display());
        return Err(Failure::new(Cause::Space, words).hint(hint));
    }
    Ok(())
}

/// With less than this left a server may not get through a checkpoint, without which it drops no database: blocks that it has only promised to
/// the file system, of a database that was just made, are written then.
const TIGHT: u64 = 16 << 20;

/// Where the server is this very machine: the folder of the database's tablespace and what is free there, where that is next to nothing.
pub fn full(session: &mut Session, database: &str) -> Option<String> {
    let name = session.tablespace_of(database, false).ok()?;
    let folder = if is_here(session) { session.tablespace_folders(&[&name]).ok()?.remove(&name)? } else { return None };
    let free = free(&folder).filter(|free| *free < TIGHT)?;
    Some(format!("the server's disk has {} free in {}", show_size(free), folder.display()))
}

/// Whether the server is this very machine, as far as its address tells.
fn is_here(session: &Session) -> bool {
    let host = session.server().reached.host.as_str();
    host.starts_with('/') || matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// Bytes that are free for others than root on the disk of a folder, where it can be asked.
fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
