//! `pgdumpd serve`

use crate::daemon::{self, Start};
use crate::error::Result;

use super::exit::Exit;
use super::{Common, logging, world};

/// Run the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(common: &Common, _args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "info"));
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    world::right_user(&settings)?;
    daemon::serve(Start { config_file: common.config.clone(), settings })?;
    Ok(Exit::Done)
}
