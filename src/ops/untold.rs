//! What runs mean for the alerts, also before anybody was told of them.

use std::time::Duration;

use crate::alert::{self, Alert, AlertKey, Event};
use crate::catalog::Reader;
use crate::error::{Cause, Result};
use crate::model::run::{ANY_DATABASE, Run, RunStatus};

/// What a run means for its alert: nothing where it was ended on purpose or found the project in other hands, nor where it was the backup
/// before a restore, whose failure is the restore's, and told to whoever typed it.
#[must_use]
pub fn event_of(run: &Run) -> Option<Event> {
    if run.selection.is_before_restore() {
        return None;
    }
    match (run.status, &run.failure) {
        (RunStatus::Completed, _) => Some(Event::Succeeded),
        (RunStatus::Failed, Some(failure)) if failure.cause != Cause::Locked => Some(Event::Failed(failure.clone())),
        _ => None,
    }
}

/// The alerts as they will be once the runs that wait to be told have been: whoever asks meanwhile must not hear that all is well.
pub fn ahead(reader: &Reader, mut alerts: Vec<Alert>) -> Result<Vec<Alert>> {
    for run in reader.untold_runs()? {
        let Some(event) = event_of(&run) else { continue };
        let at = run.finished_at.unwrap_or(run.started_at);
        for key in keys(&run, &event) {
            let of_all = key.database != run.database;
            match alerts.iter_mut().find(|alert| alert.key == key) {
                Some(alert) => *alert = alert::decide(alert, &event, Duration::MAX, at).0,
                None if of_all => {}
                None => alerts.push(alert::decide(&Alert::new(key, at), &event, Duration::MAX, at).0),
            }
        }
    }
    Ok(alerts)
}

/// The alerts that a run is about. A good one also ends that of a failure that struck before any database was known; who was told of
/// that hears of this, too.
#[must_use]
pub fn keys(run: &Run, event: &Event) -> Vec<AlertKey> {
    let own = AlertKey { project: run.project.clone(), database: run.database.clone(), selection: run.selection.clone() };
    let of_all = AlertKey { database: String::from(ANY_DATABASE), ..own.clone() };
    if *event == Event::Succeeded && own != of_all { vec![own, of_all] } else { vec![own] }
}
