//! Which databases a job covers, asked of the server anew each time; and which of those that have backups it still covers.

use std::collections::BTreeSet;

use globset::{Glob, GlobSetBuilder};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::BackupRow;
use crate::model::project::{Databases, Project};
use crate::postgres::connection::{Access, named_by};
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

/// The databases of these backups (of one project and selection, newest first) that the project still covers: the configured ones; where the
/// configuration names none, those of the newest slot and whatever was backed up by hand since. All of them where that leaves none.
#[must_use]
pub fn covered<'a>(project: Option<&Project>, rows: &'a [BackupRow]) -> BTreeSet<&'a str> {
    let all = || rows.iter().map(|row| row.database.as_str());
    let configured: Option<Vec<String>> = project.and_then(|project| match &project.databases {
        Databases::Named(names) => Some(names.clone()),
        Databases::FromConnection => named_by(&project.connection.target).map(|name| vec![name]),
        Databases::All { .. } => None,
    });
    let covered: BTreeSet<&str> = match configured {
        Some(names) => all().filter(|database| names.iter().any(|name| name == database)).collect(),
        None => {
            let newest = rows.iter().filter_map(|row| row.slot).max();
            let recent = |row: &&BackupRow| newest.is_none_or(|slot| row.slot == Some(slot) || row.started_at >= slot);
            rows.iter().filter(recent).map(|row| row.database.as_str()).collect()
        }
    };
    if covered.is_empty() { all().collect() } else { covered }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::model::backup::Marks;

    fn row(database: &str, minute: i64, slot: Option<i64>) -> BackupRow {
        let at = |minute| DateTime::<Utc>::UNIX_EPOCH + TimeDelta::minutes(minute);
        let mut row = BackupRow::from_manifest("main", &crate::manifest::tests::manifest(), None, Marks::default());
        (row.database, row.started_at, row.slot) = (database.to_owned(), at(minute), slot.map(at));
        row
    }

    #[test]
    fn a_database_that_the_newest_slot_left_out_is_not_covered_any_more() {
        let rows =
            [row("new", 25, None), row("shop", 21, Some(20)), row("blog", 20, Some(20)), row("gone", 10, Some(10)), row("x", 5, None)];
        let names = |rows: &[BackupRow]| covered(None, rows).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&rows), ["blog", "new", "shop"]);
        assert_eq!(names(&rows[3..]), ["gone"]);
        assert_eq!(names(&rows[4..]), ["x"]);
        assert_eq!(names(&[row("a", 2, None), row("b", 1, None)]), ["a", "b"], "by hand nobody says which belong together");
        assert_eq!(names(&[]), [""; 0]);
    }
}
