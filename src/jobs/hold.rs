//! Taking a project's lock: at once, or after ending the orphan of a pgdumpd that is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::lock::{self, Holder, ProjectLock, Refused};
use crate::model::backup::RunId;
use crate::model::project::Project;
use crate::ops::World;
use crate::postgres::session::Session;
use crate::process::{Cancel, Identity, Signal};
use crate::storage::Storage;

/// How long an orphan has between TERM and KILL, and the lock to come free after that.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// The lock, or who has it.
pub(super) enum Hold {
    Lock(ProjectLock),
    Held(Option<Holder>),
}

impl Hold {
    /// The lock; a holder becomes a failure that names it.
    pub(super) fn or_held(self, project: &str) -> Result<ProjectLock> {
        match self {
            Self::Lock(lock) => Ok(lock),
            Self::Held(holder) => Err(Refused::Held(holder).failure(project)),
        }
    }
}

/// Takes the lock. Where only children of a dead pgdumpd hold it, ends those very processes and their backend, and takes it then.
pub(super) fn project(world: &World, project: &Project, storage: &Arc<dyn Storage>) -> Result<Hold> {
    let own = Holder::own(&RunId::random(), world.clock.now());
    let holder = match ProjectLock::acquire(storage.as_ref(), &project.name, own.clone()) {
        Ok(lock) => return Ok(Hold::Lock(lock)),
        Err(Refused::Failed(failure)) => return Err(failure),
        Err(Refused::Held(holder)) => holder,
    };
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let orphaned = holder.as_ref().is_some_and(|holder| holder.host == here && !holder.process().is_alive());
    if !orphaned {
        return Ok(Hold::Held(holder));
    }
    end_orphans(world, project, storage)?;
    match ProjectLock::acquire(storage.as_ref(), &project.name, own) {
        Ok(lock) => Ok(Hold::Lock(lock)),
        Err(Refused::Failed(failure)) => Err(failure),
        Err(Refused::Held(holder)) => Ok(Hold::Held(holder)),
    }
}

fn end_orphans(world: &World, project: &Project, storage: &Arc<dyn Storage>) -> Result<()> {
    for orphan in lock::keepers(storage.as_ref(), &project.name)? {
        tracing::warn!(project = project.name, pid = orphan.pid, "a dump outlived its pgdumpd; ending it");
        end(&orphan)?;
    }
    let unfinished = world.catalog.read(|reader| reader.unfinished_runs())?;
    for run in unfinished.iter().map(|unfinished| &unfinished.run).filter(|run| run.project == project.name) {
        if let Err(failure) = end_backend(world, project, &run.id) {
            tracing::warn!(project = project.name, run = %run.id, "the orphan's backend could not be looked for: {failure}");
        }
    }
    Ok(())
}

/// TERM, and CONT for one that was stopped; KILL when the grace is over.
fn end(orphan: &Identity) -> Result<()> {
    let refused = |error: std::io::Error| {
        Failure::new(Cause::System, format!("process {} holds the project's lock and can't be ended: {error}", orphan.pid))
            .hint(format!("end it by hand: kill {}", orphan.pid))
    };
    for signal in [Signal::TERM, Signal::CONT] {
        orphan.kill(signal).map_err(refused)?;
    }
    let until = Instant::now() + ORPHAN_GRACE;
    while orphan.is_alive() {
        if Instant::now() >= until {
            orphan.kill(Signal::KILL).map_err(refused)?;
            std::thread::sleep(Duration::from_millis(100));
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn end_backend(world: &World, project: &Project, run: &RunId) -> Result<()> {
    let clients = world.clients(project)?;
    let access = world.access(project)?;
    let mut session = Session::open(clients.newest(), &access, None, "pgdumpd", &project.limits, &Cancel::new())?;
    session.terminate(run).map(|_| ())
}
