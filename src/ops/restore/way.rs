//! What is asked for, and the way a restore goes to its target: a new database, one that is filled as it is, one that is made beside and
//! swapped, or one in which everything is dropped and made again. What can't be done is refused here, before anything is touched.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::dump::{Content, Format};
use crate::postgres::content::Holds;
use crate::postgres::database::{self, Database, Rights};
use crate::postgres::restore::{AtError, Halves};
use crate::postgres::session::Session;
use crate::postgres::ties::Ties;
use crate::units::show_count;

use super::settle::{self, Fate};
use super::{Globals, Means, Recipe, Wanted, before, likeness, ties};

/// The longest name that PostgreSQL takes, bytes.
const LONGEST: usize = 63;

/// Templates that every server has, also where somebody has taken the mark from them.
const TEMPLATES: [&str; 2] = ["template0", "template1"];

/// What can be done with them where something is there.
const ROWS_ALONE: &str = "restore them without --replace and --in-place into tables that are empty, or merge a table's rows with \
                          --table TABLE --on-conflict skip";

/// What to do where the target holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occupied {
    /// Refuse.
    #[default]
    Refuse,
    /// Restore beside it and swap; the old one is kept under a dated name, or dropped.
    Replace {
        /// Drop it afterwards.
        drop_old: bool,
    },
    /// Drop and make each object, in one transaction.
    InPlace,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The target database.
    pub database: String,
    /// How much, and how.
    pub wanted: Wanted,
    /// What to do where it holds something.
    pub occupied: Occupied,
    /// Roles and tablespaces to be restored before.
    pub globals: Option<Globals>,
}

/// The way to the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Way {
    /// It doesn't exist: made under a temporary name, filled, checked, named.
    New {
        /// The name meanwhile.
        temporary: String,
        /// The role it is given to; unset leaves it to the connecting role.
        owner: Option<String>,
        /// Statements that make it what the original was to its applications. One that is refused is told, and the restore stands.
        like: Vec<String>,
        /// The original's comment.
        comment: Option<String>,
    },
    /// It is there: filled in one transaction.
    Fill,
    /// It holds something: another is made beside it, filled, checked, and both names are changed in one transaction.
    Swap {
        /// The new one's name meanwhile.
        temporary: String,
        /// The old one's name afterwards.
        keep_as: String,
        /// Whether the old one is dropped at the end.
        drop_old: bool,
        /// The old one, whose owner, privileges, settings, limit and comment are carried over.
        old: Box<Database>,
        /// What ties the old one to others.
        ties: Ties,
    },
    /// It holds something: each object is dropped and made again, in one transaction.
    InPlace,
}

/// The server would cut a longer name, and somebody would look in vain for the database that was asked for.
pub(super) fn names_fit(name: &str) -> Result<()> {
    if name.len() <= LONGEST {
        return Ok(());
    }
    Err(Failure::new(Cause::Refused, format!("the name {name:?} has {} bytes, and PostgreSQL takes {LONGEST}", name.len()))
        .hint("choose a shorter one for --to"))
}

/// Templates are copied into every new database, and tools count on `postgres` being there to connect to.
fn not_the_servers_own(means: Means<'_>, order: &Order, old: &Database) -> Result<()> {
    let (name, of) = (order.database.as_str(), &means.manifest.database_name);
    let beside = format!("restore into a database of its own: --to {of}_restored");
    if old.is_template || TEMPLATES.contains(&name) {
        let words = format!("{name:?} is a template: every new database on the server would be a copy of the backup");
        return Err(Failure::new(Cause::Refused, words).hint(beside));
    }
    if name == "postgres" && of != "postgres" && order.occupied != Occupied::Refuse {
        let words = format!("\"postgres\" is the server's own database, to which tools connect, and the backup is of {of:?}");
        return Err(Failure::new(Cause::Refused, words).hint(beside));
    }
    Ok(())
}

/// The way to a database that isn't there.
pub(super) fn new(means: Means<'_>, order: &Order, session: &mut Session, rights: Rights, warnings: &mut Vec<String>) -> Result<Way> {
    if rows_alone(means, order) {
        return Err(Failure::new(Cause::Refused, format!("there is no database {:?} that rows alone could go into", order.database))
            .hint("restore definitions and rows, or name a database that has the tables"));
    }
    if !rights.creates {
        return Err(may_not_create(session, &order.database));
    }
    let owner = means.manifest.database_properties.as_ref().map(|like| like.owner.clone());
    let owner = owner.filter(|owner| !order.wanted.no_owner && *owner != session.server().role);
    let owner = match owner {
        Some(owner) if !comes(order, &owner) && !session.missing_roles(&[&owner])?.is_empty() => {
            warnings.push(format!(
                "the original belonged to {owner}, a role that is not there: the database will belong to {}",
                session.server().role
            ));
            None
        }
        Some(owner) if !rights.superuser && !comes(order, &owner) && !session.may_act_as(&owner)? => {
            warnings.push(format!("the role {} may not give the database to {owner}, and keeps it", session.server().role));
            None
        }
        other => other,
    };
    let (temporary, role) = (temporary(means.run), session.server().role.clone());
    let like = likeness::of_new(means, order, session, (&temporary, owner.as_ref().unwrap_or(&role)), warnings)?;
    let comment = means.manifest.database_properties.as_ref().and_then(|like| like.comment.clone());
    Ok(Way::New { temporary, owner, like, comment })
}

/// Whether only rows come: because only they are wanted, or because the backup holds nothing else.
pub(super) fn rows_alone(means: Means<'_>, order: &Order) -> bool {
    order.wanted.halves == Halves::Data || means.manifest.content == Content::Data
}

/// Whether a role is among those that are restored before.
pub(super) fn comes(order: &Order, role: &str) -> bool {
    order.globals.as_ref().is_some_and(|globals| globals.roles.iter().any(|name| name == role))
}

/// The way into a database that is there.
pub(super) fn over(
    means: Means<'_>,
    order: &Order,
    session: &mut Session,
    recipe: &mut Recipe,
    rights: Rights,
    old: Database,
    now: DateTime<Utc>,
) -> Result<(Way, Option<Fate>)> {
    not_the_servers_own(means, order, &old)?;
    if let Occupied::Replace { drop_old } = order.occupied {
        if drop_old {
            whole_for_whole(means, order)?;
        }
        return beside(means, order, session, rights, old, drop_old, now).map(|way| (way, None));
    }
    let holds = before::holds(means, &order.database)?;
    // Around its large objects it has transactions of its own, so that a failure would leave a part of it.
    let is_script = means.manifest.dump_format == Format::Plain;
    let fate = |fate| recipe.chosen.is_some().then_some(fate);
    let (way, fate) = match order.occupied {
        Occupied::InPlace if is_script => {
            return Err(Failure::new(Cause::Refused, "a plain dump can't drop what it makes: it is a script")
                .hint("put it in the place of the database with --replace"));
        }
        Occupied::InPlace if rows_alone(means, order) => {
            return Err(Failure::new(Cause::Refused, "rows alone drop and make nothing: they go into tables that are there and empty")
                .hint(ROWS_ALONE));
        }
        Occupied::InPlace => {
            recipe.readable(&order.database)?;
            (Way::InPlace, fate(Fate::Remade))
        }
        _ if rows_alone(means, order) => {
            recipe.readable(&order.database)?;
            before::takes_rows(means, &order.database, recipe)?;
            (Way::Fill, None)
        }
        _ if !holds.is_empty() => match fate(Fate::Added) {
            Some(added) if order.wanted.at_error == AtError::Stop => {
                recipe.readable(&order.database)?;
                (Way::Fill, Some(added))
            }
            _ => return Err(occupied(means, order, &holds)),
        },
        _ if fits_together(means, order, session, recipe)? && !(is_script && rights.creates && old.ours) => (Way::Fill, None),
        // Nothing is lost with the empty one.
        _ => (beside(means, order, session, rights, old, true, now)?, None),
    };
    if let Some(fate) = fate {
        recipe.chosen = settle::settle(means, &order.database, recipe, fate)?;
    }
    if way == Way::InPlace {
        settle::keeps_partitions(means, &order.database, recipe)?;
        ties::lets_go(means, session, &order.database, recipe)?;
        settle::keeps_rows(means, &order.database, recipe, &order.wanted)?;
    }
    Ok((way, fate))
}

/// Whether it can be one transaction: not with several connections, not with errors passed over, and not with more locks than there are.
fn fits_together(means: Means<'_>, order: &Order, session: &mut Session, recipe: &Recipe) -> Result<bool> {
    let made = recipe.entries().len() as u64 + means.manifest.large_objects;
    Ok(order.wanted.jobs <= 1 && order.wanted.at_error == AtError::Stop && made < session.lock_room()? / 2)
}

fn beside(
    means: Means<'_>,
    order: &Order,
    session: &mut Session,
    rights: Rights,
    old: Database,
    drop_old: bool,
    now: DateTime<Utc>,
) -> Result<Way> {
    if !order.wanted.is_whole() && !before::holds(means, &order.database)?.is_empty() {
        let hint = if rows_alone(means, order) { ROWS_ALONE } else { "restore the part into a new database, or use --in-place" };
        return Err(Failure::new(Cause::Refused, "a part of a backup can't take the place of a whole database").hint(hint));
    }
    if !rights.creates {
        return Err(may_not_create(session, &order.database));
    }
    if !old.ours {
        let words = format!("the role {} doesn't own the database {:?}", session.server().role, order.database);
        return Err(Failure::new(Cause::Refused, words).hint(format!("restore as its owner: --user {}", old.owner)));
    }
    let ties = session.ties(&order.database)?;
    ties::replaceable(session, &order.database, &ties, drop_old)?;
    let keep_as = dated(&order.database, now);
    Ok(Way::Swap { temporary: temporary(means.run), keep_as, drop_old, old: Box::new(old), ties })
}

/// What is dropped for good is a whole database; only another one may take its place.
fn whole_for_whole(means: Means<'_>, order: &Order) -> Result<()> {
    let selection = &means.manifest.selection;
    if selection.is_full() || selection.is_before_restore() || before::holds(means, &order.database)?.is_empty() {
        return Ok(());
    }
    let words = format!("the backup is one of a part ({selection}), and --drop-old would drop all that {:?} holds", order.database);
    Err(Failure::new(Cause::Configuration, words).hint("leave out --drop-old: the old database is then kept under a dated name"))
}

fn may_not_create(session: &Session, database: &str) -> Failure {
    let role = &session.server().role;
    Failure::new(Cause::Refused, format!("the role {role} may not make databases, and {database:?} has to be made"))
        .hint(format!("ALTER ROLE \"{role}\" CREATEDB, or restore as another role with --user, or into an empty database that is there"))
}

fn occupied(means: Means<'_>, order: &Order, holds: &Holds) -> Failure {
    let mut parts = Vec::new();
    if holds.relations > 0 {
        let more = if holds.relations > holds.names.len() as u64 { ", …" } else { "" };
        parts.push(format!(
            "{} ({}{more})",
            if holds.relations == 1 { String::from("a table or its like") } else { format!("{} tables and their like", holds.relations) },
            holds.names.join(", ")
        ));
    }
    if holds.large_objects > 0 {
        parts.push(show_count(holds.large_objects, "large object"));
    }
    if holds.others > 0 {
        let more = if holds.others > holds.other_names.len() as u64 { ", …" } else { "" };
        parts.push(format!("{} ({}{more})", show_count(holds.others, "other object"), holds.other_names.join(", ")));
    }
    let words = format!("the database {:?} is not empty: it holds {}", order.database, parts.join(", "));
    Failure::new(Cause::Refused, words).hint(format!(
        "put the backup in its place with --replace (the old one is kept under another name), or restore into a new database: --to {}_restored of backup {}",
        order.database, means.manifest.backup_id
    ))
}

/// The name of the database while it is being filled.
fn temporary(run: &RunId) -> String {
    format!("{}{run}", database::Work::Restore.prefix())
}

/// `shop_before_20261121T141500`, cut where the name would be too long.
fn dated(name: &str, now: DateTime<Utc>) -> String {
    let suffix = format!("_before_{}", now.format("%Y%m%dT%H%M%S"));
    let mut end = name.len().min(LONGEST - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_database_gets_a_dated_name_that_fits() {
        let now = DateTime::parse_from_rfc3339("2026-11-21T14:15:16Z").unwrap().to_utc();
        assert_eq!(dated("shop", now), "shop_before_20261121T141516");
        let long = dated(&"ä".repeat(31), now);
        assert!(long.len() <= LONGEST && long.ends_with("ä_before_20261121T141516"), "{long}");
    }
}
