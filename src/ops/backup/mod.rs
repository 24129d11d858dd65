//! One backup of one database: ask, dump, store, commit. The only place where a dump becomes a backup.
//!
//! The order is the promise: the artifact is written under a temporary name and gets its final one only after `pg_dump` exited 0, the tap
//! saw a whole archive and nobody cancelled; then the manifest makes it exist; then the catalog learns of it.

mod before;
mod commit;
mod directory;
mod doubt;
mod dump;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Cause, Failure, Result};
use crate::lock::ProjectLock;
use crate::model::backup::{Manifest, RunId, Trigger};
use crate::model::dump::{DumpShape, Selection};
use crate::model::project::Project;
use crate::postgres::connection::Access;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::World;

/// Longest wait for the removal of what a failed dump has written.
const SWEEP: Duration = Duration::from_secs(5);

/// What to back up, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// The run, and the backup's id.
    pub run: RunId,
    /// The database's name as it is filed.
    pub database: String,
    /// The database to connect to; another one only for globals.
    pub connect_to: String,
    /// Content, tables, format, compression.
    pub shape: DumpShape,
    /// The row of backups it belongs to; the shape's own, but for one made before a restore.
    pub selection: Selection,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule's name, where one asked for it.
    pub schedule: Option<String>,
    /// The slot it serves.
    pub slot: Option<DateTime<Utc>>,
}

/// What a run works with, apart from the [`World`].
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The project's configuration as it stood when the job began.
    pub project: &'a Project,
    /// Where the artifact goes.
    pub storage: &'a Arc<dyn Storage>,
    /// The installed clients.
    pub clients: &'a Clients,
    /// How to reach the server, password in hand.
    pub access: &'a Access,
    /// The project's lock; its descriptor goes to `pg_dump`.
    pub lock: &'a ProjectLock,
    /// Ends the run early.
    pub cancel: &'a Cancel,
    /// How long `pg_dump` has to end once it was told to, before it is killed.
    pub grace: Duration,
    /// How far it is, for whoever watches.
    pub gauge: &'a Gauge,
    /// Gets each line that `pg_dump` writes to its stderr, where somebody wants them.
    pub said: Option<fn(&str)>,
}

/// Makes one backup, or fails with nothing left behind under a final name. The caller holds the project's lock and has recorded the run.
pub fn backup(world: &World, means: Means<'_>, request: &Request) -> Result<Manifest> {
    let mut asked = before::ask(world, means, request)?;
    let key = commit::artifact_key(means.project, request, asked.started_at);
    let pending = means.storage.begin(&key, request.run.as_str())?;
    let (dumped, pending) = dump::stream(means, request, &mut asked, pending).inspect_err(|_| sweep(means, request))?;
    refuse_if_cancelled(means.cancel)?;
    commit::commit(world, means, request, asked, dumped, &key, pending)
}

/// Removes what a failed dump has left under a temporary name. The writer does so itself unless it hangs in a write; a destination that
/// hangs here as well is left to repair.
fn sweep(means: Means<'_>, request: &Request) {
    let (storage, project, run) = (Arc::clone(means.storage), means.project.name.clone(), request.run.clone());
    let (done, ended) = crossbeam_channel::bounded(1);
    let work = move || done.send(storage.sweep(&project, Some(run.as_str())));
    let swept = std::thread::Builder::new().name(String::from("sweep")).spawn(work).ok().and_then(|_| ended.recv_timeout(SWEEP).ok());
    match swept {
        Some(Ok(_)) => {}
        Some(Err(failure)) => tracing::warn!(run = %request.run, "what the failed dump has written could not be removed: {failure}"),
        None => tracing::warn!(run = %request.run, "the destination hangs; what the failed dump has written will be removed later"),
    }
}

fn refuse_if_cancelled(cancel: &Cancel) -> Result<()> {
    match cancel.reason() {
        None => Ok(()),
        Some(reason) => Err(Failure::new(Cause::Interrupted, format!("the run was ended before its backup was complete: {reason}"))),
    }
}
