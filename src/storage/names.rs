//! Names of files and folders: whatever a database or project is called, its name is a harmless file name.
//!
//! Bytes outside `A-Z a-z 0-9 . _ -` are percent-encoded, and so is a dot or hyphen at the beginning, so that no name is hidden, climbs
//! out of its folder or reads as an option. The encoding of project names is reversible; that of databases is only for people.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::dump::{Compression, Content, Format};

/// The longest name that Linux file systems take, bytes.
const LONGEST: usize = 255;

/// The longest encoded database name in a file name; a longer one is cut and told apart by its hash. PostgreSQL's own limit is 63 bytes.
const LONGEST_DATABASE: usize = 150;

/// What all files that are pgdumpd's own but no part of a backup begin with.
pub(super) const OWN: &str = ".pgdumpd-";

/// What a file beside others is, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The manifest of this artifact.
    Manifest(String),
    /// The proof of this artifact.
    Proof(String),
    /// The pin of this artifact.
    Pin(String),
    /// The acceptance of this artifact, which fell out of the habit.
    Accepted(String),
    /// An artifact, or nothing of ours.
    Other,
}

/// The artifact's file name: `shop_20261121T011500Z_full_k3f9q2m7xa.dump.zst`, with the UTC time of its start.
#[must_use]
pub fn artifact_file(
    database: &str,
    started: DateTime<Utc>,
    content: Content,
    id: &RunId,
    format: Format,
    compression: Compression,
) -> String {
    let mut name = format!("{}_{}_{content}_{id}.{}", database_part(database), started.format("%Y%m%dT%H%M%SZ"), format.extension());
    if let Some(extension) = compression.extension() {
        name.push('.');
        name.push_str(extension);
    }
    name
}

/// The manifest's name beside its artifact.
#[must_use]
pub fn manifest_file(artifact: &str) -> String {
    format!("{artifact}.json")
}

/// The proof's name beside its artifact.
#[must_use]
pub fn proof_file(artifact: &str) -> String {
    format!("{artifact}.proof.json")
}

/// The pin's name beside its artifact.
#[must_use]
pub fn pin_file(artifact: &str) -> String {
    format!("{artifact}.pin")
}

/// The acceptance's name beside its artifact.
#[must_use]
pub fn accepted_file(artifact: &str) -> String {
    format!("{artifact}.accepted")
}

/// The names of everything that lies beside an artifact, the manifest first: with that the backup ceases to exist.
#[must_use]
pub fn beside(artifact: &str) -> [String; 4] {
    [manifest_file(artifact), proof_file(artifact), pin_file(artifact), accepted_file(artifact)]
}

/// What a file is, by its name.
#[must_use]
pub fn kind(file: &str) -> Kind {
    if let Some(artifact) = file.strip_suffix(".proof.json") {
        Kind::Proof(artifact.to_owned())
    } else if let Some(artifact) = file.strip_suffix(".json") {
        Kind::Manifest(artifact.to_owned())
    } else if let Some(artifact) = file.strip_suffix(".pin") {
        Kind::Pin(artifact.to_owned())
    } else if let Some(artifact) = file.strip_suffix(".accepted") {
        Kind::Accepted(artifact.to_owned())
    } else {
        Kind::Other
    }
}

/// The name of a project's folder. Fails where no file system could take it.
pub fn project_folder(project: &str) -> Result<String> {
    let folder = encode(project);
    if (1..=LONGEST).contains(&folder.len()) {
        return Ok(folder);
    }
    let bytes = folder.len();
    Err(Failure::new(
        Cause::Configuration,
        format!("the project name {project:?} makes a folder name of {bytes} bytes; 1 to 255 are possible"),
    )
    .hint("choose another name; letters, digits, dot, hyphen and underscore take one byte each, everything else three for each of its own"))
}

/// The project that a folder belongs to; `None` where no project's folder is called so.
#[must_use]
pub fn project_of(folder: &str) -> Option<String> {
    let bytes = folder.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    let project = String::from_utf8(decoded).ok()?;
    (!project.is_empty() && encode(&project) == folder).then_some(project)
}

/// Whether a file name is one that `artifact_file` and its kin can make: nothing else is ever opened or deleted.
#[must_use]
pub fn is_safe(file: &str) -> bool {
    let harmless = |byte: u8| is_plain(byte) || byte == b'%';
    (1..=LONGEST).contains(&file.len()) && !file.starts_with(['.', '-']) && file.bytes().all(harmless)
}

/// A database's name as it stands in file names.
#[must_use]
pub fn encoded(database: &str) -> String {
    database_part(database)
}

fn database_part(database: &str) -> String {
    let mut part = encode(database);
    if part.len() > LONGEST_DATABASE {
        let hash = Sha256::digest(database.as_bytes());
        // Not within an escape: `%E2` cut to `%E` would read as another byte.
        let mut end = LONGEST_DATABASE;
        if let Some(escape) = part[end - 2..end].find('%') {
            end = end - 2 + escape;
        }
        part.truncate(end);
        part.push('.');
        part.extend(hash.iter().take(4).map(|byte| format!("{byte:02x}")));
    }
    part
}

fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        if is_plain(byte) && !(at == 0 && matches!(byte, b'.' | b'-')) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    encoded
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789ABCDEF"[usize::from(value)])
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(database: &str) -> String {
        let id = RunId("k3f9q2m7xa".into());
        artifact_file(
            database,
            DateTime::from_timestamp(1_795_223_700, 0).unwrap(),
            Content::Full,
            &id,
            Format::Custom,
            Compression::Zstd(3),
        )
    }

    #[test]
    fn a_usual_name_stays_readable() {
        assert_eq!(file("shop"), "shop_20261121T011500Z_full_k3f9q2m7xa.dump.zst");
        assert_eq!(manifest_file("a.dump"), "a.dump.json");
        assert_eq!(kind("a.dump.proof.json"), Kind::Proof("a.dump".into()));
        assert_eq!(kind("a.dump.json"), Kind::Manifest("a.dump".into()));
        assert_eq!(kind("a.dump.pin"), Kind::Pin("a.dump".into()));
        assert_eq!(kind("a.dump.accepted"), Kind::Accepted("a.dump".into()));
        assert_eq!(kind("a.dump"), Kind::Other);
    }

    /// The names of fault 45, as databases and as projects.
    #[test]
    fn f45_hostile_names_are_data() {
        let long = "x".repeat(255);
        let wide = "é".repeat(127);
        let hostile =
            ["../../etc/x", "'; drop", "a\nb", "-Fp", "host=evil", "\u{202e}gpj", "..", ".", ".hidden", "a/b", "a\0b", "%2e", &long, &wide];
        for name in hostile {
            let file = file(name);
            assert!(is_safe(&file) && is_safe(&proof_file(&file)), "{name:?} made {file:?}");
            match project_folder(name) {
                Ok(folder) => {
                    assert!(is_safe(&folder), "{name:?} made {folder:?}");
                    assert_eq!(project_of(&folder).as_deref(), Some(name));
                }
                Err(failure) => assert!(name == wide && failure.hint.is_some(), "{name:?}: {failure}"),
            }
        }
        assert_eq!(encode("../../etc/x"), "%2E.%2F..%2Fetc%2Fx");
    }

    #[test]
    fn long_names_are_told_apart_after_the_cut() {
        let (one, two) = (file(&format!("{}1", "ü".repeat(200))), file(&format!("{}2", "ü".repeat(200))));
        assert_ne!(one, two);
        assert!(project_of(one.split('.').next().unwrap()).is_some(), "cut within an escape: {one}");
    }

    #[test]
    fn only_what_encoding_makes_is_a_projects_folder() {
        for folder in ["", "lost found", "%2f", "%41", "%", "%4", "%zz", ".hidden", "-x", "%+1"] {
            assert_eq!(project_of(folder), None, "{folder:?}");
        }
        assert!(!is_safe("a/b") && !is_safe("") && !is_safe(".x") && !is_safe("-x") && !is_safe(&"x".repeat(256)) && !is_safe("ü"));
    }

    proptest! {
        #[test]
        fn encoding_is_reversible_and_safe(name in "\\PC{1,60}|[\\x00-\\x7f]{1,80}") {
            let folder = project_folder(&name);
            prop_assume!(folder.is_ok());
            let folder = folder.unwrap();
            prop_assert!(is_safe(&folder));
            prop_assert_eq!(project_of(&folder), Some(name));
        }
    }
}
