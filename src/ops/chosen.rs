//! Which of a project's databases a person named: a name that is none of them is refused, before anything is recorded of it. What was
//! dumped under such a name would count as no longer backed up, and retention would never remove it.

use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Project};
use crate::process::Cancel;

use super::targets::{self, Covered};
use super::{World, there};

/// As many names as are told where a name is none.
const TOLD: usize = 8;

/// Refuses names that are none of the project's databases. Asks the server only where the configuration doesn't say; where that can't be
/// reached, what it told last counts.
pub fn check(world: &World, project: &Project, only: &[String], cancel: &Cancel) -> Result<()> {
    if only.is_empty() {
        return Ok(());
    }
    if let Databases::Named(names) = &project.databases {
        return among(project, names, only);
    }
    let access = world.access(project)?;
    if let (Databases::FromConnection, Some(named)) = (&project.databases, access.database()) {
        return among(project, &[named], only);
    }
    left_out(project, only)?;
    let asked = || -> Result<Covered> {
        let clients = world.clients(project)?;
        let mut session = there::ask(world, project, &clients, &access, cancel)?;
        targets::databases(project, &mut session, |found| there::remember(world, &project.name, found))
    };
    match asked() {
        Ok(found) => {
            if let Some(closed) = only.iter().find(|name| found.closed.contains(name)) {
                let (_, hint) = targets::closed(closed);
                let words = format!("the database {closed:?} lets nobody connect, so it can't be backed up");
                return Err(Failure::new(Cause::Configuration, words).hint(hint));
            }
            if let Some(name) = only.iter().find(|name| found.unreadable.contains(name)) {
                return Err(targets::unreadable(name));
            }
            among(project, &found.databases, only)
        }
        Err(failure) if matches!(failure.cause, Cause::Connection | Cause::Login) => {
            let known = world.catalog.read(|reader| there::recall(reader, &project.name))?.unwrap_or_default();
            // Of what was there, the run itself tells why it failed.
            if only.iter().all(|name| known.names.contains(name)) { Ok(()) } else { Err(failure) }
        }
        Err(failure) => Err(failure),
    }
}

fn among(project: &Project, names: &[String], only: &[String]) -> Result<()> {
    let Some(unknown) = only.iter().find(|name| !names.contains(name)) else { return Ok(()) };
    let mut near: Vec<&String> = names.iter().collect();
    let likeness = |name: &String| strsim::jaro_winkler(name, unknown);
    near.sort_by(|one, two| likeness(two).total_cmp(&likeness(one)));
    let more = near.len().saturating_sub(TOLD);
    near.truncate(TOLD);
    let told: Vec<&str> = near.into_iter().map(String::as_str).collect();
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Err(Failure::new(Cause::Configuration, format!("project {:?} has no database {unknown:?}", project.name))
        .hint(format!("it has: {}{more}", told.join(", "))))
}

fn left_out(project: &Project, only: &[String]) -> Result<()> {
    let Databases::All { exclude } = &project.databases else { return Ok(()) };
    let globs = targets::excluded(exclude)?;
    let Some(name) = only.iter().find(|name| globs.is_match(name)) else { return Ok(()) };
    Err(Failure::new(Cause::Configuration, format!("the database {name:?} is left out of project {:?} by exclude_databases", project.name))
        .hint("take it out of exclude_databases, or dump it into a file of its own: pgdumpd backup --url URL --output FILE"))
}
