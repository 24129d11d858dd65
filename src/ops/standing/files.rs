//! What the storages themselves say: whether they are there, and what of the last good backups.

use super::Standing;
use crate::model::settings::Settings;
use crate::ops::lost::Files;
use crate::ops::{World, mount};
use crate::shell;

/// Looks whether the storages of these projects are there, and the files of the backups that the answer calls good: between two runs, or
/// without a daemon, only this tells. What lacks a file is no good backup, and needs a person.
pub fn with_files(world: &World, settings: &Settings, standing: &mut Standing) {
    let projects = standing.projects.iter().filter_map(|project| settings.project(&project.project));
    for failure in mount::absent(world, projects).into_values() {
        let hint = failure.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        standing.problems.push(format!("{failure}; no backup can be made there{hint}"));
        standing.healthy = false;
    }
    let mut files = Files::of(world);
    for project in &mut standing.projects {
        let lacking: Vec<(usize, String)> =
            project.last_good.iter().enumerate().filter_map(|(at, row)| Some((at, files.lacks(row)?))).collect();
        for (at, why) in lacking {
            let row = &mut project.last_good[at];
            standing.problems.push(format!(
                "the newest good backup of {}/{} is GONE: {why}, and pgdumpd did not remove it; what is left: pgdumpd list {}",
                row.project,
                row.database,
                shell::word(&row.project)
            ));
            row.damaged = Some(why);
            standing.healthy = false;
        }
    }
}
