//! Which databases there are to back up: as configured, and where that says "all", as the project's server told last.
//!
//! Jobs keep what the server told; notices, `status` and `list` ask whether anybody still backs up what an alert or a backup is of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::alert::AlertKey;
use crate::catalog::{Reader, Writer};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::dump::Selection;
use crate::model::project::{Databases, Project};
use crate::model::run::ANY_DATABASE;
use crate::model::settings::Settings;
use crate::postgres::connection::{Access, named_by};
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::process::Cancel;

use super::World;
use super::targets::{self, Covered};

/// The databases of one server, as a job of the project found them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct There {
    /// All that take connections and aren't templates, excluded ones too.
    pub names: BTreeSet<String>,
    /// Those that are there and let nobody connect.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<String>,
    /// Those that were there before and are not any more, or let nobody connect any more, as long as nobody was told.
    pub vanished: BTreeSet<String>,
}

/// Why nothing more is backed up of something that once was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gone {
    /// The project itself was taken out of the configuration.
    Project,
    /// The configuration no longer names it.
    NotConfigured,
    /// The configuration no longer makes backups of that selection.
    NotMade,
    /// `exclude_databases` matches it.
    Excluded,
    /// The server has no such database.
    NotOnServer,
    /// It is there and lets nobody connect.
    Closed,
}

/// A session in which the server is asked for its databases. Where all of them are wanted, no single one has to let the role in: the
/// connection's own is tried first, then those that were there last.
pub fn ask(world: &World, project: &Project, clients: &Clients, access: &Access, cancel: &Cancel) -> Result<Session> {
    let open = |name: Option<&str>| Session::open(clients.newest(), access, name, "pgdumpd", &project.limits, cancel);
    let first = targets::first_contact(project, access);
    let (Databases::All { .. }, Some(first)) = (&project.databases, &first) else { return open(first.as_deref()) };
    let known = world.catalog.read(|reader| recall(reader, &project.name))?.unwrap_or_default();
    let places = targets::entrances(vec![first], known.names.iter().map(String::as_str).collect());
    targets::in_first(&places, project.limits.connect, |place| open(Some(place)))
}

/// Keeps what the server has; a catalog that can't be written costs only this.
pub fn remember(world: &World, project: &str, found: &Covered) {
    let kept = world.catalog.read(|reader| recall(reader, project)).and_then(|known| {
        let now: BTreeSet<String> = found.databases.iter().chain(&found.unreadable).cloned().collect();
        let before = known.clone().unwrap_or_default();
        let vanished = before.names.union(&before.vanished).filter(|name| !now.contains(*name)).cloned().collect();
        let there = There { names: now, closed: found.closed.iter().cloned().collect(), vanished };
        if known.as_ref() == Some(&there) { Ok(()) } else { world.catalog.write(|writer| keep(writer, project, &there)) }
    });
    if let Err(failure) = kept {
        tracing::warn!(project, "the server's databases can't be noted: {failure}");
    }
}

/// Keeps it within a transaction.
pub fn keep(writer: &Writer, project: &str, there: &There) -> Result<()> {
    writer.put_meta(&key(project), &serde_json::to_string(there).unwrap_or_default())
}

/// What the server of a project told last; `None` where that was never asked, or means nothing.
pub fn recall(reader: &Reader, project: &str) -> Result<Option<There>> {
    Ok(reader.meta(&key(project))?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// The same for every project that takes all databases of its server.
pub fn recall_all(reader: &Reader, settings: &Settings) -> Result<BTreeMap<String, There>> {
    let mut all = BTreeMap::new();
    for project in settings.projects.iter().filter(|project| matches!(project.databases, Databases::All { .. })) {
        if let Some(there) = recall(reader, &project.name)? {
            all.insert(project.name.clone(), there);
        }
    }
    Ok(all)
}

/// Whether a database is no longer the project's, and why.
#[must_use]
pub fn database(project: &Project, there: Option<&There>, name: &str) -> Option<Gone> {
    if name == ANY_DATABASE {
        return None;
    }
    let configured = |is: bool| (!is).then_some(Gone::NotConfigured);
    match &project.databases {
        Databases::Named(names) => configured(names.iter().any(|known| known == name)),
        Databases::FromConnection => named_by(&project.connection.target).and_then(|known| configured(known == name)),
        // A glob that can't be read is told by the next job.
        Databases::All { exclude } if targets::excluded(exclude).is_ok_and(|globs| globs.is_match(name)) => Some(Gone::Excluded),
        Databases::All { .. } if there.is_some_and(|there| there.closed.contains(name)) => Some(Gone::Closed),
        Databases::All { .. } => there.filter(|there| !there.names.contains(name)).map(|_| Gone::NotOnServer),
    }
}

/// The databases of these backups (of one project) that it still backs up; all of them where that leaves none, or it is not configured.
#[must_use]
pub fn covered<'a>(project: Option<&Project>, there: Option<&There>, rows: &'a [BackupRow]) -> BTreeSet<&'a str> {
    let all = || rows.iter().map(|row| row.database.as_str());
    let covered: BTreeSet<&str> = match project {
        Some(project) => all().filter(|name| database(project, there, name).is_none()).collect(),
        None => BTreeSet::new(),
    };
    if covered.is_empty() { all().collect() } else { covered }
}

/// Whether nobody makes any more what an alert is about: such an alert could never end by itself. One of a stored backup ends with that.
#[must_use]
pub fn subject(project: &Project, there: Option<&There>, key: &AlertKey) -> Option<Gone> {
    if let Some(name) = key.of_schedule() {
        return (!project.plans().any(|plan| plan.name == name)).then_some(Gone::NotConfigured);
    }
    if key.of_backup().is_some() || key.is_proofs() || key.is_pruning() {
        return None;
    }
    if key.is_drill() {
        return database(project, there, &key.database);
    }
    let selection = key.of_anomaly().unwrap_or_else(|| key.selection.clone());
    if selection == Selection::globals() {
        return (!project.globals).then_some(Gone::NotConfigured);
    }
    let mut shapes = project.schedules.iter().map(|plan| &plan.shape).chain([&project.shape]);
    if !shapes.any(|shape| shape.selection() == selection) {
        return Some(Gone::NotMade);
    }
    database(project, there, &key.database)
}

fn key(project: &str) -> String {
    format!("databases-seen:{project}")
}
