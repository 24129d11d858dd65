//! The main job: lock → repair → backup (each database, with retries) → prune. What happened is told from the catalog, by `notice`.
//!
//! Called by the daemon for a due slot and by `pgdumpd backup` by hand; both under the same lock, with the same consequences.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::habit::Suspension;
use crate::lock::{ProjectLock, Refused};
use crate::model::backup::{BackupRow, Manifest, RunId, Trigger};
use crate::model::dump::{Content, DumpShape, Format};
use crate::model::project::{Databases, Project};
use crate::model::run::{Run, SlotOutcome};
use crate::notify::redact::Redactor;
use crate::ops::backup::{self, Means, Request};
use crate::ops::drill::Drilled;
use crate::ops::prune::{self, PrunePlan, Pruned};
use crate::ops::targets::{self, Covered};
use crate::ops::verify::{Looked, Verdict};
use crate::ops::{World, accepted, mount, there};
use crate::postgres::connection::Access;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::retention::Divided;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::hold::{self, Hold};
use super::record::{fail_before, finish, new_run, outcome};
use super::retry::Patience;
use super::{Board, Current, Gate, looking, mending};

/// The database name under which a server's roles and tablespaces are kept.
pub const GLOBALS: &str = "globals";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Order {
    /// The project as configured when the job was ordered.
    pub project: Arc<Project>,
    /// How to dump.
    pub shape: DumpShape,
    /// What asked for it.
    pub trigger: Trigger,
    /// The schedule's name, where one asked for it.
    pub schedule: Option<String>,
    /// The slot it serves.
    pub slot: Option<DateTime<Utc>>,
    /// Only these databases, where a person named some.
    pub only: Vec<String>,
}

/// How to go about it.
pub struct Setting<'a> {
    /// Ends the job early.
    pub cancel: &'a Cancel,
    /// Shows what is in flight.
    pub board: &'a Board,
    /// Lets dumps begin; entered once before the job.
    pub gate: &'a dyn Gate,
    /// Gets `pg_dump`'s own lines.
    pub said: Option<fn(&str)>,
    /// Gets each run as soon as it has ended.
    pub ended: Option<&'a Ended<'a>>,
}

/// Takes a run that has ended, and what it made.
pub type Ended<'a> = dyn Fn(&Run, Option<&Manifest>) + 'a;

/// What became of an order.
#[derive(Debug)]
pub struct Report {
    /// The runs, in order; empty where the lock was held by another.
    pub runs: Vec<(Run, Option<Manifest>)>,
    /// The databases that were left out because they let nobody in.
    pub closed: Vec<String>,
    /// What was found where the project's new backups are looked at again at once.
    pub looked: Vec<Looked>,
    /// What pruning did, or why it was not reached after a good backup.
    pub pruned: Option<Result<Pruned>>,
    /// The plan that waits for a person's word, where one does.
    pub held: Option<PrunePlan>,
    /// The suspicious backups because of which nothing was pruned.
    pub suspended: Vec<Suspension>,
    /// The databases with backups of several servers, of which nothing was pruned; `None` where nobody looked.
    pub divided: Option<Vec<Divided>>,
    /// Who held the project, where another did.
    pub held_by: Option<Failure>,
    /// Runs whose end the catalog could not take: nobody will be told of them from there.
    pub unrecorded: Vec<Run>,
    /// Drills whose end could not be turned into mail: nobody has been told of them.
    pub untold: Vec<Drilled>,
    /// Whether the job was ended before every database had its turn.
    pub cut_short: bool,
    /// What the slot's row says.
    pub outcome: SlotOutcome,
}

impl Report {
    /// A job without runs, that ended so.
    #[must_use]
    pub fn nothing(outcome: SlotOutcome) -> Self {
        Self {
            runs: Vec::new(),
            closed: Vec::new(),
            looked: Vec::new(),
            pruned: None,
            held: None,
            suspended: Vec::new(),
            divided: None,
            held_by: None,
            unrecorded: Vec::new(),
            untold: Vec::new(),
            cut_short: false,
            outcome,
        }
    }

    /// Whether this run's backup was looked at again at once and not found good.
    #[must_use]
    pub fn is_doubtful(&self, run: &Run) -> bool {
        self.looked.iter().any(|looked| looked.backup.id == run.id && looked.verdict != Verdict::Good)
    }
}

/// Carries the order out, and records everything. Never fails as a whole: what went wrong stands in the report, in the catalog and in the mail.
#[must_use]
pub fn run(world: &World, order: &Order, setting: &Setting<'_>) -> Report {
    let mut report = Report::nothing(SlotOutcome::Failed);
    // A panic must cost this job alone, and not without a word: the daemon would otherwise wait for its end for ever.
    let done = catch_unwind(AssertUnwindSafe(|| locked(world, order, setting, &mut report)));
    let broken = |_| {
        Err(Failure::new(Cause::System, "the job broke off by an error in pgdumpd itself")
            .hint("report it with the log's lines around this one"))
    };
    match done.unwrap_or_else(broken) {
        Ok(Some(held)) => {
            report.outcome = SlotOutcome::SkippedLocked;
            report.held_by = Some(held);
            return report;
        }
        Ok(None) => {}
        Err(failure) => {
            fail_before(world, order, &failure, &mut report);
            // What was made before it is there, and is not what failed.
            if report.runs.iter().any(|(_, made)| made.is_some()) {
                report.pruned.get_or_insert(Err(failure));
            }
        }
    }
    report.outcome = if report.cut_short { SlotOutcome::Interrupted } else { outcome(&report.runs) };
    report
}

fn locked(world: &World, order: &Order, setting: &Setting<'_>, report: &mut Report) -> Result<Option<Failure>> {
    let project = &order.project;
    let storage = world.storage(project)?;
    mount::ensure(world, storage.as_ref())?;
    let lock = match hold::project(world, project, storage)? {
        Hold::Lock(lock) => lock,
        Hold::Held(holder) => return Ok(Some(Refused::Held(holder).failure(&project.name))),
    };
    mending::elsewhere(world, project, storage.name());
    let stuck = mending::held(world, &project.name, storage.as_ref())?;
    let clients = world.clients(project)?;
    let access = world.access(project)?;
    let redactor = Redactor::new(access.secret());
    let job = Job { world, order, setting, storage, lock: &lock, clients: &clients, access: &access, redactor: &redactor };
    job.backups(report)?;
    report.looked = looking::after(world, project, storage, &clients, &report.runs, setting.cancel)?;
    if report.runs.iter().any(|(_, manifest)| manifest.is_some()) && setting.cancel.reason().is_none() {
        let pruned = prune_after(world, project, report);
        report.pruned = Some(pruned.map(|pruned| pruned.after(stuck)));
    }
    Ok(None)
}

/// Retention for those (database, selection) that got a good backup in this job, and with a full one for what was kept before restores;
/// the others are left alone.
fn prune_after(world: &World, project: &Project, report: &mut Report) -> Result<Pruned> {
    let mut plan = prune::plan(world, project)?;
    let good = |row: &BackupRow| {
        let same = |run: &Run| run.selection == row.selection || run.selection.is_full() && row.selection.is_before_restore();
        let fits = |run: &Run| run.database == row.database && same(run) && !report.is_doubtful(run);
        report.runs.iter().any(|(run, made)| made.is_some() && fits(run))
    };
    plan.only(good);
    for Divided { database, servers, .. } in &plan.divided {
        let places: Vec<&str> = servers.iter().filter_map(|origin| origin.server.as_deref()).collect();
        tracing::warn!(project = project.name, database, ?places, "pruning is held: there are backups of more than one server");
    }
    report.divided = Some(std::mem::take(&mut plan.divided));
    if let Some(first) = plan.suspended.first() {
        tracing::warn!(project = project.name, backup = %first.backup, since = %first.since, "pruning is suspended: {}", first.why);
        report.suspended = plan.suspended;
        return Ok(Pruned::default());
    }
    let made: Vec<&RunId> = report.runs.iter().filter(|(_, made)| made.is_some()).map(|(run, _)| &run.id).collect();
    if let Some(run) = accepted::settling(world, &project.name, &made)? {
        tracing::warn!(project = project.name, run = %run, "a row of alike backups is the new habit; pruning goes on with the next backup");
        return Ok(Pruned::default());
    }
    if let Some(why) = &plan.held {
        tracing::warn!(project = project.name, "pruning is held: {why}");
        report.held = Some(plan);
        return Ok(Pruned::default());
    }
    let pruned = prune::carry_out(world, project, &plan)?;
    if !pruned.removed.is_empty() {
        tracing::info!(project = project.name, removed = pruned.removed.len(), freed = pruned.freed, "pruned");
    }
    Ok(pruned)
}

/// A job that holds the lock.
struct Job<'a> {
    world: &'a World,
    order: &'a Order,
    setting: &'a Setting<'a>,
    storage: &'a Arc<dyn Storage>,
    lock: &'a ProjectLock,
    clients: &'a Clients,
    access: &'a Access,
    redactor: &'a Redactor,
}

impl Job<'_> {
    fn backups(&self, report: &mut Report) -> Result<()> {
        let Covered { databases, closed, unreadable } = self.databases()?;
        for name in &closed {
            tracing::warn!(project = self.order.project.name, database = name, "left out: it lets nobody connect");
        }
        report.closed = closed;
        for database in &unreadable {
            let ended = self.refused(database, &targets::unreadable(database), &mut report.unrecorded);
            report.runs.push(ended);
        }
        for database in &databases {
            if self.setting.cancel.reason().is_some() {
                report.cut_short = true;
                break;
            }
            let ended = self.one(&self.order.shape, database, std::slice::from_ref(database), &mut report.unrecorded);
            report.runs.push(ended);
        }
        let wants_globals = self.order.project.globals && self.order.shape.content == Content::Full && self.order.only.is_empty();
        if wants_globals && self.setting.cancel.reason().is_some() {
            report.cut_short = true;
        } else if wants_globals {
            let shape = DumpShape {
                content: Content::Globals,
                format: Format::Plain,
                compression: self.order.shape.compression,
                ..DumpShape::default()
            };
            let made: BTreeSet<&str> =
                report.runs.iter().filter(|(_, made)| made.is_some()).map(|(run, _)| run.database.as_str()).collect();
            let (answered, others): (Vec<&str>, Vec<&str>) = databases.iter().map(String::as_str).partition(|name| made.contains(name));
            let ended = self.one(&shape, GLOBALS, &targets::entrances(answered, others), &mut report.unrecorded);
            report.runs.push(ended);
        }
        Ok(())
    }

    /// The databases to dump; asks the server only where the configuration doesn't say.
    fn databases(&self) -> Result<Covered> {
        if !self.order.only.is_empty() {
            return Ok(Covered::these(self.order.only.clone()));
        }
        if let Databases::Named(names) = &self.order.project.databases {
            return Ok(Covered::these(names.clone()));
        }
        if let (Databases::FromConnection, Some(named)) = (&self.order.project.databases, self.access.database()) {
            return Ok(Covered::these(vec![named]));
        }
        let project = &self.order.project;
        self.retrying(None, |_| {
            let mut session = there::ask(self.world, project, self.clients, self.access, self.setting.cancel)?;
            targets::databases(project, &mut session, |found| there::remember(self.world, &project.name, found))
        })
    }

    /// The run of a database that can't be dumped.
    fn refused(&self, database: &str, failure: &Failure, unrecorded: &mut Vec<Run>) -> (Run, Option<Manifest>) {
        let mut run = new_run(self.world, self.order, &self.order.shape, database);
        let begun = self.world.catalog.write(|writer| writer.start_run(&run));
        unrecorded.extend(finish(self.world, &mut run, Err(begun.as_ref().err().unwrap_or(failure))));
        if let Some(ended) = self.setting.ended {
            ended(&run, None);
        }
        (run, None)
    }

    /// One run, in the first of these databases that lets the role in.
    fn one(&self, shape: &DumpShape, database: &str, places: &[String], unrecorded: &mut Vec<Run>) -> (Run, Option<Manifest>) {
        let mut run = new_run(self.world, self.order, shape, database);
        if let Err(failure) = self.world.catalog.write(|writer| writer.start_run(&run)) {
            unrecorded.extend(finish(self.world, &mut run, Err(&failure)));
            return (run, None);
        }
        let gauge = Gauge::new();
        self.setting.board.put(Current {
            run: run.id.clone(),
            project: run.project.clone(),
            database: run.database.clone(),
            since: run.started_at,
            expected: self.expected(&run),
            gauge: gauge.clone(),
        });
        let request = Request {
            run: run.id.clone(),
            database: database.to_owned(),
            connect_to: places.first().cloned().unwrap_or_default(),
            shape: shape.clone(),
            selection: run.selection.clone(),
            trigger: self.order.trigger,
            schedule: self.order.schedule.clone(),
            slot: self.order.slot,
        };
        let means = Means {
            project: &self.order.project,
            storage: self.storage,
            clients: self.clients,
            access: self.access,
            lock: self.lock,
            cancel: self.setting.cancel,
            grace: self.world.grace,
            gauge: &gauge,
            said: self.setting.said,
        };
        let result = self.retrying(Some(database), |attempt| {
            run.attempts = attempt;
            targets::in_first(places, self.order.project.limits.connect, |place| {
                backup::backup(self.world, means, &Request { connect_to: place.to_owned(), ..request.clone() })
            })
        });
        self.setting.board.take(&run.id);
        unrecorded.extend(finish(self.world, &mut run, result.as_ref()));
        if let Some(ended) = self.setting.ended {
            ended(&run, result.as_ref().ok());
        }
        (run, result.ok())
    }

    fn expected(&self, run: &Run) -> Option<u64> {
        let filter = BackupFilter {
            project: Some(run.project.clone()),
            database: Some(run.database.clone()),
            selection: Some(run.selection.clone()),
            ..BackupFilter::default()
        };
        self.world.catalog.read(|reader| reader.latest_backup(&filter)).ok().flatten().map(|backup| backup.uncompressed_size)
    }

    /// Whether another try may end otherwise. Whoever types waits neither for another pgdumpd nor for a server that turned him away.
    fn may_pass(&self, cause: Cause) -> bool {
        if matches!(cause, Cause::Login | Cause::Locked) { self.order.trigger != Trigger::Manual } else { cause.is_transient() }
    }

    /// Tries again after a failure that may pass, as the limits say. The database is named where it is known which.
    fn retrying<T>(&self, database: Option<&str>, mut attempt: impl FnMut(u32) -> Result<T>) -> Result<T> {
        let project = &self.order.project;
        let patience = Patience {
            world: self.world,
            project: &project.name,
            database,
            what: "backup",
            waits: &project.limits.retries,
            cancel: self.setting.cancel,
            board: self.setting.board,
            gate: self.setting.gate,
        };
        let mut number = 1;
        loop {
            match attempt(number).map_err(|failure| self.redactor.clean_failure(failure)) {
                Err(failure) if self.may_pass(failure.cause) && patience.again(number, &failure) => number += 1,
                ended => return ended,
            }
        }
    }
}
