//! Carrying a plan out: the database is made, filled, checked, and only then gets its name.

use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::postgres::database::{self, Database, Work};
use crate::postgres::quote;
use crate::postgres::restore::AtError;
use crate::postgres::session::Session;
use crate::process::{Cancel, CancelReason};

use super::fill::{self, Whole};
use super::{Means, Plan, Recipe, Restored, Undone, Wanted, Way, before, feed, globals, leftovers, public, settle, ties};

/// How often those who come back in are sent away again while the names change.
const AGAIN: Duration = Duration::from_millis(100);

/// Does what the plan says, and nothing else.
pub fn carry_out(means: Means<'_>, plan: &Plan) -> Result<Restored, Undone> {
    let began = Instant::now();
    means.gauge.begin("preparing");
    let mut session = before::maintenance(means, &plan.database)?;
    if let Some(who) = session.hold_target(&plan.database)? {
        let words = format!("another restore to the database {:?} is at work ({who})", plan.database);
        return Err(Failure::new(Cause::Refused, words).hint("wait for its end, or restore to another database").into());
    }
    still_so(&mut session, plan)?;
    same_part(means, plan)?;
    if plan.way == Way::InPlace {
        settle::keeps_rows(means, &plan.database, &plan.recipe, &plan.wanted)?;
    }
    let left = leftovers::sweep(means, &mut session)?;
    let made = match &plan.globals {
        Some(globals) => globals::restore(means, &mut session, plan, globals)?,
        None => globals::Made::default(),
    };
    let restored: Result<Restored, Undone> = match &plan.way {
        Way::Fill | Way::InPlace => {
            let whole = if plan.way == Way::InPlace { Whole::Over } else { Whole::Together };
            let filled = || fill::fill(means, &mut session, &plan.recipe, &plan.wanted, (&plan.database, whole));
            Ok(public::provided(means, plan, filled)?)
        }
        Way::New { temporary, owner, like, comment } => {
            make(means, &mut session, &plan.recipe, (Work::Restore, temporary), None)?;
            let finished = |mut restored: Restored| {
                steady(means, &plan.database, |session| {
                    restored.warnings.extend(resemble(session, plan, temporary, owner.as_deref(), like)?);
                    name(means, session, plan, temporary, comment.as_deref())
                })?;
                Ok(restored)
            };
            let done = filled(means, &mut session, &plan.recipe, &plan.wanted, temporary).and_then(finished);
            done.map_err(|failure| leftovers::give_up(means, temporary, failure))
        }
        Way::Swap { temporary, keep_as, drop_old, old, .. } => {
            make(means, &mut session, &plan.recipe, (Work::Restore, temporary), Some(&old.tablespace))?;
            let mut restored = filled(means, &mut session, &plan.recipe, &plan.wanted, temporary)
                .and_then(|restored| swap(means, plan, temporary, keep_as, old).map(|()| restored))
                .map_err(|failure| leftovers::give_up(means, temporary, failure))?;
            // Where nobody gets in, no worker does.
            if old.allows_connections && !drop_old {
                restored.warnings.extend(ties::silence(means, keep_as));
            }
            Ok(if *drop_old { without_old(means, plan, keep_as, restored) } else { restored })
        }
    };
    let mut restored = restored.map_err(|undone| Undone { failure: made.beside(&mut session, undone.failure), ..undone })?.timed(began);
    let late = std::mem::take(&mut restored.warnings).into_iter().filter(|words| !plan.warnings.contains(words));
    restored.warnings = plan.warnings.iter().cloned().chain(made.said).chain(late).collect();
    restored.warnings.extend(left.warnings());
    // What can't be asked any more undoes nothing.
    restored.warnings.extend(steady(means, &plan.database, |session| ties::restored(means, session, plan)).unwrap_or_default());
    Ok(restored)
}

/// Refuses a plan that was made before somebody else changed what it is about; nobody of ours does from here on.
fn still_so(session: &mut Session, plan: &Plan) -> Result<()> {
    let found = session.find_database(&plan.database)?;
    let words = match (&plan.way, found) {
        (Way::New { .. }, Some(_)) => format!("the database {:?} has been made since the restore was planned", plan.database),
        (Way::Swap { .. } | Way::Fill | Way::InPlace, None) => {
            format!("the database {:?} has gone since the restore was planned", plan.database)
        }
        (Way::Swap { old, .. }, Some(found)) if found.oid != old.oid => {
            format!(
                "the database {:?} is another one than when the restore was planned: somebody has put it there meanwhile",
                plan.database
            )
        }
        _ => return Ok(()),
    };
    Err(Failure::new(Cause::Refused, words).hint("look at what is there now, and restore again if that is still wanted"))
}

/// The same of what the target has of a part: what is made because it was missing must still be missing.
fn same_part(means: Means<'_>, plan: &Plan) -> Result<()> {
    let Some((fate, asked)) = &plan.part else { return Ok(()) };
    let recipe = Recipe { chosen: Some(asked.clone()), ..plan.recipe.clone() };
    if settle::settle(means, &plan.database, &recipe, *fate)? == plan.recipe.chosen {
        return Ok(());
    }
    let words = format!("what the database {:?} has of what would be restored has changed since the restore was planned", plan.database);
    Err(Failure::new(Cause::Refused, words).hint("look at what is there now, and restore again if that is still wanted"))
}

/// Makes a database like the original, marked as unfinished; returns its name.
pub(super) fn make(
    means: Means<'_>,
    session: &mut Session,
    recipe: &Recipe,
    (work, name): (Work, &str),
    tablespace: Option<&str>,
) -> Result<String, Undone> {
    feed::cancelled(means.cancel)?;
    let like = means.manifest.database_properties.as_ref();
    let made = database::create(name, like, tablespace, recipe.server.version_num).and_then(|text| session.carry_out(&text));
    made.map_err(|failure| failure.context(format!("making the database {name:?}")))?;
    let marks = [database::mark(work, name, means.run.as_str(), &means.manifest.project), database::hasten(name)];
    let marked = session.carry_out_together(&marks);
    marked.map_err(|failure| leftovers::give_up(means, name, failure))?;
    Ok(name.to_owned())
}

/// Fills it. What differs from the backup is a failure, unless errors were to be passed over.
pub(super) fn filled(means: Means<'_>, session: &mut Session, recipe: &Recipe, wanted: &Wanted, name: &str) -> Result<Restored> {
    let restored = fill::fill(means, session, recipe, wanted, (name, Whole::Apart))?;
    feed::cancelled(means.cancel)?;
    match restored.problems.first() {
        Some(first) if wanted.at_error == AtError::Stop => {
            Err(Failure::new(Cause::RestoreFailed, format!("what was restored is not what was backed up: {first}"))
                .hint("the target is as it was; verify the backup, and look for what changes rows while they are restored")
                .detail(restored.problems.join("\n")))
        }
        _ => Ok(restored),
    }
}

/// A session whose work is too short to be ended in its middle: an answer that nobody waited for would leave open what was done.
fn steady<T>(means: Means<'_>, target: &str, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
    let fresh = Cancel::new();
    let calm = Means { cancel: &fresh, ..means };
    work(&mut before::maintenance(calm, target)?)
}

/// The finished database becomes what the original was to its applications. What this role may not do is told.
fn resemble(session: &mut Session, plan: &Plan, temporary: &str, owner: Option<&str>, like: &[String]) -> Result<Vec<String>> {
    let own = [Some(database::unhasten(temporary)), owner.map(|owner| database::give(temporary, owner))];
    for statement in own.iter().flatten() {
        let done = session.carry_out(statement);
        done.map_err(|failure| failure.context(String::from("making the restored database what the original was")))?;
    }
    let refused = like.iter().filter_map(|statement| {
        let failure = session.carry_out(statement).err()?;
        let statement = statement.replace(&quote::ident(temporary), &quote::ident(&plan.database));
        // A setting's value may be a secret.
        let told = statement.split_once(" to E'").map_or(statement.as_str(), |(told, _)| told);
        Some(format!("the database is not all that the original was, for want of `{told}`: {failure}"))
    });
    Ok(refused.collect())
}

/// The finished database gets its name, and its comment in place of the mark of an unfinished one.
fn name(means: Means<'_>, session: &mut Session, plan: &Plan, temporary: &str, comment: Option<&str>) -> Result<()> {
    let statements = [database::comment(temporary, comment), database::rename(temporary, &plan.database)];
    let ours = session.find_database(temporary)?.map(|found| found.oid);
    let done = session.carry_out_together(&statements);
    let done = unless_it_came_through(means, plan, done, (&plan.database, ours));
    done.map_err(|failure| failure.context(format!("giving the restored database its name {:?}", plan.database)))
}

/// A connection that breaks at the very commit leaves its outcome open; the database tells that then has the name, unless it is another one.
fn unless_it_came_through(means: Means<'_>, plan: &Plan, done: Result<()>, (name, oid): (&str, Option<u64>)) -> Result<()> {
    let has_it = |session: &mut Session| Ok(session.find_database(name)?.map(|found| found.oid));
    match done {
        Err(_) if oid.is_some() && steady(means, &plan.database, has_it).is_ok_and(|found| found == oid) => Ok(()),
        done => done,
    }
}

/// The finished database takes the place of the old one: everything that makes it the same to its applications, and both names, at once.
fn swap(means: Means<'_>, plan: &Plan, temporary: &str, keep_as: &str, old: &Database) -> Result<()> {
    let mut statements = vec![database::unhasten(temporary)];
    statements.extend(database::alike(temporary, old));
    statements.push(database::rename(&plan.database, keep_as));
    statements.push(database::rename(temporary, &plan.database));
    let over = Cancel::new();
    let done = std::thread::scope(|scope| {
        scope.spawn(|| keep_out(means, plan, &over));
        let done = steady(means, &plan.database, |session| {
            session.end_sessions(&plan.database)?;
            session.carry_out_together(&statements)
        });
        over.cancel(CancelReason::Cancelled);
        done
    });
    let done = unless_it_came_through(means, plan, done, (keep_as, Some(old.oid)));
    done.map_err(|failure| {
        let failure = failure.context(format!("putting the restored database in the place of {:?}", plan.database));
        if failure.hint.is_some() {
            return failure;
        }
        failure.hint(
            "the old database is as it was; end the sessions and prepared transactions in it that this role may not end, or use --user",
        )
    })
}

/// Ends the sessions that come in while the names change: the server waits some seconds for them to go before it gives up.
fn keep_out(means: Means<'_>, plan: &Plan, over: &Cancel) {
    let fresh = Cancel::new();
    let calm = Means { cancel: &fresh, ..means };
    let Ok(mut session) = before::maintenance(calm, &plan.database) else { return };
    while over.wait_timeout(AGAIN).is_none() {
        if session.end_sessions(&plan.database).is_err() {
            return;
        }
    }
}

fn without_old(means: Means<'_>, plan: &Plan, keep_as: &str, mut restored: Restored) -> Restored {
    // Somebody may have begun to use what was empty when it was looked at.
    let still_empty = !plan.was_empty || before::holds(means, keep_as).is_ok_and(|holds| holds.is_empty());
    if !still_empty {
        restored.warnings.push(format!("the database was empty when it was looked at and isn't any more: it stays as {keep_as}"));
        restored.warnings.extend(ties::silence(means, keep_as));
        return restored;
    }
    if let Err(why) = leftovers::remove_old(means, keep_as) {
        restored.warnings.push(format!("the old database could not be dropped and stays as {keep_as}: {why}"));
        restored.warnings.extend(ties::silence(means, keep_as));
    }
    restored
}
