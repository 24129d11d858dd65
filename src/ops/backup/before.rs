//! What is asked of the server and the storage before a byte is dumped: version, standby, rights, row security, other dumps, space.

use chrono::{DateTime, Utc};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::DatabaseProperties;
use crate::model::dump::Content;
use crate::model::project::Standby;
use crate::postgres::dump::application_name;
use crate::postgres::replay::ReplayPause;
use crate::postgres::session::{Server, Session};
use crate::postgres::version::Client;
use crate::postgres::watch::ServerLock;
use crate::units::show_size;

use super::super::seen::{self, Seen};
use super::super::{World, space};
use super::{Means, Request};

/// What is known when the dump may begin.
pub(super) struct Asked {
    pub(super) session: Session,
    pub(super) client: Client,
    pub(super) server: Server,
    pub(super) database_size: Option<u64>,
    pub(super) properties: Option<DatabaseProperties>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) warnings: Vec<String>,
    /// Keeps a standby's replay paused until the run is over: dropping it resumes, and so does the end of this process.
    pub(super) _replay: Option<ReplayPause>,
}

/// Asks everything, in the order in which an answer makes the next question pointless.
pub(super) fn ask(world: &World, means: Means<'_>, request: &Request) -> Result<Asked> {
    let project = means.project;
    room(world, means, request)?;
    let name = application_name(&request.run);
    let mut session = Session::open(means.clients.newest(), means.access, Some(&request.connect_to), &name, &project.limits, means.cancel)?;
    let server = session.server().clone();
    let client = means.clients.for_server(server.version_num)?;
    seen::remember(world, &project.name, &Seen { server: Some(server.version.clone()), client: Some(client.version.clone()) });
    let mut warnings = Vec::new();
    let replay = standby(means, &server, &client, request, &mut warnings)?;
    if request.shape.content != Content::Globals {
        rights(&mut session, request)?;
    }
    server_lock(means, request, &mut session, &mut warnings)?;
    let database_size = Some(session.database_size()?);
    let properties = Some(session.properties()?);
    Ok(Asked { session, client, server, database_size, properties, started_at: world.clock.now(), warnings, _replay: replay })
}

fn room(world: &World, means: Means<'_>, request: &Request) -> Result<()> {
    let Some(free) = means.storage.free_space()? else { return Ok(()) };
    let Some(needed) = space::estimate(world, &means.project.name, &request.database, &request.shape.selection())? else {
        if free == 0 {
            return Err(no_space(means, free, 1));
        }
        return Ok(());
    };
    if free < needed {
        return Err(no_space(means, free, needed));
    }
    Ok(())
}

fn no_space(means: Means<'_>, free: u64, needed: u64) -> Failure {
    let storage = means.storage.name();
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
        Standby::Refuse => {
            Err(Failure::new(Cause::Configuration, format!("{} is a standby, and this project refuses standbys", server.reached))
                .hint("point the connection at the primary, or set standby = \"as-is\""))
        }
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
        .hint(first.grant.clone()));
    }
    Ok(())
}

fn and_more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

fn server_lock(means: Means<'_>, request: &Request, session: &mut Session, warnings: &mut Vec<String>) -> Result<()> {
    if !means.project.server_lock {
        return Ok(());
    }
    match session.try_server_lock(&means.project.name, &request.database)? {
        ServerLock::Held => Ok(()),
        ServerLock::HeldByPgdumpd(other) => {
            let from = other.address.map(|address| format!(" from {address}")).unwrap_or_default();
            let words = format!("another pgdumpd (run {}{from}) is dumping {:?} of this project", other.run, request.database);
            Err(Failure::new(Cause::Locked, words)
                .hint("two hosts seem to have the same project; leave it to one, or wait for the other to end"))
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
