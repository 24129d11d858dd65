//! `pgdumpd backup`

use std::cell::RefCell;
use std::sync::Arc;

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::scheduled::{self, Ended, Order, Report, Setting};
use crate::jobs::{Board, Open, mend, telling};
use crate::model::backup::{Manifest, Trigger};
use crate::model::project::Project;
use crate::model::run::Run;
use crate::model::settings::Settings;
use crate::ops::notice::{self, Desk};
use crate::ops::{World, chosen, deliver};
use crate::process::{Cancel, CancelReason};

use super::exit::Exit;
use super::{Common, interrupt, logging, oneoff, out, progress, told, world};

/// Back up one project now, or all of them, under the same lock and with the same consequences as on schedule; or one database that no
/// configuration knows.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pgdumpd backup [OPTIONS] <PROJECT | --all>\n       pgdumpd backup --url URL [OPTIONS] [-- PG_DUMP OPTIONS]",
    after_help = "\
A daemon may be running or not: whoever comes second finds the project locked (exit code 11).
Old backups are pruned and alerts change as after a scheduled run. With -v pg_dump's own lines are shown.

Examples:
  pgdumpd backup shop                    every database of the project, as configured
  pgdumpd backup shop -d billing         only this one
  pgdumpd backup shop --schedule schema  what that schedule would make
  pgdumpd backup --all --json

Without a configuration (a password belongs into PGPASSWORD, DATABASE_URL or ~/.pgpass, not on the command line);
what was made is looked at and restored by `pgdumpd show`, `verify`, `cat`, `diff` and `restore`, which take its path:
  pgdumpd backup --url postgresql://me@db/shop --output shop.dump
  pgdumpd backup --url postgresql://me@db/shop --output - | ssh host 'cat > shop.dump'
  pgdumpd backup --env prod --output-dir /backups
  pgdumpd verify /backups/shop_prod_2026-11-21T01-15-00-000Z.dump"
)]
pub(super) struct Args {
    /// The project
    #[arg(conflicts_with = "all")]
    project: Option<String>,
    /// Every enabled project, one after the other
    #[arg(long)]
    all: bool,
    /// Dump as this schedule of the project does
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    schedule: Option<String>,
    /// Only this database of the project; may be given more than once. Without a project: this one instead of the URL's
    #[arg(long, short, value_name = "NAME", conflicts_with = "all")]
    database: Vec<String>,
    /// Fail at once where the server isn't there, instead of trying again after some minutes
    #[arg(long)]
    no_retry: bool,
    #[command(flatten)]
    oneoff: oneoff::Args,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    oneoff::none_is_empty(&args.oneoff, &args.database)?;
    let of_project = args.project.is_some() || args.all;
    if args.oneoff.are_given() && of_project {
        return Err(Failure::new(
            Cause::Configuration,
            "a project is backed up as its configuration says; these options are for one without",
        )
        .hint("leave out the project, or the options under \"Without a configuration\" in `pgdumpd backup --help`"));
    }
    // Variables that say where backups are kept describe a project; others that name a database mean just that one.
    let of_project = of_project || config::keeps_backups(&common.config);
    if args.oneoff.are_given() || (!of_project && oneoff::is_named_by_environment()) {
        return oneoff::run(common, &args.oneoff, only_database(args)?);
    }
    if !of_project {
        return Err(Failure::new(Cause::Configuration, "no project and no database is named")
            .hint("pgdumpd backup PROJECT, pgdumpd backup --all, or without a configuration: --url postgresql://user@host/database"));
    }
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "off"));
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().map(Arc::as_ref).filter(|project| project.enabled).collect(),
    };
    let orders = chosen.into_iter().map(|project| order(project, args)).collect::<Result<Vec<_>>>()?;
    if orders.is_empty() {
        out::note("pgdumpd: no project is enabled, so there is nothing to back up");
    }
    let (world, unread) = world::open_to_write(common, &settings)?;
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    for order in &orders {
        chosen::check(&world, &order.project, &order.only, &cancel)?;
    }
    let desk = Desk::by_hand(&world, &settings, config::unusual(&common.config));
    tell_what_was_cut_off(&world, &desk, &orders)?;
    let mut exits = Vec::new();
    let mut answers = Vec::new();
    for order in &orders {
        if cancel.reason().is_some() {
            break;
        }
        let told = RefCell::new(Vec::new());
        let tell = |run: &Run, made: Option<&Manifest>| {
            progress::make_room();
            told::print_run(&world, run, made);
            told.borrow_mut().push(run.id.clone());
        };
        let tell: Option<&Ended<'_>> = if common.json { None } else { Some(&tell) };
        let report = carry_out(&world, order, &cancel, out::forwarded(common), tell);
        if common.json {
            answers.push(told::as_json(&world, order, &report));
        } else {
            told::print(&world, order, &report, &told.borrow());
        }
        exits.push(told::exit(&report));
        // The other projects have their backups all the same.
        for failure in telling::tell(&world, &desk, &order.project, &report) {
            exits.push(Exit::of(failure.cause));
            out::tell(&failure);
        }
    }
    let interrupted = signals.exit();
    drop(signals);
    if common.json {
        match answers.as_slice() {
            [only] if !args.all => out::json(only)?,
            several => out::json(&several)?,
        }
    }
    mail(&world, &desk, &settings)?;
    if told::together(&exits) == Exit::Done {
        // Of a storage that nothing went to.
        unread.iter().for_each(|problem| out::note(format!("pgdumpd: {problem}")));
    }
    Ok(interrupted.unwrap_or_else(|| told::together(&exits)))
}

/// The one database that is meant where no project is.
fn only_database(args: &Args) -> Result<Option<&str>> {
    if args.schedule.is_some() {
        return Err(Failure::new(Cause::Configuration, "--schedule names a schedule of a project, and here is none")
            .hint("leave it out; --schema-only, --data-only, --tables and kin say what is dumped"));
    }
    match args.database.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => Err(Failure::new(Cause::Configuration, format!("one file holds one database, and {} are named", several.len()))
            .hint("back up one after the other, each with its own --database and --output")),
    }
}

/// A run that was ended by force is told before the next one begins, which may be ended as well: by a job's deadline, or for want of memory.
fn tell_what_was_cut_off(world: &World, desk: &Desk<'_>, orders: &[Order]) -> Result<()> {
    let unfinished = world.catalog.read(|reader| reader.unfinished_runs())?;
    let is_cut_off = |project: &Project| unfinished.iter().any(|one| one.run.project == project.name && one.is_cut_off());
    for order in orders.iter().filter(|order| is_cut_off(&order.project)) {
        if let Err(failure) = mend::mend(world, &order.project) {
            // Its own run meets the same, and tells it.
            tracing::warn!(project = order.project.name, "what a run has left that was cut off can't be cleared up yet: {failure}");
        }
    }
    if notice::tell(world, desk)? > 0 {
        deliver::deliver(world)?;
    }
    Ok(())
}

/// What happened becomes mail, which is sent now: there may be no daemon to do it.
fn mail(world: &World, desk: &Desk<'_>, settings: &Settings) -> Result<()> {
    notice::tell(world, desk)?;
    notice::closed(world, desk)?;
    notice::lost(world, desk)?;
    notice::damages(world, desk)?;
    let done = deliver::deliver(world)?;
    if done.deferred > 0 {
        out::note(format!("{} could not be sent yet; the daemon or the next backup tries again", out::count(done.deferred as u64, "mail")));
    }
    if done.refused > 0 {
        let host = settings.smtp.as_ref().map(|smtp| smtp.host.as_str()).unwrap_or_default();
        out::note(format!("{} refused for good by {host}; `pgdumpd status` says why", out::count(done.refused as u64, "mail")));
    }
    Ok(())
}

fn order(project: &Project, args: &Args) -> Result<Order> {
    let shape = match &args.schedule {
        None => project.shape.clone(),
        Some(name) => named(project, name)?,
    };
    let mut project = project.clone();
    if args.no_retry {
        project.limits.retries.clear();
    }
    Ok(Order {
        project: Arc::new(project),
        shape,
        trigger: Trigger::Manual,
        schedule: args.schedule.clone(),
        slot: None,
        only: args.database.clone(),
    })
}

fn named(project: &Project, name: &str) -> Result<crate::model::dump::DumpShape> {
    let found = project.schedules.iter().find(|plan| plan.name == name);
    let known = || project.schedules.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>().join(", ");
    found.map(|plan| plan.shape.clone()).ok_or_else(|| {
        Failure::new(Cause::Configuration, format!("project {:?} has no schedule {name:?}", project.name)).hint(
            if project.schedules.is_empty() {
                String::from("it has none; without --schedule it is dumped as the project says")
            } else {
                format!("it has: {}", known())
            },
        )
    })
}

fn carry_out(world: &World, order: &Order, cancel: &Cancel, said: Option<fn(&str)>, ended: Option<&Ended<'_>>) -> Report {
    let board = Board::default();
    let over = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let report = scheduled::run(world, order, &Setting { cancel, board: &board, gate: &Open, said, ended });
        over.cancel(CancelReason::Cancelled);
        report
    })
}
