//! Removes one backup that a person names: one the retention would keep, a damaged one, or what is left of one whose files are gone.
//!
//! What it would cost is planned and shown first; the newest good backup of anything goes only on a word more, a pinned one not at all.

use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, RunId, Trigger};
use crate::storage::{Key, Storage, names};

use super::World;
use super::removal::{self, Removal};

/// What removing one backup means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deletion {
    /// The backup.
    pub backup: BackupRow,
    /// Those of its files that are there: artifact, manifest, proof, marks.
    pub files: Vec<String>,
    /// Their bytes.
    pub size: u64,
    /// Why a person has to say so twice, if they have: nothing as good is left without it.
    pub loss: Option<String>,
}

/// Plans the removal of a backup. Reads, writes nothing.
///
/// # Errors
/// [`Cause::NotFound`] where it is gone meanwhile; [`Cause::Refused`] where it is pinned; what the storage says.
pub fn plan(world: &World, storage: &dyn Storage, id: &RunId) -> Result<Deletion> {
    let backup = world.catalog.read(|reader| reader.backup(id))?;
    let backup = backup.ok_or_else(|| Failure::new(Cause::NotFound, format!("the backup {id} is gone already")))?;
    if backup.pinned {
        return Err(pinned(id));
    }
    let (mut files, mut size) = (Vec::new(), 0);
    for file in [backup.file.clone()].into_iter().chain(names::beside(&backup.file)) {
        if let Some(bytes) = storage.size(&Key { project: backup.project.clone(), file: file.clone() })? {
            size += bytes;
            files.push(file);
        }
    }
    let is_whole = files.contains(&backup.file) && files.contains(&names::manifest_file(&backup.file));
    let rows = world.catalog.read(|reader| reader.project_backups(&backup.project))?;
    let loss = if is_whole { loss(&backup, &rows) } else { None };
    Ok(Deletion { backup, files, size, loss })
}

/// Carries it out. The caller holds the project's lock.
///
/// # Errors
/// [`Cause::Refused`] where it means a loss and nobody `confirm`ed that; [`Cause::Locked`] while somebody reads the backup.
pub fn carry_out(world: &World, storage: &dyn Storage, deletion: &Deletion, confirm: bool) -> Result<()> {
    let id = &deletion.backup.id;
    if let Some(loss) = deletion.loss.as_ref().filter(|_| !confirm) {
        return Err(Failure::new(Cause::Refused, format!("the backup {id} is {loss}"))
            .hint(format!("if it is to go all the same: pgdumpd delete {id} --confirm")));
    }
    match removal::remove(world, storage, &deletion.backup)? {
        Removal::Done => Ok(()),
        Removal::Pinned => Err(pinned(id)),
        Removal::InUse => Err(Failure::new(Cause::Locked, format!("the backup {id} is being restored just now"))
            .hint("wait until that has ended; `pgdumpd audit` shows who restores")),
    }
}

fn pinned(id: &RunId) -> Failure {
    Failure::new(Cause::Refused, format!("the backup {id} is pinned")).hint(format!("pgdumpd unpin {id} lets it go"))
}

/// What goes with a backup that nothing as new and good stands beside.
fn loss(backup: &BackupRow, rows: &[BackupRow]) -> Option<String> {
    let kin = |row: &&BackupRow| {
        row.id != backup.id
            && row.database == backup.database
            && row.selection == backup.selection
            && (row.trigger == Trigger::AdHoc) == (backup.trigger == Trigger::AdHoc)
            && row.damaged.is_none()
    };
    if backup.damaged.is_some() {
        return None;
    }
    let others: Vec<&BackupRow> = rows.iter().filter(kin).collect();
    let of = format!("{} ({})", backup.database, backup.selection);
    if others.is_empty() {
        return Some(format!("the only good backup of {of}"));
    }
    if others.iter().all(|other| other.started_at < backup.started_at) {
        return Some(format!("the newest good backup of {of}"));
    }
    others.iter().all(|other| other.proof < backup.proof).then(|| format!("the best proven backup of {of}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::backup::{Marks, ProofLevel};

    fn row(id: &str, hour: i64) -> BackupRow {
        let mut row = BackupRow::from_manifest("main", &crate::manifest::tests::manifest(), None, Marks::default());
        row.id = RunId(id.to_owned());
        row.started_at += chrono::TimeDelta::hours(hour);
        row
    }

    #[test]
    fn only_what_nothing_stands_beside_is_a_loss() {
        let (old, middle, new) = (row("old", 0), row("middle", 1), row("new", 2));
        let all = [new.clone(), middle.clone(), old.clone()];
        assert!(loss(&new, &all).is_some_and(|why| why.starts_with("the newest good backup of ")));
        assert_eq!((loss(&middle, &all), loss(&old, &all)), (None, None));
        assert!(loss(&old, std::slice::from_ref(&old)).is_some_and(|why| why.starts_with("the only good backup of ")));
        let proven = BackupRow { proof: ProofLevel::Restored, ..old.clone() };
        assert!(loss(&proven, &all).is_some_and(|why| why.starts_with("the best proven backup of ")));
        let damaged = BackupRow { damaged: Some(String::from("its SHA-256 differs")), ..new.clone() };
        assert_eq!(loss(&damaged, &all), None);
        assert!(loss(&middle, &[damaged, middle.clone(), old]).is_some(), "a damaged one is no consolation");
    }
}
