//! Whether the daemon turns, by the last sign of life it gave.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;

use super::super::World;
use crate::catalog::{Awaited, FILE, Heartbeat, Page, Reader, RunFilter};
use crate::error::Result;
use crate::model::backup::Trigger;
use crate::model::settings::Settings;
use crate::process::Identity;

/// A heartbeat older than this many intervals means that nobody turns.
const BEATS_MISSED: i32 = 4;

/// And no younger one, however short the interval: beats ride on the daemon's own turns.
const SILENCE: TimeDelta = TimeDelta::seconds(60);

/// A daemon that has given no sign of life this long after its start hangs: making a lost index anew takes minutes.
const STARTS: TimeDelta = TimeDelta::hours(1);

/// A job that has waited this long for a place is told of.
pub const LAG: TimeDelta = TimeDelta::minutes(5);

/// What the daemon does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DaemonStanding {
    /// It turned within the last beats.
    Serving {
        /// The last beat.
        heartbeat: DateTime<Utc>,
        /// How many jobs waited for a place then.
        waiting: usize,
        /// Since when the first of them had waited, where that is long enough to be told.
        behind_since: Option<DateTime<Utc>>,
        /// Whether it was asked to stop, starts nothing any more, and lets end what runs.
        stopping: bool,
        /// How many runs it had going then.
        running: usize,
    },
    /// It turns, and waits for its database before it begins.
    Waiting {
        /// The last beat.
        heartbeat: DateTime<Utc>,
        /// Since when.
        since: DateTime<Utc>,
        /// What the last look for it said.
        why: Option<String>,
    },
    /// It is there and has given no sign of life yet: it starts, or its catalog was lost a moment ago.
    Starting,
    /// It beat, then fell silent without saying good-bye.
    Silent {
        /// The last beat.
        heartbeat: DateTime<Utc>,
    },
    /// It was stopped, or never started.
    Stopped,
}

impl DaemonStanding {
    /// Whether it turns, serving or not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Serving { .. } | Self::Waiting { .. } | Self::Starting)
    }

    /// Whether it starts nothing more before it has been started again, but turns still.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self, Self::Serving { stopping: true, .. })
    }
}

/// The file below the state directory that says that a daemon serves there, by its lock, or has ever done so.
pub const SERVE_LOCK: &str = "serve.lock";

/// Whether a daemon has ever served here.
#[must_use]
pub fn has_served(settings: &Settings) -> bool {
    serve_lock(settings).exists()
}

fn serve_lock(settings: &Settings) -> PathBuf {
    settings.daemon.state_dir.join(SERVE_LOCK)
}

/// Backups that are made by hand where a daemon served before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByHand {
    /// The daemon's last sign of life.
    pub served_until: DateTime<Utc>,
    /// When the last backup by hand was begun, after that.
    pub last: DateTime<Utc>,
}

/// Whether the newest run was begun by hand after the last sign of life of a daemon that is gone. One that hangs on this machine is not.
pub fn by_hand(world: &World, settings: &Settings) -> Result<Option<ByHand>> {
    let newest = |reader: &Reader| reader.runs(&RunFilter::default(), Page::first(1));
    let (heartbeat, farewell, newest) = world.catalog.read(|reader| Ok((reader.heartbeat()?, reader.served_until()?, newest(reader)?)))?;
    let served_until = match &heartbeat {
        Some(last) if turning(settings, Some(last), world.clock.now()).is_alive() => return Ok(None),
        Some(last) if last.process.as_ref().is_some_and(Identity::is_alive) => return Ok(None),
        Some(last) => Some(last.at),
        None if served_by(&settings.daemon.state_dir).is_some() => return Ok(None),
        None => farewell.or_else(|| Some(std::fs::metadata(serve_lock(settings)).ok()?.modified().ok()?.into())),
    };
    let last = newest.into_iter().find(|run| run.trigger == Trigger::Manual).map(|run| run.started_at);
    Ok(served_until.zip(last).filter(|(until, last)| last > until).map(|(served_until, last)| ByHand { served_until, last }))
}

/// Which process serves by the state in this folder, as it says itself; `None` where none does.
#[must_use]
pub fn served_by(state_dir: &Path) -> Option<Option<u32>> {
    let mut file = File::open(state_dir.join(SERVE_LOCK)).ok()?;
    // Held for an instant, which a daemon that starts just then waits for.
    if flock(&file, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) {
        return None;
    }
    let mut text = String::new();
    drop((&mut file).take(100).read_to_string(&mut text));
    Some(text.trim().strip_prefix("process ").and_then(|pid| pid.parse().ok()))
}

/// When the daemon that serves here started, or lost its catalog since; `None` where none serves.
fn started(settings: &Settings) -> Option<DateTime<Utc>> {
    served_by(&settings.daemon.state_dir)?;
    let start = std::fs::metadata(serve_lock(settings)).and_then(|found| found.modified()).ok()?;
    let catalog = std::fs::metadata(settings.daemon.state_dir.join(FILE)).and_then(|found| found.created());
    Some(catalog.map_or(start, |made| made.max(start)).into())
}

/// Whether the daemon turns.
pub fn daemon(world: &World, settings: &Settings) -> Result<DaemonStanding> {
    let heartbeat = world.catalog.read(|reader| reader.heartbeat())?;
    Ok(turning(settings, heartbeat.as_ref(), world.clock.now()))
}

pub(super) fn turning(settings: &Settings, last: Option<&Heartbeat>, now: DateTime<Utc>) -> DaemonStanding {
    let Some(last) = last else {
        return match started(settings) {
            Some(at) if (now - at).abs() > STARTS => DaemonStanding::Silent { heartbeat: at },
            Some(_) => DaemonStanding::Starting,
            None => DaemonStanding::Stopped,
        };
    };
    let interval = TimeDelta::from_std(settings.daemon.heartbeat).unwrap_or(TimeDelta::seconds(30));
    let heartbeat = last.at;
    // A beat from well ahead of now was given before the clock was set back, and is as silent as an old one.
    if (now - heartbeat).abs() > SILENCE.max(interval * BEATS_MISSED) {
        return DaemonStanding::Silent { heartbeat };
    }
    if let Some(Awaited { why }) = &last.awaiting {
        return DaemonStanding::Waiting { heartbeat, since: last.started_at, why: why.clone() };
    }
    DaemonStanding::Serving {
        heartbeat,
        waiting: last.waiting,
        behind_since: last.waiting_since.filter(|since| now - *since >= LAG),
        stopping: last.stopping,
        running: last.running.len(),
    }
}
