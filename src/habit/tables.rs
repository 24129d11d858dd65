//! Single tables: one that always had rows and has none now, or is gone.

use std::collections::{HashMap, HashSet};

use crate::error::Result;

/// A table that so many backups hold has come to stay.
const SETTLED: usize = 3;

/// A table with fewer rows is not looked at by itself.
const FLOOR: u64 = 1000;

/// Tables that are gone are told only where together they held this share of all rows, percent: tables are dropped on purpose.
const GONE_SHARE: u64 = 10;

/// A table and its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known<'a> {
    /// Schema name.
    pub schema: &'a str,
    /// Table name.
    pub name: &'a str,
    /// Rows.
    pub rows: u64,
}

/// Schema, table, rows.
pub type Counted = (String, String, u64);

/// A table that lost rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFall {
    /// `schema.table`.
    pub table: String,
    /// Rows before.
    pub from: u64,
    /// Rows now; `None` where the table is gone.
    pub to: Option<u64>,
}

/// Tables that held many rows in each of the backups of the habit, as far back as they existed, and hold none now. `usual` is a closure over those backups, newest first,
/// so that only as many are read as are needed: mostly one.
///
/// A table whose sister by number (`events_2026_10`, `events_2026_11`) still holds rows was rotated away. One that is gone was renamed or
/// replaced where new tables hold at least half of what went.
pub fn missing(new: &[Known<'_>], usual: &mut dyn FnMut(usize) -> Result<Option<Vec<Counted>>>) -> Result<Vec<TableFall>> {
    let Some(newest) = usual(0)? else { return Ok(Vec::new()) };
    let now: HashMap<(&str, &str), u64> = new.iter().map(|table| ((table.schema, table.name), table.rows)).collect();
    let sisters: HashSet<(&str, String)> =
        new.iter().filter(|table| table.rows > 0).map(|table| (table.schema, stem(table.name))).collect();
    let lost = |(schema, name, rows): &&Counted| {
        let left = now.get(&(schema.as_str(), name.as_str())).copied().unwrap_or(0);
        let stem = stem(name);
        *rows >= FLOOR && left == 0 && !(stem != *name && sisters.contains(&(schema.as_str(), stem)))
    };
    let mut lost: Vec<&Counted> = newest.iter().filter(lost).collect();
    let mut place = 1;
    while !lost.is_empty() {
        let Some(older) = usual(place)? else { break };
        let held: HashMap<(&str, &str), u64> = older.iter().map(|(schema, name, rows)| ((schema.as_str(), name.as_str()), *rows)).collect();
        lost.retain(|(schema, name, _)| match held.get(&(schema.as_str(), name.as_str())) {
            Some(rows) => *rows >= FLOOR,
            // Made since then; but what came and went within a few backups is no habit.
            None => place >= SETTLED,
        });
        place += 1;
    }
    let (emptied, gone): (Vec<_>, Vec<_>) =
        lost.into_iter().partition(|(schema, name, _)| now.contains_key(&(schema.as_str(), name.as_str())));
    let mut falls: Vec<TableFall> = emptied.into_iter().map(|table| told(table, Some(0))).collect();
    if is_loss(&gone, &newest, new) {
        falls.extend(gone.into_iter().map(|table| told(table, None)));
    }
    falls.sort_by(|one, other| other.from.cmp(&one.from).then_with(|| one.table.cmp(&other.table)));
    Ok(falls)
}

/// Whether tables that are gone were more than a clean-up, and no others took their place.
fn is_loss(gone: &[&Counted], before: &[Counted], new: &[Known<'_>]) -> bool {
    let went: u64 = gone.iter().map(|(_, _, rows)| *rows).fold(0, u64::saturating_add);
    let all: u64 = before.iter().map(|(_, _, rows)| *rows).fold(0, u64::saturating_add);
    let known: HashSet<(&str, &str)> = before.iter().map(|(schema, name, _)| (schema.as_str(), name.as_str())).collect();
    let came: u64 =
        new.iter().filter(|table| !known.contains(&(table.schema, table.name))).map(|table| table.rows).fold(0, u64::saturating_add);
    went > 0 && u128::from(went) * 100 >= u128::from(all) * u128::from(GONE_SHARE) && came < went / 2
}

/// Names that differ only in their numbers have the same stem.
fn stem(name: &str) -> String {
    let mut stem = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '0'..='9' if stem.ends_with('#') => {}
            '0'..='9' => stem.push('#'),
            other => stem.push(other),
        }
    }
    stem
}

/// Where most rows went, the largest loss first, at most `most` tables.
#[must_use]
pub fn worst(before: &[Counted], new: &[Known<'_>], most: usize) -> Vec<TableFall> {
    let now: HashMap<(&str, &str), u64> = new.iter().map(|table| ((table.schema, table.name), table.rows)).collect();
    let left = |(schema, name, _): &Counted| now.get(&(schema.as_str(), name.as_str())).copied();
    let lost = |table: &Counted| table.2.saturating_sub(left(table).unwrap_or(0));
    let mut fell: Vec<&Counted> = before.iter().filter(|table| lost(table) > 0).collect();
    fell.sort_by(|one, other| lost(other).cmp(&lost(one)).then_with(|| (&one.0, &one.1).cmp(&(&other.0, &other.1))));
    fell.into_iter().take(most).map(|table| told(table, left(table))).collect()
}

fn told((schema, name, rows): &Counted, to: Option<u64>) -> TableFall {
    TableFall { table: format!("{schema}.{name}"), from: *rows, to }
}
