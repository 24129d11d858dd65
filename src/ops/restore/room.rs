//! What a restore takes on the server's disks, as far as the backup tells: by the tablespaces that it fills.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::model::backup::{Manifest, TableEntry};
use crate::postgres::archive::toc::Entry;
use crate::postgres::restore::Halves;
use crate::postgres::session::Session;

use super::super::space;
use super::{Means, Recipe, Wanted};

/// What to do where a restore has no room.
pub(super) const HINT: &str = "free some space there, restore to another server, or take less with --table or --schema";

/// Refuses where a disk of the server has no room for what goes there; `hint` says what to do then.
pub(super) fn room(means: Means<'_>, session: &mut Session, recipe: &Recipe, wanted: &Wanted, (target, hint): (&str, &str)) -> Result<()> {
    let tables = recipe.tables(&means.manifest.tables);
    let Some(needed) = needed(means.manifest, &tables, recipe.chosen.is_none(), wanted.halves) else { return Ok(()) };
    let default = session.tablespace_of(target, wanted.no_tablespaces)?;
    let entries = if wanted.no_tablespaces { Vec::new() } else { recipe.entries() };
    let parts = parts(means.manifest, &entries, &tables, (needed, default));
    let what = if recipe.chosen.is_some() { "what is wanted takes about" } else { "the database had" };
    space::on_server(session, &parts, what, hint)
}

/// The database's size, or the share of it that goes by the tables that are wanted; definitions alone need next to nothing.
fn needed(manifest: &Manifest, tables: &[&TableEntry], is_whole: bool, halves: Halves) -> Option<u64> {
    if halves == Halves::Schema {
        return None;
    }
    if is_whole {
        return manifest.database_size_bytes;
    }
    space::share(manifest, tables.iter().map(|table| table.bytes).sum())
}

/// What of all that goes into which tablespace: each table's share with its indexes into its own, the rest into the default one.
fn parts(manifest: &Manifest, entries: &[&Entry], tables: &[&TableEntry], (needed, default): (u64, String)) -> Vec<(String, u64)> {
    let sizes: HashMap<(&str, &str), u64> =
        tables.iter().map(|table| ((table.schema.as_str(), table.name.as_str()), table.bytes)).collect();
    let (mut parts, mut left) = (BTreeMap::<&str, u64>::new(), needed);
    for entry in entries.iter().filter(|entry| entry.desc == "TABLE") {
        let Some(tablespace) = entry.tablespace.as_deref().filter(|name| !name.is_empty()) else { continue };
        let bytes = sizes.get(&(entry.namespace.as_deref().unwrap_or_default(), entry.tag.as_str()));
        let share = bytes.and_then(|bytes| space::share_of_own(manifest, *bytes)).unwrap_or(0).min(left);
        *parts.entry(tablespace).or_default() += share;
        left -= share;
    }
    let named = parts.into_iter().map(|(name, bytes)| (name.to_owned(), bytes));
    std::iter::once((default, left)).chain(named).collect()
}
