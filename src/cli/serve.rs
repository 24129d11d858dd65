//! `pgdumpd serve`

use crate::config;
use crate::daemon::{self, Start};
use crate::error::Result;
use crate::ops::arrive::{self, Arrived};
use crate::process::Cancel;

use super::exit::Exit;
use super::{Common, interrupt, logging, world};

/// Run the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(common: &Common, _args: &Args) -> Result<Exit> {
    let settings = world::settings_to_serve(common)?;
    logging::start(settings.daemon.log_format, logging::level(common, "info"));
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    for problem in &settings.unread {
        tracing::error!("{problem}; what needs this secret fails until it can be read, and everything else goes on");
    }
    world::right_user(common, &settings)?;
    if config::is_ambient(&common.config) {
        tracing::info!("no configuration file: the environment is the configuration");
        let cancel = Cancel::new();
        let signals = interrupt::listen(&cancel)?;
        let arrived = arrive::arrive(&settings, &cancel);
        if signals.exit().is_some() {
            tracing::info!("ended by a signal while waiting");
            return Ok(Exit::Done);
        }
        if let Arrived::Here(words) = arrived? {
            tracing::info!("{words}");
        }
    }
    daemon::serve(Start { config_file: common.config.clone(), settings })?;
    Ok(Exit::Done)
}
