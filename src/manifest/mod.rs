//! Manifests, proofs and pins in a storage. A backup exists from the moment its manifest is committed beside its artifact.
//!
//! What is read here may have been written by anybody: it is checked before anything believes it, and only names that pgdumpd itself
//! makes lead to files. Nothing here decides what to do about what is found.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, Frame, MANIFEST_FORMAT, Manifest, Marks, Proof};
use crate::storage::names::{self, Kind};
use crate::storage::{Key, Storage};

/// The largest manifest that is read, bytes: about 300 000 tables.
pub const LARGEST: u64 = 64 << 20;

/// A backup as it lies in a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its manifest.
    pub manifest: Manifest,
    /// What was proven of it, if that was written down.
    pub proof: Option<Proof>,
    /// Its pin and its acceptance.
    pub marks: Marks,
    /// The length of its artifact; `None` where that is missing.
    pub stored: Option<u64>,
}

/// What lies in a project's folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scan {
    /// Backups, by file name and so by database and time.
    pub backups: Vec<Found>,
    /// Files that belong to no backup: reported, never touched.
    pub unknown: Vec<String>,
    /// Artifacts of which the manifest or the proof is there and can't be read just now, by the storage's fault or by this pgdumpd: what was
    /// known of them still holds.
    pub unread: BTreeSet<String>,
    /// Manifests that can't be believed, proofs that can't be read, artifacts that are missing or cut.
    pub problems: Vec<Failure>,
}

impl Found {
    /// Its row for the catalog; one whose artifact is missing or has another length counts as damaged.
    #[must_use]
    pub fn row(&self, storage: &str) -> BackupRow {
        let mut row = BackupRow::from_manifest(storage, &self.manifest, self.proof.as_ref(), self.marks);
        if let Some(damage) = self.damage() {
            row.damaged.get_or_insert(damage);
        }
        row
    }

    fn damage(&self) -> Option<String> {
        let manifest = &self.manifest;
        match self.stored {
            None => Some(format!("the artifact {} is missing", manifest.backup_file)),
            Some(stored) if stored != manifest.backup_size_bytes => {
                Some(format!("the artifact {} has {stored} bytes instead of {}", manifest.backup_file, manifest.backup_size_bytes))
            }
            Some(_) => None,
        }
    }
}

/// The manifest's key beside its artifact.
#[must_use]
pub fn key(project: &str, artifact: &str) -> Key {
    Key { project: project.to_owned(), file: names::manifest_file(artifact) }
}

/// Commits the manifest of an artifact that has its final name. With this the backup exists.
pub fn commit(storage: &dyn Storage, manifest: &Manifest) -> Result<()> {
    let key = key(&manifest.project, &manifest.backup_file);
    check(&key, manifest)?;
    let mut text =
        serde_json::to_vec_pretty(manifest).map_err(|error| Failure::new(Cause::System, format!("writing {}: {error}", key.file)))?;
    text.push(b'\n');
    if text.len() as u64 > LARGEST {
        return Err(Failure::new(Cause::BadManifest, format!("the manifest {} would have more than {LARGEST} bytes", key.file)));
    }
    let mut pending = storage.begin(&key, manifest.backup_id.as_str())?;
    pending.write_all(&text).map_err(|error| Failure::storage(format!("writing {}", key.file), &error))?;
    pending.commit()
}

/// Reads a manifest and checks it against its name.
pub fn read(storage: &dyn Storage, key: &Key) -> Result<Manifest> {
    let text = content(storage, key, LARGEST)?;
    // Asked first: a later format may lack what this one requires, and should be called later, not broken.
    if let Some(later) = later(key, &text)? {
        return Err(later);
    }
    let manifest = parsed(key, &text)?;
    check(key, &manifest)?;
    Ok(manifest)
}

/// Says so where a later pgdumpd wrote it in a format that this one can't judge.
pub fn is_later(storage: &dyn Storage, key: &Key) -> Result<Option<Failure>> {
    let text = content(storage, key, LARGEST)?;
    Ok(later(key, &text).unwrap_or_default())
}

fn later(key: &Key, text: &[u8]) -> Result<Option<Failure>> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let Version { format } = parsed(key, text)?;
    Ok((format > MANIFEST_FORMAT).then(|| {
        let sentence = format!("the manifest {} has format {format}, made by a later pgdumpd", key.file);
        Failure::new(Cause::BadManifest, sentence).hint("install that pgdumpd; the artifact can be restored by hand meanwhile")
    }))
}

/// A manifest that lies outside of any storage, beside a file that a person named. `name` is its own, for messages.
pub fn outside(name: &str, text: &[u8]) -> Result<Manifest> {
    let key = Key { project: String::new(), file: name.to_owned() };
    let manifest: Manifest = parsed(&key, text)?;
    complaint(&manifest).map_or(Ok(manifest), |why| Err(bad(&key, why)))
}

/// Reads the proof of an artifact, if there is one.
pub fn read_proof(storage: &dyn Storage, project: &str, artifact: &str) -> Result<Option<Proof>> {
    let key = Key { project: project.to_owned(), file: names::proof_file(artifact) };
    if storage.size(&key)?.is_none() {
        return Ok(None);
    }
    let proof: Proof = parsed(&key, &content(storage, &key, 1 << 20)?)?;
    if proof.format > MANIFEST_FORMAT {
        return Err(Failure::new(
            Cause::BadManifest,
            format!("the proof {} has format {}, made by a later pgdumpd", key.file, proof.format),
        ));
    }
    Ok(Some(proof))
}

/// Writes down what was proven of an artifact, in place of what was before.
pub fn write_proof(storage: &dyn Storage, project: &str, artifact: &str, proof: &Proof) -> Result<()> {
    let key = Key { project: project.to_owned(), file: names::proof_file(artifact) };
    let text = serde_json::to_vec_pretty(proof).map_err(|error| Failure::new(Cause::System, format!("writing {}: {error}", key.file)))?;
    storage.put(&key, &text)
}

/// Pins a backup; saying it twice is fine.
pub fn pin(storage: &dyn Storage, project: &str, artifact: &str) -> Result<()> {
    storage.put(&Key { project: project.to_owned(), file: names::pin_file(artifact) }, b"pinned\n")
}

/// Takes a backup's pin away, if it has one.
pub fn unpin(storage: &dyn Storage, project: &str, artifact: &str) -> Result<()> {
    storage.delete(&Key { project: project.to_owned(), file: names::pin_file(artifact) })
}

/// Accepts a backup that fell out of the habit; saying it twice is fine.
pub fn accept(storage: &dyn Storage, project: &str, artifact: &str) -> Result<()> {
    storage.put(&Key { project: project.to_owned(), file: names::accepted_file(artifact) }, b"accepted\n")
}

/// Deletes a backup: the manifest first, with which it ceases to exist, then what lay beside it. Can be repeated after a failure.
pub fn delete(storage: &dyn Storage, project: &str, artifact: &str) -> Result<()> {
    names::beside(artifact)
        .into_iter()
        .chain([artifact.to_owned()])
        .try_for_each(|file| storage.delete(&Key { project: project.to_owned(), file }))
}

/// Looks at everything in a project's folder. Only a storage that can't be listed fails; what is wrong with single files is told.
pub fn scan(storage: &dyn Storage, project: &str) -> Result<Scan> {
    let entries = storage.list(project)?;
    let sizes: BTreeMap<&str, u64> = entries.iter().map(|entry| (entry.key.file.as_str(), entry.size)).collect();
    let mut scan = Scan::default();
    let mut known = BTreeSet::new();
    for entry in &entries {
        let Kind::Manifest(artifact) = names::kind(&entry.key.file) else { continue };
        if !names::is_safe(&entry.key.file) {
            continue;
        }
        match read(storage, &entry.key) {
            Ok(manifest) => {
                let found = look(storage, manifest, &sizes, &mut scan);
                scan.backups.push(found);
            }
            // Its artifact isn't unknown: it belongs to what this problem tells of.
            Err(failure) => {
                if failure.cause != Cause::BadManifest || is_later(storage, &entry.key).is_ok_and(|later| later.is_some()) {
                    scan.unread.insert(artifact.clone());
                }
                scan.problems.push(failure);
            }
        }
        known.extend(names::beside(&artifact));
        known.insert(artifact);
    }
    scan.unknown = entries.into_iter().map(|entry| entry.key.file).filter(|file| !known.contains(file)).collect();
    Ok(scan)
}

fn look(storage: &dyn Storage, manifest: Manifest, sizes: &BTreeMap<&str, u64>, scan: &mut Scan) -> Found {
    let artifact = &manifest.backup_file;
    let proof = if sizes.contains_key(names::proof_file(artifact).as_str()) {
        read_proof(storage, &manifest.project, artifact).unwrap_or_else(|failure| {
            if failure.cause != Cause::BadManifest {
                scan.unread.insert(artifact.clone());
            }
            scan.problems.push(failure);
            None
        })
    } else {
        None
    };
    let has = |file: String| sizes.contains_key(file.as_str());
    let marks = Marks { pinned: has(names::pin_file(artifact)), accepted: has(names::accepted_file(artifact)) };
    let stored = sizes.get(artifact.as_str()).copied();
    let found = Found { manifest, proof, marks, stored };
    if let Some(damage) = found.damage() {
        scan.problems.push(
            Failure::new(Cause::Damaged, damage)
                .hint("look for a copy of the storage; a backup that is damaged is never deleted by itself"),
        );
    }
    found
}

fn content(storage: &dyn Storage, key: &Key, largest: u64) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    // One byte more than allowed tells a long file from one of just that length; its announced length isn't trusted.
    let read = storage.get(key)?.take(largest + 1).read_to_end(&mut text);
    read.map_err(|error| Failure::storage(format!("reading {}", key.file), &error))?;
    if text.len() as u64 > largest {
        return Err(bad(key, &format!("it has more than {largest} bytes")));
    }
    Ok(text)
}

fn parsed<T: DeserializeOwned>(key: &Key, text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| bad(key, &error.to_string()))
}

fn bad(key: &Key, why: &str) -> Failure {
    Failure::new(Cause::BadManifest, format!("{} of the project {:?} can't be believed: {why}", key.file, key.project))
        .hint("it was altered or is no manifest of pgdumpd; restore it from a copy of the storage, or move it away")
}

/// Whether a manifest says what its name says, and leads nowhere else.
fn check(key: &Key, manifest: &Manifest) -> Result<()> {
    let id = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let complaints = [
        (manifest.project != key.project, "it names another project"),
        (!names::is_safe(&manifest.backup_file), "its backup_file is no plain file name"),
        (names::manifest_file(&manifest.backup_file) != key.file, "it belongs to another artifact"),
        (!id(manifest.backup_id.as_str()), "its backup_id is none"),
        (!manifest.dependencies.iter().all(|dependency| names::is_safe(dependency)), "one of its dependencies is no plain file name"),
    ];
    let of_names = complaints.iter().find(|(complaint, _)| *complaint).map(|(_, why)| *why);
    of_names.or_else(|| complaint(manifest)).map_or(Ok(()), |why| Err(bad(key, why)))
}

/// What can't be so in any manifest, whatever it is called.
fn complaint(manifest: &Manifest) -> Option<&'static str> {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let behind = |frame: &Frame| frame.stored > manifest.backup_size_bytes || frame.archive > manifest.uncompressed_size_bytes;
    let complaints = [
        (manifest.format == 0, "its format is 0"),
        (!hex(&manifest.checksum_sha256), "its checksum_sha256 is no SHA-256"),
        (i64::try_from(manifest.backup_size_bytes).is_err(), "its backup_size_bytes is larger than any file"),
        (!manifest.frames.is_sorted_by(|one, next| one.stored < next.stored && one.archive < next.archive), "its frames are out of order"),
        (manifest.frames.iter().any(behind), "one of its frames begins behind the end"),
    ];
    complaints.iter().find(|(complaint, _)| *complaint).map(|(_, why)| *why)
}

#[cfg(test)]
pub(crate) mod tests;
