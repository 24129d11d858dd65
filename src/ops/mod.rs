//! The verbs: one operation each, one file (or folder) each; they never call one another.
//!
//! What they share is only [`World`], the handles to the outside. Order and consequence between verbs is the jobs' work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::catalog::{AuditEntry, BEGUN, Catalog};
use crate::clock::Clock;
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::BackupRow;
use crate::model::project::{PasswordSource, Project};
use crate::model::settings::{Settings, Smtp};
use crate::postgres::connection::Access;
use crate::postgres::version::Clients;
use crate::process::{self, Exit, Spec};
use crate::storage::{self, Storage};

// Shared by the verbs: questions that several of them ask.
pub mod accepted;
pub mod artifact;
pub mod chosen;
pub mod compare;
pub mod dumpfile;
pub mod elsewhere;
pub mod entries;
pub mod given;
pub mod held;
pub mod lost;
pub mod mount;
pub mod origin;
pub mod removal;
pub mod renaming;
pub mod seen;
pub mod space;
pub mod standing;
pub mod targets;
pub mod there;
pub mod untold;

pub mod again;
pub mod arrive;
pub mod backup;
pub mod delete;
pub mod deliver;
pub mod diff;
pub mod drill;
pub mod examine;
pub mod merge;
pub mod notice;
pub mod pin;
pub mod prune;
pub mod read;
pub mod reindex;
pub mod repair;
pub mod restore;
pub mod verify;

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
    /// How long what must be cleared up may take once the end was asked for.
    pub grace: Duration,
}

/// The same where nobody has configured it.
const GRACE: Duration = Duration::from_secs(10);

impl World {
    /// Opens the catalog in the state directory and the configured storages (without touching their disks).
    pub fn open(settings: &Settings, clock: Clock) -> Result<Self> {
        let catalog = Catalog::open(&settings.daemon.state_dir, &clock)?;
        Ok(Self::around(settings, clock, catalog))
    }

    /// A world without a configuration: no storage, and a diary that nobody keeps.
    pub fn alone(clock: Clock) -> Result<Self> {
        Ok(Self { catalog: Catalog::in_memory(&clock)?, clock, storages: Arc::default(), smtp: None, grace: GRACE })
    }

    /// A world alone with these storages, for tests.
    #[cfg(test)]
    pub(crate) fn over(storages: &[&storage::Memory]) -> Self {
        let named = |one: &&storage::Memory| (one.name().to_owned(), Arc::new((*one).clone()) as Arc<dyn Storage>);
        let alone = Self::alone(Clock::system()).expect("a catalog in memory");
        Self { storages: Arc::new(storages.iter().map(named).collect()), ..alone }
    }

    /// The same over a catalog that is already open; used when the configuration is read again.
    #[must_use]
    pub fn around(settings: &Settings, clock: Clock, catalog: Catalog) -> Self {
        let storages = settings.storages.iter().map(|(name, chosen)| (name.clone(), storage::open(name, chosen, &clock))).collect();
        let (smtp, grace) = (settings.smtp.clone().map(Arc::new), settings.daemon.grace);
        Self { clock, catalog, storages: Arc::new(storages), smtp, grace }
    }

    /// Adds to the audit log, in the name of the user who runs this process.
    pub fn audit(&self, action: &str, project: Option<&str>, subject: &str, outcome: &str) -> Result<()> {
        let entry = self.entry(action, project, subject, outcome);
        self.catalog.write(|writer| writer.append_audit(&entry).map(drop))
    }

    /// Adds to the audit log that something begins: whoever is killed before its end has left that much. A log that can't be written
    /// stops nobody.
    pub fn begin(&self, action: &str, project: Option<&str>, subject: &str) -> Begun {
        let entry = self.entry(action, project, subject, BEGUN);
        let number = self.catalog.write(|writer| writer.append_audit(&entry)).inspect_err(unwritten).ok();
        Begun { entry, number }
    }

    /// Says how it ended, in the same entry. What was done is done: a log that can't be written hides neither that nor a failure's own words.
    pub fn end(&self, begun: Begun, outcome: &str) {
        let Begun { entry, number } = begun;
        let entry = AuditEntry { outcome: outcome.to_owned(), ..entry };
        let ended = self.catalog.write(|writer| {
            let is_there = match number {
                Some(number) => writer.end_audit(number, outcome)?,
                None => false,
            };
            if is_there { Ok(()) } else { writer.append_audit(&entry).map(drop) }
        });
        drop(ended.inspect_err(unwritten));
    }

    fn entry(&self, action: &str, project: Option<&str>, subject: &str, outcome: &str) -> AuditEntry {
        AuditEntry {
            at: self.clock.now(),
            actor: format!("uid {}", rustix::process::geteuid().as_raw()),
            action: action.to_owned(),
            project: project.map(str::to_owned),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        }
    }

    /// How the project's server is reached, with its password read now.
    pub fn access(&self, project: &Project) -> Result<Access> {
        access(project)
    }

    /// The PostgreSQL clients that the project may use.
    pub fn clients(&self, project: &Project) -> Result<Clients> {
        clients(project)
    }

    /// The storage of that name.
    ///
    /// # Errors
    /// Where the configuration has none of that name any more.
    pub fn storage_named(&self, name: &str) -> Result<&Arc<dyn Storage>> {
        self.storages.get(name).ok_or_else(|| {
            Failure::new(Cause::Configuration, format!("there is no storage {name:?} in the configuration"))
                .hint(format!("the storages are: {}", self.storages.keys().map(String::as_str).collect::<Vec<_>>().join(", ")))
        })
    }

    /// The storage a backup lies in.
    ///
    /// # Errors
    /// Where it is no longer configured.
    pub fn storage_of(&self, row: &BackupRow) -> Result<&Arc<dyn Storage>> {
        self.configured(&row.storage).ok_or_else(|| renaming::unreachable(self, &row.storage))
    }

    /// The storage of that name, or the one that had it when whoever asks began.
    fn configured(&self, name: &str) -> Option<&Arc<dyn Storage>> {
        let renamed = || self.catalog.read(|reader| reader.storage_now(name)).ok().flatten();
        self.storages.get(name).or_else(|| self.storages.get(&renamed()?))
    }

    /// The storage a project's backups go to.
    pub fn storage(&self, project: &Project) -> Result<&Arc<dyn Storage>> {
        self.configured(&project.storage).ok_or_else(|| {
            Failure::new(
                Cause::Configuration,
                format!("project {:?} names the storage {:?}, which is not configured", project.name, project.storage),
            )
        })
    }
}

/// What has begun, and stands in the audit log without an end.
#[derive(Debug)]
#[must_use = "its end is to be written"]
pub struct Begun {
    entry: AuditEntry,
    number: Option<i64>,
}

impl Begun {
    /// The number of its entry, where it could be written.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        self.number
    }
}

fn unwritten(failure: &Failure) {
    tracing::error!("the audit log could not be written: {failure}");
}

/// How a project's server is reached, with its password read now; needs no catalog.
fn access(project: &Project) -> Result<Access> {
    let password = secret(&project.connection.password)?;
    Access::new(&project.connection.target, password, project.limits.connect, &|name| std::env::var_os(name))
}

fn clients(project: &Project) -> Result<Clients> {
    Clients::find(project.pg_bin_dir.as_deref(), &|name| std::env::var(name).ok())
}

/// Longest time for a command that prints a secret.
const SECRET_COMMAND: Duration = Duration::from_secs(30);

/// The secret itself, read at the last moment; `None` means it is left to libpq.
pub fn secret(source: &PasswordSource) -> Result<Option<SecretString>> {
    config::secret::read(source, &printed)
}

/// What a command prints.
fn printed(command: &[String]) -> Result<String> {
    let (program, arguments) = command.split_first().ok_or_else(|| Failure::new(Cause::Secret, "the command for the secret is empty"))?;
    let mut spec = Spec::new(program);
    spec.args = arguments.iter().map(Into::into).collect();
    spec.env = std::env::vars_os().collect();
    let finished = process::run(&spec, &[], SECRET_COMMAND, 64 * 1024)?;
    if finished.exit != Exit::Code(0) {
        return Err(Failure::new(Cause::Secret, format!("the command {program} for the secret ended with {}", finished.exit))
            .detail(finished.stderr));
    }
    String::from_utf8(finished.stdout)
        .map_err(|_| Failure::new(Cause::Secret, format!("the command {program} printed something that isn't UTF-8")))
}
