//! What a restore left behind that was ended by force: a database under a temporary name, with nobody at work on it.

use serde::{Deserialize, Serialize};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, RunId};
use crate::model::project::Limits;
use crate::postgres::connection::Access;
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::process::Cancel;

use super::super::World;
use super::{Means, before};

/// What the names of databases begin with that a restore is filling; the rest is its run.
pub(super) const PREFIX: &str = "pgdumpd_restore_";

/// A restore that began and has not been heard of again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its project.
    pub project: String,
    /// Its run.
    pub run: RunId,
}

/// The note in the catalog that lists them.
const NOTE: &str = "unfinished-restores";

/// Notes that a restore begins to make a database on its project's own server.
pub fn note(world: &World, manifest: &Manifest, run: &RunId) -> Result<()> {
    change(world, |all| all.push(Unfinished { project: manifest.project.clone(), run: run.clone() }))
}

/// Strikes a restore off: it has ended and cleared up after itself, or somebody else has.
pub fn strike(world: &World, run: &RunId) -> Result<()> {
    change(world, |all| all.retain(|one| one.run != *run))
}

/// The restores that are noted.
pub fn noted(world: &World) -> Result<Vec<Unfinished>> {
    let text = world.catalog.read(|reader| reader.meta(NOTE))?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn change(world: &World, mut how: impl FnMut(&mut Vec<Unfinished>)) -> Result<()> {
    world.catalog.write(|writer| {
        let text = writer.meta(NOTE)?;
        let mut all: Vec<Unfinished> = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        how(&mut all);
        let text = serde_json::to_string(&all).map_err(|error| Failure::new(Cause::System, format!("noting a restore: {error}")))?;
        if all.is_empty() { writer.remove_meta(NOTE) } else { writer.put_meta(NOTE, &text) }
    })
}

/// Drops what earlier restores of the project have left on that server; returns the names.
pub fn clear(clients: &Clients, access: &Access, limits: &Limits, project: &str) -> Result<Vec<String>> {
    let place = before::Server { clients, access, limits, cancel: &Cancel::new(), name: "pgdumpd" };
    sweep(&mut before::outside(place, "", None)?, project)
}

/// The same from a session that is open.
pub(super) fn sweep(session: &mut Session, project: &str) -> Result<Vec<String>> {
    let abandoned = session.abandoned(PREFIX, project)?;
    for name in &abandoned {
        session.drop_database(name)?;
        tracing::warn!(project, database = name, "removed what an earlier restore has left behind");
    }
    Ok(abandoned)
}

/// Drops a database that was being filled. One that can't be dropped now is told, and cleared away by the next restore.
pub(super) fn give_up(means: Means<'_>, name: &str, failure: Failure) -> Failure {
    let fresh = Cancel::new();
    let calm = Means { cancel: &fresh, ..means };
    match before::maintenance(calm, name).and_then(|mut session| session.drop_database(name)) {
        Ok(()) => failure,
        Err(why) => {
            tracing::warn!(run = %means.run, database = name, "the unfinished database could not be dropped: {why}");
            let also = format!("the unfinished database {name:?} could not be dropped ({why}); the next restore of this project does so");
            let hint = failure.hint.as_ref().map_or_else(|| also.clone(), |hint| format!("{hint}\n{also}"));
            failure.hint(hint)
        }
    }
}
