//! `pgdumpd list`

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::catalog::{BackupFilter, Page, Sort};
use crate::error::Result;
use crate::model::backup::{BackupRow, ProofLevel};
use crate::model::dump::Content;
use crate::model::settings::Settings;
use crate::ops::lost::Files;
use crate::ops::{World, there};
use crate::units::show_size;

use super::exit::Exit;
use super::{Common, out, world};

/// List backups, newest first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this project's
    project: Option<String>,
    /// Only this database's
    #[arg(long, short, value_name = "NAME")]
    database: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Leave out this many first
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u64,
    /// Order by date or by size, largest first
    #[arg(long, value_enum, default_value_t = SortBy::Date)]
    sort: SortBy,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SortBy {
    Date,
    Size,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::look(common, &settings)?;
    if let Some(name) = &args.project {
        known(&world, &settings, name)?;
    }
    let sort = match args.sort {
        SortBy::Date => Sort::Date,
        SortBy::Size => Sort::Size,
    };
    let filter = BackupFilter { project: args.project.clone(), database: args.database.clone(), ..BackupFilter::default() };
    let page = Page { limit: args.limit, offset: args.offset };
    let mut rows = world.catalog.read(|reader| reader.backups(&filter, sort, page))?;
    let (mut gone, mut files) = (HashSet::new(), Files::of(&world));
    for row in &mut rows {
        // Whoever reads the list wants to restore: what was removed since the daemon looked last is told at once.
        if let Some(why) = files.lacks(row) {
            gone.insert(row.id.clone());
            row.damaged.get_or_insert(why);
        }
    }
    if common.json {
        out::json(&rows)?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        out::note(if args.offset > 0 { "no more backups" } else { "no backups yet" });
        return Ok(Exit::Done);
    }
    let zone = settings.daemon.time_zone;
    let started = format!("STARTED ({})", zone.name());
    let mut table = out::table(&["ID", "PROJECT", "DATABASE", "SELECTION", &started, "SIZE", "ROWS", "PROOF", "NOTE"]);
    let there = world.catalog.read(|reader| there::recall_all(reader, &settings))?;
    for row in &rows {
        let project = settings.project(&row.project);
        // Roles and tablespaces are nobody's database.
        let of_database = row.content != Content::Globals;
        let ended = |project| of_database && there::database(project, there.get(&row.project), &row.database).is_some();
        let mut cells = cells(row, zone, project.is_none_or(ended), gone.contains(&row.id), world.clock.now());
        if let (Some(place), Some(note)) = (elsewhere(&settings, row), cells.last_mut()) {
            *note = if note.is_empty() { place } else { format!("{note}, {place}") };
        }
        table.add_row(cells);
    }
    out::show(&table);
    if let Some(row) = rows.iter().find(|row| gone.contains(&row.id)) {
        let why = row.damaged.as_deref().unwrap_or_default();
        out::note(format!("{}: {why}; pgdumpd didn't remove it. Give it up: pgdumpd delete {}", row.id, row.id));
    }
    if rows.len() == args.limit as usize {
        out::note(format!("the first {}; --offset {} shows the next", args.limit, args.offset + u64::from(args.limit)));
    }
    Ok(Exit::Done)
}

/// A mistyped name is told from a project without backups; a project that is no longer configured may still have some.
fn known(world: &World, settings: &Settings, name: &str) -> Result<()> {
    let filter = BackupFilter { project: Some(name.to_owned()), ..BackupFilter::default() };
    let stored = world.catalog.read(|reader| reader.latest_backup(&filter))?.is_some();
    if stored { Ok(()) } else { world::project(settings, name).map(drop) }
}

/// Where it lies, if not where new ones of its project go.
fn elsewhere(settings: &Settings, row: &BackupRow) -> Option<String> {
    let storage = &row.storage;
    if !settings.storages.contains_key(storage) {
        return Some(format!("in storage {storage}, which is not configured"));
    }
    settings.project(&row.project).is_some_and(|project| project.storage != *storage).then(|| format!("in storage {storage}"))
}

fn cells(row: &BackupRow, zone: Tz, orphaned: bool, gone: bool, now: DateTime<Utc>) -> Vec<String> {
    let mut notes = Vec::new();
    if row.pinned {
        notes.push("pinned");
    }
    if gone {
        notes.push("GONE");
    } else if row.damaged.is_some() {
        notes.push("DAMAGED");
    }
    if row.suspicious.is_some() {
        notes.push("suspicious");
    }
    if row.selection.is_before_restore() {
        notes.push("made before an in-place restore");
    }
    if row.started_at > now {
        notes.push("dated in the future");
    }
    if orphaned {
        notes.push("orphaned");
    }
    let mut proof = serde_json::to_value(row.proof).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    if row.proof > ProofLevel::Whole {
        proof.push_str(&row.proven_at.with_timezone(&zone).format(" %Y-%m-%d").to_string());
    }
    vec![
        row.id.to_string(),
        row.project.clone(),
        row.database.clone(),
        row.selection.to_string(),
        out::when(row.started_at, zone),
        show_size(row.size),
        row.rows
            .filter(|_| matches!(row.content, Content::Full | Content::Data))
            .map_or_else(|| String::from("-"), |rows| rows.to_string()),
        proof,
        notes.join(", "),
    ]
}
