//! What is asked of the server and the storage before a byte is dumped: version, standby, rights, row security, other dumps, space.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::database::DatabaseProperties;
use crate::model::dump::{Content, Format};
use crate::model::options;
use crate::model::project::Standby;
use crate::postgres::archive::charset::Charset;
use crate::postgres::dump::application_name;
use crate::postgres::quote::ident;
use crate::postgres::replay::ReplayPause;
use crate::postgres::rights::{Unreadable, without_passwords};
use crate::postgres::session::{Server, Session};
use crate::postgres::version::Client;
use crate::postgres::watch::ServerLock;
use crate::units::{show_age, show_size};

use super::super::seen::{self, Seen};
use super::super::{World, space, targets};
use super::{Means, Request};

/// Where `pg_dump` spools the members of a tar.
const SPOOL: &str = "/tmp";

/// In which every name can be read.
const UTF8: &str = "UTF8";

/// How long the server has to forget a session before the dump takes its place.
const CLOSING: Duration = Duration::from_secs(1);

/// What is known when the dump may begin.
pub(super) struct Asked {
    /// Stays beside the dump; `None` where the server has no connection to spare for it.
    pub(super) session: Option<Session>,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) database_size: Option<u64>,
    /// Bytes expected from the last backup of this selection.
    pub(super) estimate: Option<u64>,
    pub(super) properties: Option<DatabaseProperties>,
    /// What the dump is to be in, where that isn't the database's own encoding.
    pub(super) encoding: Option<&'static str>,
    pub(super) started_at: DateTime<Utc>,
    /// Whether the roles come with their passwords; globals only.
    pub(super) role_passwords: bool,
    pub(super) warnings: Vec<String>,
    /// Keeps a standby's replay paused until the run is over: dropping it resumes, and so does the end of this process.
    pub(super) _replay: Option<ReplayPause>,
}

/// Asks everything, in the order in which an answer makes the next question pointless.
pub(super) fn ask(world: &World, means: Means<'_>, request: &Request) -> Result<Asked> {
    let project = means.project;
    let estimate = room(world, means, request)?;
    let name = application_name(&request.run);
    let mut session = Session::open(means.clients.newest(), means.access, Some(&request.connect_to), &name, &project.limits, means.cancel)?;
    let server = session.server().clone();
    let client = means.clients.for_server(server.version_num)?;
    seen::remember(world, &project.name, &Seen { server: Some(server.version.clone()), client: Some(client.version.clone()) });
    let mut warnings = Vec::new();
    follows(means, &server, &mut session, &mut warnings)?;
    let replay = standby(means, &server, &client, request, &mut warnings)?;
    if server.standby {
        warnings.extend(without_rows(&session.unlogged(&request.shape)?));
    }
    let role_passwords = match request.shape.content {
        Content::Globals => session.reads_role_passwords()?,
        _ => rights(&mut session, request).map(|()| false)?,
    };
    if request.shape.content == Content::Globals && !role_passwords {
        let (words, hint) = without_passwords(&server);
        warnings.push(format!("{words}: {hint}"));
    }
    let database_size = session.database_size()?;
    let properties = session.properties()?;
    let encoding = encoding(&mut session, request, &properties.encoding)?;
    let properties = Some(properties);
    if estimate.is_none() {
        scratch_room(means, request, &mut session)?;
        warnings.extend(unsure_of_space(means, database_size)?);
    }
    if request.shape.format == Format::Tar {
        warnings.extend(spool(&mut session)?);
    }
    let session = beside(world, means, request, session, &mut warnings)?;
    let started_at = world.clock.now();
    Ok(Asked {
        session,
        client,
        server,
        database_size: Some(database_size),
        estimate,
        properties,
        encoding,
        started_at,
        role_passwords,
        warnings,
        _replay: replay,
    })
}

/// Names that can't be read in the database's own encoding are read in UTF-8, which the server gives them in. Only then: text that has no like
/// in UTF-8 would end the dump, and in its own encoding every byte comes back as it is.
fn encoding(session: &mut Session, request: &Request, own: &str) -> Result<Option<&'static str>> {
    const PLAIN: [&str; 2] = [UTF8, "SQL_ASCII"];
    let said = options::names(&request.shape.options).any(|name| name == "encoding");
    if said || PLAIN.contains(&own) || Charset::named(own).is_of_one_byte() || !session.converts(own, UTF8)? {
        return Ok(None);
    }
    Ok(session.has_names_beyond_ascii()?.then_some(UTF8))
}

/// The session with the project's lock on the server; or none, where it would take the last connection from the dump itself.
fn beside(world: &World, means: Means<'_>, request: &Request, mut session: Session, warnings: &mut Vec<String>) -> Result<Option<Session>> {
    if session.spare_connections()? >= request.shape.connections() {
        server_lock(world, means, request, &mut session, warnings)?;
        return Ok(Some(session));
    }
    drop(session);
    // The server goes on counting a backend for a moment after its client has gone, and nobody could ask it whether it still does.
    if let Some(reason) = means.cancel.wait_timeout(CLOSING) {
        return Err(reason.failure());
    }
    warnings.push(String::from(
        "the server has no connection to spare: the dump ran without the session beside it, so nobody looked who blocked whom, and no other host was kept away",
    ));
    Ok(None)
}

/// Refuses where the next backup won't fit; returns what it is expected to need.
fn room(world: &World, means: Means<'_>, request: &Request) -> Result<Option<u64>> {
    let needed = space::estimate(world, &means.project.name, &request.database, &request.shape)?;
    match (means.storage.free_space()?, needed) {
        (Some(0), None) => {
            let words = format!("storage {:?} has nothing free beyond its reserve", means.storage.name());
            Err(Failure::new(Cause::Space, words).hint("free some space, move the storage to a larger disk, or lower its reserve"))
        }
        (Some(free), Some(needed)) if free < needed => Err(no_space(means, request, free, needed)),
        _ => Ok(needed),
    }
}

/// The first directory dump needs more than its own size.
fn scratch_room(means: Means<'_>, request: &Request, session: &mut Session) -> Result<()> {
    let Some(needed) = space::of_tables(session, &request.shape)? else { return Ok(()) };
    match means.storage.free_space()? {
        Some(free) if free < needed => Err(no_space(means, request, free, needed)),
        _ => Ok(()),
    }
}

/// Without an earlier backup nobody knows what a dump needs; a database larger than the room is worth a word.
fn unsure_of_space(means: Means<'_>, database_size: u64) -> Result<Option<String>> {
    let free = means.storage.free_space()?.filter(|free| *free < database_size);
    Ok(free.map(|free| {
        format!(
            "there was no earlier backup to estimate from: the database has {}, and {} were free",
            show_size(database_size),
            show_size(free)
        )
    }))
}

/// `pg_dump` spools each member of a tar in `/tmp`, wherever TMPDIR points (the C library's `tmpfile`).
fn spool(session: &mut Session) -> Result<Option<String>> {
    let largest = session.largest_table()?;
    let free = rustix::fs::statvfs(SPOOL).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize)).filter(|free| *free < largest);
    Ok(free.map(|free| {
        format!(
            "pg_dump writes each table of a tar to {SPOOL} first: the largest has {}, and {} were free",
            show_size(largest),
            show_size(free)
        )
    }))
}

fn no_space(means: Means<'_>, request: &Request, free: u64, needed: u64) -> Failure {
    let storage = means.storage.name();
    if request.shape.format == Format::Directory {
        let words = format!(
            "storage {storage:?} has {} free beyond its reserve, but pg_dump's uncompressed files and the backup made of them are expected to need {}",
            show_size(free),
            show_size(needed)
        );
        return Failure::new(Cause::Space, words)
            .hint("free some space, or use format = \"custom\", which needs no room but the backup's own");
    }
    Failure::new(
        Cause::Space,
        format!(
            "storage {storage:?} has {} free beyond its reserve, but this backup is expected to need {}",
            show_size(free),
            show_size(needed)
        ),
    )
    .hint("free some space, move the storage to a larger disk, or lower the retention and run `pgdumpd prune`")
}

/// A standby that has lost its primary goes on answering, with data that grows older; a dump of it would look like one of now.
fn follows(means: Means<'_>, server: &Server, session: &mut Session, warnings: &mut Vec<String>) -> Result<()> {
    if !server.standby {
        return Ok(());
    }
    let Some(behind) = session.behind()? else { return Ok(()) };
    let mut words = format!("the standby {} may be {} behind its primary", server.reached, show_age(behind.age));
    let mut hint = "mend its replication (pg_stat_wal_receiver there, pg_stat_replication on the primary), or dump from the primary";
    if behind.by_archive {
        words.push_str(": it is fed from an archive, out of which nothing has come for that long");
        hint = "mend restore_command there or archive_command on the primary; if the primary only had nothing to do, let it commit something \
                now and then, such as \"select txid_current()\" each hour with archive_timeout set: nothing else shows here that the archive goes on";
    }
    match means.project.max_backup_age {
        Some(allowed) if behind.age > allowed => {
            Err(Failure::new(Cause::Refused, format!("{words}, and max_backup_age allows {}", show_age(allowed))).hint(hint))
        }
        _ => {
            warnings.push(words);
            Ok(())
        }
    }
}

fn without_rows(unlogged: &[String]) -> Option<String> {
    let first = unlogged.first()?;
    Some(format!("a standby has no rows of unlogged tables, so this backup has none of {first}{}", and_more(unlogged.len())))
}

fn standby(
    means: Means<'_>,
    server: &Server,
    client: &Client,
    request: &Request,
    warnings: &mut Vec<String>,
) -> Result<Option<ReplayPause>> {
    if !server.standby {
        return Ok(None);
    }
    match means.project.standby {
        Standby::Refuse => targets::refused_standby(means.project, server).map_or(Ok(None), Err),
        Standby::AsIs => {
            warnings.push(String::from("dumped from a standby"));
            Ok(None)
        }
        Standby::PauseReplay(longest) => {
            let paused = ReplayPause::begin(client, means.access, server, &application_name(&request.run), longest)?;
            let words = if paused.is_some() {
                "dumped from a standby with replay paused"
            } else {
                "dumped from a standby whose replay was paused already"
            };
            warnings.push(String::from(words));
            Ok(paused)
        }
    }
}

/// What the role can't read is told before the dump, with the line that mends it, instead of after an hour of dumping.
fn rights(session: &mut Session, request: &Request) -> Result<()> {
    let hidden = session.row_security(&request.shape)?;
    if let Some(first) = hidden.first() {
        return Err(Failure::new(
            Cause::RowSecurity,
            format!("row security on {first}{} hides rows from the role {:?}", and_more(hidden.len()), session.server().role),
        )
        .hint(format!("let a role dump that sees every row: ALTER ROLE \"{}\" BYPASSRLS", session.server().role)));
    }
    let unreadable = session.unreadable(&request.shape)?;
    if let Some(first) = unreadable.first() {
        return Err(Failure::new(
            Cause::Permission,
            format!("the role {:?} can't read {first}{}", session.server().role, and_more(unreadable.len())),
        )
        .hint(granting(session.server(), &unreadable)));
    }
    Ok(())
}

/// The statement that lets the role read the one object; of several the first, and what covers them all.
fn granting(server: &Server, unreadable: &[Unreadable]) -> String {
    let first = unreadable.first().map(|one| one.grant.clone()).unwrap_or_default();
    let covered = unreadable.iter().filter(|one| one.kind != "large object").count();
    if server.version_num < 140_000 || covered < 2 {
        return first;
    }
    format!("{first} and so on, or all schemas and tables at once: GRANT pg_read_all_data TO {};", ident(&server.role))
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

fn server_lock(world: &World, means: Means<'_>, request: &Request, session: &mut Session, warnings: &mut Vec<String>) -> Result<()> {
    if !means.project.server_lock {
        return Ok(());
    }
    let mut lock = session.try_server_lock(&means.project.name, &request.database)?;
    if let ServerLock::HeldByPgdumpd(other) = &lock {
        let run = RunId(other.run.clone());
        // One of this diary that has ended, and the server has not heard of it, after a network that was dead say.
        let known = world.catalog.read(|reader| reader.run(&run))?;
        if known.is_some_and(|known| known.project == means.project.name && known.finished_at.is_some()) {
            let ended = session.terminate(&run)?;
            tracing::warn!(run = %request.run, "ended {ended} sessions that run {run} had left on the server");
            lock = session.try_server_lock(&means.project.name, &request.database)?;
        }
    }
    match lock {
        ServerLock::Held => Ok(()),
        ServerLock::HeldByPgdumpd(other) => {
            let from = other.address.map(|address| format!(" from {address}")).unwrap_or_default();
            let words = format!("another pgdumpd (run {}{from}) is dumping {:?} of this project", other.run, request.database);
            Err(Failure::new(Cause::Locked, words).hint(format!(
                "wait for the other to end; two that are both called {:?} by chance get names of their own (PGDUMPD_NAME, name in the \
                     file), or dump beside each other with server_lock = false",
                means.project.name
            )))
        }
        ServerLock::HeldByOther { pid, application_name } => {
            warnings.push(format!("the server lock is held by process {pid} ({application_name}), which is no pgdumpd"));
            Ok(())
        }
        ServerLock::Unavailable(why) => {
            warnings.push(format!("the server lock could not be had: {why}"));
            Ok(())
        }
    }
}
