//! Pins a backup against the retention and against `delete`, or lets it go again: in a file beside it, which outlives the catalog, and in its row.
//!
//! Neither waits for the project's lock, so a removal may be under way: the catalog takes one of the two first, and the other gives way.

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::BackupRow;

use super::{World, mount};

/// Pins a backup, or takes its pin away; saying it twice is fine. Returns its row as it is now.
///
/// # Errors
/// [`Cause::NotFound`] where it was removed meanwhile; what the storage or the catalog says.
pub fn pin(world: &World, row: &BackupRow, pinned: bool) -> Result<BackupRow> {
    let storage = world.storage_of(row)?.as_ref();
    mount::ensure(world, storage)?;
    if pinned {
        manifest::pin(storage, &row.project, &row.file)?;
    } else {
        manifest::unpin(storage, &row.project, &row.file)?;
    }
    if let Some(now) = world.catalog.write(|writer| writer.alter_backup(row, |now| now.pinned = pinned))? {
        return Ok(now);
    }
    // Beside a backup that is gone a pin would only be in the way of nothing.
    manifest::unpin(storage, &row.project, &row.file)?;
    Err(Failure::new(Cause::NotFound, format!("the backup {} is gone already", row.id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use crate::model::backup::Marks;
    use crate::ops::removal::{self, Removal};
    use crate::storage::{Key, Memory, Storage, names};

    /// A world with one backup, and its row.
    fn with_backup() -> (World, Memory, BackupRow) {
        let storage = Memory::new("main");
        let world = World::over(&[&storage]);
        mount::ensure(&world, &storage).unwrap();
        let manifest = manifest();
        storage.put(&Key { project: manifest.project.clone(), file: manifest.backup_file.clone() }, b"rows").unwrap();
        manifest::commit(&storage, &manifest).unwrap();
        let row = BackupRow::from_manifest("main", &manifest, None, Marks::default());
        world.catalog.write(|writer| writer.put_backup(&row)).unwrap();
        (world, storage, row)
    }

    #[test]
    fn what_was_pinned_since_the_plan_was_made_is_not_removed() {
        let (world, storage, planned) = with_backup();
        assert!(pin(&world, &planned, true).unwrap().pinned);
        assert_eq!(removal::remove(&world, &storage, &planned).unwrap(), Removal::Pinned);
        assert!(storage.names(&planned.project).unwrap().contains(&planned.file));
        assert!(!pin(&world, &planned, false).unwrap().pinned);
        assert_eq!(removal::remove(&world, &storage, &planned).unwrap(), Removal::Done);
        assert_eq!(storage.names(&planned.project).unwrap().len(), 0);
    }

    #[test]
    fn a_backup_that_is_gone_meanwhile_is_neither_pinned_nor_listed_again() {
        let (world, storage, row) = with_backup();
        assert_eq!(removal::remove(&world, &storage, &row).unwrap(), Removal::Done);
        assert_eq!(pin(&world, &row, true).unwrap_err().cause, Cause::NotFound);
        assert_eq!(world.catalog.read(|reader| reader.backup(&row.id)).unwrap(), None);
        let pin = Key { project: row.project.clone(), file: names::pin_file(&row.file) };
        assert_eq!(storage.size(&pin).unwrap(), None);
    }

    #[test]
    fn what_was_found_since_its_row_was_read_stays_known() {
        let (world, _, row) = with_backup();
        world.catalog.write(|writer| writer.alter_backup(&row, |now| now.damaged = Some(String::from("cut")))).unwrap();
        assert_eq!(pin(&world, &row, true).unwrap().damaged.as_deref(), Some("cut"));
    }
}
