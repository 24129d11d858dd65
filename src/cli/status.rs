//! `pgdumpd status`

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::alert::{Alert, Status};
use crate::catalog::{self, Wait};
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::model::project::Project;
use crate::model::run::{ANY_DATABASE, Run, SlotOutcome, SlotRow};
use crate::model::settings::Settings;
use crate::ops::elsewhere::Elsewhere;
use crate::ops::standing::{self, DaemonStanding, ProjectStanding, Standing};
use crate::units::{show_age, show_size};

use super::exit::Exit;
use super::{Common, out, show, world};

/// Say how each project stands; not zero where one is failing or stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 1 where a project is failing or stale, a mail was refused for good, the configuration on
disk is broken, or the daemon has fallen silent, waits for its database, or isn't there although
there are schedules (where variables alone are the configuration: although SCHEDULE is set, or it
served before and no backup was made by hand since). With PROJECT only that project's state counts besides. Whether the daemon turns,
for liveness checks: pgdumpd status --alive")]
pub(super) struct Args {
    /// Only this project, with its last runs
    #[arg(conflicts_with = "alive")]
    project: Option<String>,
    /// Ask only whether the daemon turns, waiting for its database included; for liveness checks
    #[arg(long)]
    alive: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let (settings, wrong) = settings(common)?;
    let only = match (args.project.as_deref().map(|name| world::project(&settings, name)).transpose(), &wrong) {
        (Err(_), Some(wrong)) => return Err(wrong.clone()),
        (only, _) => only?,
    };
    let world = world::look(common, &settings)?;
    let now = world.clock.now();
    if args.alive {
        let daemon = standing::daemon(&world, &settings)?;
        if common.json {
            out::json(&daemon)?;
        } else {
            out::say(daemon_words(&daemon, now));
        }
        return Ok(if daemon.is_alive() { Exit::Done } else { Exit::Failed });
    }
    let mut standing = match &wrong {
        None => standing::standing(&world, &settings, only)?,
        Some(wrong) => standing::as_far_as_read(&world, &settings, only, wrong)?,
    };
    let by_hand = if is_asked_for(common) { None } else { standing::by_hand(&world, &settings)? };
    if let Some(by_hand) = by_hand {
        standing.made_by_hand(by_hand);
    }
    let is_expected = is_asked_for(common) || standing::has_served(&settings) && by_hand.is_none();
    let unattended = standing::is_unattended(&standing) && is_expected;
    standing.healthy &= !unattended;
    standing::unread_secrets(&world, &mut standing, &settings.unread)?;
    if standing.daemon == DaemonStanding::Stopped && !unattended {
        // Nobody fires the schedule that variables alone imply.
        standing.projects.iter_mut().for_each(|project| project.next = None);
    }
    standing::with_files(&world, &settings, &mut standing);
    if common.json {
        out::json(&standing)?;
    } else {
        let start = unattended.then_some(if config::is_ambient(&common.config) { IN_CONTAINER } else { AS_SERVICE });
        print(&standing, &settings, start, now);
        if let (Some(project), Some(standing)) = (only, standing.projects.first()) {
            recent(project, standing);
        }
    }
    Ok(if standing.healthy { Exit::Done } else { Exit::Failed })
}

/// How a daemon is started that isn't there.
const AS_SERVICE: &str = "systemctl start pgdumpd, or pgdumpd serve";
const IN_CONTAINER: &str = "start the container again, whose command is `pgdumpd serve`";

/// Whether there is to be a daemon. Variables alone may as well describe a container that makes one backup and ends: unless they say when,
/// one is missed only where it served before, until backups are made by hand instead.
fn is_asked_for(common: &Common) -> bool {
    !config::is_ambient(&common.config) || config::says_when()
}

/// The configuration; where the file is broken, what could be read of it and what is wrong, if there is a catalog to ask.
fn settings(common: &Common) -> Result<(Settings, Option<Failure>)> {
    let wrong = match world::settings(common) {
        Ok(settings) => return Ok((settings, None)),
        Err(wrong) => wrong,
    };
    let read = config::as_far_as_read(&common.config).filter(|settings| settings.daemon.state_dir.join(catalog::FILE).is_file());
    read.map(|settings| (settings, Some(wrong.clone()))).ok_or(wrong)
}

fn daemon_words(standing: &DaemonStanding, now: DateTime<Utc>) -> String {
    match standing {
        DaemonStanding::Serving { heartbeat, running, stopping: true, .. } => format!(
            "the daemon is stopping: it waits for {} to end, and starts nothing more (last sign of life {} ago)",
            out::count(*running as u64, "run"),
            age(now, *heartbeat)
        ),
        DaemonStanding::Serving { heartbeat, waiting, behind_since, .. } => {
            let behind = behind_since.map(|since| format!("; it LAGS: {waiting} jobs wait for a place, the first for {}", age(now, since)));
            format!("the daemon is serving (last sign of life {} ago){}", age(now, *heartbeat), behind.unwrap_or_default())
        }
        DaemonStanding::Waiting { heartbeat, since, why } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!(
                "the daemon WAITS for the database, and backs up nothing before, for {} (last sign of life {} ago){why}",
                age(now, *since),
                age(now, *heartbeat)
            )
        }
        DaemonStanding::Starting => String::from("the daemon is there, and has given no sign of life yet: it is starting"),
        DaemonStanding::Silent { heartbeat } => {
            format!("the daemon has been SILENT: its last sign of life was {} ago; look at its log and restart it", age(now, *heartbeat))
        }
        DaemonStanding::Stopped => String::from("the daemon is not running; nothing is backed up by itself"),
    }
}

/// Of projects that could not be read in the configuration nobody knows here when they are due.
fn print(standing: &Standing, settings: &Settings, start: Option<&str>, now: DateTime<Utc>) {
    let zone = settings.daemon.time_zone;
    if let Some(start) = start {
        out::say(format!("the daemon is NOT RUNNING, so no schedule fires and nothing is backed up: {start}"));
    } else {
        out::say(daemon_words(&standing.daemon, now));
    }
    let next = format!("NEXT ({})", zone.name());
    let mut table = out::table(&["PROJECT", "STATUS", "LAST GOOD BACKUP", "LAST RESTORED", &next, "NOTE"]);
    for project in &standing.projects {
        let next = match project.enabled {
            _ if settings.project(&project.project).is_none() => "unknown",
            true => "by hand only",
            false => "never",
        };
        table.add_row(vec![
            project.project.clone(),
            status(project).to_owned(),
            last_good(project, now),
            restored(project, now),
            match project.next {
                None => String::from(next),
                Some(_) if standing.daemon.is_stopping() => String::from("after the restart"),
                Some(next) => out::when(next, zone),
            },
            notes(project, now, zone),
        ]);
    }
    if !standing.projects.is_empty() {
        out::say("");
        out::show(&table);
    }
    let alerts: Vec<&Alert> = standing.projects.iter().filter(|project| project.enabled).flat_map(|project| &project.alerts).collect();
    if !alerts.is_empty() {
        out::say("");
    }
    alerts.into_iter().for_each(|alert| out::say(trouble(alert, settings.project(&alert.key.project), now)));
    for (project, suspension) in standing.projects.iter().flat_map(|project| project.suspended.iter().map(move |one| (project, one))) {
        out::say(format!(
            "{}/{}: SUSPICIOUS: {}; look: pgdumpd show {}; if it is meant to be so: pgdumpd accept {}",
            project.project, suspension.database, suspension.why, suspension.backup, suspension.backup
        ));
    }
    if !standing.orphaned.is_empty() || !standing.problems.is_empty() || standing.mail.queued > 0 {
        out::say("");
    }
    if !standing.orphaned.is_empty() {
        out::say(format!("orphaned (backups of what is no longer configured, or no longer there): {}", standing.orphaned.join(", ")));
    }
    if standing.mail.queued > 0 {
        let why = standing.mail.error.as_ref().map(|why| format!("; the last try failed: {why}")).unwrap_or_default();
        out::say(format!("{} waiting to be sent{why}", out::count(standing.mail.queued as u64, "mail")));
    }
    standing.problems.iter().for_each(|problem| out::say(format!("PROBLEM {}", problem.replace('\n', "\n        "))));
    standing.notes.iter().for_each(out::say);
}

/// `shop/billing: FAILING for 3 h, 4 runs in a row: connection refused`.
fn trouble(alert: &Alert, project: Option<&Project>, now: DateTime<Utc>) -> String {
    let key = &alert.key;
    let never = project.and_then(Project::makes_parts_alone).filter(|_| key.selection.is_full());
    let never = never.map(|hint| format!(", and no schedule makes one: {hint}")).unwrap_or_default();
    let too_old = format!("no good {} within max_backup_age{never}", key.selection.backup());
    let why = alert.message.as_deref().unwrap_or(&too_old);
    if let Some(backup) = key.of_backup() {
        let word = if alert.cause == Some(Cause::Damaged) { "DAMAGED" } else { "UNREADABLE" };
        return format!("{}/{}: backup {backup} is {word}, found {} ago: {why}", key.project, key.database, age(now, alert.since));
    }
    let database = if key.database == ANY_DATABASE { String::new() } else { format!("/{}", key.database) };
    if key.is_drill() {
        return format!("{}{database}: DRILLS FAIL for {}, {} in a row: {why}", key.project, age(now, alert.since), alert.failures_in_row);
    }
    if key.is_proofs() {
        return format!("{}: what is found of backups is NOT WRITTEN DOWN, for {}: {why}", key.project, age(now, alert.since));
    }
    if key.is_pruning() {
        return format!("{}: old backups are NOT REMOVED, for {}: {why}", key.project, age(now, alert.since));
    }
    let selection = if key.selection.is_full() { String::new() } else { format!(" ({})", key.selection) };
    let word = match alert.status {
        Status::Stale if alert.failures_in_row > 0 => "STALE, and FAILING",
        Status::Stale => "STALE",
        _ => "FAILING",
    };
    let row = if alert.failures_in_row > 1 { format!(", {} runs in a row", alert.failures_in_row) } else { String::new() };
    format!("{}{database}{selection}: {word} for {}{row}: {why}", key.project, age(now, alert.row_since()))
}

fn status(project: &ProjectStanding) -> &'static str {
    match (project.enabled, project.status) {
        (false, _) => "disabled",
        (_, Status::Failing) => "FAILING",
        (_, Status::Stale) => "STALE",
        (_, Status::Ok) if !project.suspended.is_empty() => "SUSPICIOUS",
        (_, Status::Ok) if !project.has_backups => "no backup yet",
        (_, Status::Ok) => "ok",
    }
}

/// When a backup was last seen to come back, and how long that took; of several databases, the one for which that is longest ago.
fn restored(project: &ProjectStanding, now: DateTime<Utc>) -> String {
    let databases = databases(project);
    let Some(restored) = &project.restored else {
        return match project.never_restored.first() {
            Some(first) if databases > 1 && project.never_restored.len() == 1 => format!("never: {first}"),
            Some(first) if databases > 1 => format!("never: {first} and {} more", project.never_restored.len() - 1),
            _ => String::from("never"),
        };
    };
    let took = restored.took_ms.map(|took| format!(", in {}", show_age(std::time::Duration::from_millis(took.max(1000)))));
    let more = if databases > 1 { format!(" (longest of {databases} databases)") } else { String::new() };
    format!("{} ago{}{more}", age(now, restored.at), took.unwrap_or_default())
}

fn last_good(project: &ProjectStanding, now: DateTime<Utc>) -> String {
    let Some(oldest) = project.last_good.iter().min_by_key(|row| row.started_at) else {
        return String::from(if project.has_backups { "none that counts" } else { "none" });
    };
    let part = if oldest.selection.is_full() { String::new() } else { format!(" ({})", oldest.selection) };
    let more = match (project.last_good.len(), databases(project)) {
        (1, _) => String::new(),
        (rows, databases) if rows == databases => format!(" (oldest of {databases} databases)"),
        (rows, _) => format!(" (oldest of {rows} parts)"),
    };
    let when = if oldest.started_at > now { String::from("dated in the future") } else { format!("{} ago", age(now, oldest.started_at)) };
    format!("{} {when}, {}{part}{more}", oldest.id, show_size(oldest.size))
}

fn databases(project: &ProjectStanding) -> usize {
    project.last_good.iter().map(|row| &row.database).collect::<BTreeSet<_>>().len()
}

fn notes(project: &ProjectStanding, now: DateTime<Utc>, zone: Tz) -> String {
    let mut notes = Vec::new();
    if project.paused {
        let until = project.paused_until.map(|until| format!(" until {}", out::when(until, zone))).unwrap_or_default();
        let why = project.pause_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        notes.push(format!("paused{until}{why}"));
    }
    notes.extend(project.waits.iter().map(|wait| waiting(wait, now, zone)));
    let waits = |run: &&Run| project.waits.iter().any(|wait| wait.what == "backup" && wait.database.as_ref() == Some(&run.database));
    if let Some(run) = project.running.iter().find(|run| !waits(run)) {
        notes.push(format!("dumping {} for {}", run.database, age(now, run.started_at)));
    }
    if let Some(run) = project.cut_off.first() {
        notes.push(format!(
            "the dump of {} that began {} ago was cut off: the next backup, restore or start of the daemon clears up",
            run.database,
            age(now, run.started_at)
        ));
    }
    for suspension in &project.suspended {
        let since = out::when(suspension.since, zone);
        notes.push(format!("pruning suspended since {since}, because {} is suspicious", suspension.database));
    }
    for group in &project.divided {
        notes.push(format!(
            "pruning of {} held, because there are backups of {} servers: pgdumpd prune {} --dry-run",
            group.database,
            group.servers.len(),
            out::shell(&project.project)
        ));
    }
    notes.extend(project.elsewhere.iter().map(Elsewhere::words));
    if project.dated_ahead > 0 {
        let backups = out::count(project.dated_ahead, "backup");
        notes.push(format!("{backups} dated in the future, by a wrong clock: pgdumpd list {}", out::shell(&project.project)));
    }
    if project.prune_held {
        notes.push(format!("pruning held: pgdumpd prune {} --dry-run", out::shell(&project.project)));
    }
    notes.join("; ")
}

/// `waits until 2026-11-21 02:20:00 to try shop again (attempt 2 of 3): connection refused`.
fn waiting(wait: &Wait, now: DateTime<Utc>, zone: Tz) -> String {
    let what = match (&wait.database, wait.what.as_str()) {
        (Some(database), "backup") => format!("{database} "),
        (Some(database), what) => format!("the {what} of {database} "),
        (None, _) => String::new(),
    };
    let until = if wait.until > now { format!("until {}", out::when(wait.until, zone)) } else { String::from("for a place") };
    format!("waits {until} to try {what}again (attempt {} of {}): {}", wait.attempt, wait.attempts, wait.why)
}

fn recent(project: &Project, standing: &ProjectStanding) {
    if standing.recent.is_empty() {
        out::say("\nno runs yet");
    } else {
        runs(project, &standing.recent);
    }
    if !standing.skipped.is_empty() {
        skipped(project, &standing.skipped);
    }
}

fn runs(project: &Project, runs: &[Run]) {
    out::say("\nlast runs:");
    let started = format!("STARTED ({})", project.time_zone.name());
    let mut table = out::table(&["RUN", &started, "DATABASE", "SELECTION", "SCHEDULE", "OUTCOME"]);
    for run in runs {
        let why = run.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
        table.add_row(vec![
            run.id.to_string(),
            out::when(run.started_at, project.time_zone),
            run.database.clone(),
            run.selection.to_string(),
            run.schedule.clone().unwrap_or_else(|| String::from("by hand")),
            format!("{}{why}", show::ended(run.status)),
        ]);
    }
    out::show(&table);
}

/// Slots for which nothing was run, with the reason.
fn skipped(project: &Project, slots: &[SlotRow]) {
    out::say("\nlast skipped slots:");
    let due = format!("DUE ({})", project.time_zone.name());
    let mut table = out::table(&[&due, "SCHEDULE", "WHY"]);
    for slot in slots {
        let until = slot.until.filter(|until| *until != slot.due_at);
        let until = until.map(|until| format!(" to {}", out::when(until, project.time_zone))).unwrap_or_default();
        let many = if slot.count > 1 { format!("{} slots: ", slot.count) } else { String::new() };
        table.add_row(vec![
            format!("{}{until}", out::when(slot.due_at, project.time_zone)),
            slot.schedule.clone(),
            format!("{many}{}", why_skipped(slot.outcome)),
        ]);
    }
    out::show(&table);
}

fn why_skipped(outcome: SlotOutcome) -> &'static str {
    match outcome {
        SlotOutcome::SkippedOverrun => "the run before was still going",
        SlotOutcome::SkippedPaused => "the project was paused",
        SlotOutcome::SkippedDisabled => "the project or its schedule was disabled",
        SlotOutcome::SkippedLocked => "somebody else held the project's lock",
        SlotOutcome::Missed => "pgdumpd was not running",
        SlotOutcome::Claimed | SlotOutcome::Ok | SlotOutcome::Failed | SlotOutcome::Interrupted => "it was run",
    }
}

fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    show_age((now - then).to_std().unwrap_or_default())
}
