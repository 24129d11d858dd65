//! Taking a project's lock: at once, or after ending the orphan of a pgdumpd that is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::lock::{self, Holder, ProjectLock, Refused};
use crate::model::backup::RunId;
use crate::model::dump::Content;
use crate::model::project::{Databases, Project};
use crate::model::run::{ANY_DATABASE, Run};
use crate::ops::{World, targets};
use crate::postgres::connection::Access;
use crate::postgres::session::Session;
use crate::process::{Cancel, Identity, Signal, own_identity};
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

/// Takes the lock. Where only children of a dead pgdumpd hold it, ends those very processes and takes it then. Backends that cut-off runs
/// left behind on the server are ended, too: one that waits for a lock outlives its `pg_dump`.
pub(super) fn project(world: &World, project: &Project, storage: &Arc<dyn Storage>) -> Result<Hold> {
    let hold = by_name(world, &project.name, storage)?;
    if matches!(hold, Hold::Lock(_)) {
        for unfinished in world.catalog.read(|reader| reader.unfinished_runs())? {
            if unfinished.run.project == project.name {
                end_backend(world, project, &unfinished.run);
            }
        }
    }
    Ok(hold)
}

/// The same for a project of which only the name is known; what its runs left on the server stays.
pub(super) fn by_name(world: &World, project: &str, storage: &Arc<dyn Storage>) -> Result<Hold> {
    let own = Holder::own(&RunId::random(), world.clock.now());
    let holder = match ProjectLock::acquire(storage.as_ref(), project, own.clone()) {
        Ok(lock) => return unless_at_work(world, project, storage, lock),
        Err(Refused::Failed(failure)) => return Err(failure),
        Err(Refused::Held(holder)) => holder,
    };
    let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let orphaned = holder.as_ref().is_some_and(|holder| holder.host == here && !holder.process().is_alive());
    if !orphaned {
        return Ok(Hold::Held(holder));
    }
    end_orphans(storage, project)?;
    match ProjectLock::acquire(storage.as_ref(), project, own) {
        Ok(lock) => Ok(Hold::Lock(lock)),
        Err(Refused::Failed(failure)) => Err(failure),
        // Whom the file names is gone: somebody else holds it, who has not written there.
        Err(Refused::Held(holder)) => Ok(Hold::Held(holder.filter(|holder| holder.host != here || holder.process().is_alive()))),
    }
}

/// A lock that is free says nothing where the disk was exchanged while a run was going on: that run holds the old disk's. The catalog knows
/// who is at it; such a run is neither mended nor ended.
fn unless_at_work(world: &World, project: &str, storage: &Arc<dyn Storage>, lock: ProjectLock) -> Result<Hold> {
    let path = storage.lock_file(project)?;
    let own = own_identity();
    for unfinished in world.catalog.read(|reader| reader.unfinished_runs())? {
        let Some(owner) = unfinished.owner.filter(|owner| Some(*owner) != own && unfinished.run.project == project) else { continue };
        if lock::is_held_elsewhere(&owner, &path) {
            drop(lock);
            let Run { id: run, started_at: since, .. } = unfinished.run;
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            return Ok(Hold::Held(Some(Holder { pid: owner.pid, start_ticks: owner.start_ticks, run, host, since, child: None })));
        }
    }
    Ok(Hold::Lock(lock))
}

/// Ends everything that keeps the lock, and what that started meanwhile: a parallel dump has workers, each of which keeps it as well.
fn end_orphans(storage: &Arc<dyn Storage>, project: &str) -> Result<()> {
    let until = Instant::now() + ORPHAN_GRACE * 2;
    loop {
        let keepers = lock::keepers(storage.as_ref(), project)?;
        if keepers.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        for orphan in keepers {
            tracing::warn!(project, pid = orphan.pid, "a dump outlived its pgdumpd; ending it");
            end(&orphan)?;
        }
    }
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

/// Ends what a cut-off run left on the server. A server that can't be asked is told of and otherwise left: its own limits end the backend.
fn end_backend(world: &World, project: &Project, run: &Run) {
    let asked = world.clients(project).and_then(|clients| {
        let access = world.access(project)?;
        targets::in_first(&places(project, &access, run), project.limits.connect, |place| {
            Session::open(clients.newest(), &access, Some(place), "pgdumpd", &project.limits, &Cancel::new())?.terminate(&run.id)
        })
    });
    match asked {
        Ok(0) => {}
        Ok(count) => tracing::warn!(project = project.name, run = %run.id, count, "ended the backend that a cut-off dump left behind"),
        Err(failure) => {
            tracing::warn!(project = project.name, run = %run.id, "the backend of a cut-off dump could not be looked for: {failure}");
        }
    }
}

/// Where the server can be asked, which tells of all its backends: in the run's own database, else in any that lets the role in.
fn places(project: &Project, access: &Access, run: &Run) -> Vec<String> {
    let own = (run.content != Content::Globals && run.database != ANY_DATABASE).then_some(run.database.as_str());
    let of_connection = access.database();
    let others = match &project.databases {
        Databases::Named(names) => names.iter().map(String::as_str).collect(),
        _ => of_connection.as_deref().into_iter().collect(),
    };
    targets::entrances(own.into_iter().collect(), others)
}
