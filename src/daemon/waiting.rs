//! Beside a database, the daemon waits for it before it begins. Meanwhile it gives signs of life that say so, and hears signals; where the
//! database doesn't come, that is a failed run of its project, told as any other before the daemon ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::task::{JoinSet, block_in_place};

use crate::catalog::{Awaited, Heartbeat};
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::beginning::{self, Wait};
use crate::jobs::rebuild;
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::notify::redact::Redactor;
use crate::ops::notice::{self, Desk, Hands};
use crate::ops::{World, arrive, deliver};
use crate::process::{self, Cancel, CancelReason};
use crate::units;

use super::signals::{Asked, Listening};
use super::systemd;

/// The longest time between two signs of life here.
const PULSE: Duration = Duration::from_secs(20);

/// How the wait ended, where it didn't fail.
pub(super) enum Waited {
    /// The database is there; signs of life are still to be given until the daemon gives its own.
    Here(Arc<Vigil>),
    /// A signal came first.
    Stopped(i32),
}

/// Waits for the database of each enabled project.
pub(super) async fn wait(world: &World, settings: &Arc<Settings>, config_file: &Path, signals: &mut Listening) -> Result<Waited> {
    let vigil = Arc::new(Vigil { world: world.clone(), started: world.clock.now(), why: Mutex::default(), looks: AtomicU32::new(0) });
    let cancel = Cancel::new();
    let mut work = JoinSet::new();
    let (seen, asked, settings, config_file) = (Arc::clone(&vigil), cancel.clone(), Arc::clone(settings), config_file.to_owned());
    let every = settings.daemon.heartbeat.min(PULSE);
    work.spawn_blocking(move || {
        let desk = Desk { settings: &settings, config_file: config::unusual(&config_file), hands: Hands::Nobody };
        seen.search(&desk, &asked)
    });
    let mut stop = None;
    let ended = loop {
        block_in_place(|| vigil.beat(stop.is_some()));
        systemd::still_starting(PULSE * 3, "waiting for the database");
        tokio::select! {
            done = work.join_next() => break done.and_then(Result::ok).unwrap_or_else(broken),
            Some(asked) = signals.asked.recv() => match asked {
                Asked::Stop { signal } => {
                    stop = Some(signal);
                    cancel.cancel(CancelReason::Interrupted);
                }
                Asked::Reload => tracing::info!("the environment is the configuration, and can't be read again; still waiting for the database"),
                Asked::Tell => tracing::info!("state: waiting for the database: {}", vigil.why.lock().as_deref().unwrap_or("not looked yet")),
            },
            () = tokio::time::sleep(every) => {}
        }
    };
    match (stop, ended) {
        (None, Ok(())) => Ok(Waited::Here(vigil)),
        (Some(signal), _) => {
            tracing::info!(signal, "ended by a signal while waiting for the database");
            block_in_place(|| vigil.farewell());
            Ok(Waited::Stopped(signal))
        }
        (None, Err(failure)) => {
            block_in_place(|| vigil.farewell());
            Err(failure)
        }
    }
}

fn broken() -> Result<()> {
    Err(Failure::new(Cause::System, "the wait for the database broke off by an error in pgdumpd itself"))
}

/// What is known of the wait, by those who look and those who tell.
pub(super) struct Vigil {
    world: World,
    started: DateTime<Utc>,
    /// What the last look said.
    why: Mutex<Option<String>>,
    /// Looks in vain at the project in turn.
    looks: AtomicU32,
}

impl Vigil {
    fn search(&self, desk: &Desk<'_>, cancel: &Cancel) -> Result<()> {
        // A mail about a database that isn't there names the backups that there are.
        complain("the index can't be rebuilt", rebuild::if_needed(&self.world, desk).map(drop));
        for project in desk.settings.projects.iter().filter(|project| project.enabled) {
            let since = self.world.clock.now();
            self.looks.store(0, Ordering::SeqCst);
            let found = self.ready(project, cancel);
            let wait = Wait { since, looks: self.looks.load(Ordering::SeqCst).max(1) };
            match found {
                Ok(here) => {
                    tracing::info!("{}", here.words);
                    for (database, failure) in here.missing {
                        tracing::warn!(project = project.name, database, "going on without a database that can't be reached: {failure}");
                        beginning::failed(&self.world, project, &[database], wait, &failure);
                    }
                }
                Err(failure) if cancel.is_cancelled() => return Err(failure),
                Err(failure) => {
                    beginning::failed(&self.world, project, &[], wait, &failure.clone().context("pgdumpd could not start"));
                    self.tell(desk);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// Waits until backups of a project could be made.
    fn ready(&self, project: &Project, cancel: &Cancel) -> Result<arrive::Here> {
        let settled = |failure| Redactor::default().clean_failure(failure);
        let longest = units::show_duration(arrive::longest(project));
        tracing::info!(project = project.name, "looking for the database at {}", project.connection.server());
        let absent = |failure: &Failure| {
            self.looks.fetch_add(1, Ordering::SeqCst);
            let before = self.why.lock().replace(failure.message.clone());
            if before.as_ref() != Some(&failure.message) {
                let doing = if before.is_some() { "still waiting" } else { "waiting" };
                tracing::warn!("{doing} for the database, at most {longest}: {failure}");
                self.beat(cancel.is_cancelled());
            }
        };
        arrive::wait(project, cancel, &absent).map_err(settled)
    }

    /// What could not begin is told before the end: there is nobody to do it later.
    fn tell(&self, desk: &Desk<'_>) {
        complain("what happened can't be turned into mail", notice::tell(&self.world, desk).map(drop));
        complain("stale projects can't be looked for", notice::stale(&self.world, desk).map(drop));
        complain("mail can't be delivered", deliver::deliver(&self.world).map(drop));
    }

    /// A sign of life of a daemon that has found its database and repairs first what a crash cut off.
    pub(super) fn still_repairing(&self) {
        *self.why.lock() = Some(String::from("it answers, but what was cut off is repaired first"));
        self.beat(false);
    }

    fn beat(&self, stopping: bool) {
        let heartbeat = Heartbeat {
            at: self.world.clock.now(),
            started_at: self.started,
            process: process::own_identity(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: String::from(env!("CARGO_PKG_VERSION")),
            running: Vec::new(),
            waiting: 0,
            waiting_since: None,
            stopping,
            awaiting: Some(Awaited { why: self.why.lock().clone() }),
        };
        complain("the heartbeat can't be written", self.world.catalog.write(|writer| writer.beat(&heartbeat)));
    }

    pub(super) fn farewell(&self) {
        complain("the last heartbeat can't be written", self.world.catalog.write(|writer| writer.farewell(self.world.clock.now())));
    }
}

fn complain(doing: &str, result: Result<()>) {
    if let Err(failure) = result {
        tracing::error!("{doing}: {failure}");
    }
}
