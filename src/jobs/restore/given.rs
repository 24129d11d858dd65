//! A restore of a file that a person named, to a server that the command line or the environment names: the same plan, the same refusals,
//! the same way as a backup's. Only what a project would know is missing.

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::project::Project;
use crate::notify::redact::Redactor;
use crate::ops::World;
use crate::ops::given::Dump;
use crate::ops::merge::Merged;
use crate::ops::restore::{self, Means, Occupied, Wanted};
use crate::postgres::archive::name;
use crate::postgres::connection::Access;
use crate::process::Cancel;
use crate::stream::gauge::Gauge;

use super::super::adhoc::PLACES;
use super::super::{Board, Current};
use super::Report;
use super::merge::{Table, Way, outcome, rows};

/// What is to be done.
#[derive(Debug)]
pub struct Order<'a> {
    /// The file.
    pub dump: &'a Dump,
    /// The server, as a project that is written nowhere.
    pub server: Project,
    /// The database there.
    pub database: String,
    /// How much, and how.
    pub wanted: Wanted,
    /// What to do where the target holds something.
    pub occupied: Occupied,
    /// Whether what an in-place restore overwrites is backed up first, which needs a project.
    pub safety: bool,
    /// Only the plan.
    pub dry_run: bool,
}

impl Order<'_> {
    fn subject(&self) -> String {
        format!("the file {} to {:?}", self.dump.manifest.backup_id, self.database)
    }

    /// How the server is reached, where the connection says nothing by libpq's variables.
    fn access(&self, world: &World) -> Result<Access> {
        Ok(world.access(&self.server)?.with(&PLACES, &|name| std::env::var_os(name)))
    }
}

/// Carries the order out.
pub fn run(world: &World, order: &Order<'_>, cancel: &Cancel, board: &Board) -> Result<Report> {
    let begun = (!order.dry_run).then(|| world.begin("restore", None, &order.subject()));
    let done = restored(world, order, cancel, board);
    if let Some(begun) = begun {
        world.end(begun, &super::outcome(&done));
    }
    done
}

/// Merges the rows of one table into the table that is there, or only tries.
pub fn merge(world: &World, order: &Order<'_>, table: &Table, cancel: &Cancel, board: &Board) -> Result<Merged> {
    let begun = world.begin("restore", None, &format!("table {} from {}", table.name, order.subject()));
    let done = merged(world, order, table, cancel, board);
    world.end(begun, &outcome(order.dry_run, &done));
    done
}

fn merged(world: &World, order: &Order<'_>, table: &Table, cancel: &Cancel, board: &Board) -> Result<Merged> {
    let wanted = name::Wanted::parse(&table.name)?;
    let (access, clients) = (order.access(world)?, world.clients(&order.server)?);
    let way = Way {
        storage: order.dump.storage.as_ref(),
        manifest: &order.dump.manifest,
        clients: &clients,
        access: &access,
        limits: &order.server.limits,
        database: order.database.clone(),
        dry_run: order.dry_run,
    };
    rows(world, way, (table, &wanted), cancel, board)
}

fn restored(world: &World, order: &Order<'_>, cancel: &Cancel, board: &Board) -> Result<Report> {
    if order.occupied == Occupied::InPlace && order.safety {
        let words = "what an in-place restore overwrites can only be backed up on a configured project's own server";
        return Err(Failure::new(Cause::Refused, words)
            .hint("use --replace, which keeps the old database; or back it up by other means and add --no-safety-backup"));
    }
    let access = order.access(world)?;
    let redactor = Redactor::new(access.secret());
    let clients = world.clients(&order.server)?;
    let (run, gauge) = (RunId::random(), Gauge::new());
    let manifest = &order.dump.manifest;
    let means = Means {
        storage: &order.dump.storage,
        manifest,
        clients: &clients,
        access: &access,
        limits: &order.server.limits,
        cancel,
        grace: world.grace,
        gauge: &gauge,
        run: &run,
    };
    let asked = restore::Order { database: order.database.clone(), wanted: order.wanted.clone(), occupied: order.occupied, globals: None };
    let clean = |failure: Failure| redactor.clean_failure(failure);
    let plan = super::planned(world, means, &asked, order.dry_run).map_err(clean)?;
    if order.dry_run {
        return Ok(Report { plan, restored: None, safety: None });
    }
    board.put(Current {
        run: run.clone(),
        project: manifest.backup_file.clone(),
        database: order.database.clone(),
        since: world.clock.now(),
        expected: Some(manifest.uncompressed_size_bytes),
        gauge: gauge.clone(),
    });
    let restored = restore::carry_out(means, &plan).map_err(|undone| clean(undone.failure));
    board.take(&run);
    Ok(Report { plan, restored: Some(restored?), safety: None })
}
