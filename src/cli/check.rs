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
            out::say(format!("{}: {} projects, {schedules} schedules: fine", common.config.display(), settings.projects.len()));
            Ok(Exit::Done)
        }
        Err(problems) => {
            if common.json {
                out::json(&json!({ "success": false, "errors": problems }))?;
            } else {
                problems.iter().for_each(out::note);
            }
            Ok(Exit::Usage)
        }
    }
}
