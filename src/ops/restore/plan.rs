//! The plan of a restore: asked for without touching anything, printed as it is, and then carried out as that very value.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Result;
use crate::model::backup::RunId;
use crate::model::dump::Format;
use crate::postgres::restore::Halves;

use super::choose::Chosen;
use super::settle::Fate;
use super::way::{self, Occupied, Order, Way};
use super::{Globals, Means, Recipe, Wanted, before, likeness, public, recipe, room, steps, ties};

/// A restore, ready to be carried out.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Names the restore.
    pub run: RunId,
    /// The backup.
    pub backup: RunId,
    /// Its project.
    pub project: String,
    /// The database it is of.
    pub of: String,
    /// When it was made.
    pub made: DateTime<Utc>,
    /// Where the target is.
    pub server: String,
    /// The server's version.
    pub server_version: String,
    /// The client's version.
    pub client_version: String,
    /// The target database.
    pub database: String,
    /// The way there.
    pub way: Way,
    /// How much, and how.
    pub wanted: Wanted,
    /// Tables whose rows are restored.
    pub tables: u64,
    /// Their rows, where all are known.
    pub rows: Option<u64>,
    /// Length of the archive, bytes.
    pub bytes: u64,
    /// What will be done, in order, a line each.
    pub steps: Vec<String>,
    /// What a person should know before.
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub(super) recipe: Recipe,
    #[serde(skip)]
    pub(super) globals: Option<Globals>,
    /// A part that goes into a database that holds something: what was asked for, before that database was.
    #[serde(skip)]
    pub(super) part: Option<(Fate, Chosen)>,
    /// Whether the schema `public` is made first, which the target lacks.
    #[serde(skip)]
    pub(super) makes_public: bool,
    /// Whether the target was there and held nothing.
    #[serde(skip)]
    pub(super) was_empty: bool,
}

/// Asks everything; refuses what would overwrite something or could not succeed. Nothing is written anywhere.
pub fn plan(means: Means<'_>, order: &Order, now: DateTime<Utc>) -> Result<Plan> {
    way::names_fit(&order.database)?;
    let mut session = before::maintenance(means, &order.database)?;
    let mut recipe = recipe::recipe(means, &order.wanted, &session.server().clone())?;
    before::server(means, &mut session, &recipe, &order.wanted, order.globals.as_ref(), (&order.database, room::HINT))?;
    let rights = session.database_rights()?;
    let (mut warnings, asked) = (Vec::new(), recipe.chosen.clone());
    let (way, fate) = match session.find_database(&order.database)? {
        None => (way::new(means, order, &mut session, rights, &mut warnings)?, None),
        Some(old) => way::over(means, order, &mut session, &mut recipe, rights, old, now)?,
    };
    warnings.extend(recipe.told());
    warnings.extend(ties::told(&way));
    if let Some(globals) = &order.globals {
        warnings.extend(globals.warning(&mut session)?);
    }
    before::writable(means, &mut session, order, &way)?;
    let is_there = matches!(way, Way::Fill | Way::InPlace);
    if is_there {
        likeness::of_old(means, &mut session, &order.database, &mut warnings)?;
        if !way::rows_alone(means, order) {
            likeness::grants_of_old(means, &order.database, &mut warnings)?;
        }
    }
    let several = matches!(means.manifest.dump_format, Format::Custom | Format::Directory);
    if is_there && several && order.wanted.jobs > 1 {
        warnings.push(format!("it is restored by one connection, not {}, as all of it is one transaction", order.wanted.jobs));
    }
    let makes_public = is_there && public::is_lacking(means, &order.database, &recipe)?;
    let tables = recipe.tables(&means.manifest.tables);
    let rows = order.wanted.halves != Halves::Schema;
    let mut plan = Plan {
        run: means.run.clone(),
        backup: means.manifest.backup_id.clone(),
        project: means.manifest.project.clone(),
        of: means.manifest.database_name.clone(),
        made: means.manifest.backup_timestamp,
        server: recipe.server.reached.to_string(),
        server_version: recipe.server.version.clone(),
        client_version: recipe.client.version.clone(),
        database: order.database.clone(),
        way,
        wanted: order.wanted.clone(),
        tables: if rows { tables.len() as u64 } else { 0 },
        rows: tables.iter().map(|table| table.rows).sum::<Option<u64>>().filter(|_| rows),
        bytes: means.manifest.uncompressed_size_bytes,
        steps: Vec::new(),
        warnings,
        recipe,
        globals: order.globals.clone(),
        part: fate.zip(asked),
        makes_public,
        was_empty: order.occupied == Occupied::Refuse,
    };
    plan.steps = steps::steps(means, &plan)?;
    if let Some(globals) = &plan.globals {
        plan.steps.insert(0, format!("make the roles and tablespaces of the backup {} that the server lacks", globals.backup));
    }
    Ok(plan)
}
