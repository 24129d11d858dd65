//! What a restore or a drill left behind that was ended by force: a database under a temporary name, with nobody at work on it.

use serde::{Deserialize, Serialize};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::project::Limits;
use crate::postgres::connection::Access;
use crate::postgres::database::{Work, drop as drop_statement};
use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::units::show_duration;

use super::super::{World, space};
use super::{Means, before, ties};

/// A restore or a drill that began and has not been heard of again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its project.
    pub project: String,
    /// Its run.
    pub run: RunId,
    /// Whether it is a drill, on the server that the project has for them; else it is on the project's own.
    #[serde(default)]
    pub drill: bool,
}

/// The note in the catalog that lists them.
const NOTE: &str = "unfinished-restores";

/// Notes that one begins to make a database on a server that the configuration names.
pub fn note(world: &World, project: &str, run: &RunId, drill: bool) -> Result<()> {
    change(world, |all| all.push(Unfinished { project: project.to_owned(), run: run.clone(), drill }))
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

/// What a look for leftovers came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// The databases that were dropped.
    pub dropped: Vec<String>,
    /// Those that stay, each with the reason and what to do.
    pub stay: Vec<String>,
    /// Those that somebody is still at work on.
    pub busy: Vec<String>,
}

impl Swept {
    /// Whether nothing of it is there any more.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.stay.is_empty() && self.busy.is_empty()
    }

    /// The same in sentences for who restores.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let dropped = self.dropped.iter().map(|name| format!("removed the database {name}, which was left behind earlier"));
        dropped.chain(self.stay.iter().cloned())
    }
}

/// Drops what earlier restores and drills of the project have left on that server; `cancel` ends it early.
pub fn clear(clients: &Clients, access: &Access, limits: &Limits, project: &str, cancel: &Cancel) -> Result<Swept> {
    let place = before::Server { clients, access, limits, cancel, name: "pgdumpd" };
    swept(place, &mut before::outside(place, "", None)?, project)
}

/// The same from a session that is open, for the project of the backup at hand.
pub fn sweep(means: Means<'_>, session: &mut Session) -> Result<Swept> {
    let name = beside(means.run);
    swept(before::server_of(means, &name), session, &means.manifest.project)
}

/// What can't be dropped is in nobody's way: it is told, and tried again the next time.
fn swept(place: before::Server<'_>, session: &mut Session, project: &str) -> Result<Swept> {
    let mut swept = Swept::default();
    for work in [Work::Restore, Work::Drill] {
        for left in session.abandoned(work, project)? {
            let name = left.name;
            if left.busy {
                swept.busy.push(name);
                continue;
            }
            let why = if left.ours {
                match drop_with_ties(place, session, &name) {
                    Ok(()) => {
                        tracing::warn!(project, database = name, "removed what an earlier restore or drill has left behind");
                        swept.dropped.push(name);
                        continue;
                    }
                    Err(failure) => format!("{}; by hand: {};", reason(&failure), drop_statement(&name)),
                }
            } else {
                let first = session.ties(&name)?.first_dropped().map_or_else(String::new, |lines| format!("in it {lines}; then "));
                format!("it belongs to {}: as that role, {first}{};", left.owner, drop_statement(&name))
            };
            tracing::warn!(project, database = name, "what an earlier restore or drill has left behind stays: {why}");
            swept.stay.push(format!("the database {name}, which was left behind earlier, stays: {why}"));
        }
    }
    Ok(swept)
}

/// A failure and what to do, in one sentence.
fn reason(failure: &Failure) -> String {
    failure.hint.as_ref().map_or_else(|| failure.message.clone(), |hint| format!("{}; {hint}", failure.message))
}

/// Drops a database that was made for a while, whatever has become of the session that made it. Says why it can't. Once the end was asked
/// for it takes no longer than the grace: a session there that answers nobody holds it up for as long as it likes. On a full disk what is in
/// it goes first, as a server that can write nothing drops nothing either.
pub fn remove(means: Means<'_>, name: &str) -> std::result::Result<(), String> {
    drop_within(means, name, Content::Scratch)
}

/// The same for one that people have used, of which everything stays where it can't be dropped.
pub(super) fn remove_old(means: Means<'_>, name: &str) -> std::result::Result<(), String> {
    drop_within(means, name, Content::Own)
}

/// What is in a database that is to be dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Scratch,
    Own,
}

fn drop_within(means: Means<'_>, name: &str, content: Content) -> std::result::Result<(), String> {
    means.cancel.outlasted(means.grace, |late| {
        let calm = Means { cancel: late, ..means };
        let (called, mut full) = (beside(means.run), None);
        let done = before::maintenance(calm, name).and_then(|mut session| {
            full = space::full(&mut session, name);
            if full.is_some() && content == Content::Scratch {
                // The first attempt to drop it takes what is in it, even where it fails: there is no other time for this.
                drop(inside(calm, name).and_then(|mut session| session.empty_the_largest()));
            }
            drop_with_ties(before::server_of(calm, &called), &mut session, name)
        });
        done.map_err(|failure| match (late.reason(), full) {
            (Some(_), _) => format!("it took longer than the {} that an interruption leaves for it (grace)", show_duration(means.grace)),
            (None, Some(full)) => format!("{}; {full}: free some space there first", reason(&failure)),
            (None, None) => reason(&failure),
        })
    })
}

/// Drops a database, and first the subscriptions in it.
fn drop_with_ties(place: before::Server<'_>, session: &mut Session, name: &str) -> Result<()> {
    ties::release(place, session, name)?;
    session.drop_database(name)
}

fn inside(means: Means<'_>, name: &str) -> Result<Session> {
    Session::open(means.clients.newest(), means.access, Some(name), &beside(means.run), means.limits, means.cancel)
}

/// A restore that failed.
#[derive(Debug, Clone)]
pub struct Undone {
    /// Why.
    pub failure: Failure,
    /// The unfinished database that could not be dropped, where one is left.
    pub left: Option<String>,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self { failure, left: None }
    }
}

impl From<Undone> for Failure {
    fn from(undone: Undone) -> Self {
        undone.failure
    }
}

/// Drops a database that was being filled. One that can't be dropped now is told, and cleared away by the next restore.
pub(super) fn give_up(means: Means<'_>, name: &str, failure: Failure) -> Undone {
    let Err(why) = remove(means, name) else { return failure.into() };
    tracing::warn!(run = %means.run, database = name, "the unfinished database could not be dropped: {why}");
    let also = format!(
        "the unfinished database {name:?} could not be dropped ({why}); the next restore of this project there does so; by hand: {};",
        drop_statement(name)
    );
    let hint = failure.hint.as_ref().map_or_else(|| also.clone(), |hint| format!("{hint}\n{also}"));
    Undone { failure: failure.hint(hint), left: Some(name.to_owned()) }
}
