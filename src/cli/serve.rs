//! `pgdumpd serve`

use signal_hook::consts::SIGQUIT;

use crate::config;
use crate::daemon::{self, Start};
use crate::error::Result;

use super::exit::Exit;
use super::{Common, logging, world};

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
    let beside = config::is_ambient(&common.config);
    if beside {
        tracing::info!("no configuration file: the environment is the configuration");
    }
    let signal = daemon::serve(Start { config_file: common.config.clone(), settings, beside })?;
    Ok(if signal == SIGQUIT { Exit::Quit } else { Exit::Done })
}
