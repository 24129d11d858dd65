//! An archive's entries, and what people ask of them: the list, and the statements that make a table.
//!
//! Entries pass one by one; a question that needs to know one before another reads them again.

use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::model::dump::Content;
use crate::ops::entries::entries;
use crate::postgres::archive::ddl::{self, Belongings};
use crate::postgres::archive::name::{Finder, Wanted, shown};
use crate::postgres::archive::statement::Qualified;
use crate::postgres::archive::toc::{Data, Entry, Section};
use crate::storage::Storage;

/// One entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its number, as `pg_restore -l` shows it.
    pub dump_id: i32,
    /// `TABLE`, `INDEX`, `TABLE DATA`.
    pub kind: String,
    /// Schema, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name, with that of its table before it where it has no schema of its own.
    pub name: String,
    /// Owner role; may be empty.
    pub owner: String,
    /// `pre-data`, `data` or `post-data`; none for what follows something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<&'static str>,
    /// Whether data belongs to it.
    pub data: bool,
    /// Entries it needs.
    pub needs: Vec<i32>,
}

/// One object of a table's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// `TABLE`, `INDEX`.
    pub kind: String,
    /// Its name, as in the table of contents.
    pub name: String,
    /// The statements that make it.
    pub sql: String,
}

/// The table of contents.
pub fn toc(storage: &dyn Storage, manifest: &Manifest) -> Result<Vec<Summary>> {
    let mut summaries = Vec::new();
    entries(storage, manifest, &mut |entry| summaries.push(summary(entry)))?;
    Ok(summaries)
}

fn summary(entry: Entry) -> Summary {
    Summary {
        dump_id: entry.dump_id,
        kind: entry.desc,
        schema: entry.namespace,
        name: entry.tag,
        owner: entry.owner,
        section: match entry.section {
            Section::None => None,
            Section::PreData => Some("pre-data"),
            Section::Data => Some("data"),
            Section::PostData => Some("post-data"),
        },
        data: entry.data != Data::None,
        needs: entry.dependencies,
    }
}

/// The statements that make a table and all that belongs to it, in the archive's order (a partition's
/// attachment last), and the table's name.
pub fn ddl(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted) -> Result<(String, Vec<Statement>)> {
    let mut finder = Finder::new(wanted);
    entries(storage, manifest, &mut |entry| {
        if ddl::NAMED.contains(&entry.desc.as_str()) {
            finder.see(entry.namespace.as_deref().unwrap_or_default(), &entry.tag);
        }
    })?;
    let (schema, name): Qualified = finder.found().map_err(|failure| without_schema(manifest, failure))?;
    let mut belongings = Belongings::of(&schema, &name);
    entries(storage, manifest, &mut |entry| belongings.learn(&entry))?;
    let mut statements = Vec::new();
    entries(storage, manifest, &mut |entry| {
        if belongings.take(&entry) {
            statements.push(Statement { sql: ddl::statements(&entry), kind: entry.desc, name: entry.tag });
        }
    })?;
    attach_late(&mut statements);
    Ok((shown(&schema, &name), statements))
}

/// A partition is attached once its own keys and indexes are there: a parent that has its already would make them a second time.
fn attach_late(statements: &mut [Statement]) {
    statements.sort_by_key(|statement| match statement.kind.as_str() {
        "TABLE ATTACH" => 1,
        "INDEX ATTACH" => 2,
        _ => 0,
    });
}

/// A backup of rows alone holds no definitions; that explains more than near names.
fn without_schema(manifest: &Manifest, failure: Failure) -> Failure {
    if manifest.content != Content::Data {
        return failure;
    }
    let words = format!("{} holds rows alone, no definitions ({})", manifest.backup_file, manifest.selection);
    Failure::new(Cause::NotFound, words).hint("take a full or a schema backup: `pgdumpd list` shows the selections")
}
