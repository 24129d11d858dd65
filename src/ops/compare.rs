//! A restored database against its backup: rows per table, large objects, sequences, indexes and constraints. Used by restore and drill.
//!
//! Only what was restored counts, whatever else the database holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::{Cause, Result};
use crate::model::backup::TableEntry;
use crate::postgres::archive::toc::Entry;
use crate::postgres::content::OfTable;
use crate::postgres::session::Session;

/// Differences named; more don't help a person.
const MOST: usize = 20;

/// One table, counted again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Schema name, unquoted.
    pub schema: String,
    /// Table name, unquoted.
    pub name: String,
    /// Its rows when it was backed up, where they are known.
    pub expected: Option<u64>,
    /// Its rows now; unset where there is no such table.
    pub found: Option<u64>,
}

/// What to compare.
#[derive(Debug, Clone, Default)]
pub struct Expected<'a> {
    /// The tables whose rows were restored.
    pub tables: Vec<&'a TableEntry>,
    /// Large objects, where all of them were restored.
    pub large_objects: Option<u64>,
    /// The entries that were restored, where the backup has a table of contents and its definitions were restored too.
    pub entries: Vec<&'a Entry>,
    /// Whether rows may have gone to another partition than the one they came from.
    pub by_total: bool,
    /// Whether the backup's names can't be read, so that nothing of it can be compared.
    pub unread: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Every table that was counted.
    pub tables: Vec<Compared>,
    /// What differs, a sentence each; empty means equal.
    pub problems: Vec<String>,
    /// Whether nothing could be compared.
    #[serde(skip)]
    pub unread: bool,
}

impl Comparison {
    /// Rows found in all tables.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().filter_map(|table| table.found).sum()
    }

    fn say(&mut self, problem: String) {
        match self.problems.len() {
            MOST => self.problems.push(String::from("and more")),
            0..MOST => self.problems.push(problem),
            _ => {}
        }
    }
}

/// Compares the connected database with what its backup says.
pub fn compare(session: &mut Session, expected: &Expected<'_>) -> Result<Comparison> {
    let mut comparison = Comparison { unread: expected.unread, ..Comparison::default() };
    rows(session, expected, &mut comparison)?;
    if let Some(wanted) = expected.large_objects {
        let found = session.count_large_objects()?;
        if found != wanted {
            comparison.say(format!("there are {found} large objects instead of {wanted}"));
        }
    }
    if !expected.entries.is_empty() {
        sequences(session, &expected.entries, &mut comparison)?;
        indexes(session, &expected.entries, &mut comparison)?;
        constraints(session, &expected.entries, &mut comparison)?;
    }
    Ok(comparison)
}

fn rows(session: &mut Session, expected: &Expected<'_>, comparison: &mut Comparison) -> Result<()> {
    let names: Vec<(&str, &str)> = expected.tables.iter().map(|table| (table.schema.as_str(), table.name.as_str())).collect();
    let counted = session.count_rows(&names)?;
    for (table, counted) in expected.tables.iter().zip(counted) {
        let name = format!("{}.{}", table.schema, table.name);
        match (table.rows, counted.rows) {
            (_, None) => comparison.say(format!("the table {name} is missing")),
            // An extension makes rows of its own; those of the backup come on top.
            (Some(wanted), Some(found)) if counted.of_extension && found >= wanted => {}
            (Some(wanted), Some(found)) if found != wanted && !expected.by_total => {
                comparison.say(format!("{name} has {found} rows instead of {wanted}"));
            }
            _ => {}
        }
        comparison.tables.push(Compared {
            schema: table.schema.clone(),
            name: table.name.clone(),
            expected: table.rows,
            found: counted.rows,
        });
    }
    let wanted: Option<u64> = expected.tables.iter().map(|table| table.rows).sum();
    if let Some(wanted) = wanted.filter(|wanted| expected.by_total && *wanted != comparison.rows()) {
        comparison.say(format!("all tables together have {} rows instead of {wanted}", comparison.rows()));
    }
    Ok(())
}

/// Sequences stand where the backup's `setval` put them.
fn sequences(session: &mut Session, entries: &[&Entry], comparison: &mut Comparison) -> Result<()> {
    let wanted: BTreeMap<(&str, &str), (i64, bool)> = entries
        .iter()
        .filter(|entry| entry.desc == "SEQUENCE SET")
        .filter_map(|entry| Some(((entry.namespace.as_deref()?, entry.tag.as_str()), setval(&entry.defn)?)))
        .collect();
    let names: Vec<(&str, &str)> = wanted.keys().copied().collect();
    let found = match session.sequence_values(&names) {
        Err(failure) if failure.cause == Cause::NotFound => {
            comparison.say(format!("a sequence is missing: {failure}"));
            return Ok(());
        }
        found => found?,
    };
    for (((schema, name), wanted), found) in wanted.iter().zip(found) {
        if *wanted != found {
            comparison.say(format!("the sequence {schema}.{name} stands at {} instead of {}", found.0, wanted.0));
        }
    }
    Ok(())
}

/// The value in `SELECT pg_catalog.setval('public.s', 42, true);`.
fn setval(defn: &str) -> Option<(i64, bool)> {
    let inner = defn.trim_end().strip_suffix(");")?;
    let (rest, called) = inner.rsplit_once(", ")?;
    let (_, value) = rest.rsplit_once(", ")?;
    Some((value.parse().ok()?, called == "true"))
}

/// The indexes that were restored can be used. Others that the database has are not the restore's.
fn indexes(session: &mut Session, entries: &[&Entry], comparison: &mut Comparison) -> Result<()> {
    let (indexes, keys) = (named(entries, &["INDEX"]), named(entries, &["CONSTRAINT"]));
    for OfTable { schema, table, name } in session.invalid_indexes()? {
        if indexes.contains(&(schema.as_str(), name.as_str())) || keys.contains(&(schema.as_str(), of(&table, &name).as_str())) {
            comparison.say(format!("the index {schema}.{name} is not valid"));
        }
    }
    Ok(())
}

/// The constraints that were restored, and that were checked in the original, are checked here.
fn constraints(session: &mut Session, entries: &[&Entry], comparison: &mut Comparison) -> Result<()> {
    let checked: Vec<&Entry> = entries.iter().copied().filter(|entry| !entry.defn.trim_end().ends_with(" NOT VALID;")).collect();
    let checked = named(&checked, &["CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"]);
    for OfTable { schema, table, name } in session.unchecked_constraints()? {
        if checked.contains(&(schema.as_str(), of(&table, &name).as_str())) {
            comparison.say(format!("the constraint {name} of {schema}.{table} was not checked against its rows"));
        }
    }
    Ok(())
}

/// Schema and tag of the entries of these kinds.
fn named<'a>(entries: &[&'a Entry], kinds: &[&str]) -> BTreeSet<(&'a str, &'a str)> {
    let of_kinds = entries.iter().filter(|entry| kinds.contains(&entry.desc.as_str()));
    of_kinds.map(|entry| (entry.namespace.as_deref().unwrap_or_default(), entry.tag.as_str())).collect()
}

/// How a table of contents tags what belongs to a table.
fn of(table: &str, name: &str) -> String {
    format!("{table} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequences_value_is_read_from_its_statement() {
        assert_eq!(setval("SELECT pg_catalog.setval('public.\"a, b\"', 42, true);\n"), Some((42, true)));
        assert_eq!(setval("SELECT pg_catalog.setval('s', -1, false);"), Some((-1, false)));
        assert_eq!(setval("SELECT 1;"), None);
    }

    #[test]
    fn many_differences_are_not_all_named() {
        let mut comparison = Comparison::default();
        (0..100).for_each(|number| comparison.say(format!("problem {number}")));
        assert_eq!(comparison.problems.len(), MOST + 1);
        assert_eq!(comparison.problems.last().map(String::as_str), Some("and more"));
    }
}
