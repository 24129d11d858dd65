//! `pgdumpd restore --table … --on-conflict …`

use std::time::Duration;

use serde_json::json;

use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::restore::merge::{self, Table};
use crate::jobs::restore::{Order, given};
use crate::model::backup::RunId;
use crate::ops::World;
use crate::ops::merge::{Merged, Rule};
use crate::process::{Cancel, CancelReason};
use crate::units::show_duration;

use super::super::exit::Exit;
use super::super::{Common, out, progress};
use super::{Args, OnConflict};

/// The one table that is meant.
pub(super) fn table(args: &Args, rule: OnConflict) -> Result<Table> {
    let [name] = args.table.as_slice() else {
        return Err(Failure::new(Cause::Configuration, "--on-conflict merges one table at a time, and several were named")
            .hint("type the command once for each; a table that others refer to comes first"));
    };
    let rule = match rule {
        OnConflict::Error => Rule::Error,
        OnConflict::Skip => Rule::Skip,
        OnConflict::Update => Rule::Update,
    };
    Ok(Table { name: name.clone(), rule, key: args.key.clone() })
}

pub(super) fn run(common: &Common, world: &World, order: &Order, table: &Table, cancel: &Cancel) -> Result<Exit> {
    let merged = followed(|board| merge::run(world, order, table, cancel, board))?;
    told(common, &order.backup.id, order.dry_run, &merged)
}

/// The same from a file that no project knows.
pub(super) fn file(common: &Common, world: &World, order: &given::Order<'_>, table: &Table, cancel: &Cancel) -> Result<Exit> {
    let merged = followed(|board| given::merge(world, order, table, cancel, board))?;
    told(common, &order.dump.manifest.backup_id, order.dry_run, &merged)
}

fn followed(merge: impl FnOnce(&Board) -> Result<Merged>) -> Result<Merged> {
    let (board, over) = (Board::default(), Cancel::new());
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let merged = merge(&board);
        over.cancel(CancelReason::Cancelled);
        merged
    })
}

fn told(common: &Common, backup: &RunId, dry_run: bool, merged: &Merged) -> Result<Exit> {
    if common.json {
        out::json(&as_json(backup, dry_run, merged))?;
    } else {
        let took = show_duration(Duration::from_millis(merged.took_ms));
        out::say(format!(
            "{} {} of {} into {}: {} inserted, {} updated, {}{} skipped, in {took}{}",
            if dry_run { "would have merged" } else { "merged" },
            out::count(merged.rows, "row"),
            backup,
            merged.table,
            merged.inserted,
            merged.updated,
            if merged.unchanged > 0 {
                format!("{} left (equal already, or kept so by a trigger), ", merged.unchanged)
            } else {
                String::new()
            },
            merged.skipped - merged.unchanged,
            if dry_run { "; rolled back, the table is as it was" } else { "" }
        ));
        merged.warnings.iter().for_each(|warning| out::note(format!("  {warning}")));
    }
    Ok(Exit::Done)
}

/// The names that older clients read, beside our own.
fn as_json(backup: &RunId, dry_run: bool, merged: &Merged) -> serde_json::Value {
    json!({
        "success": true,
        "dryRun": dry_run,
        "backup": backup,
        "table": merged.table,
        "restoredTables": 1,
        "recordCount": merged.inserted + merged.updated,
        "rows": merged.rows,
        "key": merged.key,
        "inserted": merged.inserted,
        "updated": merged.updated,
        "skipped": merged.skipped,
        "unchanged": merged.unchanged,
        "duration": merged.took_ms,
        "warnings": merged.warnings,
    })
}
