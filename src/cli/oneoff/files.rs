//! Dump files and the metadata beside them: written and verified.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, Structure};
use crate::model::dump::Compression;
use crate::ops::dumpfile::{self, Whole};
use crate::ops::given::metadata_name;
use crate::postgres::archive::Observed;
use crate::postgres::archive::toc::Packing;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::{Given, Loose, names};
use crate::units::show_size;

use super::super::exit::Exit;
use super::super::{Common, out, progress};
use super::verdict::{self, Verdict};

/// The check that says nothing where a dump could not be looked into.
const UNCHECKED: &str = "structure";

/// The check of what tells of the dump; it says nothing of the dump itself.
const METADATA: &str = "metadata";

/// The largest metadata that is read, bytes.
const LARGEST: u64 = 64 << 20;

/// The fields that listing and verifying need; pgdumpd itself writes a whole manifest.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) backup_timestamp: DateTime<Utc>,
    #[serde(default)]
    pub(super) environment: Option<String>,
    pub(super) database_name: String,
    pub(super) backup_file: String,
    pub(super) backup_size_bytes: u64,
    checksum_sha256: String,
    #[serde(default)]
    table_counts: Option<BTreeMap<String, u64>>,
    #[serde(default)]
    pub(super) selection: Option<String>,
    #[serde(default)]
    pub(super) verified_at: Option<DateTime<Utc>>,
    /// Why the last verification found the file damaged, if it did.
    #[serde(default)]
    pub(super) damage: Option<String>,
}

/// The manifest as metadata, with the time of its verification.
pub(super) fn metadata(manifest: &Manifest, clock: &Clock) -> Result<Vec<u8>> {
    let unwritten = |error: serde_json::Error| Failure::new(Cause::System, format!("the metadata can't be written: {error}"));
    let mut value = serde_json::to_value(manifest).map_err(unwritten)?;
    value["verified"] = json!(true);
    value["verified_at"] = json!(clock.now());
    let mut text = serde_json::to_vec_pretty(&value).map_err(unwritten)?;
    text.push(b'\n');
    Ok(text)
}

/// Takes over the rows that were counted in reading; rows that were counted in dumping as well must be the same.
pub(super) fn count(manifest: &mut Manifest, observed: Observed) -> Result<()> {
    let counts = counts(&observed);
    if !manifest.table_counts.is_empty() && manifest.table_counts != counts {
        return Err(Failure::new(Cause::Damaged, "the file was read back with other rows than were dumped"));
    }
    manifest.total_rows = observed.tables.iter().map(|table| table.rows).sum();
    manifest.tables = observed.tables;
    manifest.table_counts = counts;
    Ok(())
}

fn counts(observed: &Observed) -> BTreeMap<String, u64> {
    observed.tables.iter().filter_map(|table| Some((format!("{}.{}", table.schema, table.name), table.rows?))).collect()
}

/// Ends what runs left that were killed when their dump had its name and its metadata had none: one that is still what it was gets it.
pub(super) fn mend(loose: &Loose) -> Result<()> {
    for (held, text) in loose.held_proofs()? {
        let Ok(metadata) = serde_json::from_slice::<Metadata>(&text) else { continue };
        let (file, beside) = (&metadata.backup_file, metadata_name(&metadata.backup_file));
        let is_there = |name: &str| loose.folder().join(name).symlink_metadata().is_ok();
        if file.contains('/') || !is_there(file) || is_there(&beside) {
            continue;
        }
        let dump = loose.folder().join(file);
        match Given::at(&dump).and_then(|given| dumpfile::checksum(&given)) {
            Ok(found) if found == (metadata.backup_size_bytes, metadata.checksum_sha256) => {
                loose.release_proof(&held, &beside)?;
                out::note(format!("pgdumpd: {} was verified by a run that was killed then: it has its metadata now", dump.display()));
            }
            Ok(_) => {
                let words = "is no longer what was verified when its run was killed: its metadata is not kept";
                out::note(format!("pgdumpd: warning: {} {words}", dump.display()));
            }
            Err(failure) => out::note(format!("pgdumpd: warning: the metadata of {} is not kept: {failure}", dump.display())),
        }
    }
    Ok(())
}

/// What lies beside a file and tells of it.
pub(super) fn about(folder: &Path, file: &str) -> Vec<String> {
    let tells_of_it = |beside: &String| {
        let text = std::fs::read(folder.join(beside)).unwrap_or_default();
        serde_json::from_slice::<Value>(&text).is_ok_and(|value| value["backup_file"] == file)
    };
    [metadata_name(file), names::manifest_file(file)].into_iter().filter(tells_of_it).collect()
}

pub(super) fn read(path: &Path) -> Result<Metadata> {
    use std::io::Read;
    let failed = |error: std::io::Error| Failure::storage(format!("reading {}", path.display()), &error);
    let mut text = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(LARGEST).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Cause::BadManifest, format!("the metadata {} can't be understood: {error}", path.display())))
}

/// One check of a file: its name, and what came of it; `None` where it could not be made.
type Check = (&'static str, Option<bool>, String);

/// `--verify FILE`: each check's verdict; not zero where one failed.
pub(in crate::cli) fn verify(common: &Common, file: &Path, cancel: &Cancel) -> Result<Exit> {
    let checks = match Given::at(file) {
        Ok(given) => progress::of_file(file, given, |given| checks(file, Ok(given), cancel)),
        Err(failure) => checks(file, Err(failure), cancel),
    }?;
    let good = checks.iter().all(|(_, good, _)| *good != Some(false));
    let shallow = checks.iter().any(|(name, passed, _)| *name == UNCHECKED && passed.is_none());
    if common.json {
        let checks: Vec<Value> =
            checks.iter().map(|(name, good, words)| json!({ "check": name, "passed": good, "detail": words })).collect();
        out::json(&json!({ "success": good, "valid": good, "file": file, "checks": checks }))?;
    } else {
        for (name, good, words) in &checks {
            let verdict = match good {
                Some(true) => "ok",
                Some(false) => "FAILED",
                None => "-",
            };
            out::say(format!("{name:<10} {verdict:<7} {words}"));
        }
        let unread = checks.iter().any(|(name, good, _)| *name == "file" && *good == Some(false));
        let unknown = !good && !unread && checks.iter().all(|(name, good, _)| *good != Some(false) || *name == "readable");
        let astray = !good && checks.iter().all(|(name, good, _)| *good != Some(false) || *name == METADATA);
        let verdict = match (good, unread || unknown) {
            (true, _) if shallow => "good as far as it was read, which is not into its rows",
            (true, _) => "good",
            _ if astray => "whole, but what lies beside it is not its metadata: nothing was compared with it",
            (_, true) => "could not be looked at, which says nothing about it",
            _ => "DAMAGED",
        };
        out::say(format!("{}: {verdict}", file.display()));
    }
    if let Some(verdict) = to_write_down(&checks) {
        verdict::write_down(file, verdict, &Clock::system());
    }
    Ok(match (good, shallow) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Partly,
        (true, false) => Exit::Done,
    })
}

/// What is to stand in the metadata from now on. `None` where it can't be said of the file that the metadata is about, or too little was
/// looked at.
fn to_write_down(checks: &[Check]) -> Option<Verdict> {
    let came_of = |wanted: &str| checks.iter().find(|(name, ..)| *name == wanted).and_then(|(_, passed, _)| *passed);
    if came_of(METADATA) != Some(true) || came_of("file") != Some(true) || came_of("readable") == Some(false) {
        return None;
    }
    match checks.iter().find(|(_, passed, _)| *passed == Some(false)) {
        Some((name, _, words)) => Some(Verdict::Damaged(format!("{name}: {words}"))),
        None => (came_of(UNCHECKED) == Some(true)).then_some(Verdict::Good),
    }
}

fn checks(file: &Path, given: Result<&Given>, cancel: &Cancel) -> Result<Vec<Check>> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // What was copied out of a storage has its manifest beside it, which tells the same.
    let places = [metadata_name(&name), names::manifest_file(&name)].map(|place| file.with_file_name(place));
    let beside = places.iter().find(|place| place.exists()).unwrap_or(&places[0]).clone();
    let mut checks: Vec<Check> = Vec::new();
    let metadata = match read(&beside) {
        Ok(metadata) if metadata.backup_file != name => {
            checks.push((METADATA, Some(false), format!("it is about {}", metadata.backup_file)));
            None
        }
        Ok(metadata) => {
            let of = metadata.environment.as_deref().unwrap_or("no environment");
            checks.push((METADATA, Some(true), format!("{} of {of}, {}", metadata.database_name, metadata.backup_timestamp)));
            Some(metadata)
        }
        Err(_) if !beside.exists() => {
            checks.push((METADATA, None, String::from("there is none: the dump was made elsewhere, or its metadata is lost")));
            None
        }
        Err(failure) => {
            checks.push((METADATA, Some(false), failure.message));
            None
        }
    };
    let (given, (size, sha256)) = match given.and_then(|given| Ok((given, dumpfile::checksum(given)?))) {
        Ok(found) => found,
        Err(failure) => {
            checks.push(("file", Some(false), failure.message));
            return Ok(checks);
        }
    };
    checks.push(("file", Some(true), show_size(size)));
    checks.push(match &metadata {
        None => ("checksum", None, sha256),
        Some(metadata) if size != metadata.backup_size_bytes => {
            ("checksum", Some(false), format!("the file has {size} bytes instead of {}", metadata.backup_size_bytes))
        }
        Some(metadata) if sha256 != metadata.checksum_sha256 => {
            ("checksum", Some(false), format!("it is {sha256} instead of {}", metadata.checksum_sha256))
        }
        Some(_) => ("checksum", Some(true), sha256),
    });
    let clients = Clients::find(None, &|name| std::env::var(name).ok())?;
    match dumpfile::read_whole(file, given, Some(clients.newest()), cancel) {
        Err(failure) if failure.cause == Cause::Interrupted => return Err(failure),
        Err(failure) if matches!(failure.cause, Cause::ClientMissing | Cause::Refused) => {
            checks.push(("readable", Some(false), failure.message));
        }
        Err(failure) => checks.push(("structure", Some(false), failure.message)),
        Ok(whole) => {
            checks.push(structure(&whole, metadata.is_some()));
            checks.push(rows(metadata.and_then(|metadata| metadata.table_counts), &whole.observed));
        }
    }
    Ok(checks)
}

fn structure(whole: &Whole, is_summed_up: bool) -> Check {
    let form = whole.form.format.word();
    if whole.observed.structure != Structure::Whole || whole.observed.unchecked.is_some() {
        let why = whole.observed.unchecked.as_deref().unwrap_or("nobody looked inside");
        return (UNCHECKED, None, format!("a {form} dump that could not be looked into: {why}"));
    }
    let limits = if is_summed_up || has_checksums(whole) { "" } else { ", without checksums: a changed value would not show" };
    (UNCHECKED, Some(true), format!("a whole {form} dump{limits}"))
}

/// Whether anything in the file is compared with a checksum that lies in it.
fn has_checksums(whole: &Whole) -> bool {
    let packing = whole.observed.header.as_ref().map(|header| header.packing);
    whole.form.compression != Compression::None || packing == Some(Packing::Zlib)
}

fn rows(expected: Option<BTreeMap<String, u64>>, observed: &Observed) -> Check {
    let found = counts(observed);
    let total: u64 = found.values().sum();
    let tables = out::count(observed.tables.len() as u64, "table");
    if observed.tables.iter().any(|table| table.rows.is_none()) {
        return ("rows", None, format!("{tables}; not all rows could be counted"));
    }
    let words = format!("{tables}, {}", out::count(total, "row"));
    match expected.filter(|expected| !expected.is_empty()) {
        None => ("rows", None, words),
        Some(expected) => match expected.iter().find(|(table, rows)| found.get(*table) != Some(rows)) {
            None => ("rows", Some(true), words),
            Some((table, rows)) => {
                let now = found.get(table).map_or_else(|| String::from("none"), ToString::to_string);
                ("rows", Some(false), format!("{table} has {now} instead of {rows}"))
            }
        },
    }
}
