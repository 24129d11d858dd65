//! How each project stands: the one answer behind `status` and the health check.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::alert::{Alert, Status};
use crate::catalog::{BackupFilter, LetterState, Page, REBUILT, Reader};
use crate::error::Result;
use crate::model::backup::BackupRow;
use crate::model::dump::Selection;
use crate::model::project::{Databases, Project};
use crate::model::run::Run;
use crate::model::settings::Settings;

use super::World;

/// A heartbeat older than this many intervals means that nobody turns.
const BEATS_MISSED: i32 = 4;

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
    let mut projects = Vec::new();
    for project in &settings.projects {
        projects.push(of_project(project, &seen, now));
    }
    let mut problems = Vec::new();
    if let Some(words) = seen.configuration.as_ref().filter(|words| !words.is_empty()) {
        problems.push(format!("the configuration file on disk is wrong and not in force: {words}"));
    }
    problems
        .extend(seen.lost_index.iter().map(|why| format!("the index of backups isn't complete yet, a storage could not be read: {why}")));
    problems.extend(seen.refused.iter().map(|why| format!("a mail was refused for good: {why}")));
    let daemon = daemon(settings, seen.heartbeat, now);
    let orphaned = seen.with_backups.iter().filter(|name| settings.project(name).is_none()).cloned().collect();
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
    heartbeat: Option<DateTime<Utc>>,
    last_due: HashMap<(String, String), DateTime<Utc>>,
    running: Vec<Run>,
    paused: Vec<String>,
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
        heartbeat: reader.heartbeat()?.map(|heartbeat| heartbeat.at),
        last_due: reader.last_due()?,
        running: reader.unfinished_runs()?.into_iter().map(|unfinished| unfinished.run).collect(),
        paused: reader.pauses()?.into_iter().map(|pause| pause.project).collect(),
        good,
    })
}

fn daemon(settings: &Settings, heartbeat: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DaemonStanding {
    let Some(heartbeat) = heartbeat else { return DaemonStanding::Stopped };
    let interval = TimeDelta::from_std(settings.daemon.heartbeat).unwrap_or(TimeDelta::seconds(30));
    if now - heartbeat > interval * BEATS_MISSED { DaemonStanding::Silent { heartbeat } } else { DaemonStanding::Serving { heartbeat } }
}

fn of_project(project: &Project, seen: &Seen, now: DateTime<Utc>) -> ProjectStanding {
    let of_this = |alert: &&Alert| alert.key.project == project.name && alert.status != Status::Ok;
    let alerts: Vec<Alert> = seen.alerts.iter().filter(of_this).cloned().collect();
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
    let mut last_good: Vec<BackupRow> = seen.good.iter().filter(|row| row.project == project.name).cloned().collect();
    if let Databases::Named(names) = &project.databases {
        last_good.retain(|row| names.contains(&row.database));
    }
    ProjectStanding {
        project: project.name.clone(),
        status,
        alerts,
        last_good,
        running: seen.running.iter().filter(|run| run.project == project.name).cloned().collect(),
        next: next.min(),
        paused: seen.paused.contains(&project.name),
        enabled: project.enabled,
    }
}
