//! How a backup is named on the command line: its id (or the beginning of it), its file, `PROJECT@latest`, or `latest`.

use crate::error::{Cause, Failure, Result};
use crate::model::backup::BackupRow;
use crate::ops::World;

/// The backup that is meant.
pub(super) fn backup(world: &World, name: &str) -> Result<BackupRow> {
    let found = if name == "latest" {
        world.catalog.latest_of_all()?
    } else if let Some((project, "latest")) = name.rsplit_once('@') {
        let (project, database) = project.split_once('/').map_or((project, None), |(project, database)| (project, Some(database)));
        world.catalog.latest_backup(project, database, None)?
    } else {
        let mut matches = world.catalog.find_backups(name)?;
        if matches.len() > 1 {
            let ids: Vec<String> = matches.iter().map(|row| format!("{} ({}/{})", row.id, row.project, row.database)).collect();
            return Err(Failure::new(Cause::NotFound, format!("{name:?} could be any of {} backups", matches.len())).hint(ids.join(", ")));
        }
        matches.pop()
    };
    found.ok_or_else(|| {
        Failure::new(Cause::NotFound, format!("there is no backup {name:?}"))
            .hint("`pgdumpd list` shows their ids; a file name, PROJECT@latest, PROJECT/DATABASE@latest or latest will do as well")
    })
}
