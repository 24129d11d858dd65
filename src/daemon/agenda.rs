//! Which slot is due next: one entry per schedule in a heap, and what a late look at it means.
//!
//! Pure but for its memory: it is given the time and returns what is due; claiming and running is the owner's work.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::SeenSchedule;
use crate::error::Result;
use crate::model::project::{Project, Schedule};
use crate::model::settings::Settings;
use crate::ops::World;
use crate::schedule::{self, Slots, Timing};

/// A schedule whose time has come.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) project: Arc<Project>,
    pub(super) schedule: Arc<Schedule>,
    /// The slot to run, unless all that was missed is too old.
    pub(super) slot: Option<DateTime<Utc>>,
    /// Slots before it that nobody was there for.
    pub(super) missed: Option<Slots>,
}

/// The queue of coming slots.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: Vec<Entry>,
    heap: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
}

#[derive(Debug)]
struct Entry {
    project: Arc<Project>,
    schedule: Arc<Schedule>,
    /// Everything up to here has its outcome.
    done_until: DateTime<Utc>,
    /// Where an interval counts from: the slot it last started at.
    last_start: DateTime<Utc>,
    delay: Duration,
}

/// The last recorded slot of each (project, schedule).
type LastSlots = HashMap<(String, String), DateTime<Utc>>;

impl Agenda {
    /// The agenda of every schedule, from the catalog's record of what was due before.
    pub(super) fn plan(world: &World, settings: &Settings) -> Result<Self> {
        let schedules: Vec<SeenSchedule<'_>> =
            settings.projects.iter().flat_map(|project| project.schedules.iter().map(|plan| seen(project, plan))).collect();
        world.catalog.write(|writer| writer.see_schedules(&schedules))?;
        let last = world.catalog.read(|reader| reader.last_due())?;
        Ok(Self::build(settings, &last, world.clock.now()))
    }

    /// An agenda of every schedule. One without a record begins now; a record from the future (the clock was wrong) is no record.
    fn build(settings: &Settings, last: &LastSlots, now: DateTime<Utc>) -> Self {
        let mut agenda = Self::default();
        for project in &settings.projects {
            let project = Arc::new(project.clone());
            for plan in &project.schedules {
                let key = (project.name.clone(), plan.name.clone());
                let recorded = last.get(&key).copied().filter(|last| *last <= now);
                let done_until = recorded.unwrap_or(now);
                let last_start = recorded.unwrap_or_else(|| begin_soon(&plan.timing, now));
                let delay = schedule::spread(&format!("{}/{}", project.name, plan.name), plan.spread);
                let schedule = Arc::new(plan.clone());
                agenda.entries.push(Entry { project: Arc::clone(&project), schedule, done_until, last_start, delay });
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
            let entry = &mut self.entries[index];
            let until = now - TimeDelta::from_std(entry.delay).unwrap_or_default();
            let plan = &entry.schedule;
            let (from, start) = (Some(entry.done_until), Some(entry.last_start));
            let found = schedule::catch_up(&plan.timing, plan.time_zone, from, start, until, entry.project.catch_up);
            entry.done_until = until;
            if let Some(slot) = found.run.or(found.missed.map(|missed| missed.last)) {
                entry.last_start = slot;
            }
            if found.run.is_some() || found.missed.is_some() {
                due.push(Due {
                    project: Arc::clone(&entry.project),
                    schedule: Arc::clone(&entry.schedule),
                    slot: found.run,
                    missed: found.missed,
                });
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
        let name = |index: usize| (self.entries[index].project.name.clone(), self.entries[index].schedule.name.clone());
        next.into_iter()
            .map(|(at, index)| {
                let (project, schedule) = name(index);
                (project, schedule, at)
            })
            .collect()
    }

    fn enqueue(&mut self, index: usize) {
        let entry = &self.entries[index];
        let plan = &entry.schedule;
        let next = plan.timing.next_after(plan.time_zone, entry.done_until, Some(entry.last_start));
        if let Some(next) = next {
            self.heap.push(Reverse((next + TimeDelta::from_std(entry.delay).unwrap_or_default(), index)));
        }
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
