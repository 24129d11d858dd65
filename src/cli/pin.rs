//! `pgdumpd pin` and `pgdumpd unpin`

use crate::error::Result;
use crate::ops::pin;

use super::exit::Exit;
use super::{Common, out, pick, world};

/// Keep a backup, or let the retention decide again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or latest
    backup: String,
}

pub(super) fn run(common: &Common, args: &Args, pinned: bool) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::existing(common, &settings)?;
    let row = pin::pin(&world, &pick::backup(&world, &settings, &args.backup)?, pinned)?;
    world.audit(if pinned { "pin" } else { "unpin" }, Some(&row.project), &row.file, "ok")?;
    if common.json {
        out::json(&row)?;
    } else {
        out::say(format!("{} {}/{} is {}", row.id, row.project, row.database, if pinned { "pinned" } else { "no longer pinned" }));
    }
    Ok(Exit::Done)
}
