//! What a letter about backups that work again says: what was wrong, what there is now, and what of the project still isn't well.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::alert::{Alert, AlertKey, Status};
use crate::catalog::Reader;
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::project::Project;
use crate::model::run::ANY_DATABASE;
use crate::notify::letter::{About, LastGood, Open, Recovered};
use crate::units;

use super::super::{origin, there};
use super::facts::{last_good, newest, newest_of_each, next_of, selections};
use super::{Change, aged, known};

/// One letter of all that recovered together; `None` where nothing did.
pub(super) fn letter(tx: &Reader, project: &Project, about: &About, changes: &[&Change], now: DateTime<Utc>) -> Result<Option<Recovered>> {
    let Some(first) = changes.iter().min_by_key(|change| change.before.since) else { return Ok(None) };
    let mut backups = Vec::new();
    for change in changes {
        let all = newest_of_each(tx, &change.after.key)?;
        let new: Vec<BackupRow> = all.iter().filter(|row| row.started_at >= change.before.since).cloned().collect();
        for row in if new.is_empty() { all } else { new }.into_iter().map(last_good) {
            if !backups.iter().any(|known: &LastGood| known.file == row.file) {
                backups.push(row);
            }
        }
    }
    Ok(Some(Recovered {
        about: about.clone(),
        since: first.before.since,
        failures: changes.iter().map(|change| change.before.failures_in_row).max().unwrap_or(0),
        was: first.before.message.clone().unwrap_or_else(|| too_old(project, &first.before.key)),
        backups,
        open: open(tx, project, now)?,
        next: next_of(tx, project, &selections(changes), now)?,
    }))
}

/// What of the project fails still or has grown too old, also where nobody has ticked since.
fn open(tx: &Reader, project: &Project, now: DateTime<Utc>) -> Result<Vec<Open>> {
    let there = there::recall(tx, &project.name)?;
    let about_dumps = |key: &AlertKey| {
        key.of_schedule().is_none()
            && key.of_anomaly().is_none()
            && key.of_backup().is_none()
            && !key.is_drill()
            && !key.is_proofs()
            && !key.is_pruning()
            && there::subject(project, there.as_ref(), key).is_none()
    };
    let mut alerts: BTreeMap<AlertKey, Alert> =
        tx.alerts_of::<Alert>(&project.name)?.into_iter().map(|alert| (alert.key.clone(), alert)).collect();
    let of_each = origin::newest_good(tx, &[project])?.remove(&project.name).unwrap_or_default();
    if project.enabled && project.max_backup_age.is_some() {
        for step in aged(project, &of_each, there.as_ref(), now, &|key| known(tx, key))? {
            alerts.insert(step.after.key.clone(), step.after);
        }
    }
    let open = alerts.into_values().filter(|alert| alert.status != Status::Ok && about_dumps(&alert.key));
    open.map(|alert| {
        Ok(Open {
            selection: (!alert.key.selection.is_full()).then(|| alert.key.selection.to_string()),
            since: alert.since,
            last_good: newest(tx, &alert.key)?.map(last_good),
            database: alert.key.database,
            was: alert.message,
        })
    })
    .collect()
}

/// What was wrong where no run had failed.
fn too_old(project: &Project, key: &AlertKey) -> String {
    let of = if key.database == ANY_DATABASE { String::new() } else { format!(" of {}", key.database) };
    let allowed = project.max_backup_age.map(|limit| format!(" ({})", units::show_age(limit))).unwrap_or_default();
    format!("no good {}{of} within max_backup_age{allowed}", key.selection.backup())
}
