//! What is asked of the server before a byte is written: who is there, what stands there, and whether it can succeed.

use std::time::Instant;

use crate::error::{Cause, Failure, Result};
use crate::model::dump::Format;
use crate::model::project::Limits;
use crate::postgres::archive::roles::{concerned, grantees};
use crate::postgres::archive::toc::Entry;
use crate::postgres::connection::Access;
use crate::postgres::content::Holds;
use crate::postgres::dump::beside;
use crate::postgres::restore::Halves;
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::process::Cancel;

use super::{Globals, Means, Order, Recipe, Wanted, Way, room, scratch, ties};

/// Databases that every server has, to ask from.
const USUAL: [&str; 2] = ["postgres", "template1"];

/// How a server is asked.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) clients: &'a Clients,
    pub(super) access: &'a Access,
    pub(super) limits: &'a Limits,
    pub(super) cancel: &'a Cancel,
    /// What the session is called there.
    pub(super) name: &'a str,
}

/// A session in a database that isn't the target: that can be made, renamed and dropped only from outside.
pub(super) fn maintenance(means: Means<'_>, target: &str) -> Result<Session> {
    outside(server_of(means, &beside(means.run)), target, Some(&means.manifest.database_name))
}

/// The server that a restore goes to, asked under this name.
pub(super) fn server_of<'a>(means: Means<'a>, name: &'a str) -> Server<'a> {
    let Means { clients, access, limits, cancel, .. } = means;
    Server { clients, access, limits, cancel, name }
}

/// The same without a backup at hand; `known` is a database that may be there.
pub(super) fn outside(server: Server<'_>, target: &str, known: Option<&str>) -> Result<Session> {
    let began = Instant::now();
    let own = server.access.database();
    let mut candidates: Vec<&str> = USUAL.into_iter().chain(own.as_deref()).chain(known).filter(|name| *name != target).collect();
    candidates.dedup();
    let mut first = None;
    for database in candidates {
        match Session::open(server.clients.newest(), server.access, Some(database), server.name, server.limits, server.cancel) {
            Ok(mut session) => {
                session.reach_beyond()?;
                return Ok(session);
            }
            // A server that doesn't answer won't do so for another database either.
            Err(failure) if matches!(failure.cause, Cause::Connection | Cause::Login) && began.elapsed() < server.limits.connect / 2 => {
                first.get_or_insert(failure);
            }
            Err(failure) => return Err(first.unwrap_or(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::new(Cause::Connection, "there is no database to ask the server from")))
}

/// What people have made in the target.
pub(super) fn holds(means: Means<'_>, target: &str) -> Result<Holds> {
    Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?.holds()
}

/// Rows alone go into tables that are there and empty: a row must not come twice, nor beside what somebody else has put there.
pub(super) fn takes_rows(means: Means<'_>, target: &str, recipe: &Recipe) -> Result<()> {
    let mut session = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let tables = recipe.tables(&means.manifest.tables);
    let names: Vec<(&str, &str)> = tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).collect();
    for counted in session.count_rows(&names)? {
        let name = format!("{}.{}", counted.schema, counted.name);
        match counted.rows {
            None => {
                return Err(Failure::new(
                    Cause::Refused,
                    format!("the database {target:?} has no table {name} that the rows could go into"),
                )
                .hint("restore definitions and rows, or leave the table out with --exclude-table"));
            }
            Some(rows) if rows > 0 && !counted.of_extension => {
                return Err(Failure::new(Cause::Refused, format!("the table {name} of {target:?} holds {rows} rows already"))
                    .hint("empty it first, leave it out with --exclude-table, or restore into a new database"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Refuses where the sessions that fill the target could change nothing. A new database, also one that takes another's place, has no
/// setting of its own while it is filled.
pub(super) fn writable(means: Means<'_>, session: &mut Session, order: &Order, way: &Way) -> Result<()> {
    if !matches!(way, Way::Fill | Way::InPlace) {
        return anew(session, "restore as another role with --user");
    }
    let target = Some(order.database.as_str());
    let found = Session::open(means.clients.newest(), means.access, target, &beside(means.run), means.limits, means.cancel)?.read_only()?;
    let Some(found) = found else { return Ok(()) };
    Err(found.failure(match (found.is_of_role(), found.is_of_database()) {
        (true, _) => Some("restore as another role with --user"),
        (false, true) if order.wanted.is_whole() => Some("put the backup in its place with --replace, which carries the setting over"),
        (false, _) => None,
    }))
}

/// The same for a database that is yet to be made.
pub(super) fn anew(session: &mut Session, another_role: &str) -> Result<()> {
    let Some(found) = session.read_only_anew()? else { return Ok(()) };
    Err(found.failure(found.is_of_role().then_some(another_role)))
}

/// Refuses what the server lacks: roles, extensions, connections, room for `target`, with what to do where there is none.
pub(super) fn server(
    means: Means<'_>,
    session: &mut Session,
    recipe: &Recipe,
    wanted: &Wanted,
    globals: Option<&Globals>,
    target: (&str, &str),
) -> Result<()> {
    if session.server().standby {
        return Err(Failure::new(Cause::Refused, format!("{} is a standby: nothing can be restored there", session.server().reached))
            .hint("point --to at the primary"));
    }
    let entries = recipe.entries();
    extensions(session, &entries)?;
    roles(session, &entries, wanted, globals)?;
    ties::makeable(session, &entries, wanted)?;
    if !wanted.no_tablespaces {
        tablespaces(session, &entries, globals)?;
    }
    connections(session, wanted)?;
    room::room(means, session, recipe, wanted, target)?;
    let unpacks = match means.manifest.dump_format {
        Format::Plain => false,
        Format::Custom => wanted.jobs > 1,
        Format::Tar | Format::Directory => true,
    };
    if unpacks {
        scratch::room(means)?;
    }
    Ok(())
}

/// Refuses while roles and tablespaces are lacking that the backup needs.
pub(super) fn are_there(session: &mut Session, recipe: &Recipe, wanted: &Wanted) -> Result<()> {
    let entries = recipe.entries();
    roles(session, &entries, wanted, None)?;
    if wanted.no_tablespaces { Ok(()) } else { tablespaces(session, &entries, None) }
}

fn extensions(session: &mut Session, entries: &[&Entry]) -> Result<()> {
    let names: Vec<&str> = entries.iter().filter(|entry| entry.desc == "EXTENSION").map(|entry| entry.tag.as_str()).collect();
    let missing = session.missing_extensions(&names)?;
    if missing.is_empty() {
        return Ok(());
    }
    let words = format!("the server {} lacks what the backup needs: extension {}", session.server().reached, missing.join(", "));
    Err(Failure::new(Cause::Refused, words).hint("install the packages that bring them on the server, or restore it to another one"))
}

/// The roles that own things in the backup or may use them, as far as that is wanted.
pub(super) fn named_roles(entries: &[&Entry], wanted: &Wanted) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    // What is said of the database as a whole counts only where pg_restore makes it, which it doesn't here.
    let entries: Vec<&&Entry> = entries.iter().filter(|entry| !of_database(entry)).collect();
    if !wanted.no_owner {
        names.extend(entries.iter().map(|entry| entry.owner.clone()).filter(|owner| !owner.is_empty()));
    }
    if !wanted.no_privileges {
        names.extend(
            entries.iter().filter(|entry| matches!(entry.desc.as_str(), "ACL" | "DEFAULT ACL")).flat_map(|acl| grantees(&acl.defn)),
        );
    }
    if wanted.halves != Halves::Data {
        names.extend(entries.iter().filter(|entry| entry.desc == "POLICY").flat_map(|policy| concerned(&policy.defn)));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn roles(session: &mut Session, entries: &[&Entry], wanted: &Wanted, globals: Option<&Globals>) -> Result<()> {
    let mut names = named_roles(entries, wanted);
    names.retain(|name| !globals.is_some_and(|globals| globals.roles.contains(name)));
    // What can't be read of a name can't be looked for; the tool names it by its bytes, and fails where the server lacks it.
    names.retain(|name| !name.contains(char::REPLACEMENT_CHARACTER));
    let missing = session.missing_roles(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    if missing.is_empty() {
        return Ok(());
    }
    let words = format!(
        "the server {} lacks roles that own things in the backup or may use them: {}",
        session.server().reached,
        missing.join(", ")
    );
    let policies: Vec<String> = match wanted.halves {
        Halves::Data => Vec::new(),
        _ => entries.iter().filter(|entry| entry.desc == "POLICY").flat_map(|policy| concerned(&policy.defn)).collect(),
    };
    let bound: Vec<&str> = missing.iter().filter(|name| policies.contains(name)).map(String::as_str).collect();
    let hint = if bound.is_empty() {
        String::from("make the roles; or restore them first with --globals; or do without them with --no-owner --no-privileges")
    } else {
        format!(
            "policies of row security name {}, and can't do without: make the roles, or restore them first with --globals",
            bound.join(", ")
        )
    };
    Err(Failure::new(Cause::Refused, words).hint(hint))
}

fn of_database(entry: &Entry) -> bool {
    entry.desc.starts_with("DATABASE") || (entry.namespace.is_none() && entry.tag.starts_with("DATABASE "))
}

fn tablespaces(session: &mut Session, entries: &[&Entry], globals: Option<&Globals>) -> Result<()> {
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| entry.tablespace.as_deref()).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !globals.is_some_and(|globals| globals.tablespaces.iter().any(|made| made == name)));
    let missing = session.missing_tablespaces(&names)?;
    if missing.is_empty() {
        return Ok(());
    }
    let words = format!("the server {} lacks tablespaces that the backup names: {}", session.server().reached, missing.join(", "));
    Err(Failure::new(Cause::Refused, words)
        .hint("make them (CREATE TABLESPACE), or let everything go into the default one with --no-tablespaces"))
}

/// The tool's connections, its leader's, and one to look at what came of it.
fn connections(session: &mut Session, wanted: &Wanted) -> Result<()> {
    let (needed, spare) = (wanted.jobs.max(1) + 1, session.spare_connections()?);
    if spare >= needed {
        return Ok(());
    }
    let words = format!("the server {} has {spare} connections to spare, and the restore needs {needed}", session.server().reached);
    Err(Failure::new(Cause::Refused, words).hint("end some sessions, raise the role's or the server's limit, or restore with fewer --jobs"))
}
