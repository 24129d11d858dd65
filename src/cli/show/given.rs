//! `pgdumpd show FILE`: a dump that no project knows, by what it says of itself.

use std::path::Path;

use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::error::Result;
use crate::model::backup::Manifest;
use crate::model::dump::Compression;
use crate::ops::given::Dump;
use crate::postgres::archive::name::Wanted;
use crate::process::Cancel;
use crate::units::show_size;

use super::super::exit::Exit;
use super::super::{Common, given, out};
use super::{Args, inside, tables};

pub(super) fn show(common: &Common, args: &Args, wanted: Option<&Wanted>, path: &Path) -> Result<Exit> {
    if args.toc || wanted.is_some() {
        let dump = given::contents(path)?;
        return inside(common, dump.storage.as_ref(), &dump.manifest, wanted);
    }
    let dump = if args.tables { given::whole(path, &Cancel::new())? } else { given::contents(path)? };
    if common.json {
        out::json(&as_json(path, &dump))?;
        return Ok(Exit::Done);
    }
    print(path, &dump);
    if args.tables {
        tables(&dump.manifest);
    }
    Ok(Exit::Done)
}

/// A text that is known.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn as_json(path: &Path, dump: &Dump) -> Value {
    let manifest = &dump.manifest;
    json!({
        "file": path,
        "taken_for": "file",
        "manifest": dump.beside,
        "notes": dump.notes,
        "written": dump.written,
        "format": manifest.dump_format.word(),
        "compression": manifest.compression.word(),
        "size": manifest.backup_size_bytes,
        "checksum_sha256": known(&manifest.checksum_sha256),
        "database_name": manifest.database_name,
        "database_properties": manifest.database_properties,
        "environment": manifest.environment,
        "type": manifest.content,
        "postgresql_version": known(&manifest.postgresql_version),
        "pg_dump_version": known(&manifest.pg_dump_version),
        "tables": manifest.tables,
        "table_counts": manifest.table_counts,
        "total_rows": manifest.total_rows,
        "restore_command": manifest.line_by_hand(),
        "warning": manifest.own_way(),
    })
}

fn print(path: &Path, dump: &Dump) {
    let manifest = &dump.manifest;
    let name = path.display().to_string();
    out::say(format!("file       {name}, {}", show_size(manifest.backup_size_bytes)));
    out::say(format!("written    {}", out::moment(dump.written, Tz::UTC)));
    out::say(format!("format     {}", form(manifest)));
    out::say(format!("database   {}", database(manifest)));
    out::say(format!("holds      {}", holds(manifest)));
    if let Some(version) = known(&manifest.postgresql_version) {
        out::say(format!("server     PostgreSQL {version}"));
    }
    if let Some(version) = known(&manifest.pg_dump_version) {
        out::say(format!("client     pg_dump {version}"));
    }
    if let Some(sum) = known(&manifest.checksum_sha256) {
        out::say(format!("sha256     {sum}"));
    }
    out::say(match &dump.beside {
        Some(beside) => format!("manifest   {}", beside.display()),
        None => String::from("manifest   none beside the file: this is what the file says of itself"),
    });
    let to = out::shell(&format!("{}_restored", manifest.database_name));
    let own_way = manifest.own_way();
    if own_way.is_none() {
        out::say(format!("restore    pgdumpd restore {} --to {to}", out::shell(&name)));
    }
    out::say(format!("by hand    {}", manifest.line_by_hand()));
    if let Some(why) = own_way {
        out::say(format!("warning    {why}"));
    }
}

fn form(manifest: &Manifest) -> String {
    let format = manifest.dump_format.word();
    match manifest.compression {
        Compression::None => format!("{format}, not compressed"),
        Compression::Native => format!("{format}, compressed by pg_dump itself"),
        outside => format!("{format}, in {}", outside.word()),
    }
}

fn database(manifest: &Manifest) -> String {
    match &manifest.database_properties {
        None => manifest.database_name.clone(),
        Some(like) => {
            let locale = like.icu_locale.as_deref().unwrap_or(&like.collate);
            format!("{} of {}, encoding {}, locale {locale}", manifest.database_name, like.owner, like.encoding)
        }
    }
}

fn holds(manifest: &Manifest) -> String {
    let tables = out::count(manifest.tables.len() as u64, "table");
    let rows = manifest.total_rows.filter(|_| !manifest.tables.is_empty());
    let rows = rows.map_or_else(|| String::from("rows not counted (--tables counts them)"), |rows| out::count(rows, "row"));
    format!("{tables} with data ({}), {rows}", manifest.content)
}
