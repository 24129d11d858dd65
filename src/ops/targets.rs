//! Which databases a job covers, asked of the server anew each time.

use std::time::{Duration, Instant};

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Project, Standby};
use crate::postgres::connection::Access;
use crate::postgres::quote::ident;
use crate::postgres::session::{Names, Server, Session};

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

/// The databases of a job.
#[derive(Debug, Clone, Default)]
pub struct Covered {
    /// To be dumped.
    pub databases: Vec<String>,
    /// Left out because they let nobody in, where all of the server's databases are wanted.
    pub closed: Vec<String>,
    /// Those whose names are no UTF-8, as they are shown, where all of the server's databases are wanted: they can't be dumped.
    pub unreadable: Vec<String>,
}

impl Covered {
    /// These and no others.
    #[must_use]
    pub fn these(databases: Vec<String>) -> Self {
        Self { databases, ..Self::default() }
    }
}

/// Why a database can't be dumped whose name is no UTF-8.
#[must_use]
pub fn unreadable(name: &str) -> Failure {
    let words = format!("the database {name:?} can't be backed up: its name isn't in UTF-8 (% and two digits stand for a byte of it)");
    Failure::new(Cause::Refused, words)
        .hint(format!("give it another name (ALTER DATABASE … RENAME TO …), or write {name:?} into exclude_databases"))
}

/// How a database that lets nobody in is told, and what to do about it.
#[must_use]
pub fn closed(name: &str) -> (String, String) {
    let hint = format!(
        "let the role in (ALTER DATABASE {} ALLOW_CONNECTIONS true), or name it in exclude_databases, and this is said no more",
        ident(name)
    );
    (format!("the database {name:?} is left out: it lets nobody connect"), hint)
}

/// The databases to dump now: the configured ones, or all that the server has less the excluded globs. `seen` is shown those before any
/// is left out.
///
/// A named database that the server lacks is not left out: its dump is tried, fails, and is told.
pub fn databases(project: &Project, session: &mut Session, seen: impl Fn(&Covered)) -> Result<Covered> {
    match &project.databases {
        Databases::FromConnection => Ok(Covered::these(vec![session.server().database.clone()])),
        Databases::Named(names) => Ok(Covered::these(names.clone())),
        Databases::All { exclude } => {
            let globs = excluded(exclude)?;
            let Names { readable, unreadable } = session.databases()?;
            let closed = session.closed_databases()?;
            let mut found = Covered { databases: readable, closed: [closed.readable, closed.unreadable].concat(), unreadable };
            seen(&found);
            for names in [&mut found.databases, &mut found.closed, &mut found.unreadable] {
                names.retain(|name| !globs.is_match(name));
            }
            if found.databases.is_empty() && found.unreadable.is_empty() {
                return Err(Failure::new(Cause::NotFound, format!("project {:?} matches no database on the server", project.name))
                    .hint("check exclude_databases, and that the role may connect"));
            }
            Ok(found)
        }
    }
}

/// Databases that every server has.
const USUAL: [&str; 2] = ["postgres", "template1"];

/// Where what is the whole server's can be read, its databases, roles and tablespaces: in any database that lets the role in. Those that did
/// come first.
#[must_use]
pub fn entrances<'a>(answered: Vec<&'a str>, others: Vec<&'a str>) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for name in answered.into_iter().chain(others).chain(USUAL) {
        if !places.iter().any(|known| known == name) {
            places.push(name.to_owned());
        }
    }
    places
}

/// Does it in the first of these databases that lets the role in, and tells the first one's failure where none does. A server that
/// doesn't answer at all won't do so for another database either; `connect` is the longest wait for one connection.
pub fn in_first<T>(places: &[String], connect: Duration, mut act: impl FnMut(&str) -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let mut tried: Vec<&str> = Vec::new();
    let mut first = None;
    for place in places {
        match act(place) {
            Err(failure) if matches!(failure.cause, Cause::Connection | Cause::Login) => {
                tried.push(place);
                first.get_or_insert(failure);
            }
            done => return done,
        }
        if began.elapsed() >= connect / 2 {
            break;
        }
    }
    let failure = first.unwrap_or_else(|| Failure::new(Cause::Connection, "there is no database to connect to"));
    if tried.len() < 2 {
        return Err(failure);
    }
    Err(failure.context(format!("none of the databases {} lets the role in; the first says", tried.join(", "))))
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
