//! Which databases a job covers, asked of the server anew each time.

use globset::{Glob, GlobSetBuilder};

use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Project};
use crate::postgres::connection::Access;
use crate::postgres::session::Session;

/// The database to meet a project's server in before its databases are known; `None` leaves it to the connection.
///
/// A URL without a database would mean one named like the role, which a server of many databases rarely has.
#[must_use]
pub fn first_contact(project: &Project, access: &Access) -> Option<String> {
    match &project.databases {
        Databases::FromConnection => None,
        Databases::Named(names) => names.first().cloned(),
        Databases::All { .. } => access.database().or_else(|| Some(String::from("postgres"))),
    }
}

/// The databases to dump now: the configured ones, or all that the server has less the excluded globs.
///
/// A named database that the server lacks is not left out: its dump is tried, fails, and is told.
pub fn databases(project: &Project, session: &mut Session) -> Result<Vec<String>> {
    match &project.databases {
        Databases::FromConnection => Ok(vec![session.server().database.clone()]),
        Databases::Named(names) => Ok(names.clone()),
        Databases::All { exclude } => {
            let mut globs = GlobSetBuilder::new();
            for pattern in exclude {
                let glob = Glob::new(pattern)
                    .map_err(|error| Failure::new(Cause::Configuration, format!("exclude_databases: {pattern:?} is no glob: {error}")))?;
                globs.add(glob);
            }
            let globs = globs.build().map_err(|error| Failure::new(Cause::Configuration, format!("exclude_databases: {error}")))?;
            let names: Vec<String> = session.databases()?.into_iter().filter(|name| !globs.is_match(name)).collect();
            if names.is_empty() {
                return Err(Failure::new(Cause::NotFound, format!("project {:?} matches no database on the server", project.name))
                    .hint("check exclude_databases, and that the role may connect"));
            }
            Ok(names)
        }
    }
}
