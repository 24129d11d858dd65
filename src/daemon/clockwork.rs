//! The bell: `tokio-cron-scheduler` rings every few seconds in UTC. It rings; it does not decide.
//!
//! The tick catches what sleeping until the next slot missed (suspend, a changed clock) and paces the chores. Its phase drifts and a ring may
//! come late or double: it costs at most its interval (docs/facts.md, Scheduling).

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::error::{Cause, Failure, Result};

/// Every ten seconds, six fields, UTC.
const TICK: &str = "*/10 * * * * *";

/// A running bell; it stops when [`Clockwork::stop`] is called or it is dropped.
pub(super) struct Clockwork {
    scheduler: JobScheduler,
    /// Rung at each tick; rings that nobody waits for melt into one.
    pub(super) bell: Arc<Notify>,
}

impl Clockwork {
    pub(super) async fn start() -> Result<Self> {
        let bell = Arc::new(Notify::new());
        let scheduler = JobScheduler::new().await.map_err(broken)?;
        let rung = Arc::clone(&bell);
        let tick = Job::new(TICK, move |_, _| rung.notify_one()).map_err(broken)?;
        scheduler.add(tick).await.map_err(broken)?;
        scheduler.start().await.map_err(broken)?;
        Ok(Self { scheduler, bell })
    }

    pub(super) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the clockwork did not stop cleanly: {error}");
        }
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Cause::System, format!("the clockwork can't be started: {error}"))
}
