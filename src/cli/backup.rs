//! `pgdumpd backup`

use std::sync::Arc;

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::scheduled::{self, Order, Report, Setting};
use crate::jobs::{Board, Open};
use crate::model::backup::{Manifest, Trigger};
use crate::model::project::Project;
use crate::model::run::{Run, RunStatus};
use crate::ops::notice::{self, Desk};
use crate::ops::{World, deliver};
use crate::process::{Cancel, CancelReason};
use crate::units::{show_duration, show_size};

use super::exit::Exit;
use super::{Common, logging, out, progress, world};

/// Back up one project now, or all of them, under the same lock and with the same consequences as on schedule.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    project: Option<String>,
    /// Every project, one after the other
    #[arg(long)]
    all: bool,
    /// Dump as this schedule of the project does
    #[arg(long, conflicts_with = "all")]
    schedule: Option<String>,
    /// Only this database; may be given more than once
    #[arg(long, short)]
    database: Vec<String>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, if common.verbose > 0 { "debug" } else { "off" });
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().collect(),
    };
    let orders = chosen.into_iter().map(|project| order(project, args)).collect::<Result<Vec<_>>>()?;
    let world = world::open(common, &settings)?;
    let cancel = Cancel::new();
    let signals = ended_by_signal(&cancel)?;
    let mut exits = Vec::new();
    let mut answers = Vec::new();
    for order in &orders {
        if cancel.reason().is_some() {
            break;
        }
        let report = carry_out(&world, order, &cancel);
        exits.push(tell(common, order, &report, &mut answers));
    }
    signals.close();
    let desk = Desk { settings: &settings, config_file: config::unusual(&common.config) };
    notice::tell(&world, &desk)?;
    deliver::deliver(&world)?;
    if common.json {
        match answers.as_slice() {
            [only] if !args.all => out::json(only)?,
            several => out::json(&several)?,
        }
    }
    Ok(if cancel.reason().is_some() { interrupted(&signals) } else { together(&exits) })
}

fn order(project: &Project, args: &Args) -> Result<Order> {
    let shape = match &args.schedule {
        None => project.shape.clone(),
        Some(name) => {
            let named = project.schedules.iter().find(|plan| &plan.name == name);
            let known = || project.schedules.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>().join(", ");
            named
                .ok_or_else(|| {
                    Failure::new(Cause::Configuration, format!("project {:?} has no schedule {name:?}", project.name))
                        .hint(format!("it has: {}", known()))
                })?
                .shape
                .clone()
        }
    };
    Ok(Order {
        project: Arc::new(project.clone()),
        shape,
        trigger: Trigger::Manual,
        schedule: args.schedule.clone(),
        slot: None,
        only: args.database.clone(),
    })
}

fn carry_out(world: &World, order: &Order, cancel: &Cancel) -> Report {
    let board = Board::default();
    let over = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let report = scheduled::run(world, order, &Setting { cancel, board: &board, gate: &Open });
        over.cancel(CancelReason::Cancelled);
        report
    })
}

fn tell(common: &Common, order: &Order, report: &Report, answers: &mut Vec<serde_json::Value>) -> Exit {
    if let Some(failure) = &report.held_by {
        if common.json {
            answers.push(json!({ "success": false, "project": order.project.name, "error": failure }));
            return Exit::Locked;
        }
        return out::failure(common, failure);
    }
    let mut exits = Vec::new();
    let mut runs = Vec::new();
    for (run, manifest) in &report.runs {
        exits.push(tell_run(common, run, manifest.as_ref()));
        runs.push(run_as_json(run, manifest.as_ref()));
    }
    match &report.pruned {
        Some(Ok(pruned)) if !pruned.removed.is_empty() && !common.json => {
            out::say(format!("pruned {} older, {} freed", pruned.removed.len(), show_size(pruned.freed)));
        }
        Some(Err(failure)) if !common.json => {
            out::failure(common, failure);
        }
        _ => {}
    }
    if let Some(Err(_)) = &report.pruned {
        exits.push(Exit::Partly);
    }
    let success = exits.iter().all(|exit| *exit == Exit::Done);
    answers.push(json!({ "success": success, "project": order.project.name, "runs": runs }));
    together(&exits)
}

fn tell_run(common: &Common, run: &Run, manifest: Option<&Manifest>) -> Exit {
    if let Some(failure) = &run.failure {
        return if common.json {
            Exit::of(failure.cause)
        } else {
            out::failure(common, &failure.clone().context(format!("{}/{}", run.project, run.database)))
        };
    }
    let Some(manifest) = manifest.filter(|_| run.status == RunStatus::Completed) else { return Exit::Failed };
    if !common.json {
        let took = show_duration(std::time::Duration::from_millis(manifest.duration_ms));
        let rows = manifest.total_rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
        let (size, tables) = (show_size(manifest.backup_size_bytes), manifest.tables.len());
        out::say(format!("{}/{}: {size}, {tables} tables{rows}, in {took}", run.project, run.database));
        out::say(format!("  {} {}", run.id, manifest.backup_file));
        manifest.warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
    }
    Exit::Done
}

/// The result by the names that older clients read, beside our own.
fn run_as_json(run: &Run, manifest: Option<&Manifest>) -> serde_json::Value {
    json!({
        "success": manifest.is_some(),
        "outputPath": manifest.map(|made| &made.backup_file),
        "size": manifest.map(|made| made.backup_size_bytes),
        "duration": manifest.map(|made| made.duration_ms),
        "error": run.failure.as_ref().map(|failure| &failure.message),
        "run": run,
    })
}

fn together(exits: &[Exit]) -> Exit {
    match exits.iter().find(|exit| **exit != Exit::Done) {
        None => Exit::Done,
        Some(_) if exits.contains(&Exit::Done) => Exit::Partly,
        Some(first) => *first,
    }
}

/// Listens for INT and TERM while the backups run.
struct Listening {
    handle: signal_hook::iterator::Handle,
    got: Arc<std::sync::atomic::AtomicI32>,
}

impl Listening {
    fn close(&self) {
        self.handle.close();
    }
}

fn ended_by_signal(cancel: &Cancel) -> Result<Listening> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::new(Cause::System, format!("signal handlers can't be installed: {error}")))?;
    let listening = Listening { handle: signals.handle(), got: Arc::default() };
    let (cancel, got) = (cancel.clone(), Arc::clone(&listening.got));
    std::thread::spawn(move || {
        for signal in signals.forever() {
            got.store(signal, std::sync::atomic::Ordering::SeqCst);
            cancel.cancel(CancelReason::Interrupted);
        }
    });
    Ok(listening)
}

fn interrupted(signals: &Listening) -> Exit {
    if signals.got.load(std::sync::atomic::Ordering::SeqCst) == SIGTERM { Exit::Terminated } else { Exit::Interrupted }
}
