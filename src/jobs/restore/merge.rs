//! One table's rows out of a backup and into a table that is there: found, read, merged, written down.

use crate::error::{Failure, Result};
use crate::model::backup::Manifest;
use crate::model::project::Limits;
use crate::notify::redact::Redactor;
use crate::ops::World;
use crate::ops::merge::{self, Means, Merged, Request, Rule};
use crate::ops::read::{self, Output};
use crate::postgres::archive::name::Wanted;
use crate::process::Cancel;
use crate::storage::Storage;

use super::{Order, clients, reach, stored, subject};

/// Which table, and how.
#[derive(Debug, Clone)]
pub struct Table {
    /// As it was typed: `orders`, `public."My Table"`.
    pub name: String,
    /// What becomes of rows that are there already.
    pub rule: Rule,
    /// The columns that tell rows apart; empty for the primary key.
    pub key: Vec<String>,
}

/// Merges it. The order says which backup, where to and as whom; the rest of it is of no account.
pub fn run(world: &World, order: &Order, table: &Table, cancel: &Cancel) -> Result<Merged> {
    let done = merged(world, order, table, cancel);
    let outcome = match &done {
        Ok(merged) => format!("{} inserted, {} updated, {} skipped", merged.inserted, merged.updated, merged.skipped),
        Err(failure) => format!("{}: {failure}", failure.cause),
    };
    let told = world.audit("restore", Some(&order.backup.project), &format!("table {} from {}", table.name, subject(order)), &outcome);
    // What was committed is committed; a catalog that can't be written must not hide it, nor a failure's own words.
    if let Err(failure) = told {
        tracing::error!(backup = %order.backup.id, "the audit log could not be written: {failure}");
    }
    done
}

fn merged(world: &World, order: &Order, table: &Table, cancel: &Cancel) -> Result<Merged> {
    let wanted = Wanted::parse(&table.name)?;
    let (storage, manifest) = stored(world, order)?;
    let (access, database) = reach(world, order)?;
    let clients = clients(world, order)?;
    let limits = order.project.as_ref().map_or_else(Limits::default, |project| project.limits.clone());
    let means = Means { clients: &clients, access: &access, limits: &limits, cancel };
    rows(means, storage.as_ref(), &manifest, table, &wanted, database)
}

/// The rows of this backup's table into that database's.
pub(super) fn rows(
    means: Means<'_>,
    storage: &dyn Storage,
    manifest: &Manifest,
    table: &Table,
    wanted: &Wanted,
    database: String,
) -> Result<Merged> {
    let header = read::header(storage, manifest, wanted)?;
    let (schema, name) = header.table;
    let request = Request {
        database,
        schema,
        table: name,
        columns: header.columns,
        // They are counted where they are read.
        rows: None,
        encoding: header.encoding,
        rule: table.rule,
        key: table.key.clone(),
    };
    let redactor = Redactor::new(means.access.secret());
    merge::merge(means, &request, &mut |sink| read::cat(storage, manifest, wanted, Output::Copy, sink).map(drop))
        .map_err(|failure: Failure| redactor.clean_failure(failure))
}
