//! `pgdumpd plan`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use crate::catalog::{self, Pause};
use crate::error::{Cause, Failure, Result};
use crate::model::project::{Project, Schedule};
use crate::model::settings::Settings;
use crate::ops::elsewhere::{self, Elsewhere};
use crate::retention;
use crate::schedule::{self, Timing};

use super::exit::Exit;
use super::{Common, out, world};

/// Slots printed of one schedule unless --count says otherwise.
const COUNT: usize = 5;

/// Most slots that retention is simulated over.
const MOST: usize = 100_000;

/// Print the coming slots of schedules and drills, and what the retention would keep.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgdumpd plan                                        what comes next
  pgdumpd plan shop --from 2026-03-28 --to 2026-03-30  the night of a clock change
  pgdumpd plan shop --days 400                        which backups would be there in 400 days")]
pub(super) struct Args {
    /// Only this project
    project: Option<String>,
    /// From this time on (`2026-03-28`, `2026-03-28 23:00`), in the schedule's zone; now without it
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to this time; all slots in between are printed
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Slots of each schedule
    #[arg(long, default_value_t = COUNT, value_name = "N")]
    count: usize,
    /// Also: which of the coming backups the retention would still keep after this many days
    #[arg(long, value_name = "N")]
    days: Option<u32>,
}

/// What a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum For {
    Backup,
    /// A backup is restored for trial.
    Drill,
}

/// The coming slots of one schedule, or of a project's drill.
#[derive(Debug, Serialize)]
struct Coming {
    project: String,
    schedule: String,
    #[serde(rename = "for")]
    purpose: For,
    enabled: bool,
    /// Whether its slots are skipped now.
    paused: bool,
    /// Until when; without it, until the project is resumed.
    paused_until: Option<DateTime<Utc>>,
    pause_reason: Option<String>,
    time_zone: String,
    /// Whether it is an interval that has never run: it begins with the daemon, and these times count from now.
    never_ran: bool,
    slots: Vec<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<Vec<Kept>>,
}

/// One backup that would still be there.
#[derive(Debug, Serialize)]
struct Kept {
    slot: DateTime<Utc>,
    why: String,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let chosen: Vec<&Project> = match &args.project {
        Some(name) => vec![world::project(&settings, name)?],
        None => settings.projects.iter().map(Arc::as_ref).collect(),
    };
    let now = crate::clock::Clock::system().now();
    let Known { last, pauses, elsewhere } = known(common, &settings)?;
    let mut plans = Vec::new();
    for project in chosen {
        for plan in project.plans() {
            let last = last.get(&(project.name.clone(), plan.name.clone())).copied();
            let pause = pauses.iter().find(|pause| pause.project == project.name);
            plans.push((coming(project, plan, args, (now, last), pause)?, plan.time_zone));
        }
        if project.schedules.is_empty() && !common.json {
            out::say(format!("{}: by hand only", project.name));
        }
        for one in elsewhere.get(&project.name).into_iter().flatten() {
            out::note(format!("{}: {}", project.name, one.words()));
        }
    }
    if common.json {
        out::json(&plans.iter().map(|(plan, _)| plan).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    plans.iter().for_each(|(plan, zone)| print(plan, *zone, args));
    Ok(Exit::Done)
}

/// What the catalog knows of the plans.
#[derive(Default)]
struct Known {
    /// When each schedule was last due.
    last: HashMap<(String, String), DateTime<Utc>>,
    pauses: Vec<Pause>,
    elsewhere: BTreeMap<String, Vec<Elsewhere>>,
}

/// Asks the catalog; without one nothing was ever due or paused, and none is made for the asking. Only schedules that count from the last
/// slot can't be told without it.
fn known(common: &Common, settings: &Settings) -> Result<Known> {
    if !settings.daemon.state_dir.join(catalog::FILE).is_file() {
        return Ok(Known::default());
    }
    let asked = world::open(common, settings).and_then(|world| {
        world
            .catalog
            .read(|reader| Ok(Known { last: reader.last_due()?, pauses: reader.pauses()?, elsewhere: elsewhere::all(reader, settings)? }))
    });
    let counts = |plan: &Schedule| matches!(plan.timing, Timing::Every(_));
    match asked {
        Err(failure) if !settings.projects.iter().any(|project| project.plans().any(counts)) => {
            out::note(format!("pgdumpd: warning: nobody can say here what is paused: {failure}"));
            Ok(Known::default())
        }
        asked => asked,
    }
}

fn coming(
    project: &Project,
    plan: &Schedule,
    args: &Args,
    (now, last): (DateTime<Utc>, Option<DateTime<Utc>>),
    pause: Option<&Pause>,
) -> Result<Coming> {
    let from = args.from.as_deref().map(|text| time(text, plan.time_zone)).transpose()?.unwrap_or(now);
    let to = args.to.as_deref().map(|text| time(text, plan.time_zone)).transpose()?;
    if let Some(to) = to.filter(|to| *to < from) {
        return Err(backwards(args, from, to, plan.time_zone));
    }
    let never_ran = last.is_none() && matches!(plan.timing, Timing::Every(_));
    let (from, last) = if never_ran { (from.max(now), Some(begin(&plan.timing, now))) } else { (from, last) };
    let delay = TimeDelta::from_std(schedule::spread(&format!("{}/{}", project.name, plan.name), plan.spread)).unwrap_or_default();
    // A slot before `from` whose delay ends after it is one of those to come; one at the moment that was typed is, too.
    let begins = if args.from.is_some() { from - TimeDelta::microseconds(1) } else { from };
    let slots = slots(plan, begins - delay, last, to.map(|to| to - delay), if to.is_some() { MOST } else { args.count });
    let purpose = if project.is_drill(&plan.name) { For::Drill } else { For::Backup };
    let kept = args.days.filter(|_| purpose == For::Backup).map(|days| kept(project, plan, (from, last), days));
    Ok(Coming {
        project: project.name.clone(),
        schedule: plan.name.clone(),
        purpose,
        enabled: project.enabled && plan.enabled,
        paused: pause.is_some(),
        paused_until: pause.and_then(|pause| pause.until),
        pause_reason: pause.map(|pause| pause.reason.clone()).filter(|reason| !reason.is_empty()),
        time_zone: plan.time_zone.name().to_owned(),
        never_ran,
        slots: slots.into_iter().map(|slot| slot + delay).collect(),
        kept,
    })
}

/// Where an interval that has never run counts from: the daemon begins it a second after it first sees it.
fn begin(timing: &Timing, now: DateTime<Utc>) -> DateTime<Utc> {
    let interval = if let Timing::Every(interval) = timing { *interval } else { Duration::ZERO };
    now + TimeDelta::seconds(1) - TimeDelta::from_std(interval).unwrap_or_default()
}

fn backwards(args: &Args, from: DateTime<Utc>, to: DateTime<Utc>, zone: Tz) -> Failure {
    let (begin, end) = (out::moment(from, zone), out::moment(to, zone));
    let failure = |words: String| Failure::new(Cause::Configuration, words);
    if args.from.is_some() {
        failure(format!("--from {begin} is later than --to {end}")).hint("type the earlier one as --from")
    } else {
        failure(format!("--to {end} has passed, and without --from the plan begins now")).hint("say with --from where it is to begin")
    }
}

fn slots(plan: &Schedule, from: DateTime<Utc>, last: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, most: usize) -> Vec<DateTime<Utc>> {
    let start = Some(last.unwrap_or(from));
    let next = |after: &DateTime<Utc>| plan.timing.next_after(plan.time_zone, *after, start);
    std::iter::successors(next(&from), next).take_while(|slot| to.is_none_or(|to| *slot <= to)).take(most).collect()
}

fn kept(project: &Project, plan: &Schedule, (from, last): (DateTime<Utc>, Option<DateTime<Utc>>), days: u32) -> Vec<Kept> {
    let until = from + TimeDelta::days(i64::from(days));
    let all = slots(plan, from, last, Some(until), MOST);
    retention::simulate(&project.retention, project.time_zone, &all)
        .into_iter()
        .map(|(slot, reasons)| Kept { slot, why: reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ") })
        .collect()
}

fn print(plan: &Coming, zone: Tz, args: &Args) {
    let off = if plan.enabled { String::new() } else { String::from(" (disabled)") };
    let off = if plan.paused && plan.enabled { paused(plan, zone) } else { off };
    let trial = if plan.purpose == For::Drill { ": a backup is restored for trial" } else { "" };
    let first =
        if plan.never_ran && plan.enabled { ": never run yet, so it begins as soon as the daemon serves; counted from now" } else { "" };
    out::say(format!("{} / {} in {}{off}{trial}{first}", plan.project, plan.schedule, plan.time_zone));
    for slot in &plan.slots {
        let skipped = plan.paused && plan.enabled && plan.paused_until.is_none_or(|until| *slot < until);
        let skipped = if skipped { ", skipped" } else { "" };
        out::say(format!("  {}{skipped}", slot.with_timezone(&zone).format("%a %Y-%m-%d %H:%M:%S %Z")));
    }
    let (Some(kept), Some(days)) = (&plan.kept, args.days) else { return };
    out::say(format!("  after {days} days the retention would keep {}:", kept.len()));
    for kept in kept {
        out::say(format!("    {}  {}", out::when(kept.slot, zone), kept.why));
    }
}

/// ` (paused until 2026-11-21 04:00:00: new disks)`.
fn paused(plan: &Coming, zone: Tz) -> String {
    let until = plan.paused_until.map(|until| format!(" until {}", out::when(until, zone))).unwrap_or_default();
    let why = plan.pause_reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!(" (paused{until}{why})")
}

/// A local time as people write it; one that a clock change skips or repeats is taken as the earlier.
pub(super) fn time(text: &str, zone: Tz) -> Result<DateTime<Utc>> {
    if let Ok(exact) = DateTime::parse_from_rfc3339(text) {
        return Ok(exact.to_utc());
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let local = day
        .or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").ok())
        .or_else(|| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok());
    let found = local.and_then(|local| zone.from_local_datetime(&local).earliest());
    found.map(|time| time.to_utc()).ok_or_else(|| {
        Failure::new(Cause::Configuration, format!("{text:?} is no time in {}", zone.name()))
            .hint("write it as 2026-03-28, 2026-03-28 23:00, or 2026-03-28T22:00:00Z")
    })
}
