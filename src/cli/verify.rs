//! `pgdumpd verify`

use std::path::Path;

use serde_json::json;

use crate::catalog::{BackupFilter, Page, Sort};
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::verify::{self as job, Setting};
use crate::model::backup::{BackupRow, ProofLevel};
use crate::model::settings::{LogFormat, Settings};
use crate::ops::notice::{self, Desk};
use crate::ops::verify::{self, Looked, Verdict};
use crate::ops::{World, deliver};
use crate::process::{Cancel, CancelReason};
use crate::units::show_duration;

use super::exit::Exit;
use super::given::{self, Named};
use super::{Common, drill, interrupt, logging, oneoff, out, pick, progress, world};

/// Look at stored backups again, or at a dump file, and say what that proves.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pgdumpd verify [OPTIONS] <BACKUP | PROJECT | FILE | --all>",
    after_help = "\
Levels, each with what it proves:
  checksum  the stored bytes are the ones that were written (length and SHA-256)
  read      that, and pg_restore reads them to the end (a script: pgdumpd alone); tables and rows as the manifest says
  restore   it comes back: restored into a throwaway cluster, compared and checked (a drill)

A dump file is read to its end: its metadata or manifest, where one lies beside it, its checksum, structure
and rows. Nothing is written down of it.

What fails is read a second time before it is believed. A damaged backup is mailed about, no longer
counts as kept, and is never deleted by itself. Exit code 1 where any backup is damaged, or could
not be read; 3 where what was found could not be written down beside the backup (its disk is full or
read-only), so that nothing counts it, where a directory dump could only be proven to `checksum`, as there
is no room to unpack it, or where a dump file's rows are packed in a way that isn't known here. A file of a
release that neither pgdumpd nor a client here reads could not be read: 1.

Examples:
  pgdumpd verify shop@latest                    the newest; of several databases the newest of each
  pgdumpd verify shop                           every backup of the project, newest first
  pgdumpd verify --all --level checksum --json
  pgdumpd verify ./shop.dump                    a dump file, whoever made it; no configuration is needed"
)]
pub(super) struct Args {
    /// A backup (an id or its beginning, a file name, latest), PROJECT@latest (of several databases the newest of each), or all of a
    /// project's; or the path of a dump file
    #[arg(value_name = "BACKUP|PROJECT|FILE", required_unless_present = "all", conflicts_with = "all")]
    what: Option<String>,
    /// Every backup of every project
    #[arg(long)]
    all: bool,
    /// How much to prove
    #[arg(long, value_enum, default_value_t = Level::Read)]
    level: Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    Checksum,
    Read,
    Restore,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    if let Some(what) = &args.what
        && let Named::File(path) = given::which(common, what)?
    {
        return file(common, args.level, &path);
    }
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "off"));
    let world = world::look(common, &settings)?;
    let rows = chosen(&world, &settings, args.what.as_deref())?;
    if rows.is_empty() && !common.json {
        out::note("no backups yet");
    }
    match args.level {
        Level::Checksum => look(common, &settings, &world, &rows, ProofLevel::Checksum),
        Level::Read => look(common, &settings, &world, &rows, ProofLevel::Read),
        Level::Restore => drill::all(common, &settings, &world, &drill::of_databases(rows), &drill::Place::default()),
    }
}

/// A file that lies anywhere: everything is read, whatever the level.
fn file(common: &Common, level: Level, path: &Path) -> Result<Exit> {
    if level == Level::Restore {
        let path = out::shell(&path.display().to_string());
        return Err(Failure::new(Cause::Configuration, "a file can't be verified by a drill: that is for the backups of projects")
            .hint(format!("try it on a server: pgdumpd restore {path} --to NEW_DATABASE")));
    }
    logging::start(LogFormat::Text, logging::level(common, "off"));
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let exit = oneoff::verify(common, path, &cancel)?;
    Ok(signals.exit().unwrap_or(exit))
}

fn look(common: &Common, settings: &Settings, world: &World, rows: &[BackupRow], level: ProofLevel) -> Result<Exit> {
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let mut looked = Vec::new();
    let mut ended = None;
    for row in rows {
        match carry_out(world, settings, row, level, &cancel) {
            Ok(one) => {
                if !common.json {
                    print(&one);
                }
                looked.push(one);
            }
            Err(failure) => {
                ended = Some(failure);
                break;
            }
        }
    }
    let interrupted = signals.exit();
    drop(signals);
    if common.json {
        let good = ended.is_none() && exit(&looked) == Exit::Done;
        out::json(&json!({ "success": good, "error": ended, "backups": looked }))?;
    } else {
        summary(&looked, rows.len());
    }
    let desk = Desk::by_hand(world, settings, config::unusual(&common.config));
    notice::looked(world, &desk, &looked)?;
    deliver::deliver(world)?;
    match ended {
        Some(failure) if failure.cause == Cause::Interrupted => Ok(interrupted.unwrap_or(Exit::Interrupted)),
        Some(failure) if !common.json => Err(failure),
        Some(failure) => Ok(Exit::of(failure.cause)),
        None => Ok(exit(&looked)),
    }
}

/// The backups that are meant; a project's name wins over a file's.
fn chosen(world: &World, settings: &Settings, what: Option<&str>) -> Result<Vec<BackupRow>> {
    let Some(what) = what else {
        return world.catalog.read(|reader| reader.backups(&BackupFilter::default(), Sort::Date, Page::all()));
    };
    let rows = world.catalog.read(|reader| reader.project_backups(what))?;
    if !rows.is_empty() || settings.project(what).is_some() {
        return Ok(rows);
    }
    pick::of_each_database(world, settings, what)
}

fn carry_out(world: &World, settings: &Settings, row: &BackupRow, level: ProofLevel, cancel: &Cancel) -> Result<Looked> {
    let (board, over) = (Board::default(), Cancel::new());
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let looked = job::run(world, settings, row, level, &Setting { cancel, board: &board, held: &|| false });
        over.cancel(CancelReason::Cancelled);
        looked
    })
}

pub(super) fn print(looked: &Looked) {
    let Looked { backup, level, shallow, unwritten, verdict, took_ms } = looked;
    let name = format!("{} {}/{}", backup.id, backup.project, backup.database);
    match verdict {
        Verdict::Good => {
            let took = show_duration(std::time::Duration::from_millis(*took_ms));
            out::say(format!("{name}: good: {}, in {took}", verify::proves(*level, backup)));
            if let Some(why) = shallow {
                out::note(format!("  no more was proven: {why}"));
            }
        }
        Verdict::Damaged(why) => {
            out::say(format!("{name}: DAMAGED: {why}"));
            out::note(format!("  file {}; it stays, and counts as no backup from now on", backup.file));
        }
        Verdict::Unread(failure) => {
            out::say(format!("{name}: could not be looked at, which says nothing about it"));
            out::tell(failure);
        }
        Verdict::Gone => out::say(format!("{name}: was removed meanwhile")),
    }
    if let Some(failure) = unwritten {
        not_written(failure, matches!(verdict, Verdict::Damaged(_)));
    }
}

/// What was found and lies nowhere, but for damage, which the catalog knows.
pub(super) fn not_written(failure: &Failure, is_damage: bool) {
    let so = if is_damage { "so only the catalog knows it" } else { "so nothing counts it" };
    let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    out::say(format!("  NOT WRITTEN DOWN beside the backup, {so}: {failure}{hint}"));
}

fn summary(looked: &[Looked], asked: usize) {
    if asked < 2 {
        return;
    }
    let left = asked - looked.len();
    let number = |wanted: fn(&Verdict) -> bool| looked.iter().filter(|one| wanted(&one.verdict)).count();
    let good = number(|verdict| matches!(verdict, Verdict::Good));
    let damaged = number(|verdict| matches!(verdict, Verdict::Damaged(_)));
    let unread = number(|verdict| matches!(verdict, Verdict::Unread(_)));
    let mut words = format!("{good} of {asked} backups are good");
    for (number, what) in [(damaged, "damaged"), (unread, "not looked at"), (left, "not reached")] {
        if number > 0 {
            words.push_str(&format!(", {number} {what}"));
        }
    }
    out::say(words);
}

fn exit(looked: &[Looked]) -> Exit {
    let bad = looked.iter().any(|one| matches!(one.verdict, Verdict::Damaged(_) | Verdict::Unread(_)));
    let less = looked.iter().any(|one| one.shallow.is_some() || one.unwritten.is_some());
    match (bad, less) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Partly,
        (false, false) => Exit::Done,
    }
}
