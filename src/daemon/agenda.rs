//! Which slot is due next: one entry per schedule in a heap, and what a late look at it means.
//!
//! Pure but for its memory: it is given the time and returns what is due; claiming and running is the owner's work.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use crate::catalog::SeenSchedule;
use crate::error::Result;
use crate::model::project::{Project, Schedule};
use crate::model::settings::Settings;
use crate::ops::World;
use crate::schedule::{self, CatchUp, Slots, Timing};

/// A slot no older than this is on time, also where nothing is caught up: whoever sleeps to a moment wakes a little after it.
pub(super) const ON_TIME: Duration = Duration::from_secs(90);

/// A schedule whose time has come.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) project: Arc<Project>,
    /// The schedule's place among the project's.
    plan: usize,
    /// The slot to run, unless all that was missed is too old.
    pub(super) slot: Option<DateTime<Utc>>,
    /// Slots before it that nobody was there for.
    pub(super) missed: Option<Slots>,
}

impl Due {
    pub(super) fn schedule(&self) -> &Schedule {
        at(&self.project, self.plan)
    }
}

/// The queue of coming slots.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: Vec<Entry>,
    heap: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    next: Next,
}

/// The next slots of crontab lines, as far as they were asked for: thousands of schedules share a few lines and moments.
#[derive(Debug, Default)]
struct Next(HashMap<(String, Tz, DateTime<Utc>), Option<DateTime<Utc>>>);

impl Next {
    /// More answers than this are not kept.
    const MOST: usize = 1024;

    fn after(&mut self, plan: &Schedule, after: DateTime<Utc>, last_start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ask = || plan.timing.next_after(plan.time_zone, after, Some(last_start));
        let Timing::Cron(cron) = &plan.timing else { return ask() };
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        // A line's slots lie on whole seconds, so whatever lies between two of them has the same answer.
        let second = after.with_nanosecond(0).unwrap_or(after);
        *self.0.entry((cron.text().to_owned(), plan.time_zone, second)).or_insert_with(ask)
    }
}

#[derive(Debug)]
struct Entry {
    project: Arc<Project>,
    /// The schedule's place among the project's.
    plan: usize,
    /// Everything up to here has its outcome.
    done_until: DateTime<Utc>,
    /// Where an interval counts from: the slot it last started at.
    last_start: DateTime<Utc>,
    delay: Duration,
}

impl Entry {
    fn schedule(&self) -> &Schedule {
        at(&self.project, self.plan)
    }
}

/// The last recorded slot of each (project, schedule).
type LastSlots = HashMap<(String, String), DateTime<Utc>>;

impl Agenda {
    /// The agenda of every schedule, from the catalog's record of what was due before.
    pub(super) fn plan(world: &World, settings: &Settings) -> Result<Self> {
        let schedules: Vec<SeenSchedule<'_>> =
            settings.projects.iter().flat_map(|project| project.plans().map(|plan| seen(project, plan))).collect();
        world.catalog.write(|writer| writer.see_schedules(&schedules))?;
        let last = world.catalog.read(|reader| reader.last_due())?;
        Ok(Self::build(settings, &last, world.clock.now()))
    }

    /// An agenda of every schedule. One without a record begins now; a record from the future (the clock was wrong) is no record.
    fn build(settings: &Settings, last: &LastSlots, now: DateTime<Utc>) -> Self {
        let mut agenda = Self::default();
        for project in &settings.projects {
            for (index, plan) in project.plans().enumerate() {
                let key = (project.name.clone(), plan.name.clone());
                let recorded = last.get(&key).copied().filter(|last| *last <= now);
                let done_until = recorded.unwrap_or(now);
                let last_start = recorded.unwrap_or_else(|| begin_soon(&plan.timing, now));
                let delay = schedule::spread(&format!("{}/{}", project.name, plan.name), plan.spread);
                agenda.entries.push(Entry { project: Arc::clone(project), plan: index, done_until, last_start, delay });
                agenda.enqueue(agenda.entries.len() - 1);
            }
        }
        agenda
    }

    /// When the next slot is due.
    pub(super) fn head(&self) -> Option<DateTime<Utc>> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// How many schedules there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes everything due at `now`; each schedule once, however long nobody looked.
    pub(super) fn due(&mut self, now: DateTime<Utc>) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(Reverse((at, index))) = self.heap.peek().copied() {
            if at > now {
                break;
            }
            self.heap.pop();
            let entry = &self.entries[index];
            let delay = TimeDelta::from_std(entry.delay).unwrap_or_default();
            let (until, slot) = (now - delay, at - delay);
            let next = self.next.after(entry.schedule(), slot, slot);
            let window = entry.project.catch_up.max(ON_TIME);
            let fresh = (until - slot).to_std().is_ok_and(|age| age <= window);
            let entry = &mut self.entries[index];
            // Nearly always the slot that was waited for is the only one, and the question is answered already.
            let found = if fresh && next.is_none_or(|next| next > until) {
                CatchUp { run: Some(slot), missed: None }
            } else {
                let plan = entry.schedule();
                let (from, start) = (Some(entry.done_until), Some(entry.last_start));
                schedule::catch_up(&plan.timing, plan.time_zone, from, start, until, window)
            };
            entry.done_until = until;
            if let Some(slot) = found.run.or(found.missed.map(|missed| missed.last)) {
                entry.last_start = slot;
            }
            if found.run.is_some() || found.missed.is_some() {
                due.push(Due { project: Arc::clone(&entry.project), plan: entry.plan, slot: found.run, missed: found.missed });
            }
            self.enqueue(index);
        }
        due
    }

    /// The next slot of each schedule, for the log and for `SIGUSR1`.
    pub(super) fn upcoming(&self, count: usize) -> Vec<(String, String, DateTime<Utc>)> {
        let mut next: Vec<_> = self.heap.iter().map(|Reverse(pair)| *pair).collect();
        next.sort_unstable();
        next.truncate(count);
        let name = |index: usize| (self.entries[index].project.name.clone(), self.entries[index].schedule().name.clone());
        next.into_iter()
            .map(|(at, index)| {
                let (project, schedule) = name(index);
                (project, schedule, at)
            })
            .collect()
    }

    fn enqueue(&mut self, index: usize) {
        let entry = &self.entries[index];
        if let Some(next) = self.next.after(entry.schedule(), entry.done_until, entry.last_start) {
            self.heap.push(Reverse((next + TimeDelta::from_std(entry.delay).unwrap_or_default(), index)));
        }
    }
}

/// The plan at that place among the project's: its schedules, then its drill.
fn at(project: &Project, place: usize) -> &Schedule {
    match &project.drill {
        Some(drill) if place == project.schedules.len() => &drill.plan,
        _ => &project.schedules[place],
    }
}

fn seen<'a>(project: &'a Project, plan: &'a Schedule) -> SeenSchedule<'a> {
    let (timing, from_now) = match &plan.timing {
        Timing::Cron(cron) => (format!("{} {}", cron.text(), plan.time_zone), true),
        Timing::Every(interval) => (format!("every {} s", interval.as_secs()), false),
    };
    SeenSchedule { project: &project.name, schedule: &plan.name, timing, from_now }
}

/// An interval that has never run begins within a second, as someone who has just set it up expects; a crontab line waits for its time.
fn begin_soon(timing: &Timing, now: DateTime<Utc>) -> DateTime<Utc> {
    match timing {
        Timing::Every(interval) => now + TimeDelta::seconds(1) - TimeDelta::from_std(*interval).unwrap_or_default(),
        Timing::Cron(_) => now,
    }
}
