//! The verbs: one operation each, one file (or folder) each; they never call one another.
//!
//! What they share is only [`World`], the handles to the outside. Order and consequence between verbs is the jobs' work.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{AuditEntry, Catalog};
use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::project::Project;
use crate::model::settings::{Settings, Smtp};
use crate::storage::{self, Storage};

pub mod backup;
pub mod deliver;
pub mod mount;
pub mod notice;
pub mod prune;
pub mod reindex;
pub mod repair;
pub mod standing;
pub mod targets;

/// The handles that verbs work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct World {
    /// Where "now" comes from.
    pub clock: Clock,
    /// The index of backups and the diary.
    pub catalog: Catalog,
    /// Storages by name.
    pub storages: Arc<BTreeMap<String, Arc<dyn Storage>>>,
    /// How mail leaves, if it does.
    pub smtp: Option<Arc<Smtp>>,
}

impl World {
    /// Opens the catalog in the state directory and the configured storages (without touching their disks).
    pub fn open(settings: &Settings, clock: Clock) -> Result<Self> {
        let catalog = Catalog::open(&settings.daemon.state_dir, &clock)?;
        Ok(Self::around(settings, clock, catalog))
    }

    /// The same over a catalog that is already open; used when the configuration is read again.
    #[must_use]
    pub fn around(settings: &Settings, clock: Clock, catalog: Catalog) -> Self {
        let storages = settings.storages.iter().map(|(name, chosen)| (name.clone(), storage::open(name, chosen))).collect();
        Self { clock, catalog, storages: Arc::new(storages), smtp: settings.smtp.clone().map(Arc::new) }
    }

    /// Adds to the audit log, in the name of the user who runs this process.
    pub fn audit(&self, action: &str, project: Option<&str>, subject: &str, outcome: &str) -> Result<()> {
        let entry = AuditEntry {
            at: self.clock.now(),
            actor: format!("uid {}", rustix::process::geteuid().as_raw()),
            action: action.to_owned(),
            project: project.map(str::to_owned),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.catalog.write(|writer| writer.append_audit(&entry))
    }

    /// The storage a project's backups go to.
    pub fn storage(&self, project: &Project) -> Result<&Arc<dyn Storage>> {
        self.storages.get(&project.storage).ok_or_else(|| {
            Failure::new(Cause::Configuration, format!("project {:?} names the storage {:?}, which is not configured", project.name, project.storage))
        })
    }
}
