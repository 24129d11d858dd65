//! `pgdumpd restore --table … --on-conflict …`

use std::time::Duration;

use serde_json::json;

use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::restore::Order;
use crate::jobs::restore::merge::{self, Table};
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
    let (board, over) = (Board::default(), Cancel::new());
    let merged = std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let merged = merge::run(world, order, table, cancel, &board);
        over.cancel(CancelReason::Cancelled);
        merged
    })?;
    if common.json {
        out::json(&as_json(order, &merged))?;
    } else {
        let took = show_duration(Duration::from_millis(merged.took_ms));
        out::say(format!(
            "{} {} of {} into {}: {} inserted, {} updated, {} skipped, in {took}{}",
            if order.dry_run { "would have merged" } else { "merged" },
            out::count(merged.rows, "row"),
            order.backup.id,
            merged.table,
            merged.inserted,
            merged.updated,
            merged.skipped,
            if order.dry_run { "; rolled back, the table is as it was" } else { "" }
        ));
        merged.warnings.iter().for_each(|warning| out::note(format!("  {warning}")));
    }
    Ok(Exit::Done)
}

/// The names that older clients read, beside our own.
fn as_json(order: &Order, merged: &Merged) -> serde_json::Value {
    json!({
        "success": true,
        "dryRun": order.dry_run,
        "backup": order.backup.id,
        "table": merged.table,
        "restoredTables": 1,
        "recordCount": merged.inserted + merged.updated,
        "rows": merged.rows,
        "key": merged.key,
        "inserted": merged.inserted,
        "updated": merged.updated,
        "skipped": merged.skipped,
        "duration": merged.took_ms,
        "warnings": merged.warnings,
    })
}
