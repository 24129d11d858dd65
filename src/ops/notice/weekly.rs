//! The summary of all projects, when `weekly_summary` says so: that pgdumpd is alive, what it made, and what deserves a look.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::{Alert, Status};
use crate::catalog::{ProjectTotals, Reader, RunCounts};
use crate::error::{Cause, Failure, Result};
use crate::model::project::Project;
use crate::notify::group::Waiting;
use crate::notify::letter::{Letter, ProjectWeek, Weekly};
use crate::schedule::{Cron, Timing};

use super::super::{World, origin, there, untold};
use super::{Desk, facts, queue};

/// When the last summary was written, or when the first was agreed on.
const LAST: &str = "weekly-summary";

/// What a summary looks back on where none came before.
const WEEK: TimeDelta = TimeDelta::days(7);

/// No summary looks back further, whatever the pause between two.
const LONGEST: TimeDelta = TimeDelta::days(31);

/// Writes the summary where one is due; one, however many were missed. Returns whether it did.
pub fn weekly(world: &World, desk: &Desk<'_>) -> Result<bool> {
    let daemon = &desk.settings.daemon;
    let (Some(line), Some(smtp)) = (&daemon.weekly_summary, &desk.settings.smtp) else { return Ok(false) };
    let cron = Cron::parse(line).map_err(|why| Failure::new(Cause::Configuration, format!("weekly_summary {line:?}: {why}")))?;
    let now = world.clock.now();
    let last = world.catalog.read(|reader| reader.meta(LAST))?;
    let last = last.and_then(|text| text.parse::<DateTime<Utc>>().ok()).filter(|last| *last <= now);
    let Some(last) = last else {
        // Just agreed on, or the clock was set back: from here on.
        world.catalog.write(|writer| writer.put_meta(LAST, &now.to_rfc3339()))?;
        return Ok(false);
    };
    if Timing::Cron(cron).next_after(daemon.time_zone, last, None).is_none_or(|due| due > now) {
        return Ok(false);
    }
    let free = free(world);
    let letter = Letter::Weekly(world.catalog.read(|reader| week(reader, desk, (now - last).clamp(WEEK, LONGEST), free.clone(), now))?);
    let letter = Waiting { to: smtp.to.iter().cloned().collect(), since: now, thread: None, begins: Vec::new(), letter };
    world.catalog.write(|writer| {
        writer.put_meta(LAST, &now.to_rfc3339())?;
        queue(writer, vec![letter.clone()], now)
    })?;
    Ok(true)
}

fn free(world: &World) -> Vec<(String, u64)> {
    world.storages.iter().filter_map(|(name, storage)| Some((name.clone(), storage.free_space().ok()??))).collect()
}

fn week(reader: &Reader, desk: &Desk<'_>, span: TimeDelta, free: Vec<(String, u64)>, now: DateTime<Utc>) -> Result<Weekly> {
    let from = now - span;
    let totals = reader.totals()?.into_iter().map(|totals| (totals.project.clone(), totals)).collect();
    let mut newest: HashMap<String, DateTime<Utc>> = HashMap::new();
    let there = there::recall_all(reader, desk.settings)?;
    let restored: HashMap<(String, String), DateTime<Utc>> =
        reader.restored_backups()?.into_iter().map(|one| ((one.project, one.database), one.at)).collect();
    // Of several databases the one that waited longest; one that never was restored makes it never.
    let mut drilled: HashMap<String, Option<DateTime<Utc>>> = HashMap::new();
    let projects: Vec<&Project> = desk.settings.projects.iter().map(AsRef::as_ref).collect();
    let good = origin::newest_good(reader, &projects)?;
    for project in &projects {
        let Some(good) = good.get(&project.name) else { continue };
        let counted = project.counted();
        for (database, at) in good.iter().filter(|(selection, _)| counted.contains(selection)).flat_map(|(_, databases)| databases) {
            if there::database(project, there.get(&project.name), database).is_some() {
                continue;
            }
            let last = restored.get(&(project.name.clone(), database.clone())).copied();
            drilled.entry(project.name.clone()).and_modify(|known| *known = (*known).min(last)).or_insert(last);
            // A project is as fresh as the stalest of its databases.
            newest.entry(project.name.clone()).and_modify(|known| *known = (*at).min(*known)).or_insert(*at);
        }
    }
    let mut trouble: HashMap<String, Alert> = HashMap::new();
    for alert in untold::ahead(reader, reader.alerts()?)?.into_iter().filter(|alert| alert.status != Status::Ok) {
        trouble.entry(alert.key.project.clone()).or_insert(alert);
    }
    let seen =
        Week { runs: reader.run_counts_since(from)?, not_run: reader.slots_not_run_since(from)?, drilled, totals, newest, trouble, now };
    let projects = desk.settings.projects.iter().map(|project| seen.of(project)).collect();
    Ok(Weekly { zone: desk.settings.daemon.time_zone, from, until: now, machine: facts::machine(), projects, free })
}

/// What the catalog says of the week, by project.
struct Week {
    runs: HashMap<String, RunCounts>,
    not_run: HashMap<String, u64>,
    drilled: HashMap<String, Option<DateTime<Utc>>>,
    totals: HashMap<String, ProjectTotals>,
    newest: HashMap<String, DateTime<Utc>>,
    trouble: HashMap<String, Alert>,
    now: DateTime<Utc>,
}

impl Week {
    fn of(&self, project: &Project) -> ProjectWeek {
        let name = &project.name;
        let runs = self.runs.get(name).copied().unwrap_or_default();
        let totals = self.totals.get(name);
        ProjectWeek {
            project: name.clone(),
            good: size(runs.good),
            failed: size(runs.failed),
            missed: size(self.not_run.get(name).copied().unwrap_or(0)),
            backups: size(totals.map_or(0, |totals| totals.backups)),
            bytes: totals.map_or(0, |totals| totals.size),
            newest: self.newest.get(name).map(|at| (self.now - at).to_std().unwrap_or_default()),
            drilled: self.drilled.get(name).copied().flatten(),
            trouble: self.trouble.get(name).filter(|_| project.enabled).map(words),
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn words(alert: &Alert) -> String {
    match (&alert.status, &alert.message) {
        (Status::Failing, Some(message)) if alert.key.of_anomaly().is_some() => format!("suspicious, and not pruned meanwhile: {message}"),
        (Status::Failing, Some(message)) if alert.key.is_pruning() => format!("old backups are not removed: {message}"),
        (Status::Failing, Some(message)) => format!("failing: {message}"),
        (Status::Stale, Some(message)) => {
            format!("no good {} within max_backup_age; the last run failed: {message}", alert.key.selection.backup())
        }
        (_, _) => format!("no good {} within max_backup_age", alert.key.selection.backup()),
    }
}
