//! Storages that vanish while nothing runs: looked for now and then, so that not only the next run finds it.
//!
//! A file system that no longer answers hangs whoever asks: the look has a thread of its own, for which nobody waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use chrono::{DateTime, TimeDelta, Utc};

use crate::error::Failure;
use crate::model::settings::Settings;
use crate::ops::{World, mount};

/// How often.
const EVERY: TimeDelta = TimeDelta::seconds(30);

/// What the last look found.
#[derive(Debug, Default)]
pub(super) struct Disks {
    look: Option<JoinHandle<BTreeMap<String, Failure>>>,
    looked: Option<DateTime<Utc>>,
    absent: BTreeMap<String, Failure>,
}

impl Disks {
    /// Takes what a look has found, and begins the next where it is time. Says whether something is otherwise than before.
    pub(super) fn tick(&mut self, world: &World, settings: &Arc<Settings>) -> bool {
        let found = self.look.take_if(|look| look.is_finished()).and_then(|look| look.join().ok());
        let changed = found.is_some_and(|found| self.take(found));
        let now = world.clock.now();
        let is_due = self.looked.is_none_or(|looked| now - looked >= EVERY || now < looked);
        if self.look.is_none() && is_due {
            self.looked = Some(now);
            let (world, settings) = (world.clone(), Arc::clone(settings));
            self.look = Some(std::thread::spawn(move || mount::absent(&world, settings.projects.iter().map(Arc::as_ref))));
        }
        changed
    }

    fn take(&mut self, found: BTreeMap<String, Failure>) -> bool {
        for (name, failure) in found.iter().filter(|(name, _)| !self.absent.contains_key(*name)) {
            let hint = failure.hint.as_deref().unwrap_or_default();
            tracing::warn!(storage = name, "no backup can be made: {failure}; {hint}");
        }
        for name in self.absent.keys().filter(|name| !found.contains_key(*name)) {
            tracing::info!(storage = name, "the storage is no longer missed");
        }
        let changed = !self.absent.keys().eq(found.keys());
        self.absent = found;
        changed
    }

    /// What of it belongs into the daemon's state, one each.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        self.absent.values().map(ToString::to_string)
    }
}
