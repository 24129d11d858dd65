//! `pgdumpd prune`

use serde_json::json;

use crate::error::Result;
use crate::jobs::prune;
use crate::model::project::Project;
use crate::ops::prune::{self as verb, PrunePlan};
use crate::units::show_size;

use super::exit::Exit;
use super::{Common, out, world};

/// Remove what the retention no longer keeps.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project; all of them without it
    project: Option<String>,
    /// Show the plan and its reasons, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Agree to a changed retention that removes more than half
    #[arg(long, requires = "project")]
    confirm: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().collect(),
    };
    let world = world::open(common, &settings)?;
    let mut exit = Exit::Done;
    let mut answers = Vec::new();
    for project in chosen {
        if args.dry_run {
            let plan = verb::plan(&world, project)?;
            if common.json {
                answers.push(plan_as_json(&plan));
            } else {
                print_plan(&plan, project);
            }
            continue;
        }
        match prune::run(&world, project, args.confirm) {
            Ok(done) => {
                if !done.failures.is_empty() {
                    exit = Exit::Partly;
                }
                if common.json {
                    answers.push(json!({ "project": project.name, "result": done }));
                } else {
                    out::say(format!("{}: {} removed, {} freed", project.name, done.removed.len(), show_size(done.freed)));
                    done.failures.iter().for_each(|failure| out::note(format!("  {failure}")));
                }
            }
            Err(failure) => {
                exit = out::failure(common, &failure);
            }
        }
    }
    if common.json {
        out::json(&answers)?;
    }
    Ok(exit)
}

fn print_plan(plan: &PrunePlan, project: &Project) {
    out::say(format!("{}: keeps {}, removes {}", plan.project, plan.plan.keep.len(), plan.plan.remove.len()));
    let mut table = out::table(&["", "ID", "DATABASE", "SELECTION", "STARTED", "SIZE", "WHY"]);
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
    out::show(&table);
    for row in &plan.absent {
        out::note(format!("  {} is in the catalog, but its files are gone: {}", row.id, row.file));
    }
    if let Some(why) = &plan.held {
        out::note(format!("  held: {why}; agree with `pgdumpd prune {} --confirm`", plan.project));
    }
}

fn plan_as_json(plan: &PrunePlan) -> serde_json::Value {
    let backups: Vec<serde_json::Value> = plan
        .backups
        .iter()
        .map(|row| {
            let (verdict, why) = plan.plan.verdict(&row.id);
            json!({ "backup": row, "verdict": verdict, "why": why })
        })
        .collect();
    json!({ "project": plan.project, "backups": backups, "absent": plan.absent, "held": plan.held })
}
