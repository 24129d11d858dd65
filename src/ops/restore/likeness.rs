//! How far a database is the original's like: what a new one still needs to be it, and whether one that is there can hold what the backup has.

use crate::error::{Cause, Failure, Result};
use crate::model::database::DatabaseProperties;
use crate::postgres::database;
use crate::postgres::dump::beside;
use crate::postgres::session::Session;

use super::Means;
use super::way::{Order, comes};

/// An encoding in which the server takes every byte for what it is, and converts none.
const ANY: &str = "SQL_ASCII";

/// The statements that make a new database what the original was to its applications, as far as the roles are there; the database is
/// `owner`'s by then.
pub(super) fn of_new(
    means: Means<'_>,
    order: &Order,
    session: &mut Session,
    (name, owner): (&str, &str),
    warnings: &mut Vec<String>,
) -> Result<Vec<String>> {
    let Some(mut like) = means.manifest.database_properties.clone() else { return Ok(Vec::new()) };
    if order.wanted.no_privileges {
        like.grants = None;
        like.settings.retain(|setting| setting.role.is_none());
    }
    let mut missing = session.missing_roles(&like.roles())?;
    missing.retain(|role| !comes(order, role));
    if !missing.is_empty() {
        let gone = |role: &Option<String>| role.as_ref().is_some_and(|role| missing.contains(role));
        like.grants.iter_mut().for_each(|grants| grants.retain(|grant| !gone(&grant.to)));
        like.settings.retain(|setting| !gone(&setting.role));
        warnings.push(format!(
            "privileges on the database and settings in it are left out of roles that are not there: {}",
            missing.join(", ")
        ));
    }
    Ok(database::resembling(name, owner, &like))
}

/// Refuses a database that is there where its encoding can't take the backup's text, and tells where text would be sorted another way.
pub(super) fn of_old(means: Means<'_>, session: &mut Session, name: &str, warnings: &mut Vec<String>) -> Result<()> {
    let Some(of) = &means.manifest.database_properties else { return Ok(()) };
    let here = session.properties_of(name)?;
    if here.encoding != of.encoding {
        let words = format!("the database {name:?} has the encoding {}, and the backup is of one in {}", here.encoding, of.encoding);
        if here.encoding == ANY || of.encoding != ANY && !session.converts(&of.encoding, &here.encoding)? {
            return Err(Failure::new(Cause::Refused, words).hint(format!(
                "drop the empty one, and a restore to {name} makes it like the original; or restore to a new one: --to {}_restored",
                means.manifest.database_name
            )));
        }
        if of.encoding == ANY || here.encoding != "UTF8" {
            warnings.push(format!("{words}: text that {} does not know ends the restore", here.encoding));
        }
    }
    let (theirs, ours) = (locale(of), locale(&here));
    if theirs != ours {
        warnings.push(format!("the database {name:?} sorts text by {ours}, the original did by {theirs}"));
    }
    Ok(())
}

/// Tells what is set for objects that the role makes in a database that is there: it adds to what the backup grants, or takes from it.
pub(super) fn grants_of_old(means: Means<'_>, target: &str, warnings: &mut Vec<String>) -> Result<()> {
    let mut session = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let found = session.default_privileges()?;
    if found.is_empty() {
        return Ok(());
    }
    let (said, undone): (Vec<String>, Vec<String>) = found.into_iter().map(|one| (one.said, one.undone)).unzip();
    warnings.push(format!(
        "what is set for whatever the role {} makes in {target:?} (ALTER DEFAULT PRIVILEGES) holds for what is restored, beside what the backup \
         grants: {}; to restore without, type there first: {}",
        session.server().role,
        said.join(", "),
        undone.join("; ")
    ));
    Ok(())
}

/// `en_US.UTF-8 of libc`, by which text is compared; `C.utf8` and `C.UTF-8` are the same.
fn locale(like: &DatabaseProperties) -> String {
    let plain = |name: &str| name.replace(".utf8", ".UTF-8");
    let (collate, ctype) = (plain(&like.collate), plain(&like.ctype));
    match (like.locale_provider.as_deref(), &like.icu_locale) {
        (Some("i"), Some(locale)) => match &like.icu_rules {
            Some(rules) => format!("{locale} of ICU with the rules {rules:?}"),
            None => format!("{locale} of ICU"),
        },
        (Some("b"), Some(locale)) => format!("{locale} of PostgreSQL"),
        _ if collate == ctype => collate,
        _ => format!("{collate} (letters by {ctype})"),
    }
}
