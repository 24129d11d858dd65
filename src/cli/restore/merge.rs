//! `pgdumpd restore --table … --on-conflict …`

use std::time::Duration;

use serde_json::json;

use crate::error::{Cause, Failure, Result};
use crate::jobs::restore::merge::{self, Table};
use crate::jobs::restore::{Order, given};
use crate::model::backup::RunId;
use crate::ops::World;
use crate::ops::merge::{Merged, Rule};
use crate::process::Cancel;
use crate::units::show_duration;

use super::super::exit::Exit;
use super::super::{Common, out};
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
    let merged = merge::run(world, order, table, cancel)?;
    told(common, &order.backup.id, &merged)
}

/// The same from a file that no project knows.
pub(super) fn file(common: &Common, world: &World, order: &given::Order<'_>, table: &Table, cancel: &Cancel) -> Result<Exit> {
    let merged = given::merge(world, order, table, cancel)?;
    told(common, &order.dump.manifest.backup_id, &merged)
}

fn told(common: &Common, backup: &RunId, merged: &Merged) -> Result<Exit> {
    if common.json {
        out::json(&as_json(backup, merged))?;
    } else {
        let took = show_duration(Duration::from_millis(merged.took_ms));
        out::say(format!(
            "merged {} of {} into {}: {} inserted, {} updated, {} skipped, in {took}",
            out::count(merged.rows, "row"),
            backup,
            merged.table,
            merged.inserted,
            merged.updated,
            merged.skipped
        ));
        merged.warnings.iter().for_each(|warning| out::note(format!("  {warning}")));
    }
    Ok(Exit::Done)
}

/// The names that older clients read, beside our own.
fn as_json(backup: &RunId, merged: &Merged) -> serde_json::Value {
    json!({
        "success": true,
        "backup": backup,
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
