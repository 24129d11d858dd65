//! `pgdumpd show`

use crate::error::Result;
use crate::manifest;
use crate::model::backup::Manifest;
use crate::ops::World;
use crate::storage::{Key, names};
use crate::units::{show_duration, show_size};

use super::exit::Exit;
use super::{Common, out, pick, world};

/// Show everything about one backup.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An id, a file name, PROJECT@latest or latest
    backup: String,
    /// Rows and bytes of each table
    #[arg(long)]
    tables: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::open(common, &settings)?;
    let row = pick::backup(&world, &args.backup)?;
    let storage = world.storages.get(&row.storage).ok_or_else(|| missing_storage(&row.storage))?;
    let key = Key { project: row.project.clone(), file: row.file.clone() };
    let manifest = manifest::read(storage.as_ref(), &manifest::key(&row.project, &row.file))?;
    if common.json {
        out::json(&manifest)?;
        return Ok(Exit::Done);
    }
    let zone = settings.daemon.time_zone;
    out::say(format!("backup     {} of {}/{} ({})", manifest.backup_id, manifest.project, manifest.database_name, manifest.selection));
    let took = show_duration(std::time::Duration::from_millis(manifest.duration_ms));
    out::say(format!("made       {} {zone}, in {took}, on {}", out::when(manifest.backup_timestamp, zone), manifest.made_on));
    if let Some(slot) = manifest.slot {
        out::say(format!("for slot   {} {zone} of {}", out::when(slot, zone), manifest.schedule.as_deref().unwrap_or("?")));
    }
    out::say(format!("file       {}", place(&world, &row.storage, &key)));
    let stored = show_size(manifest.backup_size_bytes);
    out::say(format!("size       {stored} ({} before compression)", show_size(manifest.uncompressed_size_bytes)));
    out::say(format!("sha256     {}", manifest.checksum_sha256));
    let rows = manifest.total_rows.map_or_else(|| String::from("unknown"), |rows| rows.to_string());
    out::say(format!("holds      {} tables, {rows} rows, {} large objects", manifest.tables.len(), manifest.large_objects));
    out::say(format!("server     {}:{}, PostgreSQL {}", manifest.server_host, manifest.server_port, manifest.postgresql_version));
    out::say(format!("client     {}", manifest.pg_dump_version));
    out::say(format!(
        "proof      {:?} at {} {zone}{}",
        row.proof,
        out::when(row.proven_at, zone),
        if row.pinned { "; pinned" } else { "" }
    ));
    if let Some(damaged) = &row.damaged {
        out::say(format!("DAMAGED    {damaged}"));
    }
    for warning in &manifest.warnings {
        out::say(format!("warning    {warning}"));
    }
    out::say(format!("restore    {}", manifest.restore_command));
    if args.tables {
        tables(&manifest);
    }
    Ok(Exit::Done)
}

pub(super) fn missing_storage(name: &str) -> crate::error::Failure {
    crate::error::Failure::new(crate::error::Cause::Configuration, format!("the backup lies in storage {name:?}, which is not configured"))
        .hint("add it to the configuration again")
}

fn place(world: &World, storage: &str, key: &Key) -> String {
    let root = world.storages.get(storage).map(|storage| storage.place()).unwrap_or_default();
    format!("{root}/{}/{}", names::project_folder(&key.project).unwrap_or_else(|_| key.project.clone()), key.file)
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
