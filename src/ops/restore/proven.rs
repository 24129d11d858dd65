//! A whole backup that came back equal is proven: written down beside it, and in the catalog.

use chrono::{DateTime, Utc};

use crate::error::Result;
use crate::manifest;
use crate::model::backup::{BackupRow, Look, MANIFEST_FORMAT, Manifest, Proof, ProofLevel};
use crate::storage::Storage;

use super::Restored;
use crate::ops::World;

/// Writes down that this backup was restored and compared, and how long that took.
pub fn proven(world: &World, storage: &dyn Storage, manifest: &Manifest, row: &BackupRow, restored: &Restored) -> Result<()> {
    let at = world.clock.now();
    let before = manifest::read_proof(storage, &manifest.project, &manifest.backup_file).ok().flatten();
    let proof = with_look(before, manifest, Look { level: ProofLevel::Restored, at, took_ms: restored.took_ms, failed: None }, at);
    manifest::write_proof(storage, &manifest.project, &manifest.backup_file, &proof)?;
    let mut row = row.clone();
    (row.proof, row.proven_at, row.checked_at) = (proof.level, proof.proven_at, Some(at));
    (row.restored_at, row.restore_ms) = (Some(at), Some(restored.took_ms));
    world.catalog.write(|writer| writer.put_backup(&row))
}

fn with_look(before: Option<Proof>, manifest: &Manifest, look: Look, at: DateTime<Utc>) -> Proof {
    // A proof of other bytes proves nothing of these.
    let before = before.filter(|proof| proof.checksum_sha256 == manifest.checksum_sha256);
    let mut looks = before.as_ref().map(|proof| proof.looks.clone()).unwrap_or_default();
    looks.retain(|old| old.level != look.level);
    looks.push(look);
    looks.sort_by_key(|look| look.level);
    Proof {
        format: MANIFEST_FORMAT,
        backup_id: manifest.backup_id.clone(),
        checksum_sha256: manifest.checksum_sha256.clone(),
        level: ProofLevel::Restored,
        proven_at: at,
        damaged: before.and_then(|proof| proof.damaged),
        looks,
    }
}
