//! Whether the backups that retention would compare come from one server, or from several of which nobody has said that they are one line.
//!
//! Pure: rows and what was agreed to go in. A server is told by its `system_identifier`; host and port only name it to people.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;

/// Backups of one database and selection that come from several servers: retention must not let one push out another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divided {
    /// Database name.
    pub database: String,
    /// What the backups hold.
    pub selection: Selection,
    /// The servers, the one with the newest backup first; at least two.
    pub servers: Vec<Origin>,
}

/// A server that backups come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its `system_identifier`.
    pub system_identifier: String,
    /// Host and port, as its newest backup reached it; `None` where a catalog of an older version doesn't know.
    pub server: Option<String>,
    /// Its newest backup.
    pub newest: RunId,
    /// When that was started.
    pub newest_at: DateTime<Utc>,
    /// How many backups of it there are.
    pub backups: usize,
}

/// The groups of one project's backups that come from several servers which are not all `agreed` to be one line.
///
/// Backups whose server is unknown (made by an older version, or by a role that may not ask) count as of any server.
#[must_use]
pub fn divided(backups: &[BackupRow], agreed: &BTreeSet<String>) -> Vec<Divided> {
    let mut groups: BTreeMap<(&str, &str, &Selection), BTreeMap<&str, Vec<&BackupRow>>> = BTreeMap::new();
    for row in backups {
        if let Some(identifier) = &row.system_identifier {
            let servers = groups.entry((&row.project, &row.database, &row.selection)).or_default();
            servers.entry(identifier).or_default().push(row);
        }
    }
    groups.retain(|_, servers| servers.len() > 1 && !servers.keys().all(|identifier| agreed.contains(*identifier)));
    let of_group = |((_, database, selection), servers): ((&str, &str, &Selection), BTreeMap<&str, Vec<&BackupRow>>)| {
        let mut servers: Vec<Origin> = servers.into_iter().filter_map(|(identifier, rows)| origin(identifier, &rows)).collect();
        servers.sort_by_key(|origin| Reverse(origin.newest_at));
        Divided { database: database.to_owned(), selection: selection.clone(), servers }
    };
    groups.into_iter().map(of_group).collect()
}

fn origin(identifier: &str, rows: &[&BackupRow]) -> Option<Origin> {
    let newest = rows.iter().max_by_key(|row| row.started_at)?;
    Some(Origin {
        system_identifier: identifier.to_owned(),
        server: newest.server.clone(),
        newest: newest.id.clone(),
        newest_at: newest.started_at,
        backups: rows.len(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::tests::{at, backup};
    use super::*;

    /// A backup of each of these servers, an hour apart, the first the oldest; `-` for one that is unknown.
    fn rows(servers: &str) -> Vec<BackupRow> {
        let row = |(hour, server): (i64, &str)| {
            let mut row = backup(at("2026-11-21T00:00:00Z") + TimeDelta::hours(hour));
            row.system_identifier = Some(server.to_owned()).filter(|server| server != "-");
            row.server = Some(format!("{server}:5432"));
            row
        };
        (0..).zip(servers.split(' ')).map(row).collect()
    }

    fn identifiers(divided: &[Divided]) -> Vec<Vec<&str>> {
        divided.iter().map(|group| group.servers.iter().map(|origin| origin.system_identifier.as_str()).collect()).collect()
    }

    #[test]
    fn only_several_known_servers_that_nobody_agreed_to_divide_a_line() {
        let none: Vec<Vec<&str>> = Vec::new();
        for (servers, agreed, expected) in [
            ("a a a", "", none.clone()),
            ("- - -", "", none.clone()),
            ("- a -", "", none.clone()),
            ("a a b", "", vec![vec!["b", "a"]]),
            ("a - b", "", vec![vec!["b", "a"]]),
            ("a b a", "", vec![vec!["a", "b"]]),
            ("a b", "a b", none.clone()),
            ("a b", "a", vec![vec!["b", "a"]]),
            ("a b c", "a b", vec![vec!["c", "b", "a"]]),
            ("b c", "a b", vec![vec!["c", "b"]]),
            ("a b c", "a b c", none),
        ] {
            let agreed: BTreeSet<String> = agreed.split_whitespace().map(str::to_owned).collect();
            assert_eq!(identifiers(&divided(&rows(servers), &agreed)), expected, "{servers} with {agreed:?}");
        }
    }

    #[test]
    fn databases_and_selections_are_lines_of_their_own() {
        let mut other = rows("a b");
        other[1].database = "billing".into();
        assert_eq!(divided(&other, &BTreeSet::new()), []);
        let mut other = rows("a b");
        other[1].selection = Selection::globals();
        assert_eq!(divided(&other, &BTreeSet::new()), []);
        other.extend(rows("- b").into_iter().map(|row| BackupRow { selection: Selection::globals(), database: "globals".into(), ..row }));
        other[0].selection = Selection::globals();
        other[0].database = "globals".into();
        let found = divided(&other, &BTreeSet::new());
        assert_eq!((found.len(), found[0].database.as_str()), (1, "globals"), "{found:?}");
    }

    #[test]
    fn each_server_is_named_by_its_newest_backup() {
        let found = divided(&rows("a a b b b"), &BTreeSet::new());
        let a = &found[0].servers[1];
        assert_eq!((a.server.as_deref(), a.newest_at, a.backups), (Some("a:5432"), at("2026-11-21T01:00:00Z"), 2));
        assert_eq!((found[0].servers[0].newest_at, found[0].servers[0].backups), (at("2026-11-21T04:00:00Z"), 3));
    }
}
