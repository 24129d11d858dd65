//! `pgdumpd status`

use chrono::{DateTime, Utc};

use crate::alert::Status;
use crate::error::Result;
use crate::ops::standing::{self, DaemonStanding, ProjectStanding, Standing};
use crate::units::{show_age, show_size};

use super::exit::Exit;
use super::{Common, out, world};

/// Say how each project stands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask only whether the daemon turns; for health checks
    #[arg(long)]
    alive: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::open(common, &settings)?;
    let standing = standing::standing(&world, &settings)?;
    let now = world.clock.now();
    let good = if args.alive { matches!(standing.daemon, DaemonStanding::Serving { .. }) } else { standing.healthy };
    if common.json {
        out::json(&standing)?;
    } else if args.alive {
        out::say(daemon(&standing.daemon, now));
    } else {
        print(&standing, now, settings.daemon.time_zone);
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

fn daemon(standing: &DaemonStanding, now: DateTime<Utc>) -> String {
    match standing {
        DaemonStanding::Serving { heartbeat, waiting, behind_since } => {
            let behind = behind_since.map(|since| format!("; it LAGS: {waiting} jobs wait for a place, the first for {}", age(now, since)));
            format!("the daemon is serving (last sign of life {} ago){}", age(now, *heartbeat), behind.unwrap_or_default())
        }
        DaemonStanding::Silent { heartbeat } => {
            format!("the daemon has been SILENT: its last sign of life was {} ago; look at its log and restart it", age(now, *heartbeat))
        }
        DaemonStanding::Stopped => String::from("the daemon is not running; nothing is backed up by itself"),
    }
}

fn print(standing: &Standing, now: DateTime<Utc>, zone: chrono_tz::Tz) {
    out::say(daemon(&standing.daemon, now));
    let mut table = out::table(&["PROJECT", "STATUS", "LAST GOOD FULL BACKUP", "NEXT", "NOTE"]);
    for project in &standing.projects {
        table.add_row(vec![
            project.project.clone(),
            status(project),
            last_good(project, now),
            project.next.map_or_else(|| String::from("by hand only"), |next| out::when(next, zone)),
            notes(project),
        ]);
    }
    if !standing.projects.is_empty() {
        out::show(&table);
    }
    for alert in standing.projects.iter().flat_map(|project| &project.alerts) {
        out::say(format!(
            "{}/{} ({}): {}",
            alert.key.project,
            alert.key.database,
            alert.key.selection,
            alert.message.as_deref().unwrap_or("no good full backup within max_backup_age")
        ));
    }
    if !standing.orphaned.is_empty() {
        out::say(format!("orphaned (backups of projects that are no longer configured): {}", standing.orphaned.join(", ")));
    }
    standing.problems.iter().chain(&standing.notes).for_each(out::say);
}

fn status(project: &ProjectStanding) -> String {
    let word = match (project.enabled, project.status) {
        (false, _) => "disabled",
        (_, Status::Ok) if project.last_good.is_empty() => "no backup yet",
        (_, Status::Ok) => "ok",
        (_, Status::Failing) => "FAILING",
        (_, Status::Stale) => "STALE",
    };
    word.to_owned()
}

fn last_good(project: &ProjectStanding, now: DateTime<Utc>) -> String {
    let oldest = project.last_good.iter().min_by_key(|row| row.started_at);
    oldest.map_or_else(
        || String::from("none"),
        |row| {
            let more =
                if project.last_good.len() > 1 { format!(" (oldest of {} databases)", project.last_good.len()) } else { String::new() };
            format!("{} {}, {}{more}", row.id, age(now, row.started_at), show_size(row.size))
        },
    )
}

fn notes(project: &ProjectStanding) -> String {
    let mut notes = Vec::new();
    if project.paused {
        notes.push(String::from("paused"));
    }
    if let Some(run) = project.running.first() {
        notes.push(format!("dumping {}", run.database));
    }
    notes.join(", ")
}

fn age(now: DateTime<Utc>, then: DateTime<Utc>) -> String {
    show_age((now - then).to_std().unwrap_or_default())
}
