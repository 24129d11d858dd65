//! The owner: the one task that knows what is due, waiting and running.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{JoinSet, block_in_place};

use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::drill::{self, begun};
use crate::jobs::scheduled::{self, Order, Report, Setting};
use crate::jobs::{Board, telling};
use crate::model::run::SlotOutcome;
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::notice::{self, Desk, Hands};
use crate::process::{self, Cancel};

use super::agenda::Agenda;
use super::chores::Chores;
use super::claim::{row_of, slot_key};
use super::clockwork::Clockwork;
use super::disks::Disks;
use super::gate::{Claim, Places};
use super::lag::Lag;
use super::queue::{self, Queue};
use super::rounds::{self, Rounds};
use super::signals::{Asked, Listening};
use super::unrecorded::Unrecorded;
use super::waiting::{self, Vigil, Waited};
use super::wall::Wall;
use super::{reload, repair, systemd};

/// The longest sleep: a wall clock that was set forward is noticed within this, bell or not.
const LONGEST_SLEEP: Duration = Duration::from_secs(15);

/// The chores are done at least this often by the steady clock: a bell that was set back with the wall clock doesn't ring.
const LONGEST_SILENCE: Duration = Duration::from_secs(14);

/// And no more often than this, however the bell rings.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);

/// How often systemd is asked for more time while the start repairs.
const STARTING: Duration = Duration::from_secs(20);

/// A job in flight.
pub(super) struct Running {
    pub(super) cancel: Cancel,
}

/// Everything the daemon holds in memory; all of it can be lost.
pub(super) struct Owner {
    pub(super) settings: Arc<Settings>,
    pub(super) config_file: PathBuf,
    pub(super) world: World,
    pub(super) agenda: Agenda,
    pub(super) queue: Queue,
    /// Drills that are due; no dump waits behind one.
    pub(super) drills: Queue,
    /// By schedule.
    pub(super) running: HashMap<(String, String), Running>,
    pub(super) jobs: JoinSet<(Order, Report)>,
    pub(super) chores: Chores,
    pub(super) rounds: Rounds,
    disks: Disks,
    pub(super) places: Places,
    /// The one place of drills.
    drilling: Places,
    wake: Arc<Notify>,
    pub(super) board: Board,
    wall: Wall,
    lag: Lag,
    ticked: Option<Instant>,
    /// How often systemd wants a sign of life, and when the last one was given.
    watchdog: Option<Duration>,
    petted: Instant,
    pub(super) unrecorded: Unrecorded,
}

/// Runs until a signal says stop, and says which; with `beside`, waits for the database first.
pub(super) async fn own(settings: Arc<Settings>, config_file: PathBuf, world: World, mut signals: Listening, beside: bool) -> Result<i32> {
    let mut vigil = None;
    if beside {
        match waiting::wait(&world, &settings, &config_file, &mut signals).await? {
            Waited::Here(here) => vigil = Some(here),
            Waited::Stopped(signal) => return Ok(signal),
        }
    }
    let clockwork = Clockwork::start().await?;
    repaired(&world, &settings, &config_file, vigil.as_deref()).await?;
    let wake = Arc::new(Notify::new());
    let now = world.clock.now();
    let mut owner = Owner {
        agenda: block_in_place(|| Agenda::plan(&world, &settings))?,
        queue: Queue::default(),
        drills: Queue::default(),
        running: HashMap::new(),
        jobs: JoinSet::new(),
        chores: Chores::new(&world),
        rounds: Rounds::default(),
        disks: Disks::default(),
        places: Places::new(settings.daemon.max_parallel, settings.daemon.max_parallel_per_server, Arc::clone(&wake)),
        drilling: Places::new(1, 1, Arc::clone(&wake)),
        wake,
        board: Board::default(),
        wall: Wall::new(now),
        lag: Lag::default(),
        ticked: None,
        watchdog: systemd::watchdog(),
        petted: Instant::now(),
        unrecorded: Unrecorded::default(),
        settings,
        config_file,
        world,
    };
    process::memory::give_back();
    reload::note_secrets(&owner.world, &owner.settings);
    owner.announce();
    block_in_place(|| Chores::mail_again(&owner.world, &owner.settings));
    // A first sign of life, and a chance for mail that a crash left behind, before the bell rings.
    block_in_place(|| owner.tick());
    systemd::ready(&owner.summary());
    let stop = owner.turn(&mut signals, &clockwork).await;
    owner.shut_down(stop, &mut signals).await;
    clockwork.stop().await;
    Ok(stop)
}

/// Repairs what a crash left, asking systemd for more time as long as that takes. Whoever has given signs of life goes on with them.
async fn repaired(world: &World, settings: &Arc<Settings>, config_file: &Path, vigil: Option<&Vigil>) -> Result<()> {
    let (world, settings, config_file) = (world.clone(), Arc::clone(settings), config_file.to_owned());
    let mut work = JoinSet::new();
    work.spawn_blocking(move || repair::repair(&world, &desk(&settings, &config_file)));
    loop {
        if let Some(vigil) = vigil {
            block_in_place(|| vigil.still_repairing());
        }
        tokio::select! {
            done = work.join_next() => {
                let broken = || Err(Failure::new(Cause::System, "the repair at the start broke off by an error in pgdumpd itself"));
                let done = done.and_then(Result::ok).unwrap_or_else(broken);
                if let Some(vigil) = vigil.filter(|_| done.is_err()) {
                    block_in_place(|| vigil.farewell());
                }
                return done;
            }
            () = tokio::time::sleep(STARTING) => systemd::still_starting(STARTING * 3, "repairing what was cut off"),
        }
    }
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
        if let Some(jump) = self.wall.jump(now) {
            tracing::warn!(to = %now, seconds = jump.num_seconds(), "the clock jumped (it was set, or the machine slept); planning anew from here");
            self.chores.jumped(now);
            // The last sign of life is of another time.
            self.ticked = None;
            match Agenda::plan(&self.world, &self.settings) {
                Ok(agenda) => self.agenda = agenda,
                Err(failure) => tracing::error!("the last slots can't be read: {failure}"),
            }
        }
        self.unrecorded.tell(&self.world, &desk(&self.settings, &self.config_file));
        let due = self.agenda.due(now);
        if !due.is_empty() {
            self.take_on(due, now);
        }
        self.start_waiting();
        let dumps = |((project, plan), _): (&(String, String), &Running)| {
            !self.settings.project(project).is_some_and(|project| project.is_drill(plan))
        };
        self.rounds.give_way(self.queue.len() > 0 || self.running.iter().any(dumps));
        if self.ticked.is_none_or(|ticked| ticked.elapsed() >= LONGEST_SILENCE) {
            self.tick();
        }
        // The bell is too slow for a short watchdog.
        if self.watchdog.is_some_and(|often| self.petted.elapsed() >= often) {
            self.alive();
        }
    }

    fn alive(&mut self) {
        systemd::alive();
        self.petted = Instant::now();
    }

    /// The longest wait between two signs of life to systemd: no longer than its watchdog allows.
    pub(super) fn no_longer_than(&self, wait: Duration) -> Duration {
        self.watchdog.map_or(wait, |often| often.saturating_sub(self.petted.elapsed()).min(wait))
    }

    fn tick(&mut self) {
        if self.ticked.is_some_and(|ticked| ticked.elapsed() < SHORTEST_SILENCE) {
            return;
        }
        self.ticked = Some(Instant::now());
        self.lag.look(&self.queue, self.world.clock.now());
        self.pulse();
        let settings = Arc::clone(&self.settings);
        let desk = desk(&settings, &self.config_file);
        self.unrecorded.tell(&self.world, &desk);
        self.chores.tick(&self.world, &settings, &desk);
        self.unrecorded.mail(&self.world, &desk);
        self.rounds.tell_kept(&self.world, &desk);
        self.rounds.tick(&self.world, &settings, &self.config_file, &self.board);
        if self.disks.tick(&self.world, &settings) {
            systemd::status(&self.summary());
        }
        // Again, where the tick found that the last sign of life went with the catalog.
        self.pulse();
    }

    /// A sign of life to systemd and in the catalog.
    pub(super) fn pulse(&mut self) {
        self.alive();
        self.chores.pulse(&self.world, self.settings.daemon.heartbeat, &self.board, &self.queue);
    }

    pub(super) fn last_words(&mut self) {
        let settings = Arc::clone(&self.settings);
        let desk = desk(&settings, &self.config_file);
        self.unrecorded.last_words(&self.world, &desk);
        self.rounds.tell_kept(&self.world, &desk);
        self.chores.last_words(&self.world, &desk);
    }

    fn until_next(&self) -> Duration {
        let now = self.world.clock.now();
        let head = self.agenda.head().map(|head| (head - now).to_std().unwrap_or_default());
        self.no_longer_than(head.map_or(LONGEST_SLEEP, |head| head.min(LONGEST_SLEEP)))
    }

    fn start_waiting(&mut self) {
        while !self.places.full() {
            let running = &self.running;
            // A drill only reads: it waits for no dump of its project, and none waits for it.
            let idle = |order: &Order| {
                let dumps =
                    |((project, plan), _): (&(String, String), &Running)| *project == order.project.name && !order.project.is_drill(plan);
                !running.iter().any(dumps)
            };
            let Some((server, order)) = self.queue.pop(idle, |server| self.places.try_enter(server)) else { break };
            self.start(server, order);
        }
        while let Some((server, order)) = self.drills.pop(|_| true, |server| self.drilling.try_enter(server)) {
            self.start_drill(server, order);
        }
    }

    fn start(&mut self, server: String, order: Order) {
        let cancel = Cancel::new();
        let claim = Claim::holding(self.places.clone(), server, cancel.clone());
        if self.is_paused_meanwhile(&order) {
            return;
        }
        self.runs(&order, &cancel);
        let (world, board) = (self.world.clone(), self.board.clone());
        self.jobs.spawn_blocking(move || {
            let report = scheduled::run(&world, &order, &Setting { cancel: &cancel, board: &board, gate: &claim, said: None, ended: None });
            drop(claim);
            (order, report)
        });
    }

    fn start_drill(&mut self, server: String, order: Order) {
        let cancel = Cancel::new();
        let claim = Claim::holding(self.drilling.clone(), server, cancel.clone());
        if self.is_paused_meanwhile(&order) {
            return;
        }
        self.runs(&order, &cancel);
        let (world, board) = (self.world.clone(), self.board.clone());
        let (settings, config_file) = (Arc::clone(&self.settings), self.config_file.clone());
        self.jobs.spawn_blocking(move || {
            let setting = drill::Setting { cancel: &cancel, board: &board, gate: &claim };
            let report = rounds::drill(&world, &desk(&settings, &config_file), &order, &setting);
            drop(claim);
            (order, report)
        });
    }

    /// Notes that a job runs; what ends it early.
    fn runs(&mut self, order: &Order, cancel: &Cancel) {
        self.running.insert(queue::key(order), Running { cancel: cancel.clone() });
    }

    pub(super) fn ended(&mut self, order: &Order, report: &Report) {
        self.running.remove(&queue::key(order));
        let is_due_again = report.outcome == SlotOutcome::Interrupted && self.give_back(std::slice::from_ref(order));
        if !is_due_again {
            self.record(order, report.outcome);
        }
        if queue::is_drill(order) {
            let (world, name) = (&self.world, &order.project.name);
            if is_due_again {
                begun::forget(world, name);
            } else if !report.untold.is_empty() {
                self.rounds.keep(name, report.untold.clone());
            } else {
                rounds::tell_untold(world, &desk(&self.settings, &self.config_file), name);
            }
        }
        self.unrecorded.add_runs(&report.unrecorded);
        if let (Some(held), Some(slot)) = (&report.held_by, slot_key(order))
            && let Err(failure) = notice::locked_out(&self.world, &desk(&self.settings, &self.config_file), &slot, held)
        {
            tracing::error!(project = order.project.name, "skipped slots can't be turned into mail: {failure}");
        }
        for failure in telling::tell(&self.world, &desk(&self.settings, &self.config_file), &order.project, report) {
            tracing::error!(project = order.project.name, "what came of the job can't be turned into mail: {failure}");
        }
        systemd::status(&self.summary());
    }

    pub(super) fn record(&mut self, order: &Order, outcome: SlotOutcome) {
        let Some(key) = slot_key(order) else { return };
        if self.unrecorded.settle(&key, outcome) {
            return;
        }
        if let Err(failure) = self.world.catalog.write(|writer| writer.finish_slot(&key, outcome)) {
            tracing::error!(project = key.project, slot = %key.due_at, "the slot's outcome can't be recorded yet: {failure}");
            self.unrecorded.add([row_of(key, self.world.clock.now(), outcome)]);
        }
    }

    pub(super) fn announce(&self) {
        let projects = self.settings.projects.len();
        tracing::info!(projects, schedules = self.agenda.len(), "ready");
        for (project, schedule, at) in self.agenda.upcoming(3) {
            tracing::info!(project, schedule, %at, "next");
        }
    }

    pub(super) fn summary(&self) -> String {
        let projects = self.settings.projects.len();
        let plural = if projects == 1 { "" } else { "s" };
        let waiting = self.queue.len() + self.drills.len();
        let state = format!("{projects} project{plural}, {} running, {waiting} waiting", self.running.len());
        std::iter::once(state).chain(self.disks.words()).collect::<Vec<_>>().join("; ")
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

/// What letters need besides the catalog.
pub(super) fn desk<'a>(settings: &'a Settings, config_file: &Path) -> Desk<'a> {
    Desk { settings, config_file: config::unusual(config_file), hands: Hands::Daemon }
}
