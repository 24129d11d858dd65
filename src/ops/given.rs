//! A dump that a person named, made elsewhere, as the verbs read backups: a storage that holds it alone, and a manifest.
//!
//! Where pgdumpd's own manifest lies beside it, that is believed as far as the file bears it out; else one is made of what the file says
//! of itself, and what nobody knows stays unknown. Called by the command line's doors to single files.

mod properties;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{MANIFEST_FORMAT, Manifest, RunId, Structure, TableEntry, Trigger};
use crate::model::dump::{Compression, Content, Format, Selection, restore_command};
use crate::postgres::archive::members::Members;
use crate::postgres::archive::toc::{self, Data, Entry, Header, Packing};
use crate::postgres::archive::{Observed, is_schema};
use crate::postgres::version::{self, Client};
use crate::process::Cancel;
use crate::shell;
use crate::storage::{Given, Storage, names};
use crate::stream;

use super::dumpfile::{self, Form, Whole};

/// The largest manifest that is read, bytes.
const LARGEST: u64 = 64 << 20;

/// What the names of metadata end in.
pub const METADATA: &str = ".metadata.json";

/// A dump as the verbs read it. Its project is empty, its id the path that was typed.
#[derive(Debug)]
pub struct Dump {
    /// Holds it and nothing else.
    pub storage: Arc<dyn Storage>,
    /// What is known of it.
    pub manifest: Manifest,
    /// The manifest's path, where one lies beside the file.
    pub beside: Option<PathBuf>,
    /// When the file was last written.
    pub written: DateTime<Utc>,
    /// A script's first command to psql itself, which `pg_dump` doesn't write.
    pub command: Option<String>,
    /// What a person should know of how it was read.
    pub notes: Vec<String>,
}

/// How far a file without a manifest is read.
#[derive(Debug, Clone, Copy)]
pub enum Depth<'a> {
    /// Its table of contents; all of it where it has none, or where something compresses it from outside.
    Contents,
    /// To its end, so that it is whole and its rows are counted; by this client where it can be had.
    Whole(Option<&'a Client>),
}

/// `x.dump` has its metadata in `x.metadata.json`.
#[must_use]
pub fn metadata_name(file: &str) -> String {
    let stem = [".dump", ".sql", ".dir.tar", ".tar"].iter().find_map(|ending| Some(file.rsplit_once(ending)?.0));
    format!("{}{METADATA}", stem.unwrap_or(file))
}

/// Opens what this file or folder holds, which stands at `path`.
pub fn open(path: &Path, given: &Given, depth: Depth<'_>, cancel: &Cancel) -> Result<Dump> {
    let written = std::fs::metadata(path).and_then(|facts| facts.modified()).map(DateTime::from).unwrap_or_default();
    let mut notes = Vec::new();
    let storage: Arc<dyn Storage> = Arc::new(given.clone());
    if let Some((beside, mut manifest)) = beside(path, given, &mut notes)? {
        manifest.project = String::new();
        manifest.backup_id = RunId(path.display().to_string());
        return Ok(Dump { storage, manifest, beside: Some(beside), written, command: None, notes });
    }
    let (manifest, command) = described(path, given, written, depth, cancel)?;
    Ok(Dump { storage, manifest, beside: None, written, command, notes })
}

/// The manifest that pgdumpd has left beside the file, under either of its names.
fn beside(path: &Path, given: &Given, notes: &mut Vec<String>) -> Result<Option<(PathBuf, Manifest)>> {
    let Some(file) = path.file_name().and_then(|name| name.to_str()).filter(|_| !given.is_folder()) else { return Ok(None) };
    for name in [metadata_name(file), names::manifest_file(file)] {
        let place = path.with_file_name(&name);
        let Ok(opened) = std::fs::File::open(&place) else { continue };
        let mut text = Vec::new();
        let read = opened.take(LARGEST).read_to_end(&mut text);
        read.map_err(|error| Failure::storage(format!("reading {}", place.display()), &error))?;
        let manifest = match manifest::outside(&name, &text) {
            Ok(manifest) if manifest.backup_file == file => manifest,
            Ok(manifest) => {
                notes.push(format!("{name} is not used: it is about {}", manifest.backup_file));
                continue;
            }
            Err(failure) => {
                notes.push(format!("{name} is not used: {}", failure.message));
                continue;
            }
        };
        let (found, wanted) = (given.length()?, manifest.backup_size_bytes);
        if found != wanted {
            let words = format!("{} has {found} bytes instead of the {wanted} that {name} tells of", path.display());
            return Err(Failure::new(Cause::Damaged, words)
                .hint(format!("fetch it from a copy; or, if it is another dump under the old name, move {name} away")));
        }
        return Ok(Some((place, manifest)));
    }
    Ok(None)
}

/// A manifest made of what the file says of itself.
fn described(path: &Path, given: &Given, written: DateTime<Utc>, depth: Depth<'_>, cancel: &Cancel) -> Result<(Manifest, Option<String>)> {
    let form = dumpfile::form(path, given)?;
    dumpfile::is_dump(path, &form)?;
    let whole = match depth {
        Depth::Whole(client) => Some(dumpfile::read_whole(path, given, client, cancel)?),
        Depth::Contents if form.format == Format::Plain => Some(dumpfile::read_whole(path, given, None, cancel)?),
        Depth::Contents => None,
    };
    let stored = given.length()?;
    let (length, sha256) = match &whole {
        Some(Whole { length, sha256, .. }) => (*length, sha256.clone()),
        // What isn't compressed has the length it has.
        None if form.compression == Compression::None => (stored, String::new()),
        None => dumpfile::measure(path, given)?,
    };
    let mut manifest = blank(path, &form, written, (stored, length, sha256));
    if form.format == Format::Plain {
        properties::of_script(&form.head, &mut manifest);
    } else {
        of_contents(path, given, &form, &mut manifest)?;
    }
    let command = whole.and_then(|whole| of_whole(whole.observed, &mut manifest));
    manifest.restore_command = manifest.line_by_hand();
    Ok((manifest, command))
}

fn blank(path: &Path, form: &Form, written: DateTime<Utc>, (stored, length, sha256): (u64, u64, String)) -> Manifest {
    let real = path.canonicalize();
    let name = path.file_name().or_else(|| real.as_ref().ok()?.file_name());
    let file = name.unwrap_or_default().to_string_lossy().into_owned();
    let database = file.split('.').next().unwrap_or(&file).to_owned();
    Manifest {
        format: MANIFEST_FORMAT,
        backup_id: RunId(path.display().to_string()),
        project: String::new(),
        database_name: database,
        environment: None,
        content: Content::Full,
        selection: Selection::full(),
        trigger: Trigger::AdHoc,
        schedule: None,
        slot: None,
        backup_timestamp: written,
        finished_at: written,
        duration_ms: 0,
        restore_command: by_hand(&file, form, path.is_dir()),
        backup_file: file,
        backup_size_bytes: stored,
        uncompressed_size_bytes: length,
        checksum_sha256: sha256,
        compressed: form.compression != Compression::None,
        compression: form.compression,
        dump_format: form.format,
        structure: Structure::Whole,
        tables: Vec::new(),
        table_counts: BTreeMap::new(),
        total_rows: None,
        large_objects: 0,
        frames: Vec::new(),
        postgresql_version: String::new(),
        postgresql_version_num: 0,
        pg_dump_version: String::new(),
        server_host: String::new(),
        server_port: 0,
        system_identifier: None,
        from_standby: false,
        database_size_bytes: None,
        database_properties: None,
        schema_version: None,
        dependencies: Vec::new(),
        options: Vec::new(),
        made_on: String::new(),
        pgdumpd_version: String::new(),
        warnings: Vec::new(),
        suspicious: None,
    }
}

/// The line that restores it; its name need not say what it is.
fn by_hand(file: &str, form: &Form, is_folder: bool) -> String {
    let quoted = shell::file(file);
    if is_folder {
        return format!("pg_restore --exit-on-error -j 4 -d NEW_DATABASE {quoted}");
    }
    let compression = form.compression.extension().map(|ending| format!(".{ending}")).unwrap_or_default();
    let speaking = format!("FILE.{}{compression}", form.format.extension());
    restore_command(&speaking, Content::Full, None).replace(&speaking, &quoted)
}

/// What the table of contents tells.
fn of_contents(path: &Path, given: &Given, form: &Form, manifest: &mut Manifest) -> Result<()> {
    let (mut defines, mut tables, mut properties) = (false, Vec::new(), None);
    let header = contents(path, given, form, &mut |entry| {
        defines |= is_schema(&entry) && !entry.desc.starts_with("DATABASE");
        if entry.desc == "DATABASE" {
            properties = properties::of_database(&entry.defn, &entry.owner);
        }
        if entry.desc == "TABLE DATA" && entry.data != Data::None {
            let offset = if let Data::At(offset) = entry.data { Some(offset).filter(|offset| *offset > 0) } else { None };
            let (schema, name) = (entry.namespace.unwrap_or_default(), entry.tag);
            tables.push(TableEntry { schema, name, rows: None, bytes: 0, crc32: None, dump_id: Some(entry.dump_id), offset });
        }
    })?;
    manifest.content = match (defines, tables.is_empty()) {
        (false, false) => Content::Data,
        (true, true) => Content::Schema,
        _ => Content::Full,
    };
    manifest.selection = Selection(manifest.content.word().to_owned());
    if manifest.compression == Compression::None && header.packing != Packing::None {
        (manifest.compression, manifest.compressed) = (Compression::Native, true);
    }
    manifest.tables = tables;
    manifest.database_properties = properties;
    manifest.postgresql_version_num = version::number(&header.server_version).unwrap_or_default();
    (manifest.database_name, manifest.postgresql_version, manifest.pg_dump_version) =
        (header.database, header.server_version, header.pg_dump_version);
    Ok(())
}

fn contents(path: &Path, given: &Given, form: &Form, give: &mut dyn FnMut(Entry)) -> Result<Header> {
    let named = |failure: Failure| failure.context(path.display().to_string());
    let mut archive = BufReader::new(stream::decompress(form.compression, given.open()?)?);
    if form.format == Format::Custom {
        return toc::each(&mut archive, give).map(|(header, _)| header).map_err(named);
    }
    let mut members = Members::new(archive);
    while let Some(name) = members.next_member().map_err(named)? {
        if name == "toc.dat" {
            return toc::each(&mut BufReader::new(&mut members), give).map(|(header, _)| header).map_err(named);
        }
    }
    Err(Failure::new(Cause::Damaged, format!("{} is a tar archive and no dump: it holds no toc.dat", path.display()))
        .hint("name a tar that pg_dump -Ft has written, or one of a folder of pg_dump -Fd"))
}

/// What reading it to its end has shown; returns a script's command to psql.
fn of_whole(observed: Observed, manifest: &mut Manifest) -> Option<String> {
    let (connects, command) = observed.command.into_iter().partition::<Vec<_>, _>(|command| command.starts_with("\\connect "));
    // What a restore refuses by this option is just that: a script that goes where it wants.
    if !connects.is_empty() && manifest.own_database().is_none() {
        manifest.options.push(String::from("--create"));
    }
    if manifest.tables.is_empty() {
        manifest.tables = observed.tables;
    } else {
        let mut seen: BTreeMap<(String, String), TableEntry> =
            observed.tables.into_iter().map(|table| ((table.schema.clone(), table.name.clone()), table)).collect();
        for table in &mut manifest.tables {
            if let Some(seen) = seen.remove(&(table.schema.clone(), table.name.clone())) {
                (table.rows, table.bytes) = (seen.rows, seen.bytes);
            }
        }
    }
    manifest.structure = observed.structure;
    manifest.large_objects = observed.large_objects;
    manifest.schema_version = observed.schema_version;
    manifest.total_rows = manifest.tables.iter().map(|table| table.rows).sum();
    manifest.table_counts =
        manifest.tables.iter().filter_map(|table| Some((format!("{}.{}", table.schema, table.name), table.rows?))).collect();
    command.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_by_hand_is_for_what_it_is() {
        let form = |format, compression| Form { format, compression, head: Vec::new() };
        assert_eq!(
            by_hand("odd", &form(Format::Custom, Compression::Zstd(0)), false),
            "zstd -dc odd | pg_restore --exit-on-error -d NEW_DATABASE"
        );
        assert_eq!(
            by_hand("it's", &form(Format::Plain, Compression::None), false),
            "psql -X -v ON_ERROR_STOP=1 -d NEW_DATABASE -f 'it'\\''s'"
        );
        assert_eq!(by_hand("d", &form(Format::Directory, Compression::None), true), "pg_restore --exit-on-error -j 4 -d NEW_DATABASE d");
    }

    #[test]
    fn metadata_lies_beside_its_file() {
        let names = ["a_dev_2026.dump", "a.dump.zst", "a.dir.tar.zst", "a.sql.gz", "odd"].map(metadata_name);
        assert_eq!(names, ["a_dev_2026", "a", "a", "a", "odd"].map(|stem| format!("{stem}.metadata.json")));
    }
}
