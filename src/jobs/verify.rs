//! Verification by hand or by the daemon's rounds: is the storage there → look → write it down. It takes no lock: a backup never waits for it.

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, ProofLevel};
use crate::model::settings::Settings;
use crate::ops::verify::{self, Looked, Means, Verdict};
use crate::ops::{World, mount};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::stream::gauge::Gauge;

use super::{Board, Current};

/// How to go about it.
pub struct Setting<'a> {
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Shows what is in flight.
    pub board: &'a Board,
    /// Whether it has to wait just now.
    pub held: &'a (dyn Fn() -> bool + Sync),
}

/// Looks at one backup on the level `checksum` or `read`.
///
/// # Errors
/// Where it was ended early, or the catalog can't be written.
pub fn run(world: &World, settings: &Settings, row: &BackupRow, level: ProofLevel, setting: &Setting<'_>) -> Result<Looked> {
    let unread = |failure| Looked { backup: row.clone(), level, verdict: Verdict::Unread(failure), took_ms: 0 };
    let Some(storage) = world.storages.get(&row.storage) else {
        let words = format!("the backup lies in storage {:?}, which is not configured", row.storage);
        return Ok(unread(Failure::new(Cause::Configuration, words).hint("add it to the configuration again")));
    };
    if let Err(failure) = mount::ensure(world, storage.as_ref()) {
        return Ok(unread(failure));
    }
    let clients = match settings.project(&row.project) {
        Some(project) => world.clients(project),
        None => Clients::find(None, &|name| std::env::var(name).ok()),
    };
    let gauge = Gauge::new();
    let expected = if level < ProofLevel::Read { row.size } else { row.uncompressed_size };
    setting.board.put(Current {
        run: row.id.clone(),
        project: row.project.clone(),
        database: row.database.clone(),
        since: world.clock.now(),
        expected: Some(expected),
        gauge: gauge.clone(),
    });
    let means = Means { storage, clients: &clients, cancel: setting.cancel, held: setting.held, gauge: &gauge };
    let looked = verify::verify(world, means, row, level);
    setting.board.take(&row.id);
    let looked = looked?;
    log(world, &looked)?;
    Ok(looked)
}

/// Damage goes into the audit log as well: somebody may ask one day since when it was known.
fn log(world: &World, looked: &Looked) -> Result<()> {
    let row = &looked.backup;
    match &looked.verdict {
        Verdict::Good => {
            tracing::info!(backup = %row.id, project = row.project, took_ms = looked.took_ms, "verified: {}", verify::proves(looked.level))
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
    Ok(())
}
