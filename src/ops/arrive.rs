//! Arriving beside a database, as a container does: the folders can be written, the server answers, and a client here can dump it.
//!
//! Called by `serve` before the daemon begins, where the configuration came from the environment: whoever starts a container looks at its
//! first lines, and a pod whose volume or image is wrong should say so then, not in the night.

use std::path::Path;
use std::time::Duration;

use rustix::fs::Access as Right;
use rustix::io::Errno;

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::project::Project;
use crate::model::settings::{Settings, StorageSettings};
use crate::notify::redact::Redactor;
use crate::postgres::session::Session;
use crate::postgres::{throwaway, version};
use crate::process::Cancel;
use crate::storage;

use super::targets;

/// How often a server that isn't there yet is asked.
const BETWEEN: Duration = Duration::from_secs(2);

/// How the arrival went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Every server answers; what they are, in a line.
    Here(String),
    /// There is no project to look for.
    Nothing,
}

/// Waits for each enabled project's server, as long as a run's retries would.
///
/// # Errors
/// A folder that can't be written; a server that isn't there in time ([`Cause::Connection`], [`Cause::Login`]); one that no client here can dump; drills that could not be done.
pub fn arrive(settings: &Settings, cancel: &Cancel) -> Result<Arrived> {
    writable(&settings.daemon.state_dir, "PGDUMPD_DAEMON_STATE_DIR")?;
    for (name, chosen) in &settings.storages {
        let StorageSettings::Local { path, .. } = chosen;
        writable(path, "BACKUP_DIR")?;
        storage::open(name, chosen, &Clock::system()).takeable()?;
    }
    let mut found = Vec::new();
    for project in settings.projects.iter().filter(|project| project.enabled) {
        found.push(wait(project, cancel).map_err(|failure| Redactor::default().clean_failure(failure))?);
    }
    Ok(if found.is_empty() { Arrived::Nothing } else { Arrived::Here(found.join("; ")) })
}

fn wait(project: &Project, cancel: &Cancel) -> Result<String> {
    let longest: Duration = project.limits.retries.iter().sum();
    let mut waited = Duration::ZERO;
    loop {
        match look(project, cancel) {
            // While it is being set up, a server may answer without its roles and databases.
            Err(failure) if matches!(failure.cause, Cause::Connection | Cause::Login) && cancel.reason().is_none() => {
                if waited >= longest {
                    return Err(failure.context(format!("the database did not come up within {}", crate::units::show_duration(longest))));
                }
                if waited.is_zero() {
                    let failure = Redactor::default().clean_failure(failure);
                    tracing::warn!("waiting for the database, at most {}: {failure}", crate::units::show_duration(longest));
                }
            }
            ended => return ended,
        }
        if let Some(reason) = cancel.wait_timeout(BETWEEN) {
            return Err(reason.failure());
        }
        waited += BETWEEN;
    }
}

/// One look at a project's server: who it is, and who can dump it.
fn look(project: &Project, cancel: &Cancel) -> Result<String> {
    let clients = super::clients(project)?;
    let access = super::access(project)?;
    let database = targets::first_contact(project, &access);
    let session = Session::open(clients.newest(), &access, database.as_deref(), "pgdumpd", &project.limits, cancel)?;
    let server = session.server();
    let client = clients.for_server(server.version_num).map_err(|failure| {
        let major = server.version_num / 10_000;
        failure.hint(format!("use an image with the clients of PostgreSQL {major} or newer: build it with PG_MAJORS={major}"))
    })?;
    if project.drill.as_ref().is_some_and(|drill| drill.on.is_none()) {
        throwaway::possible(&clients, server.version_num).map_err(|failure| {
            failure.context("PGDUMPD_DRILL can't be done here").hint("name a server to restore on: PGDUMPD_DRILL_ON=postgresql://…")
        })?;
    }
    let (there, here) = (version::show(server.version_num), version::show(client.version_num));
    Ok(format!("{} answers: PostgreSQL {there}, to be dumped by pg_dump {here}", server.reached))
}

/// Whether files can be made in a folder, or the folder itself can be made.
fn writable(folder: &Path, variable: &str) -> Result<()> {
    let there = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let me = rustix::process::geteuid().as_raw();
    let words = match rustix::fs::access(there, Right::READ_OK | Right::WRITE_OK | Right::EXEC_OK) {
        Ok(()) => return Ok(()),
        Err(Errno::ROFS) => format!("{} can't be written: it is mounted read-only", folder.display()),
        Err(error) => {
            use std::os::unix::fs::MetadataExt;
            let owner =
                std::fs::metadata(there).map(|facts| format!("belongs to user {} (mode {:04o})", facts.uid(), facts.mode() & 0o7777));
            let owner = owner.unwrap_or_else(|_| error.to_string());
            format!("{} can't be written by user {me}: {} {owner}", folder.display(), there.display())
        }
    };
    let hint = format!("mount a volume there that user {me} can write (chown {me}), or name another folder in {variable}");
    Err(Failure::new(Cause::Storage, words).hint(hint))
}
