//! Deleting one backup by hand: lock → go on with cut-off removals → plan → carry out.

use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::ops::delete::{self, Deletion};
use crate::ops::{World, mount, removal};

use super::hold;

/// Deletes a backup now, also one of a project that is no longer configured. `confirm` agrees to a loss that the plan names.
pub fn run(world: &World, row: &BackupRow, confirm: bool) -> Result<Deletion> {
    let storage = world.storage_of(row)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = hold::by_name(world, &row.project, storage)?.or_held(&row.project)?;
    removal::resume(world, &row.project, Some(storage.as_ref()))?;
    let begun = world.begin("delete", Some(&row.project), &row.file);
    let done = delete::plan(world, storage.as_ref(), &row.id).and_then(|deletion| {
        delete::carry_out(world, storage.as_ref(), &deletion, confirm)?;
        Ok(deletion)
    });
    drop(lock);
    world.end(begun, &done.as_ref().map_or_else(ToString::to_string, |_| String::from("ok")));
    done
}
