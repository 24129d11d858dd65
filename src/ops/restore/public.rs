//! The schema `public` where the target lacks it: no dump makes it, since new databases have it, and what is in it needs it.

use crate::error::Result;
use crate::model::backup::Manifest;
use crate::postgres::archive::toc::Entry;
use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::process::Cancel;

use super::{Means, Plan, Recipe};

const PUBLIC: &str = "public";

/// Whether what is restored needs the schema and the database has none.
pub(super) fn is_lacking(means: Means<'_>, target: &str, recipe: &Recipe) -> Result<bool> {
    Ok(is_needed(means.manifest, recipe) && open(means, target, means.cancel)?.lacks_public()?)
}

fn is_needed(manifest: &Manifest, recipe: &Recipe) -> bool {
    let about = |entry: &&Entry| (entry.desc == "SCHEMA" && entry.tag == PUBLIC) || entry.tag == "SCHEMA public";
    let within = |entry: &&Entry| entry.namespace.as_deref() == Some(PUBLIC);
    match &recipe.toc {
        Some(_) => recipe.entries().iter().any(|entry| about(entry) || within(entry)),
        // Of a script only the tables are known.
        None => manifest.tables.iter().any(|table| table.schema == PUBLIC),
    }
}

/// Does the work in a database that has the schema, and leaves it without where it had none and the work failed.
pub(super) fn provided<T>(means: Means<'_>, plan: &Plan, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if !plan.makes_public {
        return work();
    }
    let fresh = Cancel::new();
    let made = open(means, &plan.database, &fresh).and_then(|mut session| session.make_public());
    made.map_err(|failure| failure.context(format!("making the schema public in {:?}", plan.database)))?;
    work().inspect_err(|_| {
        if let Err(failure) = open(means, &plan.database, &fresh).and_then(|mut session| session.drop_public()) {
            tracing::warn!(run = %means.run, database = plan.database, "the schema public stays, which was made for the restore: {failure}");
        }
    })
}

fn open(means: Means<'_>, target: &str, cancel: &Cancel) -> Result<Session> {
    Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, cancel)
}
