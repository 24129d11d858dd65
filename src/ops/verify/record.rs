//! Writing down what a look found: in the proof beside the backup first, for that outlives the catalog, then in the catalog.
//!
//! Pruning may remove the backup at the same time; it deletes the manifest before the proof, so whoever finds the manifest gone after
//! writing a proof takes the proof away again, and none is left behind.

use crate::error::{Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Look, MANIFEST_FORMAT, Manifest, Marks, Proof, ProofLevel};
use crate::storage::{Key, Storage, names};

use super::super::World;

/// What became of the backup that was looked at.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// Its row as it is now; and why what was found does not lie beside it, where that could not be written.
    Row(Box<BackupRow>, Option<Failure>),
    /// It was removed meanwhile.
    Gone,
}

/// Writes down looks at a backup, lower levels first; `damage` says why it counts as damaged from now on.
///
/// # Errors
/// Where the catalog can't be written. A storage that takes no proof is told in the answer: only damage is then known, to the catalog alone.
pub fn record(world: &World, storage: &dyn Storage, row: &BackupRow, looks: &[Look], damage: Option<&str>) -> Result<Recorded> {
    let (proof, unwritten) = match beside(storage, row, looks, damage) {
        Ok(proof) => (proof, None),
        Err(failure) => {
            tracing::warn!(backup = %row.id, project = row.project, "what was found can't be written beside the backup: {failure}");
            (None, Some(failure))
        }
    };
    world.catalog.write(|writer| {
        let Some(mut now) = writer.backup_now(row)? else { return Ok(Recorded::Gone) };
        match &proof {
            Some((manifest, proof)) => {
                let marks = Marks { pinned: now.pinned, accepted: now.suspicious.is_none() };
                let fresh = BackupRow::from_manifest(&now.storage, manifest, Some(proof), marks);
                (now.proof, now.proven_at, now.damaged) = (fresh.proof, fresh.proven_at, fresh.damaged);
                (now.checked_at, now.restored_at, now.restore_ms) = (fresh.checked_at, fresh.restored_at, fresh.restore_ms);
            }
            None => {
                now.checked_at = looks.iter().map(|look| look.at).max().or(now.checked_at);
                now.damaged = damage.map(str::to_owned).or(now.damaged);
            }
        }
        writer.put_backup(&now)?;
        Ok(Recorded::Row(Box::new(now), unwritten.clone()))
    })
}

/// Brings the proof up to date; `None` where there is no manifest that it could belong to.
fn beside(storage: &dyn Storage, row: &BackupRow, looks: &[Look], damage: Option<&str>) -> Result<Option<(Manifest, Proof)>> {
    let key = manifest::key(&row.project, &row.file);
    let Ok(manifest) = manifest::read(storage, &key) else { return Ok(None) };
    let known = manifest::read_proof(storage, &row.project, &row.file).unwrap_or_else(|failure| {
        tracing::warn!(backup = %row.id, "its proof is replaced: {failure}");
        None
    });
    let proof = next(&manifest, known, looks, damage);
    manifest::write_proof(storage, &row.project, &row.file, &proof)?;
    if storage.size(&key)?.is_none() {
        storage.delete(&Key { project: row.project.clone(), file: names::proof_file(&row.file) })?;
        return Ok(None);
    }
    Ok(Some((manifest, proof)))
}

/// The proof after these looks. A level that was reached stays, as long as the bytes are the same; damage stays until the check that found
/// it, or a stronger one, finds it good.
fn next(manifest: &Manifest, known: Option<Proof>, looks: &[Look], damage: Option<&str>) -> Proof {
    let same = known.filter(|known| known.checksum_sha256 == manifest.checksum_sha256 && known.backup_id == manifest.backup_id);
    let mut proof = same.unwrap_or_else(|| {
        let row = BackupRow::from_manifest("", manifest, None, Marks::default());
        Proof {
            format: MANIFEST_FORMAT,
            backup_id: manifest.backup_id.clone(),
            checksum_sha256: manifest.checksum_sha256.clone(),
            level: row.proof,
            proven_at: row.proven_at,
            damaged: None,
            looks: Vec::new(),
        }
    });
    let found_by = proof.damaged.as_ref().and_then(|why| {
        let found = proof.looks.iter().find(|look| look.failed.as_ref() == Some(why));
        found.map(|look| look.level)
    });
    for look in looks {
        proof.looks.retain(|known| known.level != look.level);
        proof.looks.push(look.clone());
        if look.failed.is_some() {
            continue;
        }
        if look.level >= proof.level {
            (proof.level, proof.proven_at) = (look.level, look.at);
        }
        if found_by.unwrap_or(ProofLevel::Checksum) <= look.level {
            proof.damaged = None;
        }
    }
    proof.looks.sort_by_key(|look| look.level);
    if let Some(why) = damage {
        proof.damaged = Some(why.to_owned());
    }
    proof
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::ops::mount;
    use crate::storage::Memory;

    fn manifest() -> Manifest {
        crate::manifest::tests::manifest()
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn look(level: ProofLevel, second: i64, failed: Option<&str>) -> Look {
        Look { level, at: at(second), took_ms: 1, failed: failed.map(str::to_owned) }
    }

    #[test]
    fn of_two_copies_the_one_that_was_looked_at_is_written_down() {
        let (one, two) = (Memory::new("main"), Memory::new("second"));
        let world = World::over(&[&one, &two]);
        let manifest = manifest();
        let rows = [&one, &two].map(|storage| {
            mount::ensure(&world, storage).unwrap();
            crate::manifest::commit(storage, &manifest).unwrap();
            let row = BackupRow::from_manifest(storage.name(), &manifest, None, Marks::default());
            world.catalog.write(|writer| writer.put_backup(&row)).unwrap();
            row
        });
        for (storage, row) in [&one, &two].iter().zip(&rows) {
            let Recorded::Row(now, None) = record(&world, *storage, row, &[look(ProofLevel::Read, 1, None)], None).unwrap() else {
                panic!("nothing was recorded of {}", row.storage)
            };
            assert_eq!((&now.storage, now.proof), (&row.storage, ProofLevel::Read));
        }
        let known = world.catalog.read(|reader| Ok([reader.backup_now(&rows[0])?, reader.backup_now(&rows[1])?])).unwrap();
        assert!(known.iter().flatten().all(|row| row.proof == ProofLevel::Read), "{known:?}");
    }

    #[test]
    fn a_higher_level_stays_while_the_bytes_do() {
        let read = next(&manifest(), None, &[look(ProofLevel::Checksum, 1, None), look(ProofLevel::Read, 1, None)], None);
        assert_eq!((read.level, read.proven_at), (ProofLevel::Read, at(1)));
        let later = next(&manifest(), Some(read.clone()), &[look(ProofLevel::Checksum, 2, None)], None);
        assert_eq!((later.level, later.proven_at, later.looks.len()), (ProofLevel::Read, at(1), 2));
        let mut other = manifest();
        other.checksum_sha256 = "b".repeat(64);
        let anew = next(&other, Some(read), &[look(ProofLevel::Checksum, 3, None)], None);
        assert_eq!((anew.level, anew.looks.len()), (ProofLevel::Checksum, 1));
    }

    #[test]
    fn damage_goes_only_with_the_check_that_found_it() {
        let bytes = next(&manifest(), None, &[look(ProofLevel::Checksum, 1, Some("bytes"))], Some("bytes"));
        assert_eq!(bytes.damaged.as_deref(), Some("bytes"));
        assert_eq!(next(&manifest(), Some(bytes), &[look(ProofLevel::Checksum, 2, None)], None).damaged, None);
        let inside = [look(ProofLevel::Checksum, 1, None), look(ProofLevel::Read, 1, Some("inside"))];
        let inside = next(&manifest(), None, &inside, Some("inside"));
        let still = next(&manifest(), Some(inside.clone()), &[look(ProofLevel::Checksum, 2, None)], None);
        assert_eq!(still.damaged.as_deref(), Some("inside"), "intact bytes don't mend what pg_restore can't read");
        assert_eq!(next(&manifest(), Some(inside), &[look(ProofLevel::Read, 2, None)], None).damaged, None);
    }

    #[test]
    fn what_could_not_be_read_is_no_damage() {
        let proof = next(&manifest(), None, &[look(ProofLevel::Checksum, 1, Some("input/output error"))], None);
        assert_eq!((proof.damaged, proof.level), (None, ProofLevel::Whole));
    }
}
