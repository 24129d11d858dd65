//! How each project stands: the one answer behind `status` and the health check.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::alert::{Alert, Status};
use crate::error::Result;
use crate::model::backup::BackupRow;
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
    let alerts = world.catalog.alerts()?;
    let mut projects = Vec::new();
    for project in &settings.projects {
        projects.push(of_project(world, project, &alerts, now)?);
    }
    let mut problems = Vec::new();
    if let Some(words) = world.catalog.meta(CONFIGURATION_PROBLEM)?.filter(|words| !words.is_empty()) {
        problems.push(format!("the configuration file on disk is wrong and not in force: {words}"));
    }
    for refused in world.catalog.outbox_refused()? {
        problems.push(format!("a mail was refused for good: {}", refused.error));
    }
    let daemon = daemon(world, settings, now)?;
    let orphaned = world.catalog.projects_with_backups()?.into_iter().filter(|name| settings.project(name).is_none()).collect();
    let healthy = problems.is_empty()
        && !matches!(daemon, DaemonStanding::Silent { .. })
        && projects.iter().all(|project| project.status == Status::Ok || !project.enabled);
    Ok(Standing { healthy, daemon, projects, orphaned, problems })
}

/// Where the daemon notes that the file on disk isn't the one in force; empty where it is.
pub const CONFIGURATION_PROBLEM: &str = "configuration-problem";

fn daemon(world: &World, settings: &Settings, now: DateTime<Utc>) -> Result<DaemonStanding> {
    let Some(heartbeat) = world.catalog.last_heartbeat()? else { return Ok(DaemonStanding::Stopped) };
    let interval = TimeDelta::from_std(settings.daemon.heartbeat).unwrap_or(TimeDelta::seconds(30));
    let silent = now - heartbeat > interval * BEATS_MISSED;
    Ok(if silent { DaemonStanding::Silent { heartbeat } } else { DaemonStanding::Serving { heartbeat } })
}

fn of_project(world: &World, project: &Project, alerts: &[Alert], now: DateTime<Utc>) -> Result<ProjectStanding> {
    let alerts: Vec<Alert> =
        alerts.iter().filter(|alert| alert.key.project == project.name && alert.status != Status::Ok).cloned().collect();
    let status = if alerts.iter().any(|alert| alert.status == Status::Failing) {
        Status::Failing
    } else if alerts.is_empty() {
        Status::Ok
    } else {
        Status::Stale
    };
    let next = project.schedules.iter().filter(|plan| plan.enabled).filter_map(|plan| {
        let last = world.catalog.last_slot(&project.name, &plan.name).ok().flatten();
        plan.timing.next_after(plan.time_zone, now, last)
    });
    let mut last_good = world.catalog.newest_full(&project.name)?;
    if let Databases::Named(names) = &project.databases {
        last_good.retain(|row| names.contains(&row.database));
    }
    Ok(ProjectStanding {
        project: project.name.clone(),
        status,
        alerts,
        last_good,
        running: world.catalog.unfinished_runs(Some(&project.name))?,
        next: next.min(),
        paused: world.catalog.is_paused(&project.name, now)?,
        enabled: project.enabled,
    })
}
