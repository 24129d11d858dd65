//! A backup: its manifest, its proofs, and the row of it that the catalog indexes.
//!
//! The manifest's field names are contracts with clients; `docs/manifest.md` lists them. Writing and reading files is `manifest`'s work.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::database::DatabaseProperties;
use super::dump::{Compression, Content, Format, Selection};
use super::{options, times};

/// The manifest format that this version writes; it reads this one and older ones.
pub const MANIFEST_FORMAT: u32 = 1;

/// Ten characters of lower-case base 32, unique per run; a backup carries the id of the run that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl RunId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bits = rand::random::<u64>();
        let text = (0..10)
            .map(|_| {
                let letter = char::from(ALPHABET[(bits & 31) as usize]);
                bits >>= 5;
                letter
            })
            .collect();
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What asked for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A slot of a schedule.
    Scheduled,
    /// A slot missed during downtime, run late.
    CatchUp,
    /// Typed by hand for a configured project.
    Manual,
    /// Made beside a project's own backups (by hand without a project, or before an in-place restore); shares no retention bucket with them.
    AdHoc,
}

/// How far a backup has been proven; each level promises more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofLevel {
    /// The tap saw the whole archive pass and `pg_dump` exited 0.
    Whole,
    /// The stored bytes were read back and have the recorded length and SHA-256.
    Checksum,
    /// `pg_restore` read the archive to its end.
    Read,
    /// It was restored, and its rows were counted.
    Restored,
}

/// What the tap could say of the archive's structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// Every entry with data had its block, or the plain dump's trailer was there.
    Whole,
    /// The archive's version is unknown to this pgdumpd; `pg_restore` read it to the end instead.
    Unchecked,
}

/// One table as it passed through the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Schema name, unquoted.
    pub schema: String,
    /// Table name, unquoted.
    pub name: String,
    /// Rows; unknown where an option breaks counting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of its COPY data before compression.
    pub bytes: u64,
    /// CRC-32 (that of gzip) of its rows as COPY text, without the end mark; unknown in plain dumps, where `rows` is, and of older pgdumpds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// The archive entry's dump id, by which `pg_restore` knows it; custom format only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump_id: Option<i32>,
    /// Where its block of data begins in the archive as `pg_dump` wrote it, bytes; custom format only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// A place in the stored file where decompression can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Offset in the stored (compressed) file, bytes.
    pub stored: u64,
    /// Offset in the archive as `pg_dump` wrote it, bytes.
    pub archive: u64,
}

/// Everything about one backup, committed beside its artifact as JSON. A backup exists from the moment this does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] of the writer.
    pub format: u32,
    /// The run that made it.
    pub backup_id: RunId,
    /// Project name.
    pub project: String,
    /// Database name; for globals the database that was connected to.
    pub database_name: String,
    /// `dev`, `prod` or what the caller said; unset for configured projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Full, schema, data or globals.
    #[serde(rename = "type")]
    pub content: Content,
    /// Retention keeps selections apart.
    pub selection: Selection,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule's name, where one asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The slot it served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<DateTime<Utc>>,
    /// When `pg_dump` was started; the data is as of about then.
    pub backup_timestamp: DateTime<Utc>,
    /// When the artifact was complete.
    pub finished_at: DateTime<Utc>,
    /// From start to completion, milliseconds.
    pub duration_ms: u64,
    /// The artifact's file name, beside this manifest.
    pub backup_file: String,
    /// Stored length, bytes.
    pub backup_size_bytes: u64,
    /// Length before compression, bytes.
    pub uncompressed_size_bytes: u64,
    /// SHA-256 of the stored bytes, lower-case hex.
    pub checksum_sha256: String,
    /// Whether the stored bytes are compressed.
    pub compressed: bool,
    /// Algorithm and level.
    pub compression: Compression,
    /// Archive format.
    pub dump_format: Format,
    /// What the tap could say.
    pub structure: Structure,
    /// Tables in the order of the archive.
    pub tables: Vec<TableEntry>,
    /// Rows by `schema.table`; the same figures as in `tables`, by the name older clients read.
    pub table_counts: BTreeMap<String, u64>,
    /// Sum of the known rows; unknown where any table's are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<u64>,
    /// Number of large objects.
    #[serde(default)]
    pub large_objects: u64,
    /// Places where decompression can begin, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// Server's version as it says it: `15.18 (Debian 15.18-0+deb12u1)`.
    pub postgresql_version: String,
    /// Server's version as a number: 150018.
    pub postgresql_version_num: u32,
    /// Output of `pg_dump --version`.
    pub pg_dump_version: String,
    /// Host or socket folder reached.
    pub server_host: String,
    /// Port reached.
    pub server_port: u16,
    /// The server's `system_identifier`, the same on its standbys; absent where the role may not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// Whether the server was a standby.
    #[serde(default)]
    pub from_standby: bool,
    /// The database's size on the server when the run began, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_size_bytes: Option<u64>,
    /// What `CREATE DATABASE` needs to make its like again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_properties: Option<DatabaseProperties>,
    /// SHA-256 of the archive's table of contents without times and ids: equal for equal schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Backups that this one needs (an incremental's base); empty for all others.
    #[serde(default)]
    pub dependencies: Vec<String>,
    /// `pg_dump` options beyond the defaults, for the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The line that restores it with standard tools.
    pub restore_command: String,
    /// The machine that made it.
    pub made_on: String,
    /// Version of pgdumpd.
    pub pgdumpd_version: String,
    /// What a person should know (a server lock that could not be had, `pg_dump`'s warnings).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it falls out of the project's habit, if it does: far fewer rows or bytes than the backups before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicious: Option<String>,
}

impl Manifest {
    /// Whether it is of a file that a person named and no project knows.
    #[must_use]
    pub fn is_of_given_file(&self) -> bool {
        self.project.is_empty()
    }

    /// Whether it was made of what a file says of itself, so that it holds nothing that the file could be compared with.
    #[must_use]
    pub fn is_of_the_file_itself(&self) -> bool {
        self.is_of_given_file() && self.pgdumpd_version.is_empty()
    }
}

/// What was proven of a backup, kept beside it as `….proof.json`; it outlives the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// [`MANIFEST_FORMAT`] of the writer.
    pub format: u32,
    /// The backup.
    pub backup_id: RunId,
    /// SHA-256 of the artifact that was looked at; a proof of other bytes proves nothing.
    pub checksum_sha256: String,
    /// The highest level reached.
    pub level: ProofLevel,
    /// When that was.
    pub proven_at: DateTime<Utc>,
    /// Why it counts as damaged, if it does; such a backup is never counted as kept and never deleted by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// The last look at each level, in the order of levels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
}

/// One verification of one level, and what it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// What was tried.
    pub level: ProofLevel,
    /// When it ended.
    pub at: DateTime<Utc>,
    /// How long it took, milliseconds; of a restore this is the measured recovery time.
    pub took_ms: u64,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What people have said of a backup, kept as files beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Never pruned while set.
    pub pinned: bool,
    /// Accepted although it fell out of the project's habit.
    pub accepted: bool,
}

/// The catalog's row of a backup: what listing, retention and alerts need, rebuilt from manifests, proofs and pins at any time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRow {
    /// The run that made it.
    pub id: RunId,
    /// Storage name.
    pub storage: String,
    /// Project name.
    pub project: String,
    /// Database name.
    pub database: String,
    /// Full, schema, data or globals.
    pub content: Content,
    /// Retention keeps selections apart.
    pub selection: Selection,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule's name, where one asked for it.
    pub schedule: Option<String>,
    /// The slot it served.
    #[serde(serialize_with = "times::maybe")]
    pub slot: Option<DateTime<Utc>>,
    /// When the dump was started.
    #[serde(serialize_with = "times::one")]
    pub started_at: DateTime<Utc>,
    /// When the artifact was complete.
    #[serde(serialize_with = "times::one")]
    pub finished_at: DateTime<Utc>,
    /// Artifact's file name.
    pub file: String,
    /// Stored length, bytes.
    pub size: u64,
    /// Length before compression, bytes.
    pub uncompressed_size: u64,
    /// SHA-256 of the stored bytes.
    pub sha256: String,
    /// Number of tables with data.
    pub tables: u64,
    /// Sum of rows, where known.
    pub rows: Option<u64>,
    /// Never pruned while set.
    pub pinned: bool,
    /// Highest proof reached.
    pub proof: ProofLevel,
    /// When it was reached.
    #[serde(serialize_with = "times::one")]
    pub proven_at: DateTime<Utc>,
    /// Why it counts as damaged, if it does.
    pub damaged: Option<String>,
    /// Why it falls out of the project's habit, if it does and nobody has accepted it.
    pub suspicious: Option<String>,
    /// When it was last looked at, on whatever level and with whatever result.
    #[serde(serialize_with = "times::maybe")]
    pub checked_at: Option<DateTime<Utc>>,
    /// When it was last restored with success.
    #[serde(serialize_with = "times::maybe")]
    pub restored_at: Option<DateTime<Utc>>,
    /// How long that took, milliseconds.
    pub restore_ms: Option<u64>,
    /// Whether it is a script that makes its database by itself, whatever psql is told.
    #[serde(skip)]
    pub makes_database: bool,
    /// The `system_identifier` of the server it was made from, where known.
    pub system_identifier: Option<String>,
    /// Host and port of that server, as reached; `None` in rows of older catalogs.
    pub server: Option<String>,
}

impl BackupRow {
    /// The row of a backup that has just been committed, or was found in a storage.
    #[must_use]
    pub fn from_manifest(storage: &str, manifest: &Manifest, proof: Option<&Proof>, marks: Marks) -> Self {
        let proof = proof.filter(|proof| proof.checksum_sha256 == manifest.checksum_sha256);
        let at_once = match manifest.structure {
            Structure::Whole => ProofLevel::Whole,
            Structure::Unchecked => ProofLevel::Read,
        };
        let looks = proof.map(|proof| proof.looks.as_slice()).unwrap_or_default();
        let restored = looks.iter().find(|look| look.level == ProofLevel::Restored && look.failed.is_none());
        // A later restore that failed takes nothing away from the one that succeeded but its time.
        let once_restored = proof.filter(|proof| proof.level == ProofLevel::Restored).map(|proof| proof.proven_at);
        Self {
            id: manifest.backup_id.clone(),
            storage: storage.to_owned(),
            project: manifest.project.clone(),
            database: manifest.database_name.clone(),
            content: manifest.content,
            selection: manifest.selection.clone(),
            trigger: manifest.trigger,
            schedule: manifest.schedule.clone(),
            slot: manifest.slot,
            started_at: manifest.backup_timestamp,
            finished_at: manifest.finished_at,
            file: manifest.backup_file.clone(),
            size: manifest.backup_size_bytes,
            uncompressed_size: manifest.uncompressed_size_bytes,
            sha256: manifest.checksum_sha256.clone(),
            tables: manifest.tables.len() as u64,
            rows: manifest.total_rows,
            pinned: marks.pinned,
            proof: proof.map_or(at_once, |proof| proof.level.max(at_once)),
            proven_at: proof.map_or(manifest.finished_at, |proof| proof.proven_at),
            damaged: proof.and_then(|proof| proof.damaged.clone()),
            suspicious: manifest.suspicious.clone().filter(|_| !marks.accepted),
            checked_at: looks.iter().map(|look| look.at).max(),
            restored_at: restored.map(|look| look.at).or(once_restored),
            restore_ms: restored.map(|look| look.took_ms),
            makes_database: options::makes_database(&manifest.options, manifest.dump_format),
            system_identifier: manifest.system_identifier.clone(),
            server: Some(format!("{}:{}", manifest.server_host, manifest.server_port)),
        }
    }
}
