//! Bringing a backup back: into a new database, an empty one, or in the place of one that is there.
//!
//! [`plan`] asks everything and touches nothing; [`carry_out`] does what the plan says. [`into`] is the part that fills one database at a
//! given server and compares it with its manifest; a drill uses it alone. Whatever fails, the target is as it was.

mod before;
mod choose;
mod feed;
mod fill;
mod globals;
mod held;
mod leftovers;
mod likeness;
mod naming;
mod order;
mod place;
mod plan;
mod public;
mod recipe;
mod room;
mod scratch;
mod settle;
mod source;
mod steps;
mod tables;
mod ties;
mod way;

use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, RunId};
use crate::model::project::Limits;
use crate::postgres::archive::roles;
use crate::postgres::connection::Access;
use crate::postgres::database::Work;
pub use crate::postgres::restore::{AtError, Halves};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::Storage;
use crate::stream::gauge::Gauge;

use super::artifact;
use super::compare::{Compared, Comparison};

pub use globals::Globals;
pub use leftovers::{Swept, Undone, Unfinished, clear, note, noted, remove, strike, sweep};
pub use place::carry_out;
pub use plan::{Plan, plan};
pub use recipe::Recipe;
pub use way::{Occupied, Order, Way};

/// What a restore works with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Where the artifact lies.
    pub storage: &'a Arc<dyn Storage>,
    /// The backup.
    pub manifest: &'a Manifest,
    /// The installed clients.
    pub clients: &'a Clients,
    /// How to reach the server, password in hand.
    pub access: &'a Access,
    /// The limit for connecting is used.
    pub limits: &'a Limits,
    /// Ends the restore early.
    pub cancel: &'a Cancel,
    /// How long dropping an unfinished database may take once the end was asked for.
    pub grace: Duration,
    /// How far it is, in bytes of the archive.
    pub gauge: &'a Gauge,
    /// Names the restore on the server and its temporary database.
    pub run: &'a RunId,
}

/// How much of a backup is restored, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// Only tables that match one of these patterns; all where empty.
    pub tables: Vec<String>,
    /// Only what is in schemas that match one of these.
    pub schemas: Vec<String>,
    /// Without tables that match one of these.
    pub exclude_tables: Vec<String>,
    /// Definitions, rows or both.
    #[serde(skip)]
    pub halves: Halves,
    /// Connections that restore in parallel.
    pub jobs: u32,
    /// What an error does.
    #[serde(skip)]
    pub at_error: AtError,
    /// Everything belongs to the connecting role.
    pub no_owner: bool,
    /// GRANT and REVOKE are left out.
    pub no_privileges: bool,
    /// Everything goes into the default tablespace.
    pub no_tablespaces: bool,
    /// Whether the planner's statistics are made afterwards.
    pub analyze: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            schemas: Vec::new(),
            exclude_tables: Vec::new(),
            halves: Halves::Both,
            jobs: 1,
            at_error: AtError::Stop,
            no_owner: false,
            no_privileges: false,
            no_tablespaces: false,
            analyze: true,
        }
    }
}

impl Wanted {
    /// Whether everything in the backup is restored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.halves == Halves::Both && self.tables.is_empty() && self.schemas.is_empty() && self.exclude_tables.is_empty()
    }
}

/// What a restore brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Tables that were restored, with their rows then and now.
    pub tables: Vec<Compared>,
    /// Rows in them now.
    pub rows: u64,
    /// Errors that were passed over because that was asked for, counted.
    pub ignored: u64,
    /// The first few of them.
    pub errors: Vec<String>,
    /// Where it differs from the backup; empty means equal.
    pub problems: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// From the first look to the last, milliseconds: the measured recovery time.
    pub took_ms: u64,
    /// Whether nothing could be compared, because nobody can read the backup's names.
    #[serde(skip)]
    pub unread: bool,
}

impl Restored {
    fn new(comparison: Comparison, said: feed::Said, mut warnings: Vec<String>) -> Self {
        let seen = said.unread.as_ref().filter(|_| !comparison.unread);
        warnings.extend(seen.map(|why| format!("{why}, and what comes of it can't be compared with it")));
        Self {
            unread: comparison.unread || said.unread.is_some(),
            rows: comparison.rows(),
            tables: comparison.tables,
            problems: comparison.problems,
            ignored: said.errors,
            errors: said.first,
            warnings,
            took_ms: 0,
        }
    }

    fn timed(mut self, began: Instant) -> Self {
        self.took_ms = began.elapsed().as_millis() as u64;
        self
    }

    /// Whether it proves the backup: an equality that was looked for.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        self.is_equal() && !self.unread
    }

    /// Whether everything came back as it was backed up.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.ignored == 0 && self.problems.is_empty()
    }
}

/// Makes a database like the original, fills it with a backup and compares the two. It knows nothing of projects: a drill points it at a
/// cluster of its own. The database is the caller's to [`remove`], also where it fails.
pub fn into(means: Means<'_>, database: &str, wanted: &Wanted) -> Result<Restored> {
    let began = Instant::now();
    means.gauge.begin("preparing");
    let mut session = before::maintenance(means, database)?;
    let recipe = recipe::recipe(means, wanted, &session.server().clone())?;
    let made = place::make(means, &mut session, &recipe, (Work::Drill, database), None)?;
    let restored = place::filled(means, &mut session, &recipe, wanted, &made)?;
    Ok(restored.timed(began))
}

/// Refuses what could not succeed on that server, before anything is made there: for want of room, extensions, connections, rights, or because
/// its sessions are to change nothing. `hint` says what to do where there is no room.
pub fn fits(means: Means<'_>, wanted: &Wanted, hint: &str) -> Result<()> {
    let mut session = before::maintenance(means, "")?;
    let recipe = recipe::recipe(means, wanted, &session.server().clone())?;
    before::server(means, &mut session, &recipe, wanted, None, ("", hint))?;
    before::anew(&mut session, "name another role in the server's URL")?;
    if session.database_rights()?.creates {
        return Ok(());
    }
    let words = format!("the role {} may not make databases, and a scratch database has to be made", session.server().role);
    Err(Failure::new(Cause::Refused, words)
        .hint("give it CREATEDB there, name another role in the server's URL, or drill without a server"))
}

/// The roles that a backup's objects need on that server and that it lacks, its database's owner among them.
pub fn missing_roles(means: Means<'_>, wanted: &Wanted) -> Result<Vec<String>> {
    let mut session = before::maintenance(means, "")?;
    let recipe = recipe::recipe(means, wanted, &session.server().clone())?;
    let mut names = before::named_roles(&recipe.entries(), wanted);
    if recipe.is_script() {
        names.extend(roles::of_script(BufReader::new(artifact::open(means.storage.as_ref(), means.manifest)?))?);
    }
    names.extend(means.manifest.database_properties.iter().map(|like| like.owner.clone()));
    names.sort_unstable();
    names.dedup();
    session.missing_roles(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// How long tools have between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);
