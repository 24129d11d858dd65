//! `pgdumpd show`

use std::time::Duration;

use chrono_tz::Tz;
use serde_json::json;

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest, ProofLevel, RunId};
use crate::model::run::{Run, RunStatus};
use crate::model::settings::Settings;
use crate::ops::World;
use crate::units::{show_age, show_duration, show_size};

use super::exit::Exit;
use super::{Common, out, pick, told, world};

/// Show everything about one backup, or about a run that made none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgdumpd show latest
  pgdumpd show shop@latest --tables
  pgdumpd show k3f9q2abcd    a backup, or the failed run that a mail names")]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or latest; a failed run's id
    #[arg(value_name = "BACKUP|RUN")]
    backup: String,
    /// Rows and bytes of each table
    #[arg(long)]
    tables: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::open(common, &settings)?;
    let row = match pick::backup(&world, &settings, &args.backup) {
        Ok(row) => row,
        Err(failure) if failure.cause == Cause::NotFound => {
            let run = world.catalog.read(|reader| reader.run(&RunId(args.backup.clone())))?;
            return show_run(common, &settings, &run.ok_or(failure)?);
        }
        Err(failure) => return Err(failure),
    };
    let storage = world.storages.get(&row.storage).ok_or_else(|| missing_storage(&row.storage))?;
    let manifest = manifest::read(storage.as_ref(), &manifest::key(&row.project, &row.file))?;
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

fn print(world: &World, settings: &Settings, row: &BackupRow, manifest: &Manifest) {
    let zone = zone(settings, &row.project);
    out::say(format!("backup     {} of {}/{} ({})", manifest.backup_id, manifest.project, manifest.database_name, manifest.selection));
    let took = show_duration(Duration::from_millis(manifest.duration_ms));
    let age = show_age((world.clock.now() - manifest.backup_timestamp).to_std().unwrap_or_default());
    out::say(format!("made       {}, {age} ago, in {took}, on {}", out::moment(manifest.backup_timestamp, zone), manifest.made_on));
    if let Some(slot) = manifest.slot {
        out::say(format!("for slot   {} of {}", out::moment(slot, zone), manifest.schedule.as_deref().unwrap_or("?")));
    }
    let root = world.storages.get(&row.storage).map(|storage| storage.place());
    out::say(format!("file       {}", told::file(root.as_deref(), &row.project, &row.file)));
    let stored = show_size(manifest.backup_size_bytes);
    out::say(format!("size       {stored} ({} before compression)", show_size(manifest.uncompressed_size_bytes)));
    out::say(format!("sha256     {}", manifest.checksum_sha256));
    out::say(format!("holds      {}", holds(manifest)));
    out::say(format!("server     {}:{}, PostgreSQL {}", manifest.server_host, manifest.server_port, manifest.postgresql_version));
    out::say(format!("client     pg_dump {}", manifest.pg_dump_version));
    let pinned = if row.pinned { "; pinned" } else { "" };
    out::say(format!("proof      {}, {}{pinned}", proof(row.proof), out::moment(row.proven_at, zone)));
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
    out::say(format!("restore    {}", manifest.restore_command));
}

fn holds(manifest: &Manifest) -> String {
    let tables = out::count(manifest.tables.len() as u64, "table");
    let rows = manifest.total_rows.map_or_else(|| String::from("rows not counted"), |rows| out::count(rows, "row"));
    format!("{tables}, {rows}, {}", out::count(manifest.large_objects, "large object"))
}

fn proof(level: ProofLevel) -> &'static str {
    match level {
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

pub(super) fn missing_storage(name: &str) -> Failure {
    Failure::new(Cause::Configuration, format!("the backup lies in storage {name:?}, which is not configured"))
        .hint("add it to the configuration again")
}

fn tables(manifest: &Manifest) {
    let mut table = out::table(&["TABLE", "ROWS", "BYTES"]);
    for entry in &manifest.tables {
        let rows = entry.rows.map_or_else(|| String::from("?"), |rows| rows.to_string());
        table.add_row(vec![format!("{}.{}", entry.schema, entry.name), rows, entry.bytes.to_string()]);
    }
    out::say("");
    out::show(&table);
}
