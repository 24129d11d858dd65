//! `pgdumpd drill`

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::drill::{self as job, Order, Setting};
use crate::jobs::{Board, Open};
use crate::model::backup::BackupRow;
use crate::model::dump::Content;
use crate::model::project::{Connection, PasswordSource, Target};
use crate::model::settings::Settings;
use crate::ops::drill::{self, Drilled};
use crate::ops::notice::{self, Desk};
use crate::ops::{World, artifact, deliver};
use crate::postgres::throwaway;
use crate::postgres::version::Clients;
use crate::process::{Cancel, CancelReason};
use crate::units::show_duration;

use super::exit::Exit;
use super::{Common, interrupt, logging, out, pick, progress, verify, world};

/// Restore a backup for trial, compare it with what was backed up, and ask the project's checks.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --on, the backup goes into a throwaway cluster that is made from the PostgreSQL server
programs on this machine and is gone afterwards, whatever happens. The time it takes is the measured
recovery time; `pgdumpd status` shows it.

Examples:
  pgdumpd drill shop                          the newest backup of each database, as on schedule
  pgdumpd drill k3f9q2abcd
  pgdumpd drill shop@latest --on postgresql://postgres@test.internal/ --keep")]
pub(super) struct Args {
    /// A backup (an id or its beginning, a file name, latest), or a project, also PROJECT@TIME: the newest of each of its databases
    #[arg(value_name = "BACKUP|PROJECT", default_value = "latest")]
    what: String,
    /// Restore on this server, into a database of its own that is dropped afterwards
    #[arg(long, value_name = "URL")]
    on: Option<String>,
    /// Keep the restored database, on a server given by --on or by the project's drill: a throwaway cluster is gone afterwards
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "off"));
    let world = world::look(common, &settings)?;
    let rows = chosen(&world, &settings, &args.what)?;
    if let Some(part) = rows.iter().find(|row| row.content != Content::Full) {
        let words = format!("{} ({}) is no whole database, and can't be restored for trial by itself", part.id, part.content);
        return Err(Failure::new(Cause::Refused, words).hint("name a full backup of a database; `pgdumpd list` shows them"));
    }
    let place = Place { on: args.on.as_deref(), keep: args.keep };
    if let Some(row) = rows.iter().find(|row| place.keep && order(&settings, &place, row).on.is_none()) {
        return Err(nowhere_to_keep(row));
    }
    all(common, &settings, &world, &rows, &place)
}

fn nowhere_to_keep(row: &BackupRow) -> Failure {
    let words = "--keep has no server to keep the database on: a throwaway cluster is gone when the drill is over, with all that is in it";
    let to = out::shell(&format!("{}_restored", row.database));
    Failure::new(Cause::Configuration, words)
        .hint(format!("drill on a server: --on postgresql://HOST/; or restore the backup for good: pgdumpd restore {} --to {to}", row.id))
}

/// Where to restore for trial, where it is said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    on: Option<&'a str>,
    keep: bool,
}

/// Those that can be restored for trial by themselves: schemas and rows without each other, and roles, are told and left out.
pub(super) fn of_databases(rows: Vec<BackupRow>) -> Vec<BackupRow> {
    let (whole, others): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.content == Content::Full);
    for row in others {
        out::note(format!("{} {}/{} ({}) is no whole database: not restored for trial", row.id, row.project, row.database, row.content));
    }
    whole
}

/// Restores each of them for trial.
pub(super) fn all(common: &Common, settings: &Settings, world: &World, rows: &[BackupRow], place: &Place<'_>) -> Result<Exit> {
    rows.iter().filter(|row| order(settings, place, row).on.is_none()).try_for_each(|row| possible(world, settings, row))?;
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let mut drilled: Vec<Drilled> = Vec::new();
    for row in rows.iter().take_while(|_| cancel.reason().is_none()) {
        let order = order(settings, place, row);
        let one = carry_out(world, &order, row, &cancel);
        if !common.json {
            print(&one);
        }
        drilled.push(one);
    }
    let interrupted = signals.exit();
    drop(signals);
    if !common.json {
        summary(&drilled, rows.len());
    }
    if common.json {
        let good = drilled.len() == rows.len() && exit(&drilled) == Exit::Done;
        out::json(&json!({ "success": good, "backups": drilled }))?;
    }
    let desk = Desk::by_hand(world, settings, config::unusual(&common.config));
    let mut projects: Vec<&str> = rows.iter().map(|row| row.project.as_str()).collect();
    projects.dedup();
    for project in projects {
        let of: Vec<Drilled> = drilled.iter().filter(|one| one.backup.project == project).cloned().collect();
        notice::drilled(world, &desk, project, &of)?;
    }
    deliver::deliver(world)?;
    Ok(interrupted.unwrap_or_else(|| exit(&drilled)))
}

/// What this machine can't do says nothing of any backup: by hand it is refused before it counts as a drill that failed.
fn possible(world: &World, settings: &Settings, row: &BackupRow) -> Result<()> {
    let clients = match settings.project(&row.project) {
        Some(project) => world.clients(project)?,
        None => Clients::find(None, &|name| std::env::var(name).ok())?,
    };
    // One that can't be read is the drill's to tell.
    let Ok(backup) = artifact::restorable(world, row) else { return Ok(()) };
    let (manifest, places) = (&backup.manifest, throwaway::places(&settings.daemon.state_dir));
    throwaway::possible(&clients, manifest.postgresql_version_num)
        .and_then(|()| throwaway::with_room(&places, manifest.database_size_bytes.unwrap_or(0)).map(drop))
        .map_err(|failure| failure.context(format!("the backup {} can't be restored for trial on this machine", row.id)))
}

/// The backups that are meant: one, or of a project (also at a time: `shop@latest`) the newest of each database.
fn chosen(world: &World, settings: &Settings, what: &str) -> Result<Vec<BackupRow>> {
    let Some(project) = settings.project(what) else { return pick::of_each_database(world, settings, what) };
    let rows = drill::pick(world, project, 0)?;
    if rows.is_empty() {
        return Err(Failure::new(Cause::NotFound, format!("project {what:?} has no backup that could be restored"))
            .hint(format!("make one: pgdumpd backup {}", out::shell(what))));
    }
    Ok(rows)
}

fn order(settings: &Settings, place: &Place<'_>, row: &BackupRow) -> Order {
    let project = settings.project(&row.project);
    let typed = place.on.map(|url| Connection { target: Target::Url(url.to_owned()), password: PasswordSource::Libpq });
    let configured = || project.and_then(|project| project.drill.as_ref()).and_then(|drill| drill.on.clone());
    Order {
        project: project.cloned().map(Arc::new),
        typed: typed.is_some(),
        on: typed.or_else(configured),
        keep: place.keep,
        state_dir: settings.daemon.state_dir.clone(),
        retries: Vec::new(),
    }
}

fn carry_out(world: &World, order: &Order, row: &BackupRow, cancel: &Cancel) -> Drilled {
    let (board, over) = (Board::default(), Cancel::new());
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let drilled = job::run(world, order, row, Setting { cancel, board: &board, gate: &Open });
        over.cancel(CancelReason::Cancelled);
        drilled
    })
}

fn print(drilled: &Drilled) {
    let row = &drilled.backup;
    let name = format!("{} {}/{}", row.id, row.project, row.database);
    if let Some(restored) = &drilled.restored {
        let took = show_duration(Duration::from_millis(restored.took_ms));
        let tables = out::count(restored.tables.len() as u64, "table");
        out::say(format!("{name}: {tables}, {} restored in {took} on {}", out::count(restored.rows, "row"), drilled.place));
    }
    for answer in &drilled.checks {
        out::say(format!("  check {}: {}", answer.name, answer.failed.as_deref().unwrap_or("true")));
    }
    drilled.warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
    match &drilled.failure {
        None => out::say("  it came back as it was backed up"),
        Some(failure) if failure.cause == Cause::Interrupted => out::say(format!("{name}: not proven: {failure}")),
        Some(failure) => {
            out::say(format!("{name}: drill FAILED"));
            out::tell(failure);
        }
    }
    if let Some(failure) = &drilled.unwritten {
        verify::not_written(failure, false);
    }
    if let Some(kept) = &drilled.kept {
        out::say(format!("  kept as database {kept}"));
    }
}

fn summary(drilled: &[Drilled], asked: usize) {
    if asked < 2 {
        return;
    }
    let good = drilled.iter().filter(|one| one.failure.is_none()).count();
    let failed = drilled.iter().filter(|one| one.failure.as_ref().is_some_and(|failure| failure.cause != Cause::Interrupted)).count();
    let mut words = format!("{good} of {asked} backups came back as they were backed up");
    for (number, what) in [(failed, "failed"), (asked - good - failed, "not tried to the end")] {
        if number > 0 {
            words.push_str(&format!(", {number} {what}"));
        }
    }
    out::say(words);
}

fn exit(drilled: &[Drilled]) -> Exit {
    let failures: Vec<&Failure> = drilled.iter().filter_map(|one| one.failure.as_ref()).collect();
    match failures.first() {
        None if drilled.iter().any(|one| one.unwritten.is_some()) => Exit::Partly,
        None => Exit::Done,
        Some(first) => Exit::of(first.cause),
    }
}
