//! `pgdumpd check`

use serde_json::json;

use crate::config;
use crate::error::Result;

use super::exit::Exit;
use super::{Common, out};

/// Check the configuration file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(common: &Common, _args: &Args) -> Result<Exit> {
    let (problems, starts) = match config::at_hand(&common.config) {
        Ok(settings) if settings.unread.is_empty() => {
            if common.json {
                out::json(&json!({ "success": true, "projects": settings.projects.len(), "warnings": settings.warnings }))?;
                return Ok(Exit::Done);
            }
            settings.warnings.iter().for_each(|warning| out::note(format!("warning: {warning}")));
            let schedules: usize = settings.projects.iter().map(|project| project.schedules.len()).sum();
            let projects = out::count(settings.projects.len() as u64, "project");
            let schedules = out::count(schedules as u64, "schedule");
            let but = if settings.warnings.is_empty() {
                String::new()
            } else {
                format!(", {}", out::count(settings.warnings.len() as u64, "warning"))
            };
            let place =
                if config::is_ambient(&common.config) { String::from("the environment") } else { common.config.display().to_string() };
            out::say(format!("{place}: {projects}, {schedules}: fine{but}"));
            return Ok(Exit::Done);
        }
        // Without a secret a daemon starts, and a container doesn't.
        Ok(settings) => (settings.unread, !config::is_ambient(&common.config)),
        Err(problems) => (problems, false),
    };
    if common.json {
        out::json(&json!({ "success": false, "errors": problems }))?;
        return Ok(Exit::Usage);
    }
    problems.iter().for_each(out::note);
    let then = match (starts, config::is_ambient(&common.config)) {
        (true, _) => "a daemon that starts goes on without what can't be read, and one that runs keeps to the file it has read",
        (false, true) => "the daemon does not start",
        (false, false) => "the daemon does not start, or keeps to the file it has read",
    };
    out::note(format!("{} to mend; until then {then}", out::count(problems.len() as u64, "problem")));
    Ok(Exit::Usage)
}
