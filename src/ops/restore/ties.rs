//! What ties a database to others, where that database is replaced, dropped, or has its objects made again: subscriptions, logical
//! replication slots and prepared transactions. What can't be done with them is refused before a byte is written. Nothing here touches what
//! a publisher keeps: slots there are its people's to drop.

use std::collections::BTreeSet;

use crate::error::{Cause, Failure, Result};
use crate::postgres::archive::toc::Entry;
use crate::postgres::dump::beside;
use crate::postgres::quote::{ident, literal};
use crate::postgres::restore::{AtError, Halves};
use crate::postgres::session::Session;
use crate::postgres::ties::{Slot, Subscription, Ties};
use crate::process::Cancel;

use super::choose::RELATIONS;
use super::{Means, Plan, Recipe, Wanted, Way, before};

/// Refuses where the role may not make the subscriptions that the backup holds.
pub(super) fn makeable(session: &mut Session, entries: &[&Entry], wanted: &Wanted) -> Result<()> {
    let names: Vec<&str> = of_archive(entries).collect();
    if names.is_empty() || wanted.halves == Halves::Data || wanted.at_error == AtError::GoOn || session.makes_subscriptions()? {
        return Ok(());
    }
    let (role, version) = (&session.server().role, session.server().version_num);
    let words = format!("the backup holds the subscription {}, and the role {role} may not make one", names.join(", "));
    let granted = if version < 160_000 { String::new() } else { format!("GRANT pg_create_subscription TO \"{role}\"; or ") };
    Err(Failure::new(Cause::Refused, words)
        .hint(format!("{granted}restore as a superuser with --user; or let that error pass with --keep-going")))
}

/// Refuses a database that can't be replaced as it is, or with which something would go that others count on.
pub(super) fn replaceable(session: &Session, database: &str, ties: &Ties, drop_old: bool) -> Result<()> {
    nothing_prepared(database, ties, "replaced")?;
    if drop_old && !ties.slots.is_empty() {
        let drops: Vec<String> = ties.slots.iter().map(|slot| dropped(&slot.name)).collect();
        let words = format!(
            "the database {database:?} would be dropped together with its logical replication slots, by which others read it: {}",
            named(ties)
        );
        return Err(Failure::new(Cause::Refused, words).hint(format!(
            "restore with --replace alone, which keeps the old database with them; or end who reads by them, and type in psql in {database:?}: {}",
            drops.join("; ")
        )));
    }
    let others = ties.subscriptions.iter().find(|one| !one.ours && (one.enabled || drop_old));
    if let Some(other) = others {
        let may = if drop_old { "drop" } else { "disable" };
        let words = format!(
            "the database {database:?} has the subscription {}, which the role {} may not {may}: it would go on writing into the old database",
            other.name,
            session.server().role
        );
        let lines = if drop_old { other.dropped().join("; ") } else { other.disabled() };
        return Err(Failure::new(Cause::Refused, words)
            .hint(format!("restore as {} with --user; or type as that role in {database:?}: {lines}", keeper(other))));
    }
    Ok(())
}

/// Who may change it.
fn keeper(one: &Subscription) -> String {
    if one.superusers { String::from("a superuser") } else { format!("{} or a superuser", one.owner) }
}

/// Refuses while transactions are prepared in the database, whose locks nobody else's end lets go.
fn nothing_prepared(database: &str, ties: &Ties, done: &str) -> Result<()> {
    if ties.prepared.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = ties.prepared.iter().map(|one| format!("{:?} of {}", one.gid, one.owner)).collect();
    let ways: Vec<String> = ties.prepared.iter().map(|one| one.ended().join("; or ")).collect();
    let words =
        format!("prepared transactions hold the database {database:?}, which can't be {done} before they have ended: {}", names.join(", "));
    Err(Failure::new(Cause::Refused, words).hint(format!("type in psql in {database:?}: {}", ways.join("; and "))))
}

/// What a person should know before a database is replaced.
pub(super) fn told(way: &Way) -> Vec<String> {
    let Way::Swap { keep_as, ties, .. } = way else { return Vec::new() };
    let drops: Vec<String> = ties.slots.iter().map(|slot| dropped(&slot.name)).collect();
    let stay = format!(
        "logical replication slots stay with the old database: {}; who reads by them gets nothing of the restored one before that is set up \
         anew, and they keep WAL on this server until somebody drops them: in {keep_as:?}, {}",
        named(ties),
        drops.join("; ")
    );
    if ties.slots.is_empty() { Vec::new() } else { vec![stay] }
}

fn named(ties: &Ties) -> String {
    let one = |slot: &Slot| match &slot.reader {
        Some(reader) => format!("{} (in use by {reader})", slot.name),
        None => slot.name.clone(),
    };
    ties.slots.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn dropped(slot: &str) -> String {
    format!("select pg_drop_replication_slot({})", literal(slot))
}

/// Refuses a restore in place that prepared transactions would hold up, and one where a subscription writes into what would be dropped and made
/// again, or would have to be dropped itself: the server does that in no transaction, and one that stays passes over every change of a table
/// that it doesn't know.
pub(super) fn lets_go(means: Means<'_>, session: &mut Session, target: &str, recipe: &Recipe) -> Result<()> {
    let ties = session.ties(target)?;
    if recipe.chosen.is_none() {
        nothing_prepared(target, &ties, "restored in place")?;
    }
    let mut found = ties.subscriptions;
    if found.is_empty() {
        return Ok(());
    }
    let entries = recipe.entries();
    let relations = entries.iter().filter(|entry| RELATIONS.contains(&entry.desc.as_str()));
    let relations: Vec<(&str, &str)> =
        relations.map(|entry| (entry.namespace.as_deref().unwrap_or_default(), entry.tag.as_str())).collect();
    let mut inside = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let writing = inside.subscribed(&relations)?;
    let comes = |name: &str| of_archive(&entries).any(|of| of == name);
    found.retain(|one| comes(&one.name) || writing.contains(&one.name));
    let Some(first) = found.first() else { return Ok(()) };
    let names: Vec<&str> = found.iter().map(|one| one.name.as_str()).collect();
    let lines: Vec<String> = found.iter().flat_map(Subscription::dropped).collect();
    let after = if comes(&first.name) { "the backup brings it back, disabled" } else { "make it again afterwards" };
    let words = format!(
        "the subscription {} of {target:?} can't be dropped and made again in a transaction, and would pass over all changes of tables that are",
        names.join(", ")
    );
    Err(Failure::new(Cause::Refused, words).hint(format!(
        "drop it first, which leaves its slot at the publisher alone, and {after}: type in psql in {target:?}: {}; or restore with --replace",
        lines.join("; ")
    )))
}

fn of_archive<'a>(entries: &'a [&Entry]) -> impl Iterator<Item = &'a str> {
    entries.iter().filter(|entry| entry.desc == "SUBSCRIPTION").map(|entry| entry.tag.as_str())
}

/// Drops the subscriptions in a database that is about to be dropped, which the server refuses while there are any.
pub(super) fn release(server: before::Server<'_>, session: &mut Session, database: &str) -> Result<()> {
    let subscriptions = session.ties(database)?.subscriptions;
    if subscriptions.is_empty() {
        return Ok(());
    }
    let before::Server { clients, access, limits, cancel, name } = server;
    let statements: Vec<String> = subscriptions.iter().flat_map(Subscription::dropped).collect();
    let done = Session::open(clients.newest(), access, Some(database), name, limits, cancel)
        .and_then(|mut inside| inside.carry_out_together(&statements));
    done.map_err(|failure| {
        let keepers: BTreeSet<String> = subscriptions.iter().map(keeper).collect();
        let keepers = keepers.into_iter().collect::<Vec<_>>().join(", ");
        let hint = format!("as {keepers}, type in psql in {database:?}: {}", statements.join("; "));
        failure.context(format!("dropping the subscriptions in {database:?}")).hint(hint)
    })
}

/// Lets no subscription write into the database that was replaced. Until then it was in use, and what came in between is in it alone, as all that
/// came since the backup.
pub(super) fn silence(means: Means<'_>, keep_as: &str) -> Vec<String> {
    let fresh = Cancel::new();
    let calm = Means { cancel: &fresh, ..means };
    let mut session = match before::maintenance(calm, keep_as) {
        Ok(session) => session,
        Err(failure) => return vec![format!("it could not be asked whether subscriptions still write into {keep_as:?}: {failure}")],
    };
    let enabled: Vec<Subscription> = match session.ties(keep_as) {
        Ok(ties) => ties.subscriptions.into_iter().filter(|one| one.enabled).collect(),
        Err(failure) => return vec![format!("it could not be asked whether subscriptions still write into {keep_as:?}: {failure}")],
    };
    if enabled.is_empty() {
        return Vec::new();
    }
    let statements: Vec<String> = enabled.iter().map(Subscription::disabled).collect();
    let names = enabled.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
    let done = Session::open(means.clients.newest(), means.access, Some(keep_as), &beside(means.run), means.limits, &fresh)
        .and_then(|mut inside| inside.carry_out_together(&statements));
    vec![match done {
        Ok(()) => format!("the subscription {names} of the old database is disabled now, so that it no longer writes into it"),
        Err(failure) => format!(
            "the subscription {names} still writes into the old database, and could not be disabled ({failure}): type in psql in {keep_as:?}: {}",
            statements.join("; ")
        ),
    }]
}

/// What is to be known of the subscriptions that were restored, and of those that were not.
pub(super) fn restored(means: Means<'_>, session: &mut Session, plan: &Plan) -> Result<Vec<String>> {
    let entries = plan.recipe.entries();
    let is_new = matches!(plan.way, Way::New { .. } | Way::Swap { .. });
    let mut found = session.ties(&plan.database)?.subscriptions;
    found.retain(|one| is_new || plan.recipe.toc.is_none() || of_archive(&entries).any(|name| name == one.name));
    let mut said: Vec<String> = found.iter().filter(|one| !one.enabled).map(|one| to_be_revived(means, plan, one)).collect();
    if let Way::Swap { ties, .. } = &plan.way {
        let gone = ties.subscriptions.iter().map(|one| one.name.as_str()).filter(|name| !found.iter().any(|one| one.name == *name));
        let gone = gone.collect::<Vec<_>>().join(", ");
        if !gone.is_empty() {
            said.push(format!(
                "the subscription {gone} of the old database is not in the backup: pg_dump takes subscriptions along only as a superuser"
            ));
        }
    }
    Ok(said)
}

/// In the order that loses nothing: a worker that begins before the tables are known passes over their changes, and the server lets only a
/// subscription that is enabled learn them. So it is enabled with a slot that isn't there.
fn to_be_revived(means: Means<'_>, plan: &Plan, one: &Subscription) -> String {
    let alter = format!("alter subscription {}", ident(&one.name));
    let (given, slot) = match &one.slot {
        Some(slot) => (literal(slot), format!("its slot {slot:?}")),
        None => (String::from("…"), String::from("its slot")),
    };
    format!(
        "the subscription {} came back disabled and without its tables, as pg_dump writes it; where no other database has it enabled, it goes \
         on by, in {:?} and in this order, which passes over nothing: {alter} set (slot_name = {NO_SLOT}); {alter} enable; {alter} refresh \
         publication with (copy_data = false); {alter} set (slot_name = {given}). What {slot} has given out since the backup ({}) does not \
         come again: to copy all of it, empty its tables first and leave out the with (…). Until then the slot keeps WAL at the publisher",
        one.name,
        plan.database,
        means.manifest.backup_timestamp.format("%Y-%m-%d %H:%M UTC"),
    )
}

/// The name of no slot.
const NO_SLOT: &str = "'not_before_it_knows_its_tables'";
