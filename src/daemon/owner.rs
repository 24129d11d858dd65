//! The owner: the one task that knows what is due, waiting and running.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio::task::{JoinSet, block_in_place};

use crate::catalog::SlotKey;
use crate::config;
use crate::error::Result;
use crate::jobs::scheduled::{self, Order, Report, Setting};
use crate::jobs::{Board, mend};
use crate::model::backup::Trigger;
use crate::model::run::{SlotOutcome, SlotRow};
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::notice::{self, Desk};
use crate::process::{Cancel, CancelReason};

use super::agenda::{Agenda, Due};
use super::chores::Chores;
use super::clockwork::Clockwork;
use super::gate::{Claim, Places};
use super::queue::{self, Queue};
use super::signals::{Asked, Listening};
use super::{reload, repair, systemd};

/// The longest sleep: a wall clock that was set forward is noticed within this, bell or not.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A wall clock that went back by more than this makes a new agenda.
const STEP_BACK: TimeDelta = TimeDelta::seconds(60);

/// A slot begun later than this is told as catching up.
const LATE: TimeDelta = TimeDelta::seconds(90);

/// Everything the daemon holds in memory; all of it can be lost.
pub(super) struct Owner {
    pub(super) settings: Arc<Settings>,
    pub(super) config_file: PathBuf,
    pub(super) world: World,
    pub(super) agenda: Agenda,
    queue: Queue,
    running: HashMap<String, Cancel>,
    jobs: JoinSet<(Order, Report)>,
    chores: Chores,
    pub(super) places: Places,
    wake: Arc<Notify>,
    pub(super) board: Board,
    last_look: DateTime<Utc>,
}

/// Runs until a signal says stop.
pub(super) async fn own(settings: Arc<Settings>, config_file: PathBuf, world: World) -> Result<()> {
    let mut signals = Listening::start()?;
    let clockwork = Clockwork::start().await?;
    block_in_place(|| repair::repair(&world, &desk(&settings, &config_file)))?;
    let wake = Arc::new(Notify::new());
    let now = world.clock.now();
    let mut owner = Owner {
        agenda: Agenda::build(&settings, &world.catalog.read(|reader| reader.last_due())?, now),
        queue: Queue::default(),
        running: HashMap::new(),
        jobs: JoinSet::new(),
        chores: Chores::new(now),
        places: Places::new(settings.daemon.max_parallel, settings.daemon.max_parallel_per_server, Arc::clone(&wake)),
        wake,
        board: Board::default(),
        last_look: now,
        settings,
        config_file,
        world,
    };
    owner.announce();
    // A first sign of life, and a chance for mail that a crash left behind, before the bell rings.
    block_in_place(|| owner.tick());
    systemd::ready(&owner.summary());
    let stop = owner.turn(&mut signals, &clockwork).await;
    owner.shut_down(stop, &mut signals).await;
    clockwork.stop().await;
    Ok(())
}

impl Owner {
    /// Turns until asked to stop; returns the signal.
    async fn turn(&mut self, signals: &mut Listening, clockwork: &Clockwork) -> i32 {
        loop {
            block_in_place(|| self.look());
            let wait = self.until_next();
            let wake = Arc::clone(&self.wake);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = wake.notified() => {}
                () = clockwork.bell.notified() => block_in_place(|| self.tick()),
                Some(Ok((order, report))) = self.jobs.join_next(), if !self.jobs.is_empty() => block_in_place(|| self.ended(&order, &report)),
                asked = signals.asked.recv() => match asked {
                    Some(Asked::Reload) => block_in_place(|| reload::reload(self)),
                    Some(Asked::Tell) => self.tell(),
                    Some(Asked::Stop { signal }) => return signal,
                    None => return signal_hook::consts::SIGTERM,
                },
            }
        }
    }

    /// Looks at the clock: claims what is due and starts what may start.
    fn look(&mut self) {
        let now = self.world.clock.now();
        if now < self.last_look - STEP_BACK {
            tracing::warn!(from = %self.last_look, to = %now, "the clock went back; planning anew from here");
            match self.world.catalog.read(|reader| reader.last_due()) {
                Ok(last) => self.agenda = Agenda::build(&self.settings, &last, now),
                Err(failure) => tracing::error!("the last slots can't be read: {failure}"),
            }
        }
        self.last_look = now;
        let due = self.agenda.due(now);
        if !due.is_empty() {
            self.take_on(due, now);
        }
        self.start_waiting();
    }

    fn tick(&mut self) {
        let settings = Arc::clone(&self.settings);
        self.chores.tick(&self.world, &desk(&settings, &self.config_file));
    }

    fn last_words(&mut self) {
        let settings = Arc::clone(&self.settings);
        self.chores.last_words(&self.world, &desk(&settings, &self.config_file));
    }

    fn until_next(&self) -> Duration {
        let now = self.world.clock.now();
        let head = self.agenda.head().map(|head| (head - now).to_std().unwrap_or_default());
        head.map_or(LONGEST_SLEEP, |head| head.min(LONGEST_SLEEP))
    }

    /// Records each due slot's claim or its reason not to run, in one transaction, and queues what was claimed here.
    fn take_on(&mut self, due: Vec<Due>, now: DateTime<Utc>) {
        let paused: HashSet<String> = match self.world.catalog.read(|reader| reader.pauses()) {
            Ok(pauses) => pauses.into_iter().map(|pause| pause.project).collect(),
            Err(failure) => {
                tracing::error!("pauses can't be read, so none holds: {failure}");
                HashSet::new()
            }
        };
        let mut rows = Vec::new();
        let mut orders = Vec::new();
        for due in due {
            if let Some(missed) = &due.missed {
                rows.push(SlotRow {
                    project: due.project.name.clone(),
                    schedule: due.schedule.name.clone(),
                    due_at: missed.first,
                    until: Some(missed.last),
                    count: missed.count,
                    recorded_at: now,
                    outcome: SlotOutcome::Missed,
                });
            }
            let Some(slot) = due.slot else { continue };
            let order = order_for(&due, slot, now);
            match self.may_run(&order, &paused) {
                SlotOutcome::Claimed => orders.push(order),
                outcome => rows.push(SlotRow {
                    project: due.project.name.clone(),
                    schedule: due.schedule.name.clone(),
                    due_at: slot,
                    until: None,
                    count: 1,
                    recorded_at: now,
                    outcome,
                }),
            }
        }
        let slots: Vec<SlotKey> = orders.iter().filter_map(slot_key).collect();
        let claimed = self.world.catalog.write(|writer| {
            rows.iter().try_for_each(|row| writer.record_slot(row).map(drop))?;
            writer.claim_slots(&slots)
        });
        match claimed {
            Ok(claimed) => {
                let ours = orders.into_iter().zip(claimed).filter(|(_, claimed)| *claimed);
                ours.for_each(|(order, _)| self.queue.push(order));
            }
            Err(failure) => {
                // A backup matters more than its diary: without the catalog the jobs run, and each says what it can't record.
                tracing::error!("due slots can't be recorded: {failure}");
                orders.into_iter().for_each(|order| self.queue.push(order));
            }
        }
    }

    fn may_run(&self, order: &Order, paused: &HashSet<String>) -> SlotOutcome {
        let key = queue::key(order);
        let project = &order.project;
        let enabled = project.enabled && project.schedules.iter().any(|plan| Some(&plan.name) == order.schedule.as_ref() && plan.enabled);
        if !enabled {
            return SlotOutcome::SkippedDisabled;
        }
        if paused.contains(&project.name) {
            return SlotOutcome::SkippedPaused;
        }
        let same_running = self.running_schedule(&key);
        if same_running || self.queue.holds(&key) {
            tracing::warn!(
                project = project.name,
                schedule = order.schedule,
                "the last run of this schedule is still going; this slot is skipped"
            );
            return SlotOutcome::SkippedOverrun;
        }
        SlotOutcome::Claimed
    }

    fn running_schedule(&self, key: &(String, String)) -> bool {
        self.running.contains_key(&running_key(key))
    }

    fn start_waiting(&mut self) {
        while !self.places.full() {
            let running = &self.running;
            let idle = |project: &str| !running.keys().any(|key| key.split_once('\0').is_some_and(|(name, _)| name == project));
            let Some((server, order)) = self.queue.pop(idle, |server| self.places.try_enter(server)) else { return };
            self.start(server, order);
        }
    }

    fn start(&mut self, server: String, order: Order) {
        let cancel = Cancel::new();
        self.running.insert(running_key(&queue::key(&order)), cancel.clone());
        let (world, board, places) = (self.world.clone(), self.board.clone(), self.places.clone());
        self.jobs.spawn_blocking(move || {
            let claim = Claim::holding(places, server, cancel.clone());
            let report = scheduled::run(&world, &order, &Setting { cancel: &cancel, board: &board, gate: &claim });
            (order, report)
        });
    }

    fn ended(&mut self, order: &Order, report: &Report) {
        self.running.remove(&running_key(&queue::key(order)));
        self.record(order, report.outcome);
        if !report.unrecorded.is_empty() {
            let settings = Arc::clone(&self.settings);
            self.chores.tell_directly(&self.world, &desk(&settings, &self.config_file), &order.project, &report.unrecorded);
        }
        if let Some(plan) = &report.held
            && let Err(failure) = notice::held(&self.world, &desk(&self.settings, &self.config_file), &order.project, plan)
        {
            tracing::error!(project = order.project.name, "the held prune can't be turned into mail: {failure}");
        }
        systemd::status(&self.summary());
    }

    fn record(&self, order: &Order, outcome: SlotOutcome) {
        let Some(key) = slot_key(order) else { return };
        if let Err(failure) = self.world.catalog.write(|writer| writer.finish_slot(&key, outcome)) {
            tracing::error!(project = key.project, slot = %key.due_at, "the slot's outcome can't be recorded: {failure}");
        }
    }

    /// Makes the slot of a job that never began due again: the next start runs it, unless it has grown too old by then.
    fn give_back(&self, order: &Order) {
        let plan = order.project.schedules.iter().find(|plan| Some(&plan.name) == order.schedule.as_ref());
        let given = slot_key(order).zip(plan).map(|(slot, plan)| mend::give_back(&self.world, plan, &slot));
        match given {
            Some(Ok(true)) => {
                tracing::info!(project = order.project.name, schedule = order.schedule, "a waiting job is left to the next start");
            }
            Some(Err(failure)) => tracing::error!(project = order.project.name, "a waiting job's slot can't be given back: {failure}"),
            _ => self.record(order, SlotOutcome::Interrupted),
        }
    }

    /// Drains or interrupts what runs; a second signal interrupts at once.
    async fn shut_down(&mut self, signal: i32, signals: &mut Listening) {
        tracing::info!(signal, running = self.running.len(), waiting = self.queue.len(), "stopping");
        systemd::stopping("stopping");
        for order in self.queue.drain() {
            self.give_back(&order);
        }
        if !self.settings.daemon.drain.is_zero() && !self.jobs.is_empty() {
            tracing::info!(limit = ?self.settings.daemon.drain, "letting running dumps finish; a second signal interrupts them");
            let until = tokio::time::Instant::now() + self.settings.daemon.drain;
            while !self.jobs.is_empty() {
                tokio::select! {
                    Some(Ok((order, report))) = self.jobs.join_next() => self.ended(&order, &report),
                    Some(Asked::Stop { .. }) = signals.asked.recv() => break,
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
        for cancel in self.running.values() {
            cancel.cancel(CancelReason::Interrupted);
        }
        while let Some(ended) = self.jobs.join_next().await {
            if let Ok((order, report)) = ended {
                self.ended(&order, &report);
            }
        }
        block_in_place(|| self.last_words());
        tracing::info!("stopped");
    }

    pub(super) fn announce(&self) {
        let projects = self.settings.projects.len();
        tracing::info!(projects, schedules = self.agenda.len(), "ready");
        for (project, schedule, at) in self.agenda.upcoming(3) {
            tracing::info!(project, schedule, %at, "next");
        }
    }

    pub(super) fn summary(&self) -> String {
        format!("{} projects, {} running, {} waiting", self.settings.projects.len(), self.running.len(), self.queue.len())
    }

    fn tell(&self) {
        tracing::info!("state: {}", self.summary());
        for current in self.board.current() {
            let moved = current.gauge.snapshot().archive_bytes;
            tracing::info!(run = %current.run, project = current.project, database = current.database, since = %current.since, bytes = moved, "in flight");
        }
        for (project, schedule, at) in self.agenda.upcoming(10) {
            tracing::info!(project, schedule, %at, "next");
        }
    }
}

fn desk<'a>(settings: &'a Settings, config_file: &std::path::Path) -> Desk<'a> {
    Desk { settings, config_file: config::unusual(config_file) }
}

fn slot_key(order: &Order) -> Option<SlotKey> {
    Some(SlotKey { project: order.project.name.clone(), schedule: order.schedule.clone()?, due_at: order.slot? })
}

fn order_for(due: &Due, slot: DateTime<Utc>, now: DateTime<Utc>) -> Order {
    let spread = TimeDelta::from_std(due.schedule.spread).unwrap_or_default();
    let late = now - slot > LATE + spread;
    Order {
        project: Arc::clone(&due.project),
        shape: due.schedule.shape.clone(),
        trigger: if late { Trigger::CatchUp } else { Trigger::Scheduled },
        schedule: Some(due.schedule.name.clone()),
        slot: Some(slot),
        only: Vec::new(),
    }
}

/// `PROJECT\0SCHEDULE`: neither name can hold a NUL.
fn running_key((project, schedule): &(String, String)) -> String {
    format!("{project}\0{schedule}")
}
