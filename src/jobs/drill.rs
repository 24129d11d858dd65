//! A drill: a scratch database → restore → compare → the project's checks → written down beside the backup.
//!
//! It takes no lock of the project: it only reads the backup, and a dump that is due runs beside it.

pub mod begun;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, Look, ProofLevel, RunId};
use crate::model::dump::Format;
use crate::model::project::{Check, Connection, Limits, Project};
use crate::model::run::SlotOutcome;
use crate::model::settings::Settings;
use crate::notify::redact::Redactor;
use crate::ops::drill::{self, Drilled};
use crate::ops::restore::{self, Means, Wanted};
use crate::ops::verify::{self, Recorded};
use crate::ops::{World, artifact, secret};
use crate::postgres::connection::{Access, url};
use crate::postgres::database::{self, Work};
use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::postgres::throwaway::{self, Throwaway};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::looking;
use super::retry::Patience;
use super::{Board, Current, Gate};

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// The project as configured; `None` where it no longer is.
    pub project: Option<Arc<Project>>,
    /// The server to restore on; `None` is a throwaway cluster.
    pub on: Option<Connection>,
    /// Whether that server was named for this drill alone.
    pub typed: bool,
    /// Whether the restored database stays; only on a server of its own.
    pub keep: bool,
    /// The state directory, below which a throwaway cluster may stand.
    pub state_dir: PathBuf,
    /// How long to wait before each further try where the server can't be reached; by hand there is none.
    pub retries: Vec<Duration>,
}

/// How to go about it.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Ends it early.
    pub cancel: &'a Cancel,
    /// Shows what is in flight.
    pub board: &'a Board,
    /// Lets drills begin; entered once before.
    pub gate: &'a dyn Gate,
}

/// Restores one backup for trial. Never fails as a whole: what went wrong stands in the answer, beside the backup and in the audit log.
#[must_use]
pub fn run(world: &World, order: &Order, row: &BackupRow, setting: Setting<'_>) -> Drilled {
    carried_out(world, order, row, setting, &|_| ())
}

/// The same; `noted` gets the number of its entry in the audit log before anything else is done.
fn carried_out(world: &World, order: &Order, row: &BackupRow, setting: Setting<'_>, noted: &dyn Fn(Option<i64>)) -> Drilled {
    let (clock, begun) = (std::time::Instant::now(), world.begin("drill", Some(&row.project), &row.file));
    noted(begun.number());
    let mut drilled = retrying(world, order, row, setting);
    drilled.failure = drilled.failure.take().map(|failure| looking::suspect(world, row, setting.cancel, failure));
    let unread = drilled.restored.as_ref().is_some_and(|restored| restored.unread);
    if drilled.proves() && !unread {
        write_down(world, &mut drilled, clock.elapsed().as_millis() as u64);
    }
    let outcome = drilled.failure.as_ref().map_or_else(|| String::from("restored"), |failure| format!("{}: {failure}", failure.cause));
    match &drilled.failure {
        None => tracing::info!(backup = %row.id, project = row.project, place = drilled.place, "drill: the backup restores"),
        Some(failure) => tracing::error!(backup = %row.id, project = row.project, cause = %failure.cause, "drill FAILED: {failure}"),
    }
    world.end(begun, &outcome);
    drilled
}

/// The drill of a project's slot: the newest backup of each database, and some older ones by chance. What it has begun stays noted until the
/// caller has [`begun::told`] of it.
pub fn slot(world: &World, settings: &Settings, project: &Arc<Project>, setting: &Setting<'_>) -> Result<(Vec<Drilled>, SlotOutcome)> {
    let (plan, cancel) = (project.drill.as_ref(), setting.cancel);
    let rows = drill::pick(world, project, plan.map_or(0, |drill| drill.older))?;
    if rows.is_empty() {
        tracing::warn!(project = project.name, "there is no backup yet that could be restored for trial");
    }
    let order = Order {
        project: Some(Arc::clone(project)),
        on: plan.and_then(|drill| drill.on.clone()),
        typed: false,
        keep: false,
        state_dir: settings.daemon.state_dir.clone(),
        retries: project.limits.retries.clone(),
    };
    begun::forget(world, &project.name);
    let mut drilled = Vec::new();
    for row in rows.iter().take_while(|_| cancel.reason().is_none()) {
        // One drill may take hours, and the retention goes on meanwhile.
        if world.catalog.read(|reader| reader.backup_now(row))?.is_none() {
            tracing::info!(backup = %row.id, project = project.name, "not restored for trial: it was removed before its turn came");
            continue;
        }
        let one = carried_out(world, &order, row, *setting, &|audit| begun::begin(world, row, order.on.as_ref(), audit));
        begun::end(world, &one);
        drilled.push(one);
    }
    let outcome = if cancel.reason().is_some() {
        SlotOutcome::Interrupted
    } else if drilled.iter().any(|one| one.failure.is_some()) {
        SlotOutcome::Failed
    } else {
        SlotOutcome::Ok
    };
    Ok((drilled, outcome))
}

/// Tries again where the server could not be reached or went away, as the limits say for dumps. Only the last try counts and is told: what
/// came back and differs is no reason to try again.
fn retrying(world: &World, order: &Order, row: &BackupRow, setting: Setting<'_>) -> Drilled {
    let patience = Patience {
        world,
        project: &row.project,
        database: Some(&row.database),
        what: "drill",
        waits: &order.retries,
        cancel: setting.cancel,
        board: setting.board,
        gate: setting.gate,
    };
    let mut attempt = 1;
    loop {
        let on = order.on.as_ref().filter(|_| order.typed).and_then(|on| url(&on.target));
        let mut drilled = Drilled { on, ..Drilled::of(row.clone()) };
        let Err(failure) = located(world, order, row, setting.cancel, setting.board, &mut drilled) else { return drilled };
        let again = failure.cause.is_transient() && patience.again(attempt, &failure);
        drilled.failure = Some(failure);
        if !again {
            return drilled;
        }
        attempt += 1;
    }
}

fn write_down(world: &World, drilled: &mut Drilled, took_ms: u64) {
    let row = &drilled.backup;
    let Some(storage) = world.storages.get(&row.storage) else { return };
    let took_ms = drilled.restored.as_ref().map_or(took_ms, |restored| restored.took_ms);
    let failed = drilled.failure.as_ref().map(|failure| failure.message.clone());
    let look = Look { level: ProofLevel::Restored, at: world.clock.now(), took_ms, failed };
    match verify::record(world, storage.as_ref(), row, &[look], None) {
        Ok(Recorded::Row(row, unwritten)) => (drilled.backup, drilled.unwritten) = (*row, unwritten),
        Ok(Recorded::Gone) => drilled.warnings.push(String::from("the backup was removed meanwhile")),
        Err(failure) => {
            tracing::error!("the drill can't be written down: {failure}");
            drilled.unwritten = Some(failure);
        }
    }
}

fn located(world: &World, order: &Order, row: &BackupRow, cancel: &Cancel, board: &Board, drilled: &mut Drilled) -> Result<()> {
    let backup = artifact::restorable(world, row)?;
    let (storage, manifest) = (backup.storage, &backup.manifest);
    let clients = match &order.project {
        Some(project) => world.clients(project)?,
        None => Clients::find(None, &|name| std::env::var(name).ok())?,
    };
    let limits = order.project.as_ref().map_or_else(Limits::default, |project| project.limits.clone());
    let (run, gauge) = (RunId::random(), Gauge::new());
    let scratch = match &order.on {
        Some(_) => None,
        None => {
            let like = (manifest.postgresql_version_num, manifest.database_size_bytes.unwrap_or(0));
            Some(Throwaway::start(&clients, like, &throwaway::places(&order.state_dir), cancel)?)
        }
    };
    let access = match (&scratch, &order.on) {
        (Some(cluster), _) => cluster.access()?,
        (None, Some(on)) => {
            let password = secret(&on.password)?;
            Access::new(&on.target, password, limits.connect, &|name| std::env::var_os(name))?
        }
        (None, None) => return Err(Failure::new(Cause::System, "there is no server to drill on")),
    };
    drilled.place = scratch.as_ref().map_or_else(|| access.place(), |cluster| format!("a throwaway PostgreSQL {}", cluster.major));
    board.put(Current {
        run: run.clone(),
        project: row.project.clone(),
        database: row.database.clone(),
        since: world.clock.now(),
        expected: Some(manifest.uncompressed_size_bytes),
        gauge: gauge.clone(),
    });
    let redactor = Redactor::new(access.secret());
    let grace = world.grace;
    let means = Means { storage, manifest, clients: &clients, access: &access, limits: &limits, cancel, grace, gauge: &gauge, run: &run };
    if let Some(project) = &order.project {
        drilled.warnings.extend(drill::unasked(world, project, &row.database)?);
    }
    let checks = order.project.iter().flat_map(|project| &project.checks);
    let checks: Vec<Check> = checks.filter(|check| check.is_of(&row.database)).cloned().collect();
    // On the server that the project has for drills the daemon's start looks after what a kill leaves; elsewhere the next drill does.
    let own = order.project.as_ref().and_then(|project| project.drill.as_ref()).and_then(|drill| drill.on.as_ref());
    let noted = order.on.is_some() && own == order.on.as_ref();
    let mut note = if noted { restore::note(world, &row.project, &run, true) } else { Ok(()) };
    let done = restored(world, means, order, storage, scratch.is_some(), &checks, drilled);
    board.take(&run);
    if noted && drilled.left.is_none() {
        note = note.and_then(|()| restore::strike(world, &run));
    }
    if let Err(failure) = note {
        tracing::warn!(run = %run, "the catalog could not be told of a drill at work: {failure}");
    }
    done.map_err(|failure| redactor.clean_failure(of_drill(failure)))
}

/// What a restore says of its target means nothing where that was made for trial.
fn of_drill(failure: Failure) -> Failure {
    let hint = failure.hint.map(|hint| hint.strip_prefix("the target is as it was").map_or(hint.clone(), str::to_owned));
    let hint = hint.map(|hint| hint.trim_start_matches([';', ':', ' ']).to_owned()).filter(|hint| !hint.is_empty());
    Failure { hint, ..failure }
}

fn restored(
    world: &World,
    means: Means<'_>,
    order: &Order,
    storage: &Arc<dyn Storage>,
    throwaway: bool,
    checks: &[Check],
    drilled: &mut Drilled,
) -> Result<()> {
    let mut wanted = Wanted::default();
    let mut session = maintenance(means, throwaway)?;
    if throwaway {
        let script = drill::globals(world, storage.as_ref(), &means.manifest.project).unwrap_or_else(|failure| {
            drilled.warnings.push(format!("the roles' own backup can't be used: {failure}"));
            None
        });
        drilled.warnings.extend(drill::roles(&mut session, script.as_deref(), || restore::missing_roles(means, &wanted))?);
    } else {
        drilled.warnings.extend(restore::sweep(means, &mut session)?.warnings());
        let missing = restore::missing_roles(means, &wanted)?;
        if !missing.is_empty() && means.manifest.dump_format == Format::Plain {
            let words =
                format!("the server lacks roles that the script names: {}; nothing can be left out of a script", missing.join(", "));
            return Err(Failure::new(Cause::Refused, words).hint("make them there, or drill in a throwaway cluster, without a server"));
        }
        if !missing.is_empty() {
            (wanted.no_owner, wanted.no_privileges) = (true, true);
            drilled.warnings.push(format!("owners and privileges were left out, as the server lacks roles: {}", missing.join(", ")));
        }
    }
    restore::fits(means, &wanted, if throwaway { throwaway::NO_ROOM } else { NO_ROOM })?;
    let database = format!("{}{}", Work::Drill.prefix(), means.run);
    let done = compared(means, &database, &wanted, checks, drilled);
    if throwaway {
        return done;
    }
    if order.keep && drilled.restored.is_some() {
        let text = format!("kept by pgdumpd drill of backup {}", means.manifest.backup_id);
        let marked = session.carry_out(&database::comment(&database, Some(&text)));
        if let Some(lines) = session.ties(&database).ok().and_then(|ties| ties.first_dropped()) {
            drilled.warnings.push(format!("before the kept database can be dropped, type in psql in {database:?}: {lines}"));
        }
        drilled.kept = Some(database);
        return done.and(marked);
    }
    if let Err(why) = restore::remove(means, &database) {
        let words = format!(
            "the scratch database {database} could not be dropped, the next drill or restore of this project there does so; by hand: {};",
            database::drop(&database)
        );
        tracing::warn!(run = %means.run, project = means.manifest.project, "{words} ({why})");
        drilled.warnings.push(format!("{words} ({why})"));
        drilled.left = Some(database);
    }
    done
}

fn compared(means: Means<'_>, database: &str, wanted: &Wanted, checks: &[Check], drilled: &mut Drilled) -> Result<()> {
    let restored = restore::into(means, database, wanted)?;
    drilled.warnings.extend(restored.warnings.iter().cloned());
    let differs = restored.problems.first().cloned();
    drilled.restored = Some(restored);
    match differs {
        Some(problem) => Err(Failure::new(Cause::RestoreFailed, format!("what came back differs from the backup: {problem}"))),
        None => answered(means, database, checks, drilled),
    }
}

/// What to do where the server for drills has no room.
const NO_ROOM: &str =
    "free some space there, or drill on another server: drill = { cron = \"@weekly\", on = \"postgresql://…\" }, or --on URL";

fn maintenance(means: Means<'_>, throwaway: bool) -> Result<Session> {
    let database = if throwaway { Some("postgres") } else { None };
    // By this name the scratch database is known to be in use, also while the checks are asked.
    let mut session = Session::open(means.clients.newest(), means.access, database, &beside(means.run), means.limits, means.cancel)?;
    session.reach_beyond()?;
    Ok(session)
}

fn answered(means: Means<'_>, database: &str, checks: &[Check], drilled: &mut Drilled) -> Result<()> {
    drilled.checks = drill::ask(means.clients.newest(), means.access, database, means.run, checks, means.cancel);
    if let Some(reason) = means.cancel.reason() {
        return Err(Failure::new(Cause::Interrupted, format!("the drill was ended: {reason}")));
    }
    let failed: Vec<String> = drilled
        .checks
        .iter()
        .filter_map(|answer| answer.failed.as_ref().map(|why| format!("the check {:?} failed: {why}", answer.name)))
        .collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let failure = Failure::new(Cause::RestoreFailed, format!("it restores, but {first}"));
            let hint = "the backup is whole: look at what the database held when it was taken, or correct the check";
            Err(failure.hint(hint).detail(failed.join("\n")))
        }
    }
}
