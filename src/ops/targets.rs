//! Which databases a job covers, asked of the server anew each time.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Project, Standby};
use crate::postgres::connection::Access;
use crate::postgres::session::{Server, Session};

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

/// The databases to dump now: the configured ones, or all that the server has less the excluded globs. `seen` is shown those before any
/// is left out.
///
/// A named database that the server lacks is not left out: its dump is tried, fails, and is told.
pub fn databases(project: &Project, session: &mut Session, seen: impl Fn(&[String])) -> Result<Vec<String>> {
    match &project.databases {
        Databases::FromConnection => Ok(vec![session.server().database.clone()]),
        Databases::Named(names) => Ok(names.clone()),
        Databases::All { exclude } => {
            let globs = excluded(exclude)?;
            let mut names = session.databases()?;
            seen(&names);
            names.retain(|name| !globs.is_match(name));
            if names.is_empty() {
                return Err(Failure::new(Cause::NotFound, format!("project {:?} matches no database on the server", project.name))
                    .hint("check exclude_databases, and that the role may connect"));
            }
            Ok(names)
        }
    }
}

/// Why nothing is dumped from this server, where it is a standby and the project wants none.
#[must_use]
pub fn refused_standby(project: &Project, server: &Server) -> Option<Failure> {
    (server.standby && project.standby == Standby::Refuse).then(|| {
        Failure::new(Cause::Configuration, format!("{} is a standby, and this project refuses standbys", server.reached))
            .hint("point the connection at the primary, or set standby = \"as-is\"")
    })
}

/// What `exclude_databases` matches.
pub fn excluded(globs: &[String]) -> Result<GlobSet> {
    let refused = |why: String| Failure::new(Cause::Configuration, format!("exclude_databases: {why}"));
    let mut set = GlobSetBuilder::new();
    for pattern in globs {
        set.add(Glob::new(pattern).map_err(|error| refused(format!("{pattern:?} is no glob: {error}")))?);
    }
    set.build().map_err(|error| refused(error.to_string()))
}
