//! `pgdumpd show`

mod given;

use std::time::Duration;

use chrono_tz::Tz;
use serde_json::json;

use crate::error::{Cause, Result};
use crate::model::backup::{BackupRow, Manifest, ProofLevel, RunId, Trigger};
use crate::model::database::DatabaseProperties;
use crate::model::dump::{Content, Format, is_script, restore_command};
use crate::model::run::{Run, RunStatus};
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::read::{self, Statement, Summary};
use crate::postgres::archive::name::{Wanted, shown};
use crate::storage::Storage;
use crate::units::{show_age, show_duration, show_size};

use super::exit::Exit;
use super::given::{Named, which};
use super::{Common, out, pick, told, world};

/// Show everything about one backup, about a run that made none, or about a dump file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgdumpd show latest
  pgdumpd show shop@latest --tables
  pgdumpd show k3f9q2abcd    a backup, or the failed run that a mail names
  pgdumpd show shop@latest --toc
  pgdumpd show latest --ddl 'public.\"Order Items\"' | psql -d scratch
  pgdumpd show ./shop.dump --tables    a file, whoever made it; no configuration is needed")]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or latest; a failed run's id; the path of a dump file
    #[arg(value_name = "BACKUP|RUN|FILE")]
    backup: String,
    /// Rows and bytes of each table
    #[arg(long)]
    tables: bool,
    /// Everything in it, as the archive lists it, instead of the description
    #[arg(long, conflicts_with_all = ["tables", "ddl"])]
    toc: bool,
    /// The statements that make this table: defaults, sequences, constraints, indexes, triggers, policies, comments, privileges
    #[arg(long, value_name = "TABLE", conflicts_with = "tables")]
    ddl: Option<String>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let wanted = args.ddl.as_deref().map(Wanted::parse).transpose()?;
    if let Named::File(path) = which(common, &args.backup)? {
        return given::show(common, args, wanted.as_ref(), &path);
    }
    let settings = world::settings(common)?;
    let world = world::look(common, &settings)?;
    let row = match pick::backup(&world, &settings, &args.backup) {
        Ok(row) => row,
        Err(failure) if failure.cause == Cause::NotFound => {
            let run = world.catalog.read(|reader| reader.run(&RunId(args.backup.clone())))?;
            return show_run(common, &settings, &run.ok_or(failure)?);
        }
        Err(failure) => return Err(failure),
    };
    let (storage, manifest) = pick::of_row(&world, &row)?;
    if args.toc || wanted.is_some() {
        return inside(common, storage.as_ref(), &pick::of_what_is_left(storage.as_ref(), manifest)?, wanted.as_ref());
    }
    if common.json {
        out::json(&manifest)?;
        return Ok(Exit::Done);
    }
    print(&world, &settings, &row, &manifest);
    if args.tables {
        tables(&manifest);
    }
    Ok(Exit::Done)
}

/// What the archive itself says: a table's statements, or everything it lists.
fn inside(common: &Common, storage: &dyn Storage, manifest: &Manifest, wanted: Option<&Wanted>) -> Result<Exit> {
    let Some(wanted) = wanted else { return toc(common, &read::toc(storage, manifest)?) };
    let (table, statements) = read::ddl(storage, manifest, wanted)?;
    ddl(common, &table, &statements)
}

fn print(world: &World, settings: &Settings, row: &BackupRow, manifest: &Manifest) {
    let zone = zone(settings, &row.project);
    out::say(format!("backup     {} of {}/{} ({})", manifest.backup_id, manifest.project, manifest.database_name, manifest.selection));
    let took = show_duration(Duration::from_millis(manifest.duration_ms));
    let age = show_age((world.clock.now() - manifest.backup_timestamp).to_std().unwrap_or_default());
    out::say(format!("made       {}, {age} ago, in {took}, on {}", out::moment(manifest.backup_timestamp, zone), manifest.made_on));
    if manifest.selection.is_before_restore() {
        out::say("because    an in-place restore was about to overwrite the database; it is never taken for @latest");
    }
    if let Some(slot) = manifest.slot {
        out::say(format!("for slot   {} of {}", out::moment(slot, zone), manifest.schedule.as_deref().unwrap_or("?")));
    }
    let root = world.storages.get(&row.storage).map(|storage| storage.place());
    out::say(format!("file       {}", told::file(root.as_deref(), &row.project, &row.file)));
    let stored = show_size(manifest.backup_size_bytes);
    out::say(format!("size       {stored} ({} before compression)", show_size(manifest.uncompressed_size_bytes)));
    out::say(format!("sha256     {}", manifest.checksum_sha256));
    out::say(format!("holds      {}", holds(manifest)));
    if let Some(extras) = manifest.database_properties.as_ref().and_then(DatabaseProperties::extras) {
        out::say(format!("database   has {extras}; `restore` into a new one makes them again"));
    }
    let identifier = manifest.system_identifier.as_ref().map(|id| format!(", system identifier {id}")).unwrap_or_default();
    let (host, port, version) = (&manifest.server_host, manifest.server_port, &manifest.postgresql_version);
    out::say(format!("server     {host}:{port}, PostgreSQL {version}{identifier}"));
    out::say(format!("client     pg_dump {}", manifest.pg_dump_version));
    let pinned = if row.pinned { "; pinned" } else { "" };
    out::say(format!("proof      {}, {}{pinned}", proof(row.proof, is_script(&row.file)), out::moment(row.proven_at, zone)));
    let looks = world.storages.get(&row.storage).map(|storage| crate::manifest::read_proof(storage.as_ref(), &row.project, &row.file));
    for look in looks.and_then(Result::ok).flatten().map(|proof| proof.looks).unwrap_or_default() {
        let what = proof(look.level, false).split(':').next().unwrap_or_default();
        let took = show_duration(Duration::from_millis(look.took_ms));
        let verdict = look.failed.map_or_else(|| String::from("good"), |why| format!("FAILED: {why}"));
        out::say(format!("looked     {what}, {}, in {took}: {verdict}", out::moment(look.at, zone)));
    }
    if let Some(damaged) = &row.damaged {
        out::say(format!("DAMAGED    {damaged}"));
    }
    match (&row.suspicious, &manifest.suspicious) {
        (Some(why), _) => {
            out::say(format!("SUSPICIOUS {why}"));
            out::say(format!("           nothing of the project is pruned until the next normal one, or: pgdumpd accept {}", row.id));
        }
        (None, Some(why)) => out::say(format!("accepted   although {why}")),
        (None, None) => {}
    }
    for warning in &manifest.warnings {
        out::say(format!("warning    {warning}"));
    }
    if manifest.content != Content::Globals {
        let to = out::shell(&format!("{}_restored", manifest.database_name));
        out::say(format!("restore    pgdumpd restore {} --to {to}", manifest.backup_id));
    }
    let by_hand = root.filter(|root| root.starts_with('/')).map_or_else(
        || manifest.line_by_hand(),
        |root| restore_command(&told::file(Some(&root), &row.project, &row.file), manifest.content, manifest.own_database()),
    );
    out::say(format!("by hand    {by_hand}"));
    if let Some(why) = manifest.own_way() {
        out::say(format!("warning    {why}"));
    }
}

fn holds(manifest: &Manifest) -> String {
    let tables = out::count(manifest.tables.len() as u64, "table");
    let rows = manifest.total_rows.map_or_else(|| String::from("rows not counted"), |rows| out::count(rows, "row"));
    // In a script they are calls of functions, which nobody counts.
    if manifest.dump_format == Format::Plain {
        return format!("{tables}, {rows}");
    }
    format!("{tables}, {rows}, {}", out::count(manifest.large_objects, "large object"))
}

fn proof(level: ProofLevel, is_script: bool) -> &'static str {
    match level {
        ProofLevel::Read if is_script => "read: it was read to its closing lines",
        ProofLevel::Whole => "whole: complete when it was written",
        ProofLevel::Checksum => "checksum: its stored bytes were read back",
        ProofLevel::Read => "read: pg_restore read it to its end",
        ProofLevel::Restored => "restored: it was restored and its rows were counted",
    }
}

/// The zone a project's times are told in.
fn zone(settings: &Settings, project: &str) -> Tz {
    settings.project(project).map_or(settings.daemon.time_zone, |project| project.time_zone)
}

/// A run without a backup, as the diary knows it.
fn show_run(common: &Common, settings: &Settings, run: &Run) -> Result<Exit> {
    if common.json {
        out::json(&json!({ "run": run }))?;
        return Ok(Exit::Done);
    }
    let zone = zone(settings, &run.project);
    out::say(format!("run        {} of {}/{} ({}): {}", run.id, run.project, run.database, run.selection, ended(run.status)));
    out::say(format!("began      {}", out::moment(run.started_at, zone)));
    if let Some(finished) = run.finished_at {
        let took = show_age((finished - run.started_at).to_std().unwrap_or_default());
        out::say(format!("ended      {}, after {took} and {}", out::moment(finished, zone), out::count(run.attempts, "attempt")));
    }
    match (run.slot, &run.schedule) {
        (Some(slot), schedule) => out::say(format!("for slot   {} of {}", out::moment(slot, zone), schedule.as_deref().unwrap_or("?"))),
        (None, _) if run.trigger == Trigger::Scheduled => out::say("for slot   none; the daemon was starting"),
        (None, _) => out::say("for slot   none; it was started by hand"),
    }
    if let Some(failure) = &run.failure {
        out::say(format!("cause      {}", failure.cause));
        out::say(format!("why        {failure}"));
        if let Some(hint) = &failure.hint {
            out::say(format!("what to do {hint}"));
        }
        if let Some(detail) = &failure.detail {
            out::say("last words of the program that failed:");
            detail.lines().for_each(|line| out::say(format!("  | {line}")));
        }
    }
    Ok(Exit::Done)
}

pub(super) fn ended(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Completed => "made a backup",
        RunStatus::Failed => "FAILED",
        RunStatus::Interrupted => "interrupted",
        RunStatus::Cancelled => "cancelled",
    }
}

fn toc(common: &Common, entries: &[Summary]) -> Result<Exit> {
    if common.json {
        out::json(&entries)?;
        return Ok(Exit::Done);
    }
    let mut table = out::table(&["ID", "KIND", "SCHEMA", "NAME", "OWNER"]);
    for entry in entries {
        let schema = entry.schema.clone().unwrap_or_else(|| String::from("-"));
        table.add_row(vec![entry.dump_id.to_string(), entry.kind.clone(), schema, entry.name.clone(), entry.owner.clone()]);
    }
    out::show(&table);
    Ok(Exit::Done)
}

/// SQL goes out as it is: what would be replaced for a terminal may be part of a name.
fn ddl(common: &Common, table: &str, statements: &[Statement]) -> Result<Exit> {
    if common.json {
        out::json(&json!({ "table": table, "statements": statements }))?;
        return Ok(Exit::Done);
    }
    let script: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    out::bytes(script.join("\n").as_bytes());
    Ok(Exit::Done)
}

fn tables(manifest: &Manifest) {
    let mut table = out::table(&["TABLE", "ROWS", "BYTES"]);
    for entry in &manifest.tables {
        let rows = entry.rows.map_or_else(|| String::from("?"), |rows| rows.to_string());
        table.add_row(vec![shown(&entry.schema, &entry.name), rows, entry.bytes.to_string()]);
    }
    out::say("");
    out::show(&table);
}
