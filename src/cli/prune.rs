//! `pgdumpd prune`

use std::sync::Arc;

use serde::Serialize;

use crate::config;
use crate::error::{Failure, Result};
use crate::habit::Suspension;
use crate::jobs::prune;
use crate::model::backup::BackupRow;
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::ops::elsewhere::{self, Elsewhere};
use crate::ops::notice::{self, Desk};
use crate::ops::prune::{self as verb, PrunePlan, Pruned};
use crate::ops::{World, deliver};
use crate::retention::Divided;
use crate::units::show_size;

use super::exit::Exit;
use super::{Common, out, told, world};

/// Remove what the retention no longer keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Pruning follows each good backup by itself; by hand it is needed only after a change.
Look first: pgdumpd prune shop --dry-run")]
pub(super) struct Args {
    /// The project; all of them without it
    project: Option<String>,
    /// Show the plan and its reasons, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: only how many each project keeps and removes
    #[arg(long, requires = "dry_run")]
    summary: bool,
    /// Agree to a changed retention that removes more than half, or that backups of several servers are one line; prune this once although
    /// a suspicious backup suspends it
    #[arg(long, requires = "project", conflicts_with = "dry_run")]
    confirm: bool,
}

/// Projects whose plans are held in memory together.
const AT_ONCE: usize = 64;

/// What is told of one project in JSON.
#[derive(Serialize)]
struct Answer {
    success: bool,
    project: String,
    #[serde(flatten)]
    told: Told,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Plan(Box<Shown>),
    Done { result: Pruned, divided: Vec<Divided> },
    Failed { error: Failure },
}

#[derive(Serialize)]
struct Shown {
    keep: usize,
    remove: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    backups: Option<Vec<Judged>>,
    absent: Vec<BackupRow>,
    held: Option<String>,
    suspended: Vec<Suspension>,
    divided: Vec<Divided>,
    held_back: usize,
    elsewhere: Vec<Elsewhere>,
}

#[derive(Serialize)]
struct Judged {
    backup: BackupRow,
    verdict: &'static str,
    why: String,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().map(Arc::as_ref).collect(),
    };
    let world = if args.dry_run { world::look(common, &settings)? } else { world::existing(common, &settings)? };
    let mut exits = Vec::new();
    let mut answers = Vec::new();
    let mut tell = |project: &Project, told: Result<(Exit, Told)>| {
        let (exit, told) = told.unwrap_or_else(|failure| failed(common, failure));
        exits.push(exit);
        if common.json {
            let success = matches!(told, Told::Plan(_)) || exit == Exit::Done;
            answers.push(Answer { success, project: project.name.clone(), told });
        }
    };
    if args.dry_run {
        let mut elsewhere = world.catalog.read(|reader| elsewhere::all(reader, &settings))?;
        for some in chosen.chunks(AT_ONCE) {
            for (project, plan) in some.iter().zip(verb::plans(&world, some)) {
                tell(project, plan.map(|plan| show(common, project, plan, elsewhere.remove(&project.name), args.summary)));
            }
        }
    } else {
        for project in chosen {
            tell(project, prune(common, &settings, &world, project, args.confirm));
        }
    }
    if common.json {
        out::json(&answers)?;
    }
    Ok(told::together(&exits))
}

fn show(common: &Common, project: &Project, plan: PrunePlan, elsewhere: Option<Vec<Elsewhere>>, summary: bool) -> (Exit, Told) {
    let elsewhere = elsewhere.unwrap_or_default();
    if !common.json {
        print_plan(&plan, project, summary);
        elsewhere.iter().for_each(|one| out::note(format!("{}: {}", project.name, one.words())));
    }
    (Exit::Done, Told::Plan(Box::new(shown(plan, elsewhere, summary))))
}

fn prune(common: &Common, settings: &Settings, world: &World, project: &Project, confirm: bool) -> Result<(Exit, Told)> {
    let (plan, done) = prune::run(world, project, confirm)?;
    let desk = Desk::by_hand(world, settings, config::unusual(&common.config));
    if notice::pruned(world, &desk, project, Ok(&done))? > 0 {
        deliver::deliver(world)?;
    }
    if !common.json {
        let removed = out::count(done.removed.len() as u64, "backup");
        out::say(format!("{}: {removed} removed, {} freed", project.name, show_size(done.freed)));
        told::in_use(&done);
        done.failures.iter().for_each(out::tell);
        told::divided(&project.name, &plan.divided, plan.held_back);
    }
    let exit = if done.failures.is_empty() && plan.held_back == 0 { Exit::Done } else { Exit::Partly };
    Ok((exit, Told::Done { result: done, divided: plan.divided }))
}

fn failed(common: &Common, failure: Failure) -> (Exit, Told) {
    if !common.json {
        out::tell(&failure);
    }
    (Exit::of(failure.cause), Told::Failed { error: failure })
}

fn print_plan(plan: &PrunePlan, project: &Project, summary: bool) {
    out::say(format!("{}: keeps {}, removes {}", plan.project, plan.plan.keep.len(), plan.plan.remove.len()));
    let started = format!("STARTED ({})", project.time_zone.name());
    let mut table = out::table(&["", "ID", "DATABASE", "SELECTION", &started, "SIZE", "WHY"]);
    let mut verdicts = plan.plan.verdicts();
    for row in plan.backups.iter().filter(|_| !summary) {
        let (word, why) = verdicts.remove(&row.id).unwrap_or_default();
        let started = out::when(row.started_at, project.time_zone);
        table.add_row(vec![
            word.to_string(),
            row.id.to_string(),
            row.database.clone(),
            row.selection.to_string(),
            started,
            show_size(row.size),
            why,
        ]);
    }
    if !summary && !plan.backups.is_empty() {
        out::show(&table);
    }
    for row in &plan.absent {
        out::note(format!("  {} is in the catalog, but its files are gone: {}", row.id, row.file));
    }
    for suspension in &plan.suspended {
        out::note(format!("suspended: the newest backup of {} is suspicious: {}", suspension.database, suspension.why));
        out::note(format!("  if it is meant to be so: pgdumpd accept {}", suspension.backup));
    }
    told::divided(&plan.project, &plan.divided, plan.held_back);
    if let Some(why) = &plan.held {
        out::note(format!("held: {why}; agree with `pgdumpd prune {} --confirm`", out::shell(&plan.project)));
    }
}

fn shown(plan: PrunePlan, elsewhere: Vec<Elsewhere>, summary: bool) -> Shown {
    let (keep, remove) = (plan.plan.keep.len(), plan.plan.remove.len());
    let PrunePlan { plan, backups, absent, held, suspended, divided, held_back, .. } = plan;
    let backups = (!summary).then(|| {
        let mut verdicts = plan.verdicts();
        let judged = |backup: BackupRow| {
            let (verdict, why) = verdicts.remove(&backup.id).unwrap_or_default();
            Judged { backup, verdict, why }
        };
        backups.into_iter().map(judged).collect()
    });
    Shown { keep, remove, backups, absent, held, suspended, divided, held_back, elsewhere }
}
