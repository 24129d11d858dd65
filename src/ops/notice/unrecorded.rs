//! Runs that the catalog could not take: told past it while that lasts, and made up for once it can be written again.

use crate::alert::AlertKey;
use crate::catalog::Writer;
use crate::error::Result;
use crate::model::backup::RunId;
use crate::model::run::{Run, RunStatus};
use crate::notify::Message;
use crate::notify::group;

use super::super::World;
use super::{Desk, by_project, facts, known, put, ready, round, take_thread};

/// The mails about `runs`, of which the first `told` have become mail already, with the alerts that each begins. Nothing is written.
pub fn unrecorded(world: &World, desk: &Desk<'_>, runs: &[Run], told: usize) -> Result<Vec<(Message, Vec<AlertKey>)>> {
    let now = world.clock.now();
    let (earlier, runs) = runs.split_at(told.min(runs.len()));
    let earlier = by_project(earlier);
    world.catalog.read(|reader| {
        let mut waiting = Vec::new();
        for (name, runs) in by_project(runs) {
            let Some(project) = desk.settings.project(name) else { continue };
            let changes = round::beside(reader, project, earlier.get(name).map_or(&[], Vec::as_slice), &runs, now)?;
            waiting.extend(facts::letters(world, reader, desk, project, &changes, &runs, now)?);
        }
        Ok(ready(group::gather(waiting, now).0, now))
    })
}

/// Writes down runs that were told past the catalog, and what that made of their alerts.
pub fn record_told(tx: &Writer, desk: &Desk<'_>, runs: &[Run], begun: &[(AlertKey, String)]) -> Result<()> {
    for run in runs {
        tx.finish_run(run)?;
        if let Some(project) = desk.settings.project(&run.project) {
            round::follow(tx, project, run)?;
        }
    }
    // What a good backup means beyond its alert is looked at with the other untold ones; the end of an alert isn't told twice.
    let failed = runs.iter().filter(|run| run.status != RunStatus::Completed);
    tx.mark_told(&failed.map(|run| run.id.clone()).collect::<Vec<RunId>>())?;
    for (key, id) in begun {
        if let Some(alert) = known(tx, key)? {
            put(tx, &take_thread(alert, id))?;
        }
    }
    Ok(())
}
