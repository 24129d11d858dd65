//! Verification by hand or by the daemon's rounds: is the storage there → look → write it down. It takes no lock: a backup never waits for it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Result;
use crate::model::backup::{BackupRow, ProofLevel};
use crate::model::settings::Settings;
use crate::ops::verify::{Looked, Means, Verdict};
use crate::ops::{World, mount};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::stream::gauge::Gauge;

use super::{Board, Current, looking};

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
    let unread =
        |failure| Looked { backup: row.clone(), level, shallow: None, unwritten: None, verdict: Verdict::Unread(failure), took_ms: 0 };
    let there = world.storage_of(row).and_then(|storage| mount::ensure(world, storage.as_ref()).map(|()| storage));
    let storage = match there {
        Ok(storage) => storage,
        Err(failure) => return Ok(unread(failure)),
    };
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
    let looked = looking::look(world, means, row, level);
    setting.board.take(&row.id);
    looked
}

/// Whose turn it is on the daemon's rounds.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The backup, where one is due.
    pub row: Option<BackupRow>,
    /// On which level.
    pub level: ProofLevel,
    /// When to ask next.
    pub next: DateTime<Utc>,
}

/// The backup whose turn it is to be looked at again, and when to ask next.
///
/// A project's backups come around one at a time, the one that nobody has looked at for longest first, each after `recheck_every`, and
/// never faster than all of them within that time: turning it on doesn't read everything at once.
pub fn due(world: &World, settings: &Settings) -> Result<Turn> {
    let now = world.clock.now();
    let ages = world.catalog.read(|reader| reader.check_ages())?;
    let mut first: Option<(DateTime<Utc>, &str, ProofLevel)> = None;
    for age in &ages {
        let Some(project) = settings.project(&age.project) else { continue };
        let Some(every) = project.verify.recheck_every.and_then(|every| TimeDelta::from_std(every).ok()) else { continue };
        let pace = every / i32::try_from(age.backups.max(1)).unwrap_or(i32::MAX);
        let at = (age.oldest + every).max(age.newest.map_or(DateTime::<Utc>::MIN_UTC, |newest| newest + pace));
        if first.is_none_or(|(known, ..)| at < known) {
            let level = project.verify.after_backup.unwrap_or(ProofLevel::Checksum);
            first = Some((at, &age.project, level));
        }
    }
    match first {
        Some((at, project, level)) if at <= now => {
            let row = world.catalog.read(|reader| reader.longest_unchecked(project))?;
            Ok(Turn { row, level, next: now })
        }
        Some((at, _, level)) => Ok(Turn { row: None, level, next: at }),
        None => Ok(Turn { row: None, level: ProofLevel::Checksum, next: now + TimeDelta::minutes(10) }),
    }
}
