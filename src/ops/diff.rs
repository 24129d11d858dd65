//! What changed between two backups: objects by their definitions, rows by the manifests' counts.
//!
//! Works across databases and for backups without rows; what can't be compared is said. Definitions are compared as hashes, so that a
//! catalog of any size takes little memory; the archives' tables of contents are read again for the names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::entries::entries;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, TableEntry};
use crate::model::dump::{Compression, Content, Format};
use crate::postgres::archive::toc::Entry;
use crate::postgres::archive::{self, is_schema};
use crate::storage::Storage;

/// One of the two backups.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Where it lies.
    pub storage: &'a dyn Storage,
    /// Its manifest.
    pub manifest: &'a Manifest,
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Objects that only the second backup holds.
    pub came: Vec<Object>,
    /// Objects that only the first one holds.
    pub went: Vec<Object>,
    /// Objects that both hold in different ways.
    pub changed: Vec<Object>,
    /// Tables whose rows or bytes are different ones.
    pub tables: Vec<Moved>,
    /// What could not be compared, or only in part.
    pub notes: Vec<String>,
}

/// An object of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Object {
    /// `TABLE`, `INDEX`.
    pub kind: String,
    /// Its schema, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name, as in the table of contents.
    pub name: String,
    /// For a changed one: `definition`, `owner`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<&'static str>,
}

/// A table's rows on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// In the first backup, if it holds the table's rows.
    pub before: Option<Amount>,
    /// In the second one.
    pub after: Option<Amount>,
}

/// How much there is of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Rows, where they were counted.
    pub rows: Option<u64>,
    /// Bytes of its data before compression.
    pub bytes: u64,
}

impl Difference {
    /// Whether nothing is different, as far as it could be compared.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.came.is_empty() && self.went.is_empty() && self.changed.is_empty() && self.tables.is_empty()
    }
}

/// Compares two backups, the older one first.
pub fn diff(before: Side<'_>, after: Side<'_>) -> Result<Difference> {
    let mut difference = Difference::default();
    [before, after].into_iter().try_for_each(readable)?;
    if before.manifest.selection != after.manifest.selection {
        let (one, other) = (&before.manifest.selection, &after.manifest.selection);
        difference.notes.push(format!("the backups hold different selections: {one} and {other}"));
    }
    rows(before, after, &mut difference);
    objects(before, after, &mut difference)?;
    Ok(difference)
}

/// Refuses where nobody can tell one name from another.
fn readable(side: Side<'_>) -> Result<()> {
    let Some(encoding) = side.manifest.warnings.iter().find_map(|warning| archive::unread_in(warning)) else { return Ok(()) };
    let words = format!("names in {} are in {encoding}, which pgdumpd can't read: nothing can be compared", side.manifest.backup_id);
    Err(Failure::new(Cause::Refused, words)
        .hint("restore both into databases of their own, and compare what pg_dump --schema-only writes of them"))
}

fn rows(before: Side<'_>, after: Side<'_>, difference: &mut Difference) {
    let without = |side: Side<'_>| matches!(side.manifest.content, Content::Schema | Content::Globals);
    if let Some(side) = [before, after].into_iter().find(|side| without(*side)) {
        difference.notes.push(format!("rows are not compared: {} holds none ({})", side.manifest.backup_id, side.manifest.content));
        return;
    }
    let packed = |side: Side<'_>| side.manifest.tables.iter().any(|table| table.rows.is_none());
    let given = [before, after].iter().any(|side| side.manifest.is_of_given_file());
    let native = of_other_lengths(before, after);
    if let Some(native) = native {
        difference.notes.push(format!(
            "some tables' rows are not compared: {} was compressed by pg_dump itself (native), and its rows were not counted",
            native.manifest.backup_id
        ));
    } else if given && (packed(before) || packed(after)) {
        difference
            .notes
            .push(String::from("some tables' rows could not be compared: no manifest beside the file, and nobody has counted them"));
    } else if packed(before) || packed(after) {
        difference.notes.push(String::from("some tables' rows were not counted; theirs are compared by their bytes"));
    }
    // What pg_dump has compressed has another length than the same rows elsewhere: it says nothing.
    let unlike = given || native.is_some();
    let (before, after) = (amounts(before.manifest), amounts(after.manifest));
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (one, other) = (before.get(name).copied(), after.get(name).copied());
        let unknown = unlike && one.zip(other).is_some_and(|(one, other)| one.rows.is_none() || other.rows.is_none());
        if one != other && !unknown {
            difference.tables.push(Moved { schema: name.0.to_owned(), name: name.1.to_owned(), before: one, after: other });
        }
    }
}

/// The side whose tables have other lengths than the same rows have on the other side, where there is one.
fn of_other_lengths<'a>(before: Side<'a>, after: Side<'a>) -> Option<Side<'a>> {
    let kind = |side: Side<'_>| (side.manifest.compression == Compression::Native, side.manifest.dump_format);
    let packed = |side: &Side<'_>| kind(*side).0 && side.manifest.tables.iter().any(|table| table.rows.is_none());
    [before, after].into_iter().find(packed).filter(|_| kind(before) != kind(after))
}

fn amounts(manifest: &Manifest) -> BTreeMap<(&str, &str), Amount> {
    let amount = |table: &TableEntry| Amount { rows: table.rows, bytes: table.bytes };
    manifest.tables.iter().map(|table| ((table.schema.as_str(), table.name.as_str()), amount(table))).collect()
}

/// Stands for an object's kind, schema and name.
type Id = [u8; 16];

/// Stands for what is compared of an object. Several of one name (default privileges of different roles) add up, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Print {
    definition: u64,
    owner: u64,
}

fn objects(before: Side<'_>, after: Side<'_>, difference: &mut Difference) -> Result<()> {
    if let Some((side, why)) = [before, after].into_iter().find_map(|side| Some((side, blind(side.manifest)?))) {
        difference.notes.push(format!("definitions are not compared: {} {why}", side.manifest.backup_id));
        return Ok(());
    }
    let major = |side: Side<'_>| side.manifest.pg_dump_version.split('.').next().map(str::to_owned);
    if major(before) != major(after) {
        let (one, other) = (&before.manifest.pg_dump_version, &after.manifest.pg_dump_version);
        difference.notes.push(format!("pg_dump {one} and {other} may write the same definition in different ways"));
    }
    let own = before.manifest.database_name == after.manifest.database_name;
    let (old, new) = (prints(before, own)?, prints(after, own)?);
    for (id, mut object) in named(after, own, |id| old.get(id) != new.get(id))? {
        match (old.get(&id), new.get(&id)) {
            (Some(one), Some(other)) => {
                let what = [("definition", one.definition != other.definition), ("owner", one.owner != other.owner)];
                object.what = what.into_iter().filter_map(|(word, differs)| differs.then_some(word)).collect();
                difference.changed.push(object);
            }
            _ => difference.came.push(object),
        }
    }
    difference.went = named(before, own, |id| !new.contains_key(id))?.into_values().collect();
    [&mut difference.came, &mut difference.went, &mut difference.changed].into_iter().for_each(|objects| objects.sort());
    Ok(())
}

/// Why a backup's definitions can't be seen.
fn blind(manifest: &Manifest) -> Option<&'static str> {
    match (manifest.content, manifest.dump_format) {
        (Content::Globals, _) => Some("is a script of roles and tablespaces"),
        (Content::Data, _) => Some("holds rows alone (data)"),
        (_, Format::Plain) => Some("is a script (format plain)"),
        _ => None,
    }
}

/// Whether an entry is compared. What is said of the database itself counts only between backups of the same one.
fn counts(entry: &Entry, own: bool) -> bool {
    let of_database = entry.desc.starts_with("DATABASE") || (entry.namespace.is_none() && entry.tag.starts_with("DATABASE "));
    is_schema(entry) && (own || !of_database)
}

fn prints(side: Side<'_>, own: bool) -> Result<HashMap<Id, Print>> {
    let mut prints: HashMap<Id, Print> = HashMap::new();
    entries(side.storage, side.manifest, &mut |entry| {
        if counts(&entry, own) {
            let options = [entry.tablespace.as_deref().unwrap_or_default(), entry.access_method.as_deref().unwrap_or_default()];
            let print = prints.entry(id(&entry)).or_default();
            print.definition = print.definition.wrapping_add(short(&[&entry.defn, options[0], options[1]]));
            print.owner = print.owner.wrapping_add(short(&[&entry.owner]));
        }
    })?;
    Ok(prints)
}

/// The names of the objects that are asked for.
fn named(side: Side<'_>, own: bool, asked: impl Fn(&Id) -> bool) -> Result<HashMap<Id, Object>> {
    let mut objects = HashMap::new();
    entries(side.storage, side.manifest, &mut |entry| {
        let id = id(&entry);
        if counts(&entry, own) && asked(&id) {
            objects.insert(id, Object { kind: entry.desc, schema: entry.namespace, name: entry.tag, what: Vec::new() });
        }
    })?;
    Ok(objects)
}

fn id(entry: &Entry) -> Id {
    let hash = hashed(&[&entry.desc, entry.namespace.as_deref().unwrap_or_default(), &entry.tag]);
    hash.first_chunk().copied().unwrap_or_default()
}

fn short(parts: &[&str]) -> u64 {
    hashed(parts).first_chunk().copied().map_or(0, u64::from_le_bytes)
}

fn hashed(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
