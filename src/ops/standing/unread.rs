//! How things stand where the configuration on disk is broken: what of it could be read, and what the catalog knows of the rest; and where
//! secrets can't be read here.

use chrono::{DateTime, Utc};

use super::{ByProject, DaemonStanding, Parts, ProjectStanding, Seen, Standing, good, look, standing};
use crate::alert::{Alert, Status};
use crate::error::{Failure, Result};
use crate::model::project::Project;
use crate::model::settings::{Problem, Settings};
use crate::ops::World;

/// The same answer with what could be read of a broken configuration. The projects of which nothing could be read stand as the catalog knows
/// them; `wrong` says what is broken, each thing in a line of its hint, and nothing is healthy.
pub fn as_far_as_read(world: &World, settings: &Settings, only: Option<&Project>, wrong: &Failure) -> Result<Standing> {
    let mut whole = standing(world, settings, only)?;
    let now = world.clock.now();
    let (seen, known) = world.catalog.read(|reader| Ok((look(reader, settings)?, reader.known_projects()?)))?;
    let unread: Vec<String> = known
        .into_iter()
        .filter(|known| known.removed_at.is_none() && settings.project(&known.name).is_none())
        .map(|known| known.name)
        .collect();
    whole.orphaned.retain(|name| !unread.contains(name));
    if only.is_none() {
        let mut by_project = ByProject::of(&seen);
        whole.projects.extend(unread.iter().map(|name| of_unread(name, by_project.take(name), &seen, now)));
    }
    // The daemon notes the same when it is told to read the file again.
    whole.problems.retain(|problem| !problem.starts_with("the configuration file on disk"));
    let goes_on = if matches!(whole.daemon, DaemonStanding::Serving { .. }) { "; the daemon goes on with what it read before" } else { "" };
    whole.problems.insert(0, format!("{wrong}{goes_on}:\n{}", wrong.hint.as_deref().unwrap_or_default()));
    whole.healthy = false;
    Ok(whole)
}

/// Where the daemon notes which secrets it can't read itself: their places in the configuration, as JSON.
pub const UNREAD_SECRETS: &str = "unread-secrets";

/// Secrets that can't be read here. What the environment alone lacks is the daemon's business where one serves and could read it: who asks
/// in a shell has neither its variables nor its credentials.
pub fn unread_secrets(world: &World, standing: &mut Standing, unread: &[Problem]) -> Result<()> {
    let lacked = lacked_by_daemon(world, &standing.daemon)?;
    for problem in unread {
        if let Some(words) = known_to_daemon_only(lacked.as_deref(), problem) {
            standing.notes.push(words);
        } else {
            standing.problems.push(problem.to_string());
            standing.healthy = false;
        }
    }
    Ok(())
}

/// The places of the secrets that a daemon that serves lacks itself; `None` where none serves, or it has noted nothing.
pub fn lacked_by_daemon(world: &World, daemon: &DaemonStanding) -> Result<Option<Vec<String>>> {
    if !matches!(daemon, DaemonStanding::Serving { .. }) {
        return Ok(None);
    }
    let kept = world.catalog.read(|reader| reader.meta(UNREAD_SECRETS))?;
    Ok(kept.and_then(|text| serde_json::from_str(&text).ok()))
}

/// What is said of a secret that can't be read here, where only this shell lacks it and the daemon, which lacks those, has it.
#[must_use]
pub fn known_to_daemon_only(lacked: Option<&[String]>, problem: &Problem) -> Option<String> {
    let has = problem.here && lacked.is_some_and(|places| !places.contains(&problem.place()));
    has.then(|| format!("{}: this secret is known to the daemon only, which serves with it: {}", problem.place(), problem.message))
}

fn of_unread(name: &str, parts: Parts<'_>, seen: &Seen, now: DateTime<Utc>) -> ProjectStanding {
    let stands =
        |alert: &&Alert| alert.key.of_anomaly().is_none() && alert.key.of_backup().is_none_or(|backup| seen.known.contains(&backup));
    let open = parts.alerts.into_iter().filter(|alert| alert.status != Status::Ok);
    let alerts: Vec<Alert> = open.filter(stands).cloned().collect();
    let last_good: Vec<_> = parts.good.into_iter().map(|row| seen.normal.get(&row.id).unwrap_or(row).clone()).collect();
    let (restored, never_restored) = good::restored(seen.restored.get(name).map_or(&[], Vec::as_slice), &last_good);
    let pause = seen.paused.get(name);
    let worst = |status| alerts.iter().any(|alert| alert.status == status).then_some(status);
    ProjectStanding {
        project: name.to_owned(),
        status: worst(Status::Failing).or_else(|| worst(Status::Stale)).unwrap_or(Status::Ok),
        alerts,
        last_good,
        has_backups: parts.has_backups,
        restored,
        never_restored,
        running: parts.running.into_iter().cloned().collect(),
        cut_off: parts.cut_off.into_iter().cloned().collect(),
        waits: seen.waits.get(name).cloned().unwrap_or_default(),
        next: None,
        paused: pause.is_some(),
        paused_until: pause.and_then(|pause| pause.until).filter(|until| *until > now),
        pause_reason: pause.map(|pause| pause.reason.clone()).filter(|reason| !reason.is_empty()),
        prune_held: false,
        suspended: Vec::new(),
        divided: Vec::new(),
        elsewhere: Vec::new(),
        dated_ahead: seen.dated_ahead.get(name).copied().unwrap_or(0),
        enabled: true,
        recent: Vec::new(),
        skipped: Vec::new(),
    }
}
