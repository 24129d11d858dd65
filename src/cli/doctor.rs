//! `pgdumpd doctor`

use std::sync::Arc;

use serde_json::json;

use crate::config;
use crate::error::Result;
use crate::model::project::Project;
use crate::ops::examine::{self, Finding, Home, Level};
use crate::ops::mount;

use super::exit::Exit;
use super::{Common, out, world};

/// Find what would fail tonight: on this machine and on each enabled project's server. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 where something would fail; warnings alone leave it 0.")]
pub(super) struct Args {
    /// Only this project, besides the machine
    project: Option<String>,
    /// Take the disk that is mounted now as this storage, after it was replaced on purpose
    #[arg(long, value_name = "STORAGE")]
    accept_storage: Option<String>,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().map(Arc::as_ref).filter(|project| project.enabled).collect(),
    };
    world::right_user(common, &settings)?;
    // A full disk is told as such, not by what the catalog's opening says of it.
    if let Some(finding) = examine::state(&settings).filter(|finding| finding.level == Level::Problem) {
        return Ok(alone(common, finding));
    }
    let world = if args.accept_storage.is_some() { world::existing(common, &settings)? } else { world::look(common, &settings)? };
    if let Some(name) = &args.accept_storage {
        let storage = world.storage_named(name)?;
        let id = mount::accept(&world, storage.as_ref())?;
        world.audit("accept-storage", None, name, &id)?;
    }
    let mut findings = Vec::new();
    let home = if config::is_ambient(&common.config) { Home::Container } else { Home::Service };
    tell(common, examine::machine(&world, &settings, home), &mut findings);
    for project in chosen {
        tell(common, examine::project(&world, &settings, project), &mut findings);
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine);
    if common.json {
        out::json(&json!({ "success": worst < Level::Problem, "findings": findings }))?;
    } else {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem) as u64, count(Level::Warning) as u64);
        out::say(format!("{}, {}", out::count(problems, "problem"), out::count(warnings, "warning")));
    }
    Ok(if worst == Level::Problem { Exit::Failed } else { Exit::Done })
}

/// Where nothing else can be looked at.
fn alone(common: &Common, finding: Finding) -> Exit {
    let mut findings = Vec::new();
    tell(common, vec![finding], &mut findings);
    if common.json {
        drop(out::json(&json!({ "success": false, "findings": findings })));
    } else {
        out::say("1 problem; nothing else can be looked at before it is mended");
    }
    Exit::Failed
}

/// Prints as it goes, for servers answer slowly; what many projects share (an old client) is told once.
fn tell(common: &Common, found: Vec<Finding>, findings: &mut Vec<Finding>) {
    for finding in found {
        if findings.contains(&finding) {
            continue;
        }
        if !common.json {
            print(&finding);
        }
        findings.push(finding);
    }
}

fn print(finding: &Finding) {
    let word = match finding.level {
        Level::Fine => "fine   ",
        Level::Warning => "warning",
        Level::Problem => "PROBLEM",
    };
    out::say(format!("{word} {}: {}", finding.about, finding.words));
    if let Some(hint) = finding.hint.as_ref().filter(|hint| !hint.is_empty()) {
        out::say(format!("        {hint}"));
    }
}
