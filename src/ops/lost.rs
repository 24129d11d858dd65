//! Backups that vanished from a storage without pgdumpd's doing: noted when a look finds it, kept until somebody is told.

use crate::catalog::{Reader, Writer};
use crate::error::Result;
use crate::model::backup::BackupRow;

/// Where the note is kept.
const LOST: &str = "backups-lost";

/// Adds to the note.
pub fn note(writer: &Writer, rows: Vec<BackupRow>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut lost = recall(writer)?;
    lost.extend(rows);
    writer.put_meta(LOST, &serde_json::to_string(&lost).unwrap_or_default())
}

/// What nobody has been told of yet.
pub fn recall(reader: &Reader) -> Result<Vec<BackupRow>> {
    Ok(reader.meta(LOST)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Somebody was told.
pub fn forget(writer: &Writer) -> Result<()> {
    writer.remove_meta(LOST)
}
