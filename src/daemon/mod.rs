//! `serve`: time, concurrency, shutdown. One task owns what is in flight; it never touches bytes.
//!
//! The owner sleeps until the head of the agenda, a signal, the bell, or the end of a job, and does one small thing each time.

mod agenda;
mod chores;
mod claim;
mod clockwork;
mod disks;
mod gate;
mod lag;
mod owner;
mod queue;
pub mod reaper;
mod reload;
mod repair;
mod rounds;
mod shutdown;
mod signals;
mod systemd;
mod unrecorded;
mod waiting;
mod wall;

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::settings::Settings;
use crate::ops::{World, arrive};

use signals::Listening;

/// What `serve` is started with.
#[derive(Debug, Clone)]
pub struct Start {
    /// The file that HUP reads again.
    pub config_file: PathBuf,
    /// What was read from it.
    pub settings: Settings,
    /// Whether it stands beside one database, configured by variables alone.
    pub beside: bool,
}

/// Runs the daemon until a signal ends it, and says which.
///
/// # Errors
/// Where it could not begin: the state directory can't be used, another daemon uses it, the signals can't be caught, or, beside a database,
/// that did not come up.
pub fn serve(start: Start) -> Result<i32> {
    if start.beside {
        arrive::state(&start.settings)?;
        arrive::storages(&start.settings)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // A job that could not get its thread would keep its place from those that wait for one; the places are the limit.
        .max_blocking_threads(1 << 16)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Cause::System, format!("the runtime can't be started: {error}")))?;
    let clock = Clock::system();
    // From the moment on at which it can be seen to be there, it ends in order when it is told to.
    let signals = Listening::start()?;
    let only = repair::alone(&start.settings.daemon.state_dir)?;
    let world = World::open(&start.settings, clock)?;
    let ended = runtime.block_on(owner::own(Arc::new(start.settings), start.config_file, world, signals, start.beside));
    drop(only);
    ended
}
