//! How a backup is named on the command line: its id (or the beginning of it), its file, `PROJECT@latest`, or `latest`.

use crate::catalog::BackupFilter;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::BackupRow;
use crate::ops::World;

/// As many candidates as are named where a name is ambiguous.
const AMBIGUOUS: u32 = 5;

/// The backup that is meant.
pub(super) fn backup(world: &World, name: &str) -> Result<BackupRow> {
    let found = if name == "latest" {
        world.catalog.read(|reader| reader.latest_backup(&BackupFilter::default()))?
    } else if let Some((project, "latest")) = name.rsplit_once('@') {
        let (project, database) = project.split_once('/').map_or((project, None), |(project, database)| (project, Some(database)));
        let filter = BackupFilter { project: Some(project.to_owned()), database: database.map(str::to_owned), ..BackupFilter::default() };
        world.catalog.read(|reader| reader.latest_backup(&filter))?
    } else {
        let mut matches = world.catalog.read(|reader| {
            let by_file = reader.backups_by_file(name)?;
            if by_file.is_empty() { reader.backups_by_prefix(name, AMBIGUOUS) } else { Ok(by_file) }
        })?;
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
