//! `--list`: the dump files of a folder, newest first, with what their metadata tells of them.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::error::{Failure, Result};
use crate::ops::given::{METADATA, metadata_name};
use crate::storage::is_held_proof;
use crate::units::show_size;

use super::super::exit::Exit;
use super::super::{Common, out};
use super::files::{self, Metadata};

/// One dump file of a folder.
struct Listed {
    path: PathBuf,
    size: u64,
    metadata: Option<Metadata>,
    /// When it was begun; without metadata, when it was last written.
    at: DateTime<Utc>,
}

/// What the last verification of a file has shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verified {
    Yes,
    No,
    Damaged,
}

/// `--list`, newest first.
pub(super) fn list(common: &Common, folder: &Path) -> Result<Exit> {
    let failed =
        |error: std::io::Error| Failure::storage(format!("listing {}", folder.display()), &error).hint("name the folder with --output-dir");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        gone(&path).iter().chain(&unnamed(&path)).for_each(|words| out::note(format!("pgdumpd: warning: {words}")));
        found.extend(listed(path));
    }
    found.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| other.path.cmp(&one.path)));
    if common.json {
        out::json(&found.iter().map(as_json).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        out::note(format!("no dump files in {}", folder.display()));
        return Ok(Exit::Done);
    }
    let mut table = out::table(&["TIME (UTC)", "ENVIRONMENT", "DATABASE", "CONTENT", "SIZE", "VERIFIED", "FILE"]);
    for listed in &found {
        let metadata = listed.metadata.as_ref();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| String::from("-"));
        let verified = match verified(listed) {
            Verified::Yes => "yes",
            Verified::No => "no",
            Verified::Damaged => "DAMAGED",
        };
        table.add_row([
            out::when(listed.at, Tz::UTC),
            or_dash(metadata.and_then(|metadata| metadata.environment.clone())),
            or_dash(metadata.map(|metadata| metadata.database_name.clone())),
            or_dash(metadata.and_then(|metadata| metadata.selection.clone())),
            show_size(listed.size),
            String::from(verified),
            listed.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ]);
    }
    out::show(&table);
    Ok(Exit::Done)
}

/// What to say of metadata whose dump is no longer beside it.
fn gone(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str().filter(|name| name.ends_with(METADATA))?;
    let dump = files::read(path).ok()?.backup_file;
    let is_about_it = metadata_name(&dump) == name && path.with_file_name(&dump).symlink_metadata().is_err();
    is_about_it.then(|| format!("{name} tells of {dump}, which is gone"))
}

/// What to say of the metadata of a run that was killed just before it had its name.
fn unnamed(path: &Path) -> Option<String> {
    path.file_name()?.to_str().filter(|name| is_held_proof(name))?;
    let Metadata { backup_file: dump, environment, .. } = files::read(path).ok()?;
    let is_missed = path.with_file_name(&dump).is_file() && path.with_file_name(metadata_name(&dump)).symlink_metadata().is_err();
    let environment = environment.unwrap_or_else(|| String::from("auto"));
    is_missed.then(|| {
        format!("{dump} was verified, and its run was killed before it had its metadata: the next `pgdumpd backup --env {environment}` of it mends that")
    })
}

/// A plain file that is called as dumps are. A tar may hold anything: one without metadata is none of ours.
fn listed(path: PathBuf) -> Option<Listed> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let stem = [".zst", ".gz", ".bz2"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    let told = [".dump", ".sql", ".dir.tar"].iter().any(|ending| stem.ends_with(ending));
    if !told && stem.rsplit_once('.')?.1 != "tar" {
        return None;
    }
    let facts = std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    let metadata = files::read(&path.with_file_name(metadata_name(&name))).ok().filter(|metadata| metadata.backup_file == name);
    if !told && metadata.is_none() {
        return None;
    }
    let written = facts.modified().map(DateTime::from).unwrap_or_default();
    let at = metadata.as_ref().map_or(written, |metadata| metadata.backup_timestamp);
    Some(Listed { path, size: facts.len(), metadata, at })
}

/// It counts as verified where it has the size that it had then.
fn verified(listed: &Listed) -> Verified {
    match &listed.metadata {
        Some(metadata) if metadata.damage.is_some() => Verified::Damaged,
        Some(metadata) if metadata.verified_at.is_some() && metadata.backup_size_bytes == listed.size => Verified::Yes,
        _ => Verified::No,
    }
}

fn as_json(listed: &Listed) -> Value {
    let metadata = listed.metadata.as_ref();
    json!({
        "file": listed.path,
        "backup_timestamp": listed.at,
        "environment": metadata.and_then(|metadata| metadata.environment.as_ref()),
        "database_name": metadata.map(|metadata| &metadata.database_name),
        "selection": metadata.and_then(|metadata| metadata.selection.as_ref()),
        "size": listed.size,
        "verified": verified(listed) == Verified::Yes,
        "verified_at": metadata.and_then(|metadata| metadata.verified_at),
        "damage": metadata.and_then(|metadata| metadata.damage.as_ref()),
    })
}
