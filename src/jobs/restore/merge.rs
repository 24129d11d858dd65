//! One table's rows out of a backup and into a table that is there: found, read, merged, written down.

use std::io::{self, Write};

use crate::error::{Failure, Result};
use crate::model::backup::{Manifest, RunId};
use crate::model::project::Limits;
use crate::notify::redact::Redactor;
use crate::ops::merge::{self, End, Means, Merged, Request, Room, Rule};
use crate::ops::read;
use crate::ops::{World, artifact, space};
use crate::postgres::archive::name::Wanted;
use crate::postgres::connection::Access;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::super::looking;
use super::{Board, Current, Order, clients, reach, subject};

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

/// Out of which archive, and into which database.
pub(super) struct Way<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) manifest: &'a Manifest,
    pub(super) clients: &'a Clients,
    pub(super) access: &'a Access,
    pub(super) limits: &'a Limits,
    pub(super) database: String,
    pub(super) dry_run: bool,
}

/// Merges it, or only tries. The order says which backup, where to, as whom and whether it is a dry run; the rest of it is of no account.
pub fn run(world: &World, order: &Order, table: &Table, cancel: &Cancel, board: &Board) -> Result<Merged> {
    let begun = world.begin("restore", Some(&order.backup.project), &format!("table {} from {}", table.name, subject(order)));
    let done = merged(world, order, table, cancel, board).map_err(|failure| looking::suspect(world, &order.backup, cancel, failure));
    world.end(begun, &outcome(order.dry_run, &done));
    done
}

/// What became of it, for the audit log.
pub(super) fn outcome(dry_run: bool, done: &Result<Merged>) -> String {
    let tried = if dry_run { "rolled back, a dry run: " } else { "" };
    match done {
        Ok(merged) => {
            let left = if merged.unchanged > 0 { format!("{} left, ", merged.unchanged) } else { String::new() };
            format!("{tried}{} inserted, {} updated, {left}{} skipped", merged.inserted, merged.updated, merged.skipped - merged.unchanged)
        }
        Err(failure) => format!("{}: {failure}", failure.cause),
    }
}

fn merged(world: &World, order: &Order, table: &Table, cancel: &Cancel, board: &Board) -> Result<Merged> {
    let wanted = Wanted::parse(&table.name)?;
    let backup = artifact::restorable(world, &order.backup)?;
    let (access, database) = reach(world, order)?;
    let clients = clients(world, order)?;
    let limits = order.project.as_ref().map_or_else(Limits::default, |project| project.limits.clone());
    let way = Way {
        storage: backup.storage.as_ref(),
        manifest: &backup.manifest,
        clients: &clients,
        access: &access,
        limits: &limits,
        database,
        dry_run: order.dry_run,
    };
    rows(world, way, (table, &wanted), cancel, board).map_err(|failure| super::without_password(order, &access, failure))
}

/// The rows of an archive's table into that database's.
pub(super) fn rows(world: &World, way: Way<'_>, (table, wanted): (&Table, &Wanted), cancel: &Cancel, board: &Board) -> Result<Merged> {
    let header = read::header(way.storage, way.manifest, wanted)?;
    let (schema, name) = header.table;
    let (run, gauge) = (RunId::random(), Gauge::new());
    board.put(Current {
        run: run.clone(),
        project: way.manifest.project.clone(),
        database: way.database.clone(),
        since: world.clock.now(),
        expected: header.bytes,
        gauge: gauge.clone(),
    });
    let request = Request {
        database: way.database,
        schema,
        table: name,
        columns: header.columns,
        others: header.others,
        // They are counted where they are read.
        rows: None,
        room: header.bytes.map(|bytes| room(way.manifest, bytes, header.rows)),
        encoding: header.encoding,
        rule: table.rule,
        key: table.key.clone(),
        end: if way.dry_run { End::RollBack } else { End::Commit },
    };
    let means = Means { clients: way.clients, access: way.access, limits: way.limits, cancel, gauge: &gauge };
    let redactor = Redactor::new(way.access.secret());
    // Altered rows would be committed. Where they have no checksum, every stored byte is compared first, which takes its time: not before it
    // is known that the table takes them. A file that belongs to nobody was read to its end when it was opened.
    let checked = if header.summed || way.manifest.is_of_given_file() {
        Ok(())
    } else {
        merge::look(means, &request).and_then(|()| {
            gauge.begin("checking the backup of");
            artifact::check(way.storage, way.manifest, cancel)
        })
    };
    let done = checked.and_then(|()| {
        merge::merge(means, &request, &mut |order, sink| {
            let mut counted = Counted { sink, gauge: &gauge };
            read::rows_of(way.storage, way.manifest, wanted, order, &mut counted).map(drop)
        })
    });
    board.take(&run);
    done.map_err(|failure: Failure| redactor.clean_failure(failure))
}

/// What a row takes beside its values: its header and its place in the page (manual: Database Page Layout).
const PER_ROW: u64 = 28;

/// What they will need on the server's disk.
fn room(manifest: &Manifest, bytes: u64, rows: Option<u64>) -> Room {
    let staged = bytes.saturating_add(rows.unwrap_or_default().saturating_mul(PER_ROW));
    Room { staged, merged: space::share(manifest, bytes).unwrap_or(staged) }
}

/// Rows on their way to the server, counted.
struct Counted<'a> {
    sink: &'a mut dyn Write,
    gauge: &'a Gauge,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.gauge.passed(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
