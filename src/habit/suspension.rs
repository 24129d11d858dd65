//! Whether a project's pruning is suspended, told from its backups alone, so that no lost catalog forgets it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::backup::{BackupRow, RunId, Trigger};
use crate::model::dump::Selection;

/// Why nothing of a project is pruned: the newest backup of one of its databases is suspicious, and nobody has accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspension {
    /// When the first of the suspicious ones in a row was started.
    pub since: DateTime<Utc>,
    /// The newest of them: the one to look at.
    pub backup: RunId,
    /// All of them, newest first.
    pub backups: Vec<RunId>,
    /// Database name.
    pub database: String,
    /// What is backed up.
    pub selection: Selection,
    /// What fell, with both figures.
    pub why: String,
}

/// The suspensions of one project's backups, in whatever order they come; one for each (database, selection) in doubt, the longest
/// standing first. Damaged and ad-hoc backups neither begin nor end one.
#[must_use]
pub fn suspension(backups: &[BackupRow]) -> Vec<Suspension> {
    let mut groups: BTreeMap<(&str, &Selection), Vec<&BackupRow>> = BTreeMap::new();
    for row in backups.iter().filter(|row| row.damaged.is_none() && row.trigger != Trigger::AdHoc) {
        groups.entry((&row.database, &row.selection)).or_default().push(row);
    }
    let mut found: Vec<Suspension> = groups.into_values().filter_map(of_group).collect();
    found.sort_by_key(|one| one.since);
    found
}

fn of_group(mut rows: Vec<&BackupRow>) -> Option<Suspension> {
    rows.sort_by(|one, other| other.started_at.cmp(&one.started_at).then_with(|| other.id.cmp(&one.id)));
    let doubted: Vec<&BackupRow> = rows.into_iter().take_while(|row| row.suspicious.is_some()).collect();
    let (newest, oldest) = (doubted.first()?, doubted.last()?);
    Some(Suspension {
        since: oldest.started_at,
        backup: newest.id.clone(),
        backups: doubted.iter().map(|row| row.id.clone()).collect(),
        database: newest.database.clone(),
        selection: newest.selection.clone(),
        why: newest.suspicious.clone()?,
    })
}
