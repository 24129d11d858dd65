//! What is asked of the server before a byte is written: who is there, what stands there, and whether it can succeed.

use std::path::Path;
use std::time::Instant;

use crate::error::{Cause, Failure, Result};
use crate::model::dump::Format;
use crate::postgres::archive::toc::Entry;
use crate::postgres::content::Holds;
use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::units::show_size;

use super::{Globals, Means, Recipe, Wanted, scratch};

/// Databases that every server has, to ask from.
const USUAL: [&str; 2] = ["postgres", "template1"];

/// A session in a database that isn't the target: that can be made, renamed and dropped only from outside.
pub(super) fn maintenance(means: Means<'_>, target: &str) -> Result<Session> {
    let began = Instant::now();
    let own = means.access.database();
    let dumped = means.manifest.database_name.as_str();
    let mut candidates: Vec<&str> = USUAL.into_iter().chain(own.as_deref()).chain([dumped]).filter(|name| *name != target).collect();
    candidates.dedup();
    let mut first = None;
    for database in candidates {
        match Session::open(means.clients.newest(), means.access, Some(database), &beside(means.run), means.limits, means.cancel) {
            Ok(session) => return Ok(session),
            // A server that doesn't answer won't do so for another database either.
            Err(failure) if failure.cause == Cause::Connection && began.elapsed() < means.limits.connect / 2 => {
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

/// Refuses what the server lacks: roles, extensions, connections, room.
pub(super) fn server(means: Means<'_>, session: &mut Session, recipe: &Recipe, wanted: &Wanted, globals: Option<&Globals>) -> Result<()> {
    if session.server().standby {
        return Err(Failure::new(Cause::Refused, format!("{} is a standby: nothing can be restored there", session.server().reached))
            .hint("point --to at the primary"));
    }
    let entries = recipe.entries();
    extensions(session, &entries)?;
    roles(session, &entries, wanted, globals)?;
    connections(session, wanted)?;
    room(means, session)?;
    if means.manifest.dump_format == Format::Tar || (wanted.jobs > 1 && means.manifest.dump_format == Format::Custom) {
        scratch::room(means)?;
    }
    Ok(())
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
    names.sort_unstable();
    names.dedup();
    names
}

fn roles(session: &mut Session, entries: &[&Entry], wanted: &Wanted, globals: Option<&Globals>) -> Result<()> {
    let mut names = named_roles(entries, wanted);
    names.retain(|name| !globals.is_some_and(|globals| globals.roles.contains(name)));
    let missing = session.missing_roles(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    if missing.is_empty() {
        return Ok(());
    }
    let words = format!(
        "the server {} lacks roles that own things in the backup or may use them: {}",
        session.server().reached,
        missing.join(", ")
    );
    Err(Failure::new(Cause::Refused, words)
        .hint("make the roles; or restore them first with --globals; or do without them with --no-owner --no-privileges"))
}

fn of_database(entry: &Entry) -> bool {
    entry.desc.starts_with("DATABASE") || (entry.namespace.is_none() && entry.tag.starts_with("DATABASE "))
}

/// The roles in GRANT and REVOKE statements as `pg_dump` writes them.
fn grantees(defn: &str) -> Vec<String> {
    let mut found = Vec::new();
    for statement in defn.split(";\n") {
        let words = statement.trim_end().trim_end_matches(';').trim_end_matches(" WITH GRANT OPTION");
        // The last one of them: names before it stand in quotes, and a role's own can't hold what would look like another.
        let after = [" TO ", " FROM "].iter().filter_map(|word| words.rfind(word).map(|at| at + word.len())).max();
        let Some(name) = after.and_then(|at| words.get(at..)) else { continue };
        match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => found.push(quoted.replace("\"\"", "\"")),
            None if name == "PUBLIC" || name.contains(['"', ' ']) => {}
            None => found.push(name.to_owned()),
        }
    }
    found
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

/// Where the server is this very machine and says where its data lies, there must be room for the database as it was.
fn room(means: Means<'_>, session: &mut Session) -> Result<()> {
    let local = session.server().reached.host.starts_with('/')
        || matches!(session.server().reached.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let (Some(needed), true) = (means.manifest.database_size_bytes, local) else { return Ok(()) };
    let Some(folder) = session.data_directory()? else { return Ok(()) };
    // Behind a forwarded port it is another machine's folder, which this one hardly has.
    let Ok(found) = rustix::fs::statvfs(Path::new(&folder)) else { return Ok(()) };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let words = format!("the server's disk has {} free in {folder}, and the database had {}", show_size(free), show_size(needed));
    Err(Failure::new(Cause::Space, words).hint("free some space there, or restore to another server"))
}

#[cfg(test)]
mod tests {
    use super::grantees;

    #[test]
    fn roles_are_found_in_what_pg_dump_writes() {
        let defn = "REVOKE ALL ON TABLE public.t FROM owner;\nGRANT SELECT ON TABLE public.t TO reader;\n\
                    GRANT ALL ON TABLE public.\" TO x\" TO \"we\"\"ird role\" WITH GRANT OPTION;\nGRANT USAGE ON SCHEMA s TO PUBLIC;\n";
        assert_eq!(grantees(defn), ["owner", "reader", "we\"ird role"]);
    }
}
