//! Merges a backup's rows of one table into a table that is there, in one transaction: all of it, or nothing.
//!
//! The rows come from whoever calls (a job reads them out of the archive); this verb looks at the table, decides by the rule, and says what
//! was inserted, updated and skipped. Success is said only after the server has said that it committed.

mod words;

use std::io::Write;
use std::time::Instant;

use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::model::project::Limits;

use crate::postgres::connection::Access;
use crate::postgres::merge::{Column, Key, Merge, Serial, Target};
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::stream::gauge::Gauge;

use super::space;
use words::{broken_off, held, in_the_way, kept_apart, missing, no_key};

/// What becomes of a row whose key is in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Nothing is merged at all.
    Error,
    /// The table's row stays.
    Skip,
    /// It becomes the backup's.
    Update,
}

/// What to merge.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target database.
    pub database: String,
    /// Schema of the table, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub table: String,
    /// The columns of the rows, in their order.
    pub columns: Vec<String>,
    /// Other orders in which some of the rows have them, those of partitions say.
    pub others: Vec<Vec<String>>,
    /// How many rows there are, where that is known.
    pub rows: Option<u64>,
    /// What they take on the server's disk, where the backup tells.
    pub room: Option<Room>,
    /// The encoding they are in, where it isn't the server's own to know.
    pub encoding: Option<String>,
    /// What to do about conflicts.
    pub rule: Rule,
    /// The columns that tell rows apart; empty for the primary key.
    pub key: Vec<String>,
    /// What becomes of it in the end.
    pub end: End,
}

/// What a backup's rows take on the server's disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// While they are staged.
    pub staged: u64,
    /// In the table, with its indexes.
    pub merged: u64,
}

/// What becomes of a merge that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// It is committed.
    #[default]
    Commit,
    /// It is rolled back: only the figures were wanted.
    RollBack,
}

/// What a merge works with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The installed clients.
    pub clients: &'a Clients,
    /// How to reach the server.
    pub access: &'a Access,
    /// Time limits.
    pub limits: &'a Limits,
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// How far it is.
    pub gauge: &'a Gauge,
}

/// What writes those of the backup's rows that have their columns in an order: COPY text without its end mark.
pub type Rows<'a> = &'a mut dyn FnMut(&[String], &mut dyn Write) -> Result<()>;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// The table, as `schema.name`.
    pub table: String,
    /// The columns that told rows apart.
    pub key: Vec<String>,
    /// Rows in the backup.
    pub rows: u64,
    /// Rows that were missing and are there now.
    pub inserted: u64,
    /// Rows that were different and are the backup's now.
    pub updated: u64,
    /// Rows that were left as they are.
    pub skipped: u64,
    /// Of those, the ones that were compared and not updated: they were equal already, or a trigger kept them so.
    pub unchanged: u64,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Refuses what could not be merged for the table's sake, before anything is read.
pub fn look(means: Means<'_>, request: &Request) -> Result<()> {
    looked(means, request).map(drop)
}

/// A table that the rows fit into.
struct Looked {
    session: Session,
    target: Target,
    warnings: Vec<String>,
}

fn looked(means: Means<'_>, request: &Request) -> Result<Looked> {
    if request.columns.is_empty() {
        let words = format!("the table {} has no columns in the backup, so no row can be told from another", name(request));
        return Err(Failure::new(Cause::Refused, words).hint("there is nothing in it to be merged"));
    }
    let mut session =
        Session::open(means.clients.newest(), means.access, Some(&request.database), "pgdumpd merge", means.limits, means.cancel)?;
    let target = session.merge_target(&request.schema, &request.table)?.ok_or_else(|| missing(request))?;
    let mut warnings = check(&session, &target, request)?;
    writable(&mut session)?;
    allowed(&session, &target, key(&target, request)?, request)?;
    warnings.extend(rules(&mut session)?);
    room(&mut session, request)?;
    Ok(Looked { session, target, warnings })
}

/// Merges what `rows` writes; or does all of it but the commit, and undoes it.
pub fn merge(means: Means<'_>, request: &Request, rows: Rows<'_>) -> Result<Merged> {
    merged(means, request, rows).map_err(broken_off(request))
}

fn merged(means: Means<'_>, request: &Request, rows: Rows<'_>) -> Result<Merged> {
    let began = Instant::now();
    let Looked { mut session, target, mut warnings } = looked(means, request)?;
    let key = key(&target, request)?;
    let merge = Merge { target: &target, columns: &request.columns, key };
    session.begin_merge(&merge, means.limits.lock_wait).map_err(|failure| held(means, request, || session.holders(&merge), failure))?;
    means.gauge.begin("reading rows for");
    means.gauge.table(1, 1, &request.table);
    for order in std::iter::once(&request.columns).chain(&request.others) {
        session.stage_rows(order, request.encoding.as_deref(), &mut |sink| rows(order, sink)).map_err(kept_apart(request))?;
    }
    let came = session.staged_rows()?;
    if request.rows.is_some_and(|expected| expected != came) {
        let words = format!("{came} rows of {} arrived, and the backup holds {}", name(request), request.rows.unwrap_or_default());
        return Err(Failure::new(Cause::Damaged, words).hint("verify the backup, or take another one; the table is as it was"));
    }
    means.gauge.begin("comparing keys in");
    refuse_unclear(&mut session, &merge, request)?;
    let conflicts = session.conflicts(&merge)?;
    if request.rule == Rule::Error && conflicts.count > 0 {
        return Err(in_the_way(request, &merge, conflicts.count, &conflicts.keys.unwrap_or_default()));
    }
    session.as_usual()?;
    means.gauge.begin("merging rows into");
    let updated =
        if request.rule == Rule::Update && conflicts.count > 0 { session.update_rows(&merge).map_err(kept_apart(request))? } else { 0 };
    let inserted = session.insert_rows(&merge).map_err(kept_apart(request))?;
    let missing = came.saturating_sub(conflicts.count);
    if inserted != missing {
        warnings.push(format!("{missing} rows were missing, and {inserted} were inserted: a trigger or rule kept the others away"));
    }
    let serials = target.serials.iter().filter(|serial| request.columns.contains(&serial.column));
    match request.end {
        End::Commit => {
            for serial in serials {
                if let Some(at) = session.advance(serial)? {
                    let Serial { schema, name, column, .. } = serial;
                    warnings.push(format!("sequence {schema}.{name} was moved on to {at}, the largest {column} that came"));
                }
            }
            session.commit_merge().map_err(kept_apart(request))?;
        }
        // A sequence that was moved stays so, whatever becomes of the transaction: here none is.
        End::RollBack => {
            let names: Vec<String> = serials.map(|serial| format!("{}.{}", serial.schema, serial.name)).collect();
            if !names.is_empty() {
                warnings.push(format!("moved past the largest value that comes, where they stand before it: {}", names.join(", ")));
            }
            session.roll_back_merge().map_err(kept_apart(request))?;
        }
    }
    Ok(Merged {
        table: name(request),
        key: merge.key.names().into_iter().map(str::to_owned).collect(),
        rows: came,
        inserted,
        updated,
        skipped: came.saturating_sub(inserted + updated),
        unchanged: if request.rule == Rule::Update { conflicts.count.saturating_sub(updated) } else { 0 },
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        warnings,
    })
}

fn name(request: &Request) -> String {
    format!("{}.{}", request.schema, request.table)
}

/// Whether the rows fit into the table; what is worth knowing otherwise.
fn check(session: &Session, target: &Target, request: &Request) -> Result<Vec<String>> {
    let refused = |words: String, hint: &str| Err(Failure::new(Cause::Refused, words).hint(hint));
    let table = name(request);
    if session.server().standby {
        return refused(format!("{} is a standby", session.server().reached), "merge on the primary");
    }
    if !matches!(target.kind.as_str(), "r" | "p") {
        return refused(format!("{table} is not a table"), "rows can be merged into tables and partitioned tables");
    }
    if target.row_security {
        let words = format!("row security applies to the role {:?} on {table}, so that it doesn't see all rows", session.server().role);
        return refused(words, "merge as the table's owner or as a role with BYPASSRLS");
    }
    let list = |names: Vec<&str>| names.join(", ");
    let unknown: Vec<&str> = request.columns.iter().map(String::as_str).filter(|name| target.column(name).is_none()).collect();
    if !unknown.is_empty() {
        return refused(
            format!("{table} lacks columns that the backup's rows have: {}", list(unknown)),
            "add them, or restore the table beside it",
        );
    }
    let absent = || target.columns.iter().filter(|column| !column.generated && !request.columns.contains(&column.name));
    let needed: Vec<&str> = absent().filter(|column| column.not_null && !column.has_default).map(|column| column.name.as_str()).collect();
    if !needed.is_empty() {
        let words = format!("{table} has columns that need a value, and the backup's rows have none for them: {}", list(needed));
        return refused(words, "give them a default first");
    }
    let mut warnings = Vec::new();
    let filled: Vec<&str> = absent().map(|column| column.name.as_str()).collect();
    if !filled.is_empty() {
        warnings.push(format!("new rows have the default in {}: the backup doesn't know these columns", list(filled)));
    }
    let key = key(target, request)?.names();
    let own: Vec<&str> = request.columns.iter().map(String::as_str).filter(|name| !key.contains(name)).collect();
    let own = own.into_iter().filter(|name| target.column(name).is_some_and(|column| column.identity == "a"));
    let own: Vec<&str> = own.filter(|_| request.rule == Rule::Update).collect();
    if !own.is_empty() {
        let words = format!("rows that are there keep their {}: only the server gives it (GENERATED ALWAYS AS IDENTITY)", list(own));
        warnings.push(words);
    }
    if !target.triggers.is_empty() {
        warnings.push(format!("triggers fired as they always do: {}", list(target.triggers.iter().map(String::as_str).collect())));
    }
    let computed: Vec<&str> = target
        .columns
        .iter()
        .filter(|column| column.generated && request.columns.contains(&column.name))
        .map(|column| column.name.as_str())
        .collect();
    if !computed.is_empty() {
        warnings.push(format!("the table computes {} by itself; the backup's values were left out", list(computed)));
    }
    Ok(warnings)
}

/// Refuses where the role may not do all that this merge does.
fn allowed(session: &Session, target: &Target, key: &Key, request: &Request) -> Result<()> {
    let mut lacks = target.lacks.clone();
    let needs = ["SELECT", "INSERT", "UPDATE"];
    let needs = if request.rule == Rule::Update { &needs[..] } else { &needs[..2] };
    let written = || request.columns.iter().filter_map(|name| target.column(name)).filter(|column| column.is_written());
    let is_set = |column: &Column| column.identity != "a" && !key.names().contains(&column.name.as_str());
    let is_lacking = |need: &str| {
        let mut columns = written().filter(|column| need != "UPDATE" || is_set(column));
        columns.any(|column| column.lacks.iter().any(|lacked| lacked == need))
    };
    lacks.extend(needs.iter().filter(|need| is_lacking(need)).map(|need| format!("{need} on it")));
    let unread = target.serials.iter().filter(|serial| request.columns.contains(&serial.column) && !serial.may_read);
    lacks.extend(unread.map(|Serial { schema, name, .. }| format!("SELECT on the sequence {schema}.{name}")));
    if lacks.is_empty() {
        return Ok(());
    }
    let role = &session.server().role;
    let words = format!("the role {role} lacks rights that a merge into {} takes: {}", name(request), lacks.join("; "));
    Err(Failure::new(Cause::Refused, words).hint("merge as the table's owner or another role with --user, or grant them"))
}

/// Rows that neither triggers nor foreign keys have seen would be no better than altered ones.
fn rules(session: &mut Session) -> Result<Option<String>> {
    match session.lift_replica()? {
        None => Ok(None),
        Some(true) => Ok(Some(String::from(
            "session_replication_role is replica for this role here, and was origin for the merge, so that triggers and foreign keys saw the rows",
        ))),
        Some(false) => {
            let role = &session.server().role;
            let words = format!(
                "session_replication_role is replica for the role {role} here: neither triggers nor foreign keys would see what is merged"
            );
            Err(Failure::new(Cause::Refused, words)
                .hint("merge as a superuser with --user; or take the setting away: ALTER ROLE … or ALTER DATABASE … RESET session_replication_role"))
        }
    }
}

/// Whether what is merged could be written down at all.
fn writable(session: &mut Session) -> Result<()> {
    let Some(found) = session.read_only()? else { return Ok(()) };
    Err(found.failure(found.is_of_role().then_some("merge as another role with --user")))
}

/// All of the backup's rows are staged, and all are in the table in the end. What that takes on the disk already counts for them, unless none
/// of its rows may be one of theirs.
fn room(session: &mut Session, request: &Request) -> Result<()> {
    let Some(Room { staged, merged }) = request.room else { return Ok(()) };
    let hint = "free some space there: the backup's rows are staged beside the table before they are merged; the table is as it was";
    let (beside, own) = (session.tablespace_of(&request.database, false)?, session.tablespace_of_table(&request.schema, &request.table)?);
    let fits = |session: &mut Session, merged: u64| {
        space::on_server(session, &[(beside.clone(), staged), (own.clone(), merged)], "what is wanted takes about", hint)
    };
    let all = fits(session, merged);
    if all.is_ok() || request.rule == Rule::Error {
        return all;
    }
    // Where somebody has locked it, the merge itself waits.
    let there = session.table_size(&request.schema, &request.table).unwrap_or(u64::MAX);
    fits(session, merged.saturating_sub(there))
}

/// The unique index that tells rows apart: the primary key, or the one on the chosen columns.
fn key<'a>(target: &'a Target, request: &Request) -> Result<&'a Key> {
    let mut wanted: Vec<&str> = request.key.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let fits = |key: &&Key| {
        let mut names = key.names();
        names.sort_unstable();
        if wanted.is_empty() { key.primary } else { names == wanted }
    };
    let found = target.keys.iter().find(fits).ok_or_else(|| no_key(target, request))?;
    // A key that the rows don't have, or that the server computes, tells nothing.
    let unusable =
        |name: &&str| !request.columns.iter().any(|column| column == name) || target.column(name).is_none_or(|column| column.generated);
    match found.names().into_iter().find(unusable) {
        None => Ok(found),
        Some(column) => {
            Err(Failure::new(Cause::Refused, format!("the backup's rows have no {column}, which is part of the key {}", found.name))
                .hint("choose another key: --key COLUMN,COLUMN"))
        }
    }
}

/// Rows that can't be told apart by the key.
fn refuse_unclear(session: &mut Session, merge: &Merge<'_>, request: &Request) -> Result<()> {
    let (without, doubles) = session.unclear_rows(merge)?;
    let key = merge.key.names().join(", ");
    if without > 0 {
        let words = format!("{without} rows of the backup have no value in the key ({key}) of {}", name(request));
        return Err(Failure::new(Cause::Refused, words).hint("choose a key whose columns are never null; the table is as it was"));
    }
    if !doubles.is_empty() {
        let words = format!("the backup's own rows hold the same key more than once in {}: {}", name(request), doubles.join("; "));
        return Err(Failure::new(Cause::Refused, words).hint("choose another key; the table is as it was"));
    }
    Ok(())
}
