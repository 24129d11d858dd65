//! A restore: look at everything, say what will be done, do it, write down what came of it. Every one is in the audit log, also a refused one.

pub mod given;
pub mod merge;
mod safety;
pub mod unfinished;

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Look, Manifest, ProofLevel, RunId};
use crate::model::dump::Content;
use crate::model::project::{Limits, Project, Target};
use crate::notify::redact::Redactor;
use crate::ops::restore::{self, Globals, Means, Occupied, Plan, Restored, Wanted, Way};
use crate::ops::verify::{self, Recorded};
use crate::ops::{World, artifact, origin};
use crate::postgres::connection::{Access, as_role, named_by};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;
use crate::units::{show_count, show_duration};

use super::{Board, Current, looking, mending};

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// The backup.
    pub backup: BackupRow,
    /// Its project as configured; `None` where it no longer is.
    pub project: Option<Arc<Project>>,
    /// Where to.
    pub to: To,
    /// Another role than the project's.
    pub user: Option<String>,
    /// How much, and how.
    pub wanted: Wanted,
    /// What to do where the target holds something.
    pub occupied: Occupied,
    /// Whether the newest roles and tablespaces are restored first.
    pub globals: bool,
    /// Whether what an in-place restore overwrites is backed up first.
    pub safety: bool,
    /// Only the plan.
    pub dry_run: bool,
}

/// Where a backup goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A database on the project's own server.
    Database(String),
    /// A database on any server.
    Url(String),
}

/// What became of it.
#[derive(Debug)]
pub struct Report {
    /// What was to be done.
    pub plan: Plan,
    /// What came of it; `None` where only the plan was asked for.
    pub restored: Option<Restored>,
    /// The backup that was made of what is overwritten, where one was.
    pub safety: Option<Manifest>,
}

/// Carries the order out.
pub fn run(world: &World, order: &Order, cancel: &Cancel, board: &Board) -> Result<Report> {
    let begun = (!order.dry_run).then(|| world.begin("restore", Some(&order.backup.project), &subject(order)));
    let done = opened(world, order, cancel, board).map_err(|failure| looking::suspect(world, &order.backup, cancel, failure));
    if let Some(begun) = begun {
        world.end(begun, &outcome(&done));
    }
    done
}

fn subject(order: &Order) -> String {
    let to = match &order.to {
        To::Database(name) => format!("{name:?}"),
        To::Url(url) => {
            named_by(&Target::Url(url.clone())).map_or_else(|| String::from("another server"), |name| format!("{name:?} elsewhere"))
        }
    };
    format!("{} of {}/{} to {to}", order.backup.id, order.backup.project, order.backup.database)
}

/// What became of it, for the audit log.
fn outcome(done: &Result<Report>) -> String {
    match done {
        Ok(report) => report.restored.as_ref().map_or_else(String::new, said),
        Err(failure) => format!("{}: {failure}", failure.cause),
    }
}

fn said(restored: &Restored) -> String {
    let took = show_duration(Duration::from_millis(restored.took_ms));
    let ignored = if restored.ignored > 0 { format!(", {} errors passed over", restored.ignored) } else { String::new() };
    let differs = if restored.problems.is_empty() { String::new() } else { format!(", {} differences", restored.problems.len()) };
    format!("{}, {} in {took}{ignored}{differs}", show_count(restored.tables.len() as u64, "table"), show_count(restored.rows, "row"))
}

fn opened(world: &World, order: &Order, cancel: &Cancel, board: &Board) -> Result<Report> {
    let backup = artifact::restorable(world, &order.backup)?;
    let (access, database) = reach(world, order)?;
    let redactor = Redactor::new(access.secret());
    let place = Place { storage: backup.storage, manifest: &backup.manifest, access: &access, database };
    located(world, order, &place, cancel, board).map_err(|failure| redactor.clean_failure(without_password(order, &access, failure)))
}

/// Where another role than the project's can't log in for want of a password: how to give one. The cause was libpq's to find; its words
/// only choose the hint.
fn without_password(order: &Order, access: &Access, failure: Failure) -> Failure {
    let Some(user) = order.user.as_ref().filter(|_| access.secret().is_none()) else { return failure };
    if !matches!(failure.cause, Cause::Connection | Cause::Login) || !failure.message.contains("password") {
        return failure;
    }
    let own = match (&order.to, &order.project) {
        (To::Database(_), Some(_)) => "the project's password is for its own role alone; ",
        _ => "",
    };
    let hint = format!("{own}give {user:?} one by PGPASSWORD in the environment, or by a line in ~/.pgpass: HOST:PORT:*:{user}:PASSWORD");
    Failure { hint: Some(hint), ..failure }
}

struct Place<'a> {
    storage: &'a Arc<dyn Storage>,
    manifest: &'a Manifest,
    access: &'a Access,
    database: String,
}

fn located(world: &World, order: &Order, place: &Place<'_>, cancel: &Cancel, board: &Board) -> Result<Report> {
    if let Some(project) = order.project.as_ref().filter(|_| !order.dry_run) {
        mending::where_cut_off(world, project);
    }
    let clients = clients(world, order)?;
    let limits = order.project.as_ref().map_or_else(Limits::default, |project| project.limits.clone());
    let (run, gauge) = (RunId::random(), Gauge::new());
    let means = Means {
        storage: place.storage,
        manifest: place.manifest,
        clients: &clients,
        access: place.access,
        limits: &limits,
        cancel,
        grace: world.grace,
        gauge: &gauge,
        run: &run,
    };
    let asked = restore::Order {
        database: place.database.clone(),
        wanted: order.wanted.clone(),
        occupied: order.occupied,
        globals: globals(world, order, means)?,
    };
    let plan = planned(world, means, &asked, order.dry_run)?;
    if order.dry_run {
        return Ok(Report { plan, restored: None, safety: None });
    }
    let safety = match plan.way {
        Way::InPlace if order.safety => Some(safety::backup(world, order, means, &plan)?),
        _ => None,
    };
    board.put(Current {
        run: run.clone(),
        project: place.manifest.project.clone(),
        database: place.database.clone(),
        since: world.clock.now(),
        expected: Some(place.manifest.uncompressed_size_bytes),
        gauge: gauge.clone(),
    });
    // What a kill leaves on a server that only this command line knows of, the next restore to it finds; the project's own, the daemon too.
    let noted = matches!((&order.to, &plan.way), (To::Database(_), Way::New { .. } | Way::Swap { .. }));
    let mut note = if noted { restore::note(world, &place.manifest.project, &run, false) } else { Ok(()) };
    let restored = restore::carry_out(means, &plan);
    board.take(&run);
    // What could not be dropped, the daemon's start looks for.
    if noted && restored.as_ref().err().is_none_or(|undone| undone.left.is_none()) {
        note = note.and_then(|()| restore::strike(world, &run));
    }
    if let Err(failure) = note {
        tracing::warn!(run = %run, "the catalog could not be told of a restore at work: {failure}");
    }
    let mut restored = restored.map_err(|undone| safety::named(undone.failure, safety.as_ref()))?;
    if restored.is_proof() && order.wanted.is_whole() {
        prove(world, order, place, &mut restored);
    }
    Ok(Report { plan, restored: Some(restored), safety })
}

/// The plan. Where it is refused for want of room, what earlier restores have left is dropped first, as it may be what takes it.
fn planned(world: &World, means: Means<'_>, asked: &restore::Order, dry_run: bool) -> Result<Plan> {
    let plan = || restore::plan(means, asked, world.clock.now());
    plan().or_else(|failure| {
        if dry_run || failure.cause != Cause::Space {
            return Err(failure);
        }
        let swept = restore::clear(means.clients, means.access, means.limits, &means.manifest.project, means.cancel)?;
        match (swept.dropped.is_empty(), swept.stay.as_slice()) {
            (false, _) => plan(),
            (true, []) => Err(failure),
            (true, stay) => {
                let hint = failure.hint.iter().chain(stay).cloned().collect::<Vec<_>>().join("\n");
                Err(failure.hint(hint))
            }
        }
    })
}

/// A whole backup that came back equal is proven, and it is known how long that takes.
fn prove(world: &World, order: &Order, place: &Place<'_>, restored: &mut Restored) {
    let look = Look { level: ProofLevel::Restored, at: world.clock.now(), took_ms: restored.took_ms, failed: None };
    let unwritten = match verify::record(world, place.storage.as_ref(), &order.backup, &[look], None) {
        Ok(Recorded::Row(_, unwritten)) => unwritten,
        Ok(Recorded::Gone) => None,
        Err(failure) => Some(failure),
    };
    if let Some(failure) = unwritten {
        restored.warnings.push(format!("it could not be written down that this backup was restored: {failure}"));
    }
}

/// The newest roles and tablespaces of the project, where they are wanted.
fn globals(world: &World, order: &Order, means: Means<'_>) -> Result<Option<Globals>> {
    if !order.globals {
        return Ok(None);
    }
    let project = &order.backup.project;
    let filter = BackupFilter {
        project: Some(project.clone()),
        content: Some(Content::Globals),
        storage: Some(order.backup.storage.clone()),
        undamaged: true,
        ..BackupFilter::default()
    };
    let each = order.project.as_ref().map(|project| origin::newest_of_each(world, project, &filter)).transpose()?.unwrap_or_default();
    let row = match each.as_slice() {
        [] => world.catalog.read(|reader| reader.latest_backup(&filter))?,
        _ => Some(of_its_server(each, &order.backup)?),
    };
    let row = row.ok_or_else(|| {
        Failure::new(Cause::Refused, format!("the project {project:?} has no backup of roles and tablespaces"))
            .hint("set globals = true for its next backups; now, make the roles by hand, or use --no-owner --no-privileges")
    })?;
    let manifest = manifest::read(means.storage.as_ref(), &manifest::key(&row.project, &row.file))?;
    Globals::read(means, &manifest).map(Some)
}

/// The roles of the server that the backup is of, where those of several servers lie beside it.
fn of_its_server(each: Vec<BackupRow>, backup: &BackupRow) -> Result<BackupRow> {
    let is_its = |row: &BackupRow| backup.system_identifier.is_none() || row.system_identifier == backup.system_identifier;
    each.into_iter().find(is_its).ok_or_else(|| {
        let words = format!("the project {:?} has no roles and tablespaces of the server that {} is of", backup.project, backup.id);
        Failure::new(Cause::Refused, words).hint("make the roles by hand, or use --no-owner --no-privileges")
    })
}

/// How the target is reached, and its name.
fn reach(world: &World, order: &Order) -> Result<(Access, String)> {
    let env = |name: &str| std::env::var_os(name);
    match (&order.to, &order.project) {
        (To::Database(name), Some(project)) => match &order.user {
            None => Ok((world.access(project)?, name.clone())),
            // The project's password is its own role's.
            Some(user) => Ok((Access::new(&as_role(&project.connection.target, user), None, project.limits.connect, &env)?, name.clone())),
        },
        (To::Database(name), None) => Err(Failure::new(
            Cause::Configuration,
            format!("the project {:?} is not configured any more, so its server is unknown", order.backup.project),
        )
        .hint(format!("say where to: --to postgresql://HOST/{name}"))),
        (To::Url(url), project) => {
            let target = Target::Url(url.clone());
            let target = order.user.as_ref().map_or_else(|| target.clone(), |user| as_role(&target, user));
            let Some(name) = named_by(&target) else {
                return Err(
                    Failure::new(Cause::Configuration, "the URL names no database").hint("type it: --to postgresql://HOST/DATABASE")
                );
            };
            let connect = project.as_ref().map_or(Limits::default().connect, |project| project.limits.connect);
            Ok((Access::new(&target, None, connect, &env)?, name))
        }
    }
}

fn clients(world: &World, order: &Order) -> Result<Clients> {
    match &order.project {
        Some(project) => world.clients(project),
        None => Clients::find(None, &|name| std::env::var(name).ok()),
    }
}
