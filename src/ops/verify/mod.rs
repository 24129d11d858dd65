//! Looking at one backup again: are its bytes what was written, and can `pg_restore` read them to the end?
//!
//! It takes no lock, so that no backup ever waits for it. What fails is read a second time before it is believed; what is believed goes
//! into the proof beside the backup first and into the catalog then. It deletes nothing and tells nobody.

mod look;
mod record;
mod unpacked;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::error::{Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Look, ProofLevel};
use crate::model::dump::is_script;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::World;
use look::Seen;
pub use record::{Recorded, record};

/// What a look works with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Where the backup lies.
    pub storage: &'a Arc<dyn Storage>,
    /// The installed clients, or why there are none: only reading needs them.
    pub clients: &'a Result<Clients>,
    /// Ends the look early.
    pub cancel: &'a Cancel,
    /// Whether it has to wait just now, for something more important.
    pub held: &'a (dyn Fn() -> bool + Sync),
    /// How far it is.
    pub gauge: &'a Gauge,
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict", content = "why")]
pub enum Verdict {
    /// It is what it should be.
    Good,
    /// It is not what was written, seen twice: this is why.
    Damaged(String),
    /// It could not be looked at, which says nothing about it.
    Unread(Failure),
    /// It was removed meanwhile.
    Gone,
}

/// One backup after a look at it.
#[derive(Debug, Clone, Serialize)]
pub struct Looked {
    /// Its row, with what was found.
    pub backup: BackupRow,
    /// What was tried, or how much less could be.
    pub level: ProofLevel,
    /// Why it could not be looked at as closely as asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shallow: Option<String>,
    /// Why what was found could not be written beside the backup: nothing counts it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<Failure>,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// Between the first look and the one that decides: long enough for a hiccup of a network disk to pass.
const BREATH: Duration = Duration::from_secs(1);

/// Looks at a backup on the level `checksum` or `read`, and writes down what was found.
///
/// # Errors
/// Only where it was cancelled, or the catalog can't be written.
pub fn verify(world: &World, means: Means<'_>, row: &BackupRow, level: ProofLevel) -> Result<Looked> {
    let began = std::time::Instant::now();
    let mut seen = look::once(means, row, level)?;
    if !matches!(seen, Seen::Good | Seen::OnlyBytes(_)) {
        // Cancelled meanwhile: the second look ends at once.
        drop(means.cancel.wait_timeout(BREATH));
        let again = look::once(means, row, level)?;
        if matches!(again, Seen::Good | Seen::OnlyBytes(_)) {
            tracing::warn!(backup = %row.id, project = row.project, "the first read failed and the second was good: look at the disk, cable or memory");
        }
        seen = again;
    }
    let took_ms = began.elapsed().as_millis() as u64;
    let at = world.clock.now();
    let look = |level, failed| Look { level, at, took_ms, failed };
    let (level, shallow) = match &seen {
        Seen::OnlyBytes(why) => (ProofLevel::Checksum, Some(why.clone())),
        _ => (level, None),
    };
    let (looks, verdict) = match seen {
        Seen::Good | Seen::OnlyBytes(_) => {
            let all = [ProofLevel::Checksum, ProofLevel::Read].into_iter().filter(|one| *one <= level);
            (all.map(|one| look(one, None)).collect(), Verdict::Good)
        }
        Seen::Damaged { check, why } => {
            // What comes before the check that failed was found good in the same pass.
            let intact = (check == ProofLevel::Read).then(|| look(ProofLevel::Checksum, None));
            (intact.into_iter().chain([look(check, Some(why.clone()))]).collect::<Vec<_>>(), Verdict::Damaged(why))
        }
        Seen::Unread(failure) => (vec![look(level, Some(failure.message.clone()))], Verdict::Unread(failure)),
        Seen::NoManifest => {
            let why = format!("its manifest {} is missing", manifest::key(&row.project, &row.file).file);
            (vec![look(ProofLevel::Checksum, Some(why.clone()))], Verdict::Damaged(why))
        }
    };
    let damage = if let Verdict::Damaged(why) = &verdict { Some(why.as_str()) } else { None };
    Ok(match record(world, means.storage.as_ref(), row, &looks, damage)? {
        Recorded::Row(backup, unwritten) => Looked { backup: *backup, level, shallow, unwritten, verdict, took_ms },
        Recorded::Gone => Looked { backup: row.clone(), level, shallow, unwritten: None, verdict: Verdict::Gone, took_ms },
    })
}

/// What a level proves of a backup, for people. A script is read as pgdumpd reads it: `pg_restore` takes archives alone.
#[must_use]
pub fn proves(level: ProofLevel, row: &BackupRow) -> &'static str {
    match level {
        ProofLevel::Read if is_script(&row.file) => {
            "its stored bytes are the ones that were written, and they are a whole script, read to its closing lines"
        }
        ProofLevel::Whole => "it was complete when it was written",
        ProofLevel::Checksum => "its stored bytes are the ones that were written",
        ProofLevel::Read => "its stored bytes are the ones that were written, and pg_restore reads them to the end",
        ProofLevel::Restored => "it was restored, and its rows were counted",
    }
}
