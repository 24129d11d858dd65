//! Taking a project's lock: at once, or after ending the orphan of a pgdumpd that is gone.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, Failure, Result};
use crate::lock::{Acquired, Holder, ProjectLock};
use crate::model::project::Project;
use crate::ops::World;
use crate::postgres::session::Session;
use crate::process::Cancel;
use crate::storage::Storage;

/// How long an orphan has between TERM and KILL.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// The lock, or who has it.
pub(super) enum Hold {
    Lock(ProjectLock),
    Held(Holder),
}

impl Hold {
    /// The lock; a holder becomes a failure that names it.
    pub(super) fn or_held(self) -> Result<ProjectLock> {
        match self {
            Self::Lock(lock) => Ok(lock),
            Self::Held(holder) => Err(Failure::new(Cause::Locked, format!("the project is locked by {holder}"))
                .hint("wait for it to end; `pgdumpd status` shows what it does")),
        }
    }
}

/// Takes the lock. Where only a child of a dead pgdumpd holds it, ends that very process and its backend, and takes it then.
pub(super) fn project(world: &World, project: &Project, storage: &Arc<dyn Storage>) -> Result<Hold> {
    match ProjectLock::acquire(storage.as_ref(), &project.name, world.clock.now())? {
        Acquired::Lock(lock) => return Ok(Hold::Lock(lock)),
        Acquired::Held(holder) if !holder.is_orphaned() => return Ok(Hold::Held(holder)),
        Acquired::Held(holder) => {
            tracing::warn!(project = project.name, "a dump outlived its pgdumpd; ending it: {holder}");
            holder.end_orphan(ORPHAN_GRACE);
        }
    }
    let unfinished = world.catalog.read(|reader| reader.unfinished_runs())?;
    for run in unfinished.iter().map(|unfinished| &unfinished.run).filter(|run| run.project == project.name) {
        if let Err(failure) = end_backend(world, project, &run.id) {
            tracing::warn!(project = project.name, run = %run.id, "the orphan's backend could not be looked for: {failure}");
        }
    }
    Ok(match ProjectLock::acquire(storage.as_ref(), &project.name, world.clock.now())? {
        Acquired::Lock(lock) => Hold::Lock(lock),
        Acquired::Held(holder) => Hold::Held(holder),
    })
}

fn end_backend(world: &World, project: &Project, run: &crate::model::backup::RunId) -> Result<()> {
    let clients = world.clients(project)?;
    let access = world.access(project)?;
    let mut session = Session::open(clients.newest(), &access, None, "pgdumpd", &project.limits, &Cancel::new())?;
    session.terminate(run).map(|_| ())
}
