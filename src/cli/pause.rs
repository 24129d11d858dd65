//! `pgdumpd pause` and `pgdumpd resume`

use chrono::TimeDelta;

use crate::catalog::Pause;
use crate::error::{Cause, Failure, Result};
use crate::units::parse_duration;

use super::exit::Exit;
use super::{Common, out, world};

/// Skip a project's slots.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The project
    project: String,
    /// Resume by itself after this long (`2h`, `3 days`); without it only `resume` ends the pause
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<String>,
    /// Why, for whoever reads the status
    #[arg(long, default_value = "")]
    reason: String,
}

/// Run a paused project's slots again.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The project
    project: String,
}

pub(super) fn pause(common: &Common, args: &PauseArgs) -> Result<Exit> {
    let settings = world::settings(common)?;
    let project = world::project(&settings, &args.project)?;
    let span = args.span.as_deref().map(parse_duration).transpose();
    let span = span.map_err(|why| Failure::new(Cause::Configuration, format!("--for: {why}")))?;
    let world = world::existing(common, &settings)?;
    let now = world.clock.now();
    let until = span.and_then(|span| TimeDelta::from_std(span).ok()).map(|span| now + span);
    let pause = Pause { project: project.name.clone(), since: now, until, reason: args.reason.clone() };
    world.catalog.write(|writer| writer.pause(&pause))?;
    world.audit("pause", Some(&project.name), &args.reason, "ok")?;
    if common.json {
        out::json(&serde_json::json!({ "project": project.name, "paused": true, "until": until }))?;
    } else {
        let until = until.map_or_else(|| format!("`pgdumpd resume {}`", project.name), |until| out::when(until, project.time_zone));
        out::say(format!("{} is paused until {until}; its slots are recorded as skipped", project.name));
    }
    Ok(Exit::Done)
}

pub(super) fn resume(common: &Common, args: &ResumeArgs) -> Result<Exit> {
    let settings = world::settings(common)?;
    let project = world::project(&settings, &args.project)?;
    let world = world::existing(common, &settings)?;
    let was = world.catalog.write(|writer| writer.resume(&project.name))?;
    world.audit("resume", Some(&project.name), "", "ok")?;
    if common.json {
        out::json(&serde_json::json!({ "project": project.name, "paused": false }))?;
    } else if was {
        out::say(format!("{} runs again from its next slot on", project.name));
    } else {
        out::say(format!("{} was not paused", project.name));
    }
    Ok(Exit::Done)
}
