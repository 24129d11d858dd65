//! Why rows can't be had. Pure.

use super::cat::Piece;
use crate::error::{Cause, Failure};
use crate::model::backup::{Manifest, TableEntry};
use crate::model::dump::Format;
use crate::postgres::archive::name::shown;
use crate::postgres::archive::statement::Qualified;

/// Why there are no rows to be had.
pub(super) fn no_rows(manifest: &Manifest, (schema, name): &Qualified, kind: Option<&str>) -> Failure {
    let table = shown(schema, name);
    // A script that announces a table's rows and has no COPY of them.
    let announced = |entry: &&TableEntry| (&entry.schema, &entry.name) == (schema, name) && entry.rows.is_none();
    if manifest.dump_format == Format::Plain && manifest.tables.iter().any(|entry| announced(&entry)) {
        let words = format!("the rows of {table} were dumped as INSERT commands, which can't be read as rows");
        return Failure::new(Cause::NotFound, words).hint("they stand in the script as they are: unpack it and look into it with a pager");
    }
    let words = match kind {
        Some("TABLE") | None => format!("the backup holds no rows of {table} ({})", manifest.selection),
        Some(kind) => format!("{table} is a {}: the backup holds its definition, no rows", kind.to_lowercase()),
    };
    Failure::new(Cause::NotFound, words).hint(format!("pgdumpd show {} --ddl '{}'", manifest.backup_id, table.replace('\'', "'\\''")))
}

/// Why rows can't be written one below another, or not at all.
pub(super) fn unlike((schema, name): &Qualified, other: &Piece) -> Failure {
    let (table, other_name) = (shown(schema, name), other.name());
    if other.has_no_columns() {
        let words = format!("the rows of {other_name} were dumped as INSERT commands, which can't be read as rows");
        return Failure::new(Cause::NotFound, words).hint("pg_restore --data-only --table=TABLE writes them as they are");
    }
    let words = format!("the partitions of {table} order their columns in different ways, {other_name} for one");
    Failure::new(Cause::NotFound, words).hint("read one partition at a time")
}
