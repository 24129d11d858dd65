//! What the runs of one round mean for the alerts: several of one alert are one change, or none.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::alert::{self, Alert, AlertKey, NoticeKind, Status};
use crate::catalog::{Reader, Writer};
use crate::error::Result;
use crate::model::project::Project;
use crate::model::run::{ANY_DATABASE, Run};

use super::super::there::{self, Gone};
use super::super::untold::{event_of, keys};
use super::{Change, doubt, known, put};

/// Records what these runs of a project do to its alerts; returns what is to be told of it.
pub(super) fn changes(tx: &Writer, project: &Project, runs: &[&Run], now: DateTime<Utc>) -> Result<Vec<Change>> {
    let mut changes = Changes::default();
    for run in runs {
        for (before, after, kind) in steps(project, run, now, &|key| known(tx, key))? {
            put(tx, &after)?;
            changes.add(before, after, kind, run);
        }
    }
    let mut changes = changes.together();
    changes.extend(doubt::changes(tx, project, runs, now)?);
    Ok(changes)
}

/// The same where nothing can be recorded: `earlier` runs can't be either, and have been told.
pub(super) fn beside(reader: &Reader, project: &Project, earlier: &[&Run], runs: &[&Run], now: DateTime<Utc>) -> Result<Vec<Change>> {
    let (mut alerts, mut changes) = (BTreeMap::<AlertKey, Alert>::new(), Changes::default());
    for (index, run) in earlier.iter().chain(runs).enumerate() {
        for (before, after, kind) in
            steps(project, run, now, &|key| alerts.get(key).cloned().map_or_else(|| known(reader, key), |at| Ok(Some(at))))?
        {
            alerts.insert(after.key.clone(), after.clone());
            if index >= earlier.len() {
                changes.add(before, after, kind, run);
            }
        }
    }
    Ok(changes.together())
}

/// Brings the alerts to where a run has brought them that was told already.
pub(super) fn follow(tx: &Writer, project: &Project, run: &Run) -> Result<()> {
    let at = run.finished_at.unwrap_or(run.started_at);
    for (before, after, _) in steps(project, run, at, &|key| known(tx, key))? {
        // A backup that another process made since says more.
        if before.last_good_at.is_none_or(|good| good <= at) {
            put(tx, &after)?;
        }
    }
    Ok(())
}

/// What one run does to the alerts it is about: each before and after, and what is to be told.
fn steps(
    project: &Project,
    run: &Run,
    now: DateTime<Utc>,
    known: &dyn Fn(&AlertKey) -> Result<Option<Alert>>,
) -> Result<Vec<(Alert, Alert, Option<NoticeKind>)>> {
    let mut steps = Vec::new();
    let Some(event) = event_of(run) else { return Ok(steps) };
    for key in keys(run, &event) {
        // It ended before its database left the configuration: nothing could end an alert that it opened.
        if there::subject(project, None, &key) == Some(Gone::NotConfigured) {
            continue;
        }
        let of_all = key.database == ANY_DATABASE && run.database != ANY_DATABASE;
        let before = match known(&key)? {
            None if of_all => continue,
            before => before.unwrap_or_else(|| Alert::new(key, now)),
        };
        let at = if of_all { now } else { run.finished_at.unwrap_or(now) };
        let (after, kind) = alert::decide(&before, &event, project.notify.reminder, at);
        steps.push((before, after, kind));
    }
    Ok(steps)
}

/// By alert, what would have been told had each run been told by itself.
#[derive(Default)]
struct Changes(BTreeMap<AlertKey, Vec<Change>>);

impl Changes {
    fn add(&mut self, before: Alert, after: Alert, kind: Option<NoticeKind>, run: &Run) {
        let known = self.0.entry(after.key.clone()).or_default();
        match kind {
            // Nobody has heard of an incident of this round: with its end there is nothing left to tell.
            Some(NoticeKind::Recovered) if known.iter().any(|change| change.before.status == Status::Ok) => {
                while known.pop().is_some_and(|change| change.before.status != Status::Ok) {}
            }
            Some(kind) => known.push(Change { before, after, kind, run: Some(run.clone()) }),
            // A failure is told also where a later run of the round adds nothing to it.
            None => {
                if let Some(last) = known.last_mut() {
                    last.after = after;
                }
            }
        }
    }

    fn together(self) -> Vec<Change> {
        self.0.into_values().filter_map(together).collect()
    }
}

/// The last change says how things stand; where the incident began in this round, as its first failure, whatever the causes since.
fn together(mut changes: Vec<Change>) -> Option<Change> {
    let last = changes.pop()?;
    let opened = changes.into_iter().rev().find(|first| first.before.status == Status::Ok);
    Some(match opened {
        Some(first) if last.kind != NoticeKind::Recovered && last.before.status != Status::Ok => {
            Change { before: first.before, kind: first.kind, ..last }
        }
        _ => last,
    })
}
