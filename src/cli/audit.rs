//! `pgdumpd audit`

use chrono_tz::Tz;

use crate::catalog::{AuditEntry, BEGUN, Page};
use crate::error::Result;

use super::exit::Exit;
use super::{Common, out, world};

/// Show who restored, merged, drilled, pruned, pinned, accepted or paused what, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An entry is made when the work begins and says how it ended when it does; one that stays \"begun\"
is still at work, or was killed. How long entries are kept says `diary` in the configuration.")]
pub(super) struct Args {
    /// Only what was done to this project
    project: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = world::look(common, &settings)?;
    let entries = world.catalog.read(|reader| reader.audit(args.project.as_deref(), Page::first(args.limit)))?;
    if let (Some(name), true) = (&args.project, entries.is_empty()) {
        // A mistyped name is told from a project to which nothing was done; one that is no longer configured may still have entries.
        world::project(&settings, name)?;
    }
    if common.json {
        out::json(&entries)?;
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        out::note("nothing was done by hand yet, and nothing restored for trial");
        return Ok(Exit::Done);
    }
    let project = args.project.as_ref().and_then(|name| settings.project(name));
    let zone = project.map_or(settings.daemon.time_zone, |project| project.time_zone);
    let at = format!("AT ({})", zone.name());
    let mut table = out::table(&[&at, "WHO", "WHAT", "PROJECT", "TO WHAT", "OUTCOME"]);
    for entry in &entries {
        table.add_row(cells(entry, zone));
    }
    out::show(&table);
    if entries.len() == args.limit as usize {
        out::note(format!("the newest {}; --limit shows more", args.limit));
    }
    Ok(Exit::Done)
}

fn cells(entry: &AuditEntry, zone: Tz) -> Vec<String> {
    let outcome = if entry.outcome == BEGUN { "begun: still at work, or killed" } else { &entry.outcome };
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    vec![
        out::when(entry.at, zone),
        entry.actor.clone(),
        entry.action.clone(),
        entry.project.clone().unwrap_or_else(|| String::from("-")),
        one_line(&entry.subject),
        one_line(outcome),
    ]
}
