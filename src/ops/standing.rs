//! How each project stands: the one answer behind `status` and the health check.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::alert::{Alert, Status};
use crate::catalog::{BackupFilter, Heartbeat, LetterState, Page, REBUILT, Reader};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::dump::Selection;
use crate::model::project::{Databases, Project};
use crate::model::run::Run;
use crate::model::settings::Settings;

use super::World;

/// A heartbeat older than this many intervals means that nobody turns.
const BEATS_MISSED: i32 = 4;

/// And no younger one, however short the interval: beats ride on the daemon's own turns.
const SILENCE: TimeDelta = TimeDelta::seconds(60);

/// A job that has waited this long for a place is told of.
pub const LAG: TimeDelta = TimeDelta::minutes(5);

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Whether nothing below needs a person.
    pub healthy: bool,
    /// What the daemon does.
    pub daemon: DaemonStanding,
    /// One per configured project, in the file's order.
    pub projects: Vec<ProjectStanding>,
    /// Projects with backups that are no longer configured.
    pub orphaned: Vec<String>,
    /// What needs a person and belongs to no project: refused mail, a broken configuration file.
    pub problems: Vec<String>,
    /// What a person should know, though nothing is to be done: when the catalog was last rebuilt, and why.
    pub notes: Vec<String>,
}

/// What the daemon does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DaemonStanding {
    /// It turned within the last beats.
    Serving {
        /// The last beat.
        heartbeat: DateTime<Utc>,
        /// How many jobs waited for a place then.
        waiting: usize,
        /// Since when the first of them had waited, where that is long enough to be told.
        behind_since: Option<DateTime<Utc>>,
    },
    /// It beat, then fell silent without saying good-bye.
    Silent {
        /// The last beat.
        heartbeat: DateTime<Utc>,
    },
    /// It was stopped, or never started.
    Stopped,
}

/// How one project stands.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectStanding {
    /// Its name.
    pub project: String,
    /// Ok, failing or stale; the worst of its databases.
    pub status: Status,
    /// The alerts that aren't ok.
    pub alerts: Vec<Alert>,
    /// Per database, the newest good full backup.
    pub last_good: Vec<BackupRow>,
    /// What runs now.
    pub running: Vec<Run>,
    /// The next slot.
    pub next: Option<DateTime<Utc>>,
    /// Whether its slots are skipped, and until when.
    pub paused: bool,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// Asks the catalog; touches neither servers nor storages.
pub fn standing(world: &World, settings: &Settings) -> Result<Standing> {
    let now = world.clock.now();
    let seen = world.catalog.read(look)?;
    let mut by_project = ByProject::of(&seen);
    let projects: Vec<ProjectStanding> =
        settings.projects.iter().map(|project| of_project(project, by_project.take(&project.name), &seen, now)).collect();
    let mut problems = Vec::new();
    if let Some(words) = seen.configuration.as_ref().filter(|words| !words.is_empty()) {
        problems.push(format!("the configuration file on disk is wrong and not in force: {words}"));
    }
    problems
        .extend(seen.lost_index.iter().map(|why| format!("the index of backups isn't complete yet, a storage could not be read: {why}")));
    problems.extend(seen.refused.iter().map(|why| format!("a mail was refused for good: {why}")));
    let daemon = daemon(settings, seen.heartbeat.as_ref(), now);
    let configured: HashSet<&str> = settings.projects.iter().map(|project| project.name.as_str()).collect();
    let orphaned = seen.with_backups.iter().filter(|name| !configured.contains(name.as_str())).cloned().collect();
    let healthy = problems.is_empty()
        && !matches!(daemon, DaemonStanding::Silent { .. })
        && projects.iter().all(|project| project.status == Status::Ok || !project.enabled);
    let notes = seen.rebuilt.into_iter().collect();
    Ok(Standing { healthy, daemon, projects, orphaned, problems, notes })
}

/// Where the daemon notes that the file on disk isn't the one in force; empty where it is.
pub const CONFIGURATION_PROBLEM: &str = "configuration-problem";

/// What the catalog says, all from one moment.
struct Seen {
    alerts: Vec<Alert>,
    configuration: Option<String>,
    lost_index: Option<String>,
    rebuilt: Option<String>,
    refused: Vec<String>,
    with_backups: Vec<String>,
    heartbeat: Option<Heartbeat>,
    last_due: HashMap<(String, String), DateTime<Utc>>,
    running: Vec<Run>,
    paused: HashSet<String>,
    good: Vec<BackupRow>,
}

fn look(reader: &Reader) -> Result<Seen> {
    let refused = reader.letters::<serde_json::Value>(Some(LetterState::Refused), Page::first(20))?;
    let mut good = Vec::new();
    for (project, database) in reader.last_good_full()?.into_keys() {
        let filter = BackupFilter {
            project: Some(project),
            database: Some(database),
            selection: Some(Selection::full()),
            undamaged: true,
            ..BackupFilter::default()
        };
        good.extend(reader.latest_backup(&filter)?);
    }
    good.sort_by(|one, two| one.database.cmp(&two.database));
    Ok(Seen {
        alerts: reader.alerts()?,
        configuration: reader.meta(CONFIGURATION_PROBLEM)?,
        lost_index: reader.rebuilt_because()?,
        rebuilt: reader.meta(REBUILT)?,
        refused: refused.into_iter().filter_map(|letter| letter.error).collect(),
        with_backups: reader.totals()?.into_iter().map(|totals| totals.project).collect(),
        heartbeat: reader.heartbeat()?,
        last_due: reader.last_due()?,
        running: reader.unfinished_runs()?.into_iter().map(|unfinished| unfinished.run).collect(),
        paused: reader.pauses()?.into_iter().map(|pause| pause.project).collect(),
        good,
    })
}

/// What was seen of each project, so that ten thousand of them don't each look through all of it.
#[derive(Default)]
struct ByProject<'a>(HashMap<&'a str, Parts<'a>>);

#[derive(Default)]
struct Parts<'a> {
    alerts: Vec<&'a Alert>,
    good: Vec<&'a BackupRow>,
    running: Vec<&'a Run>,
}

impl<'a> ByProject<'a> {
    fn of(seen: &'a Seen) -> Self {
        let mut all = Self::default();
        for alert in seen.alerts.iter().filter(|alert| alert.status != Status::Ok) {
            all.0.entry(&alert.key.project).or_default().alerts.push(alert);
        }
        seen.good.iter().for_each(|row| all.0.entry(&row.project).or_default().good.push(row));
        seen.running.iter().for_each(|run| all.0.entry(&run.project).or_default().running.push(run));
        all
    }

    fn take(&mut self, project: &str) -> Parts<'a> {
        self.0.remove(project).unwrap_or_default()
    }
}

fn daemon(settings: &Settings, last: Option<&Heartbeat>, now: DateTime<Utc>) -> DaemonStanding {
    let Some(last) = last else { return DaemonStanding::Stopped };
    let interval = TimeDelta::from_std(settings.daemon.heartbeat).unwrap_or(TimeDelta::seconds(30));
    let heartbeat = last.at;
    // A beat from well ahead of now was given before the clock was set back, and is as silent as an old one.
    if (now - heartbeat).abs() > SILENCE.max(interval * BEATS_MISSED) {
        return DaemonStanding::Silent { heartbeat };
    }
    DaemonStanding::Serving { heartbeat, waiting: last.waiting, behind_since: last.waiting_since.filter(|since| now - *since >= LAG) }
}

fn of_project(project: &Project, parts: Parts<'_>, seen: &Seen, now: DateTime<Utc>) -> ProjectStanding {
    // The alert of a schedule that is no longer configured has nobody to end it.
    let stands = |alert: &&Alert| alert.key.of_schedule().is_none_or(|name| project.schedules.iter().any(|plan| plan.name == name));
    let alerts: Vec<Alert> = parts.alerts.into_iter().filter(stands).cloned().collect();
    let status = if alerts.iter().any(|alert| alert.status == Status::Failing) {
        Status::Failing
    } else if alerts.is_empty() {
        Status::Ok
    } else {
        Status::Stale
    };
    let next = project.schedules.iter().filter(|plan| plan.enabled).filter_map(|plan| {
        let last = seen.last_due.get(&(project.name.clone(), plan.name.clone())).copied();
        plan.timing.next_after(plan.time_zone, now, last)
    });
    let mut last_good: Vec<BackupRow> = parts.good.into_iter().cloned().collect();
    if let Databases::Named(names) = &project.databases {
        last_good.retain(|row| names.contains(&row.database));
    }
    ProjectStanding {
        project: project.name.clone(),
        status,
        alerts,
        last_good,
        running: parts.running.into_iter().cloned().collect(),
        next: next.min(),
        paused: seen.paused.contains(&project.name),
        enabled: project.enabled,
    }
}
