//! `pgdumpd prune`

use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::jobs::prune;
use crate::model::project::Project;
use crate::ops::World;
use crate::ops::prune::{self as verb, PrunePlan};
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
    /// Agree to a changed retention that removes more than half; prune this once although a suspicious backup suspends it
    #[arg(long, requires = "project", conflicts_with = "dry_run")]
    confirm: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().collect(),
    };
    let world = world::open(common, &settings)?;
    let mut exits = Vec::new();
    let mut answers = Vec::new();
    for project in chosen {
        let (exit, answer) = if args.dry_run { show(common, &world, project) } else { prune(common, &world, project, args.confirm) };
        exits.push(exit);
        answers.push(answer);
    }
    if common.json {
        out::json(&answers)?;
    }
    Ok(told::together(&exits))
}

fn show(common: &Common, world: &World, project: &Project) -> (Exit, Value) {
    match verb::plan(world, project) {
        Ok(plan) => {
            if !common.json {
                print_plan(&plan, project);
            }
            (Exit::Done, plan_as_json(&plan))
        }
        Err(failure) => failed(common, project, &failure),
    }
}

fn prune(common: &Common, world: &World, project: &Project, confirm: bool) -> (Exit, Value) {
    match prune::run(world, project, confirm) {
        Ok(done) => {
            if !common.json {
                let removed = out::count(done.removed.len() as u64, "backup");
                out::say(format!("{}: {removed} removed, {} freed", project.name, show_size(done.freed)));
                done.failures.iter().for_each(out::tell);
            }
            let exit = if done.failures.is_empty() { Exit::Done } else { Exit::Partly };
            (exit, json!({ "success": exit == Exit::Done, "project": project.name, "result": done }))
        }
        Err(failure) => failed(common, project, &failure),
    }
}

fn failed(common: &Common, project: &Project, failure: &Failure) -> (Exit, Value) {
    if !common.json {
        out::tell(failure);
    }
    (Exit::of(failure.cause), json!({ "success": false, "project": project.name, "error": failure }))
}

fn print_plan(plan: &PrunePlan, project: &Project) {
    out::say(format!("{}: keeps {}, removes {}", plan.project, plan.plan.keep.len(), plan.plan.remove.len()));
    let started = format!("STARTED ({})", project.time_zone.name());
    let mut table = out::table(&["", "ID", "DATABASE", "SELECTION", &started, "SIZE", "WHY"]);
    for row in &plan.backups {
        let (word, why) = plan.plan.verdict(&row.id);
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
    if !plan.backups.is_empty() {
        out::show(&table);
    }
    for row in &plan.absent {
        out::note(format!("  {} is in the catalog, but its files are gone: {}", row.id, row.file));
    }
    for suspension in &plan.suspended {
        out::note(format!("suspended: the newest backup of {} is suspicious: {}", suspension.database, suspension.why));
        out::note(format!("  if it is meant to be so: pgdumpd accept {}", suspension.backup));
    }
    if let Some(why) = &plan.held {
        out::note(format!("held: {why}; agree with `pgdumpd prune {} --confirm`", out::shell(&plan.project)));
    }
}

fn plan_as_json(plan: &PrunePlan) -> Value {
    let backups: Vec<Value> = plan
        .backups
        .iter()
        .map(|row| {
            let (verdict, why) = plan.plan.verdict(&row.id);
            json!({ "backup": row, "verdict": verdict, "why": why })
        })
        .collect();
    json!({ "success": true, "project": plan.project, "backups": backups, "absent": plan.absent, "held": plan.held, "suspended": plan.suspended })
}
