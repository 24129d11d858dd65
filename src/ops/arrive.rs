//! Arriving beside a database, as a container does: the folders can be written, the server answers, and a client here can dump it.
//!
//! Called by the daemon before it begins, where the configuration came from the environment: whoever starts a container looks at its first
//! lines, and a pod whose volume or image is wrong should say so then, not in the night.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Access as Right;
use rustix::io::Errno;

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Limits, Project};
use crate::model::settings::{Settings, StorageSettings};
use crate::notify::redact::Redactor;
use crate::postgres::connection::Access;
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::postgres::{throwaway, version};
use crate::process::Cancel;
use crate::storage;
use crate::units;

use super::targets;

/// How often a server that isn't there yet is asked.
const BETWEEN: Duration = Duration::from_secs(2);

/// The shortest time that libpq waits for an answer.
const SHORTEST: Duration = Duration::from_secs(2);

/// A project's server answers.
#[derive(Debug, Clone)]
pub struct Here {
    /// What it is, in a line.
    pub words: String,
    /// The databases that could not be connected to in time, though another of the project could; and why.
    pub missing: Vec<(String, Failure)>,
}

/// Whether the daemon's own files can be made.
pub fn state(settings: &Settings) -> Result<()> {
    writable(&settings.daemon.state_dir, "PGDUMPD_DAEMON_STATE_DIR")
}

/// Whether backups can be made where they are to go.
pub fn storages(settings: &Settings) -> Result<()> {
    for (name, chosen) in &settings.storages {
        let StorageSettings::Local { path, .. } = chosen;
        writable(path, "BACKUP_DIR")?;
        storage::open(name, chosen, &Clock::system()).takeable()?;
    }
    Ok(())
}

/// How long a project's server is waited for: as long as a run's retries would.
#[must_use]
pub fn longest(project: &Project) -> Duration {
    project.limits.retries.iter().sum()
}

/// Waits until each of the project's databases can be connected to. `absent` hears of each look that found one missing.
///
/// # Errors
/// A server that isn't there in time ([`Cause::Connection`], [`Cause::Login`]); one that no client here can dump; drills that could not be done.
pub fn wait(project: &Project, cancel: &Cancel, absent: &dyn Fn(&Failure)) -> Result<Here> {
    let (began, longest) = (Instant::now(), longest(project));
    let mut search = Search::of(project);
    loop {
        let left = longest.saturating_sub(began.elapsed());
        let limits = Limits { connect: in_time(project.limits.connect, left, longest), ..project.limits.clone() };
        // While it is being set up, a server may answer without its roles and databases.
        let found = search.look(&limits, cancel).map_err(|failure| Redactor::default().clean_failure(failure))?;
        if let Some(here) = found {
            return Ok(here);
        }
        if let Some(reason) = cancel.reason() {
            return Err(reason.failure());
        }
        search.reasons.first().into_iter().for_each(absent);
        let left = longest.saturating_sub(began.elapsed());
        if left.is_zero() {
            return search.give_up(longest);
        }
        if let Some(reason) = cancel.wait_timeout(BETWEEN.min(left)) {
            return Err(reason.failure());
        }
    }
}

/// A host that says nothing is not waited for beyond the end of the whole wait.
fn in_time(connect: Duration, left: Duration, longest: Duration) -> Duration {
    if longest.is_zero() { connect } else { connect.min(left.max(SHORTEST)) }
}

/// The search for a project's databases.
struct Search<'a> {
    project: &'a Project,
    /// Those that have not been reached; `None` is the connection's own.
    pending: Vec<Option<String>>,
    /// What the server is, once one of them has been.
    words: Option<String>,
    /// Why, by the last look.
    reasons: Vec<Failure>,
}

impl<'a> Search<'a> {
    fn of(project: &'a Project) -> Self {
        let pending = match &project.databases {
            Databases::Named(names) if !names.is_empty() => names.iter().cloned().map(Some).collect(),
            _ => vec![None],
        };
        Self { project, pending, words: None, reasons: Vec::new() }
    }

    /// One look at what has not been reached yet; the answer where nothing is left.
    fn look(&mut self, limits: &Limits, cancel: &Cancel) -> Result<Option<Here>> {
        let clients = super::clients(self.project)?;
        let access = super::access(self.project)?;
        self.reasons.clear();
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        while let Some(database) = pending.next() {
            match self.reach(database.as_deref(), &clients, &access, limits, cancel) {
                Ok(()) => {}
                Err(failure) if matches!(failure.cause, Cause::Connection | Cause::Login) => {
                    let silent = failure.cause == Cause::Connection;
                    let failure = Redactor::default().clean_failure(failure);
                    self.pending.push(database);
                    // A server that isn't there has none of the others either.
                    if silent {
                        self.pending.extend(pending.by_ref());
                    }
                    self.reasons.resize(self.pending.len(), failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        let all = self.pending.is_empty();
        Ok(self.words.clone().filter(|_| all).map(|words| Here { words, missing: Vec::new() }))
    }

    /// Connects to a database; the first one tells who the server is, and who can dump it.
    fn reach(&mut self, database: Option<&str>, clients: &Clients, access: &Access, limits: &Limits, cancel: &Cancel) -> Result<()> {
        let first = targets::first_contact(self.project, access);
        let database = database.or(first.as_deref());
        let session = Session::open(clients.newest(), access, database, "pgdumpd", limits, cancel)?;
        if self.words.is_none() {
            self.words = Some(usable(self.project, &session, clients)?);
        }
        Ok(())
    }

    /// The time is over: one database is enough to begin with.
    fn give_up(self, longest: Duration) -> Result<Here> {
        let late = |failure: Failure| failure.context(format!("the database did not come up within {}", units::show_duration(longest)));
        match (self.words, self.reasons.first()) {
            (Some(words), _) => {
                let missing = self.pending.into_iter().flatten().zip(self.reasons.into_iter().map(late)).collect();
                Ok(Here { words, missing })
            }
            (None, Some(failure)) => Err(late(failure.clone())),
            (None, None) => Err(late(Failure::new(Cause::Connection, "it could not be asked"))),
        }
    }
}

/// Who the server is, and who can dump it.
fn usable(project: &Project, session: &Session, clients: &Clients) -> Result<String> {
    let server = session.server();
    let client = clients.for_server(server.version_num).map_err(|failure| {
        let major = server.version_num / 10_000;
        failure.hint(format!("use an image with the clients of PostgreSQL {major} or newer: build it with PG_MAJORS={major}"))
    })?;
    if project.drill.as_ref().is_some_and(|drill| drill.on.is_none()) {
        throwaway::possible(clients, server.version_num).map_err(|failure| {
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
