//! How each project stands: the one answer behind `status` and the health check.

mod daemon;
mod files;
mod good;
mod mail;
mod skipped;
mod unread;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::alert::{Alert, AlertKey, Status};
use crate::catalog::{Heartbeat, Page, Pause, REBUILT, Reader, RestoredBackup, RunFilter, UnfinishedRun, Wait};
use crate::error::Result;
use crate::habit::{self, Suspension};
use crate::model::backup::{BackupRow, RunId};
use crate::model::project::Project;
use crate::model::run::{ANY_DATABASE, Run, SlotRow};
use crate::model::settings::Settings;
use crate::retention::Divided;
use crate::schedule;

use super::elsewhere::{self, Elsewhere};
use super::there::{self, There};
use super::{World, held, origin, untold};

pub use daemon::{ByHand, DaemonStanding, LAG, SERVE_LOCK, by_hand, daemon, has_served, served_by};
pub use files::with_files;
pub(super) use mail::unmended;
pub use mail::{Waiting, mail_accepted};
pub use unread::{UNREAD_SECRETS, as_far_as_read, known_to_daemon_only, lacked_by_daemon, unread_secrets};

/// The whole answer.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Whether nothing below needs a person.
    pub healthy: bool,
    /// What the daemon does.
    pub daemon: DaemonStanding,
    /// One per configured project, in the file's order.
    pub projects: Vec<ProjectStanding>,
    /// What has backups and is no longer backed up: projects that are no longer configured, and `PROJECT/DATABASE` where a database of
    /// one isn't any more, or is gone from its server.
    pub orphaned: Vec<String>,
    /// What needs a person and belongs to no project: refused mail, a broken configuration file.
    pub problems: Vec<String>,
    /// What a person should know, though nothing is to be done: when the catalog was last rebuilt, and why.
    pub notes: Vec<String>,
    /// Mail on its way.
    pub mail: Waiting,
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
    /// Per database, the newest good backup: of all of it, or where the project makes none of those, of each part that it makes
    /// ([`Project::counted`]); a suspicious one only where there is no other.
    pub last_good: Vec<BackupRow>,
    /// Whether it has backups at all, full or not.
    pub has_backups: bool,
    /// The backup that was last restored with success, and when that was: of the database for which that is longest ago; `None` where one of
    /// them never was.
    pub restored: Option<RestoredBackup>,
    /// The databases of which no backup was ever restored.
    pub never_restored: Vec<String>,
    /// What runs now.
    pub running: Vec<Run>,
    /// What ran when its pgdumpd was killed, and has not been cleared up since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<Run>,
    /// What of it doesn't, as it waits before it is tried again.
    pub waits: Vec<Wait>,
    /// The next slot.
    pub next: Option<DateTime<Utc>>,
    /// Whether its slots are skipped.
    pub paused: bool,
    /// Until when; without it, until it is resumed.
    pub paused_until: Option<DateTime<Utc>>,
    /// Why, as whoever paused it said.
    pub pause_reason: Option<String>,
    /// Whether a changed retention waits for a person.
    pub prune_held: bool,
    /// Suspicious backups because of which nothing of it is pruned.
    pub suspended: Vec<Suspension>,
    /// Databases with backups of several servers, of which nothing is pruned until a person has said that they are one line.
    pub divided: Vec<Divided>,
    /// Backups of it in other storages than the one its new ones go to.
    pub elsewhere: Vec<Elsewhere>,
    /// How many of its backups are dated in the future, by a clock that was wrong: nothing counts them until then.
    pub dated_ahead: u64,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its last runs, the latest first; only where one project was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Run>,
    /// Its last slots for which nothing was run, the latest first; only where one project was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SlotRow>,
}

/// How many runs of a single project are told, and how many skipped slots.
const RECENT: u32 = 10;

/// Asks the catalog about all projects, or about one and its last runs; touches neither servers nor storages.
pub fn standing(world: &World, settings: &Settings, only: Option<&Project>) -> Result<Standing> {
    let now = world.clock.now();
    let seen = world.catalog.read(|reader| look(reader, settings))?;
    let mut by_project = ByProject::of(&seen);
    let chosen = settings.projects.iter().filter(|project| only.is_none_or(|only| only.name == project.name));
    let mut projects: Vec<ProjectStanding> =
        chosen.map(|project| of_project(project, by_project.take(&project.name), &seen, now)).collect();
    if let (Some(only), Some(project)) = (only, projects.first_mut()) {
        let filter = RunFilter { project: Some(only.name.clone()), ..RunFilter::default() };
        (project.recent, project.skipped) =
            world.catalog.read(|reader| Ok((reader.runs(&filter, Page::first(RECENT))?, skipped::last(reader, &only.name, RECENT)?)))?;
    }
    let mut problems = Vec::new();
    if let Some(words) = seen.configuration.as_ref().filter(|words| !words.is_empty()) {
        let gap = if words.contains('\n') { "\n" } else { " " };
        problems.push(format!("the configuration file on disk is wrong and not in force:{gap}{words}"));
    }
    problems
        .extend(seen.lost_index.iter().map(|why| format!("the index of backups isn't complete yet, a storage could not be read: {why}")));
    problems.extend(seen.refused.iter().map(|why| format!("a mail was refused for good: {why}")));
    let daemon = daemon::turning(settings, seen.heartbeat.as_ref(), now);
    let orphaned = orphaned(&seen, settings);
    let mut notes: Vec<String> = seen.rebuilt.into_iter().collect();
    let unconfigured = seen.elsewhere.iter().filter(|(name, _)| only.is_none() && settings.project(name).is_none());
    notes.extend(unconfigured.flat_map(|(name, all)| all.iter().map(move |one| format!("{name}: {}", one.words()))));
    let mut standing = Standing { healthy: false, daemon, projects, orphaned, problems, notes, mail: seen.mail };
    standing.healthy = standing.needs_nobody();
    Ok(standing)
}

impl Standing {
    fn needs_nobody(&self) -> bool {
        self.problems.is_empty()
            && !matches!(self.daemon, DaemonStanding::Silent { .. } | DaemonStanding::Waiting { .. })
            && self.projects.iter().all(|project| project.status == Status::Ok && project.suspended.is_empty() || !project.enabled)
    }

    /// Backups by hand have taken the place of a daemon, which nobody misses then: how old they are is what counts.
    pub fn made_by_hand(&mut self, by_hand: ByHand) {
        let at = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC");
        self.notes.push(format!(
            "`pgdumpd serve` gave its last sign of life here at {}; since then backups are made by hand, the last one begun at {}",
            at(by_hand.served_until),
            at(by_hand.last)
        ));
        self.daemon = DaemonStanding::Stopped;
        self.healthy = self.needs_nobody();
    }
}

/// Whether schedules wait for a daemon that isn't there.
#[must_use]
pub fn is_unattended(standing: &Standing) -> bool {
    standing.daemon == DaemonStanding::Stopped && standing.projects.iter().any(|project| project.next.is_some())
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
    running: Vec<UnfinishedRun>,
    waits: HashMap<String, Vec<Wait>>,
    paused: HashMap<String, Pause>,
    good: Vec<BackupRow>,
    /// What to fall back on instead of those of the good ones that are suspicious.
    normal: HashMap<RunId, BackupRow>,
    restored: HashMap<String, Vec<RestoredBackup>>,
    held: HashSet<String>,
    /// Backups with an alert of their own that are still there.
    known: HashSet<RunId>,
    suspended: HashMap<String, Vec<Suspension>>,
    divided: HashMap<String, Vec<Divided>>,
    elsewhere: BTreeMap<String, Vec<Elsewhere>>,
    dated_ahead: HashMap<String, u64>,
    there: BTreeMap<String, There>,
    /// When projects without a good backup and without any alert were first tried: all that they have are runs that somebody ended.
    first_tried: HashMap<String, DateTime<Utc>>,
    mail: Waiting,
}

fn look(reader: &Reader, settings: &Settings) -> Result<Seen> {
    let (good, normal) = good::look(reader, settings)?;
    let mut held = HashSet::new();
    for project in &settings.projects {
        if held::is_held(reader, project)? {
            held.insert(project.name.clone());
        }
    }
    let alerts = untold::ahead(reader, reader.alerts()?)?;
    let mut known = HashSet::new();
    for backup in alerts.iter().filter(|alert| alert.status != Status::Ok).filter_map(|alert| alert.key.of_backup()) {
        known.extend(reader.backup(&backup)?.map(|row| row.id));
    }
    let first_tried = good::first_tried(reader, settings, &alerts, &good)?;
    let mut restored: HashMap<String, Vec<RestoredBackup>> = HashMap::new();
    let mut waits: HashMap<String, Vec<Wait>> = HashMap::new();
    reader.waits()?.into_iter().for_each(|wait| waits.entry(wait.project.clone()).or_default().push(wait));
    reader.restored_backups()?.into_iter().for_each(|one| restored.entry(one.project.clone()).or_default().push(one));
    Ok(Seen {
        alerts,
        configuration: reader.meta(CONFIGURATION_PROBLEM)?,
        lost_index: reader.rebuilt_because()?,
        rebuilt: reader.meta(REBUILT)?,
        refused: mail::refused(reader)?,
        with_backups: reader.totals()?.into_iter().map(|totals| totals.project).collect(),
        heartbeat: reader.heartbeat()?,
        last_due: reader.last_due()?,
        running: reader.unfinished_runs()?,
        waits,
        paused: reader.pauses()?.into_iter().map(|pause| (pause.project.clone(), pause)).collect(),
        good,
        normal,
        restored,
        held,
        known,
        suspended: suspended(reader, settings)?,
        divided: origin::standing(reader, settings)?,
        elsewhere: elsewhere::all(reader, settings)?,
        dated_ahead: reader.dated_ahead()?,
        there: there::recall_all(reader, settings)?,
        first_tried,
        mail: mail::waiting(reader)?,
    })
}

fn orphaned(seen: &Seen, settings: &Settings) -> Vec<String> {
    let configured: HashMap<&str, &Project> = settings.projects.iter().map(|project| (project.name.as_str(), project.as_ref())).collect();
    let projects = seen.with_backups.iter().filter(|name| !configured.contains_key(name.as_str())).cloned();
    let is_gone = |row: &&BackupRow| {
        let there = seen.there.get(&row.project);
        configured.get(row.project.as_str()).is_some_and(|project| there::database(project, there, &row.database).is_some())
    };
    let mut databases: Vec<String> = seen.good.iter().filter(is_gone).map(|row| format!("{}/{}", row.project, row.database)).collect();
    databases.sort();
    databases.dedup();
    projects.chain(databases).collect()
}

/// Why nothing of some projects is pruned.
fn suspended(reader: &Reader, settings: &Settings) -> Result<HashMap<String, Vec<Suspension>>> {
    let mut found = HashMap::new();
    for name in reader.doubted_projects()? {
        let Some(project) = settings.project(&name) else { continue };
        let mut rows = reader.project_backups(&name)?;
        rows.retain(|row| row.storage == project.storage);
        found.insert(name, habit::suspension(&rows));
    }
    Ok(found)
}

/// What was seen of each project, so that ten thousand of them don't each look through all of it.
#[derive(Default)]
struct ByProject<'a>(HashMap<&'a str, Parts<'a>>);

#[derive(Default)]
struct Parts<'a> {
    /// Whether there is something to tell or not.
    alerts: Vec<&'a Alert>,
    good: Vec<&'a BackupRow>,
    running: Vec<&'a Run>,
    cut_off: Vec<&'a Run>,
    has_backups: bool,
}

impl<'a> ByProject<'a> {
    fn of(seen: &'a Seen) -> Self {
        let mut all = Self::default();
        seen.alerts.iter().for_each(|alert| all.0.entry(&alert.key.project).or_default().alerts.push(alert));
        seen.with_backups.iter().for_each(|name| all.0.entry(name).or_default().has_backups = true);
        seen.good.iter().for_each(|row| all.0.entry(&row.project).or_default().good.push(row));
        for unfinished in &seen.running {
            let parts = all.0.entry(&unfinished.run.project).or_default();
            let runs = if unfinished.is_cut_off() { &mut parts.cut_off } else { &mut parts.running };
            runs.push(&unfinished.run);
        }
        all
    }

    fn take(&mut self, project: &str) -> Parts<'a> {
        self.0.remove(project).unwrap_or_default()
    }
}

fn of_project(project: &Project, parts: Parts<'_>, seen: &Seen, now: DateTime<Utc>) -> ProjectStanding {
    let there = seen.there.get(&project.name);
    let stands = |alert: &&Alert| match alert.key.of_backup() {
        Some(backup) => seen.known.contains(&backup),
        // What is suspicious says so by itself, as `suspended`.
        None => alert.key.of_anomaly().is_none() && there::subject(project, there, &alert.key).is_none(),
    };
    let open = parts.alerts.iter().copied().filter(|alert| alert.status != Status::Ok);
    let alerts: Vec<Alert> = open.filter(stands).cloned().collect();
    let mut last_good: Vec<BackupRow> = parts.good.into_iter().cloned().collect();
    last_good.retain(|row| there::database(project, there, &row.database).is_none());
    // The daemon's tick makes the alert; where nothing ticks, or not yet, the backups' own age tells, or how long there was none.
    let counted = project.counted();
    let has_one = |key: &AlertKey| {
        let is_its_database = |row: &BackupRow| row.database == key.database || key.database == ANY_DATABASE;
        last_good.iter().any(|row| row.selection == key.selection && is_its_database(row))
    };
    let too_old = project.max_backup_age.is_some_and(|limit| {
        let is_old = |row: &BackupRow| (now - row.started_at).to_std().is_ok_and(|age| age > limit);
        let never = |alert: &&Alert| {
            counted.contains(&alert.key.selection) && stands(alert) && !has_one(&alert.key) && alert.is_overdue(None, limit, now)
        };
        let tried = seen.first_tried.get(&project.name).filter(|_| last_good.is_empty());
        let is_vain = tried.is_some_and(|first| (now - *first).to_std().is_ok_and(|time| time > limit));
        last_good.iter().any(is_old) || is_vain || parts.alerts.iter().copied().any(|alert| never(&alert))
    });
    // Backups are made, but a suspicious one is nothing to fall back on as long as there is another.
    last_good.iter_mut().for_each(|row| *row = seen.normal.get(&row.id).unwrap_or(row).clone());
    let (restored, never_restored) = good::restored(seen.restored.get(&project.name).map_or(&[], Vec::as_slice), &last_good);
    let status = if alerts.iter().any(|alert| alert.status == Status::Failing) {
        Status::Failing
    } else if alerts.is_empty() && !too_old {
        Status::Ok
    } else {
        Status::Stale
    };
    let next = project.schedules.iter().filter(|plan| plan.enabled && project.enabled).filter_map(|plan| {
        let last = seen.last_due.get(&(project.name.clone(), plan.name.clone())).copied();
        // As the daemon starts it; one whose turn has come and whose delay has not passed is still ahead.
        let delay = schedule::spread(&format!("{}/{}", project.name, plan.name), plan.spread);
        let delay = TimeDelta::from_std(delay).unwrap_or_default();
        plan.timing.next_after(plan.time_zone, now - delay, last).map(|slot| slot + delay)
    });
    let pause = seen.paused.get(&project.name);
    ProjectStanding {
        project: project.name.clone(),
        status,
        alerts,
        last_good,
        has_backups: parts.has_backups,
        restored,
        never_restored,
        running: parts.running.into_iter().cloned().collect(),
        cut_off: parts.cut_off.into_iter().cloned().collect(),
        waits: seen.waits.get(&project.name).cloned().unwrap_or_default(),
        next: next.min(),
        paused: pause.is_some(),
        paused_until: pause.and_then(|pause| pause.until),
        pause_reason: pause.map(|pause| pause.reason.clone()).filter(|reason| !reason.is_empty()),
        prune_held: seen.held.contains(&project.name),
        suspended: seen.suspended.get(&project.name).cloned().unwrap_or_default(),
        divided: seen.divided.get(&project.name).cloned().unwrap_or_default(),
        elsewhere: seen.elsewhere.get(&project.name).cloned().unwrap_or_default(),
        dated_ahead: seen.dated_ahead.get(&project.name).copied().unwrap_or(0),
        enabled: project.enabled,
        recent: Vec::new(),
        skipped: Vec::new(),
    }
}
