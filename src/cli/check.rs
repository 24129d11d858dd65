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
    match config::load(&common.config, &|name| std::env::var(name).ok()) {
        Ok(settings) => {
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
            out::say(format!("{}: {projects}, {schedules}: fine{but}", common.config.display()));
            Ok(Exit::Done)
        }
        Err(problems) => {
            if common.json {
                out::json(&json!({ "success": false, "errors": problems }))?;
            } else {
                problems.iter().for_each(out::note);
                out::note(format!(
                    "{} to mend; until then the daemon does not start, or keeps to the file it has read",
                    out::count(problems.len() as u64, "problem")
                ));
            }
            Ok(Exit::Usage)
        }
    }
}
