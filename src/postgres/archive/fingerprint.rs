//! The schema's version: one SHA-256 that is equal for equal schemas, in whatever order and with whatever ids they were dumped.
//!
//! Built from kind, schema, name and definition of each entry that defines something; data, owners, ids and times stay out.

use sha2::{Digest as _, Sha256};

use super::toc::{Entry, Section};
use crate::stream::hash::hex;

/// Collects entries; keeps 32 bytes of each.
#[derive(Debug, Default)]
pub(super) struct Fingerprint {
    entries: Vec<[u8; 32]>,
}

impl Fingerprint {
    /// Takes an entry into account, if it defines something.
    pub(super) fn add(&mut self, entry: &Entry) {
        if !is_schema(entry) {
            return;
        }
        let mut hash = Sha256::new();
        for field in [entry.desc.as_str(), entry.namespace.as_deref().unwrap_or_default(), &entry.tag, &entry.defn] {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field.as_bytes());
        }
        self.entries.push(hash.finalize().into());
    }

    /// The version; none where nothing was defined.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.sort_unstable();
        let mut hash = Sha256::new();
        self.entries.iter().for_each(|entry| hash.update(entry));
        Some(hex(&hash.finalize()))
    }
}

/// Whether an entry is a definition, not data or a setting of the dump.
#[must_use]
pub fn is_schema(entry: &Entry) -> bool {
    let of_large_object = entry.tag.starts_with("LARGE OBJECT");
    match entry.desc.as_str() {
        "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "BLOB" | "BLOB METADATA" | "BLOBS" | "STATISTICS DATA" | "MATERIALIZED VIEW DATA" => {
            false
        }
        "COMMENT" | "ACL" | "SECURITY LABEL" => !of_large_object,
        _ => entry.section != Section::Data,
    }
}
