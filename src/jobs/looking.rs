//! Looking at a stored backup and saying what was found: shared by the jobs that verify.

use std::sync::Arc;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, Manifest, ProofLevel};
use crate::model::project::Project;
use crate::model::run::Run;
use crate::ops::World;
use crate::ops::verify::{self, Looked, Verdict};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

/// Looks at a backup. Damage goes into the audit log as well: somebody may ask one day since when it was known.
pub(super) fn look(world: &World, means: verify::Means<'_>, row: &BackupRow, level: ProofLevel) -> Result<Looked> {
    let looked = verify::verify(world, means, row, level)?;
    let row = &looked.backup;
    match &looked.verdict {
        Verdict::Good => {
            tracing::info!(backup = %row.id, project = row.project, took_ms = looked.took_ms, "verified: {}", verify::proves(looked.level, row));
            if let Some(why) = &looked.shallow {
                tracing::warn!(backup = %row.id, project = row.project, "verified less than was asked for: {why}");
            }
        }
        Verdict::Gone => tracing::info!(backup = %row.id, project = row.project, "the backup was removed before it could be verified"),
        Verdict::Unread(failure) => {
            tracing::error!(backup = %row.id, project = row.project, cause = %failure.cause, "the backup can't be verified: {failure}");
        }
        Verdict::Damaged(why) => {
            tracing::error!(backup = %row.id, project = row.project, file = row.file, "the backup is DAMAGED: {why}");
            world.audit("verify", Some(&row.project), &row.file, &format!("damaged: {why}"))?;
        }
    }
    Ok(looked)
}

/// A backup that turned out to be damaged while it was read for something else is looked at once more and marked, so that `latest` means
/// another one from then on and somebody is told. Returns the failure, with that.
pub(super) fn suspect(world: &World, row: &BackupRow, cancel: &Cancel, failure: Failure) -> Failure {
    if failure.cause != Cause::Damaged || row.damaged.is_some() {
        return failure;
    }
    let clients = Clients::find(None, &|name| std::env::var(name).ok());
    let gauge = Gauge::new();
    let looked = world.storage_of(row).and_then(|storage| {
        let means = verify::Means { storage, clients: &clients, cancel, held: &|| false, gauge: &gauge };
        look(world, means, row, ProofLevel::Checksum)
    });
    let more = match looked.map(|looked| looked.verdict) {
        Ok(Verdict::Damaged(_)) => String::from("a second look confirmed it, and it counts as damaged from now on"),
        Ok(Verdict::Good) => {
            String::from("a second look found the stored bytes good: look at the disk, the cable or the memory, then try again")
        }
        Ok(Verdict::Gone | Verdict::Unread(_)) => return failure,
        Err(why) => format!("it could not be marked as damaged: {why}"),
    };
    failure.also(&more)
}

/// Looks at each new backup again, before it lets older ones go, where the project wants that.
pub(super) fn after(
    world: &World,
    project: &Project,
    storage: &Arc<dyn Storage>,
    clients: &Clients,
    runs: &[(Run, Option<Manifest>)],
    cancel: &Cancel,
) -> Result<Vec<Looked>> {
    let Some(level) = project.verify.after_backup else { return Ok(Vec::new()) };
    let clients = Ok(clients.clone());
    let mut looked = Vec::new();
    for (run, _) in runs.iter().filter(|(_, made)| made.is_some()) {
        let Some(row) = world.catalog.read(|reader| reader.backup(&run.id))? else { continue };
        let gauge = Gauge::new();
        let means = verify::Means { storage, clients: &clients, cancel, held: &|| false, gauge: &gauge };
        looked.push(look(world, means, &row, level)?);
    }
    Ok(looked)
}
