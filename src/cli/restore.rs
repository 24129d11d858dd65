//! `pgdumpd restore`

mod given;
mod merge;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::restore::{self as job, Order, Report, To};
use crate::model::backup::{BackupRow, Manifest};
use crate::model::settings::Settings;
use crate::ops::notice::{self, Desk};
use crate::ops::restore::{AtError, Halves, Occupied, Plan, Restored, Wanted, Way};
use crate::ops::{World, deliver};
use crate::postgres::quote;
use crate::process::{Cancel, CancelReason};
use crate::units::{show_duration, show_size};

use super::exit::Exit;
use super::given::{Named, which};
use super::{Common, interrupt, logging, out, pick, progress, world};

/// Bring a backup back, or any dump file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A database that doesn't exist is made like the original. One that holds something is never touched without --replace or --in-place.
Nothing has its name before it is whole: whatever fails, the target is as it was.

Examples:
  pgdumpd restore shop@latest --to shop_restored        beside the original
  pgdumpd restore shop@2026-11-20 --to shop --replace   in its place; the old one is kept under a dated name
  pgdumpd restore k3f9q2abcd --to postgresql://db2/shop --globals
  pgdumpd restore shop@latest --to shop_restored --table orders --dry-run
  pgdumpd restore shop@latest --to shop --table orders --on-conflict skip   rows that were lost, into the table that is there

A dump file, whoever made it: custom, tar, plain or directory, also in gzip, zstd or bzip2. No configuration is needed; the server is that of
--url, else of DATABASE_URL or libpq's PGHOST and kin. A manifest beside the file is used; without one the file is read to its end first.
  pgdumpd restore ./shop.dump --to shop_restored --url postgresql://me@db/
  pgdumpd restore ./shop.sql.gz --to postgresql://me@db/shop_restored")]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT@TIME, PROJECT/DATABASE@TIME, or latest; or the path of a dump file
    #[arg(value_name = "BACKUP|FILE")]
    backup: String,
    /// A database on the project's server, or a URL of one anywhere
    #[arg(long, value_name = "DATABASE|URL", allow_hyphen_values = true)]
    to: Option<String>,
    /// The server for a dump file, where --to names a database alone; else `DATABASE_URL`, or libpq's PGHOST and kin
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connect as this role instead of the project's; its password is found as psql finds it, in PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "ROLE")]
    user: Option<String>,
    /// Put it in the place of a database that holds something; the old one is kept under a dated name
    #[arg(long)]
    replace: bool,
    /// Drop the old database instead of keeping it
    #[arg(long, requires = "replace", conflicts_with = "in_place")]
    drop_old: bool,
    /// Drop and make each object in the database that is there, in one transaction
    #[arg(long, visible_alias = "clean", conflicts_with = "replace")]
    in_place: bool,
    /// Don't back up first what an in-place restore overwrites
    #[arg(long, requires = "in_place")]
    no_safety_backup: bool,
    /// Only these tables, with what belongs to them; may be given more than once
    #[arg(long, short, value_name = "PATTERN")]
    table: Vec<String>,
    /// Merge the rows of the one --table into the table that is there: what becomes of rows whose key is there already
    #[arg(long, value_enum, value_name = "RULE", requires = "table", conflicts_with_all = NOT_MERGED)]
    on_conflict: Option<OnConflict>,
    /// Tell rows apart by these columns instead of the primary key; they must have a unique index
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', requires = "on_conflict")]
    key: Vec<String>,
    /// Only what is in these schemas
    #[arg(long, short = 'n', value_name = "PATTERN")]
    schema: Vec<String>,
    /// Without these tables
    #[arg(long, short = 'T', value_name = "PATTERN")]
    exclude_table: Vec<String>,
    /// Only rows, into tables that are there
    #[arg(long, conflicts_with = "in_place")]
    data_only: bool,
    /// Only definitions
    #[arg(long, conflicts_with = "data_only")]
    schema_only: bool,
    /// Everything belongs to the connecting role
    #[arg(long)]
    no_owner: bool,
    /// Without GRANT and REVOKE
    #[arg(long)]
    no_privileges: bool,
    /// Everything goes into the default tablespace
    #[arg(long)]
    no_tablespaces: bool,
    /// Connections that restore in parallel
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: u32,
    /// Restore the project's newest roles and tablespaces first
    #[arg(long)]
    globals: bool,
    /// Pass over errors; they are counted, and the exit code is 3
    #[arg(long, conflicts_with_all = ["in_place", "data_only"])]
    keep_going: bool,
    /// Leave the planner's statistics to autovacuum
    #[arg(long)]
    no_analyze: bool,
    /// Ask everything and show the plan, touch nothing; with --on-conflict: do all of it in a transaction, count, and roll back
    #[arg(long)]
    dry_run: bool,
}

/// What a merge leaves no choice of.
const NOT_MERGED: [&str; 12] = [
    "replace",
    "drop_old",
    "in_place",
    "schema",
    "exclude_table",
    "data_only",
    "schema_only",
    "no_owner",
    "no_privileges",
    "globals",
    "keep_going",
    "no_analyze",
];

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OnConflict {
    /// Merge nothing at all
    Error,
    /// Leave the table's row
    Skip,
    /// Make it the backup's, but for its key, which stays as the table has it written
    Update,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    if let Named::File(path) = which(common, &args.backup)? {
        return given::run(common, args, &path);
    }
    if args.url.is_some() {
        return Err(Failure::new(Cause::Configuration, "--url is for dump files: a backup's server is its project's")
            .hint("name another server in --to: postgresql://HOST/DATABASE"));
    }
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "off"));
    let world = world::existing(common, &settings)?;
    let order = match order(&world, &settings, args) {
        Ok(order) => order,
        Err(failure) => {
            world.audit("restore", None, &args.backup, &format!("{}: {failure}", failure.cause))?;
            return Err(failure);
        }
    };
    if let Some(why) = &order.backup.suspicious {
        out::note(format!("warning: the backup {} is suspicious: {why}", order.backup.id));
        out::note(format!("  `pgdumpd list {}` shows the ones before it", out::shell(&order.backup.project)));
    }
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let exit = match args.on_conflict {
        Some(rule) => merge::run(common, &world, &order, &merge::table(args, rule)?, &cancel),
        None => carry_out(&world, &order, &cancel).and_then(|report| {
            tell(common, &report)?;
            Ok(exit(&report))
        }),
    };
    let interrupted = signals.exit();
    drop(signals);
    let is_damaged = exit.as_ref().is_err_and(|failure| failure.cause == Cause::Damaged);
    let exit = exit.unwrap_or_else(|failure| out::failure(common, &failure));
    if is_damaged {
        // There may be no daemon to mail what was found.
        notice::damages(&world, &Desk::by_hand(&world, &settings, config::unusual(&common.config)))?;
        deliver::deliver(&world)?;
    }
    // What was done before the signal came is done.
    Ok(interrupted.filter(|_| exit != Exit::Done).unwrap_or(exit))
}

fn order(world: &World, settings: &Settings, args: &Args) -> Result<Order> {
    let target = args.to.as_deref().filter(|to| !to.is_empty()).map_or_else(|| String::from("DATABASE"), out::shell);
    let line = |id: &str| format!("pgdumpd restore {id} --to {target}");
    let backup = pick::of_one_database(world, settings, &args.backup, &line)?;
    let project = settings.project(&backup.project).cloned().map(Arc::new);
    let to = to(args, &backup)?;
    Ok(Order {
        backup,
        project,
        to,
        user: args.user.clone(),
        wanted: wanted(args),
        occupied: occupied(args),
        globals: args.globals,
        safety: !args.no_safety_backup,
        dry_run: args.dry_run,
    })
}

fn to(args: &Args, backup: &BackupRow) -> Result<To> {
    match &args.to {
        Some(url) if url.contains("://") => Ok(To::Url(url.clone())),
        Some(name) if !name.is_empty() => Ok(To::Database(name.clone())),
        _ => {
            let new = out::shell(&format!("{}_restored", backup.database));
            Err(Failure::new(Cause::Configuration, "where to restore it is not said").hint(format!(
                "type: pgdumpd restore {} --to {new}; or with --to {} --replace, to put it in the place of the original",
                out::shell(&args.backup),
                out::shell(&backup.database)
            )))
        }
    }
}

fn occupied(args: &Args) -> Occupied {
    match (args.replace, args.in_place) {
        (true, _) => Occupied::Replace { drop_old: args.drop_old },
        (_, true) => Occupied::InPlace,
        _ => Occupied::Refuse,
    }
}

fn wanted(args: &Args) -> Wanted {
    Wanted {
        tables: args.table.clone(),
        schemas: args.schema.clone(),
        exclude_tables: args.exclude_table.clone(),
        halves: match (args.data_only, args.schema_only) {
            (true, _) => Halves::Data,
            (_, true) => Halves::Schema,
            _ => Halves::Both,
        },
        jobs: args.jobs,
        at_error: if args.keep_going { AtError::GoOn } else { AtError::Stop },
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        no_tablespaces: args.no_tablespaces,
        analyze: !args.no_analyze,
    }
}

fn carry_out(world: &World, order: &Order, cancel: &Cancel) -> Result<Report> {
    let board = Board::default();
    let over = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let report = job::run(world, order, cancel, &board);
        over.cancel(CancelReason::Cancelled);
        report
    })
}

fn exit(report: &Report) -> Exit {
    match &report.restored {
        Some(restored) if !restored.is_equal() => Exit::Partly,
        _ => Exit::Done,
    }
}

fn tell(common: &Common, report: &Report) -> Result<()> {
    if common.json {
        return out::json(&as_json(report));
    }
    match &report.restored {
        None => print_plan(&report.plan),
        Some(restored) => print(&report.plan, restored, report.safety.as_ref()),
    }
    Ok(())
}

/// The names that older clients read, beside our own.
fn as_json(report: &Report) -> serde_json::Value {
    let restored = report.restored.as_ref();
    json!({
        "success": exit(report) == Exit::Done,
        "restoredTables": restored.map(|restored| restored.tables.len()),
        "recordCount": restored.map(|restored| restored.rows),
        "duration": restored.map(|restored| restored.took_ms),
        "warnings": restored.map_or(&report.plan.warnings, |restored| &restored.warnings),
        "safetyBackup": report.safety.as_ref().map(|made| &made.backup_id),
        "plan": report.plan,
        "restored": restored,
    })
}

/// What is restored, as people call it.
fn source(plan: &Plan) -> String {
    if plan.project.is_empty() {
        return format!("the file {} of {}", plan.backup, plan.of);
    }
    format!("{} of {}/{}", plan.backup, plan.project, plan.of)
}

fn print_plan(plan: &Plan) {
    out::say(format!("would restore {} to {:?} on {}", source(plan), plan.database, plan.server));
    let rows = plan.rows.map_or_else(|| String::from("rows not counted"), |rows| out::count(rows, "row"));
    out::say(format!("  {}, {rows}, {} of archive", out::count(plan.tables, "table"), show_size(plan.bytes)));
    plan.steps.iter().for_each(|step| out::say(format!("  - {step}")));
    plan.warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
}

fn print(plan: &Plan, restored: &Restored, safety: Option<&Manifest>) {
    let took = show_duration(Duration::from_millis(restored.took_ms));
    let tables = out::count(restored.tables.len() as u64, "table");
    out::say(format!(
        "restored {} to {:?} on {}: {tables}, {} in {took}",
        source(plan),
        plan.database,
        plan.server,
        out::count(restored.rows, "row")
    ));
    if let Way::Swap { keep_as, drop_old: false, ties, .. } = &plan.way {
        let first = ties.first_dropped().map_or_else(String::new, |lines| format!("in it {lines}; then "));
        out::say(format!(
            "  the old database is kept as {keep_as}; when it isn't needed any more: {first}drop database {};",
            quote::ident(keep_as)
        ));
    }
    if let Some(made) = safety {
        out::say(format!("  what was there is kept as backup {}", made.backup_id));
    }
    restored.warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
    restored.problems.iter().for_each(|problem| out::note(format!("  differs: {problem}")));
    if restored.ignored > 0 {
        out::note(format!("  {} passed over:", out::count(restored.ignored, "error")));
        restored.errors.iter().for_each(|error| out::note(format!("  | {error}")));
    }
}
