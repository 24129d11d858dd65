//! What the bell paces: heartbeat, mail, staleness, upkeep, the weekly summary. Slow ones run beside the owner, one of each at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Heartbeat;
use crate::error::Result;
use crate::jobs::{Board, rebuild};
use crate::model::settings::Settings;
use crate::ops::notice::{self, Desk, Hands};
use crate::ops::{World, again, deliver, reindex};
use crate::process;

use super::queue::Queue;

/// How often stale projects are looked for.
const STALE_EVERY: TimeDelta = TimeDelta::seconds(60);

/// After a mail about runs, others gather for this long before the next: many projects within a minute are one mail.
const TELL_EVERY: TimeDelta = TimeDelta::seconds(60);

/// How often the diary is trimmed and the storages are read again.
const UPKEEP_EVERY: TimeDelta = TimeDelta::hours(24);

/// How often the storages' files are compared with the index by their names, and how long after the start for the first time.
const LOOK_EVERY: TimeDelta = TimeDelta::hours(1);
const FIRST_LOOK: TimeDelta = TimeDelta::seconds(60);

/// How long after the start an upkeep begins that came due while nobody served: a wrong clock at boot is set right by then.
const SETTLED: TimeDelta = TimeDelta::hours(1);

/// The note of when it was done last.
const UPKEEP: &str = "upkeep";

/// How often an index that could not be made whole, since a storage isn't there, is tried again.
const INDEX_EVERY: TimeDelta = TimeDelta::seconds(60);

pub(super) struct Chores {
    started: DateTime<Utc>,
    heartbeat: DateTime<Utc>,
    /// The last sign of life that the catalog took.
    beaten: Option<DateTime<Utc>>,
    /// The catalog is another than before: the next look is at all that lies in the storages, not only at names.
    exchanged: bool,
    told: DateTime<Utc>,
    stale: DateTime<Utc>,
    upkeep: DateTime<Utc>,
    look: DateTime<Utc>,
    index: DateTime<Utc>,
    mail: Option<JoinHandle<()>>,
    keeping: Option<JoinHandle<()>>,
    summing: Option<JoinHandle<()>>,
    stopping: bool,
}

impl Chores {
    pub(super) fn new(world: &World) -> Self {
        let now = world.clock.now();
        let past = now - TimeDelta::days(1);
        let kept = world.catalog.read(|reader| reader.meta(UPKEEP)).unwrap_or_else(|failure| {
            tracing::error!("the catalog can't be read: {failure}");
            None
        });
        Self {
            started: now,
            heartbeat: past,
            beaten: None,
            exchanged: false,
            told: past,
            stale: settling(now),
            upkeep: counted_from(kept.and_then(|at| at.parse().ok()), now),
            look: now - LOOK_EVERY + FIRST_LOOK,
            index: past,
            mail: None,
            keeping: None,
            summing: None,
            stopping: false,
        }
    }

    /// Delivers what is due in the outbox, beside the owner.
    pub(super) fn mail(&mut self, world: &World) {
        if free(&mut self.mail) {
            let world = world.clone();
            self.mail = Some(std::thread::spawn(move || complain("mail can't be delivered", deliver::deliver(&world).map(|_| ()))));
        }
    }

    /// One ring of the bell. A clock that went back makes everything due.
    pub(super) fn tick(&mut self, world: &World, settings: &Arc<Settings>, desk: &Desk<'_>) {
        let now = world.clock.now();
        let lost = lost_index(world);
        if lost {
            // The sign of life went with the catalog.
            self.heartbeat = now - TimeDelta::days(1);
        }
        self.look_for_exchange(world, now);
        let look = due(&mut self.stale, STALE_EVERY, now);
        if look {
            // Before the failures are told: what has left the configuration is no part of them.
            complain("closed alerts can't be looked for", notice::closed(world, desk).map(|_| ()));
        }
        if now - self.told >= TELL_EVERY || now < self.told {
            match notice::tell(world, desk) {
                Ok(0) => {}
                Ok(_) => self.told = now,
                Err(failure) => tracing::error!("what happened can't be turned into mail: {failure}"),
            }
        }
        if look {
            process::memory::give_back();
            complain("stale projects can't be looked for", notice::stale(world, desk).map(|_| ()));
            complain("lost backups can't be told of", notice::lost(world, desk).map(|_| ()));
            complain("damaged backups can't be looked for", notice::damages(world, desk).map(|_| ()));
        }
        if settings.daemon.weekly_summary.is_some() && free(&mut self.summing) {
            let (world, settings, config_file) = (world.clone(), Arc::clone(settings), desk.config_file.clone());
            self.summing = Some(std::thread::spawn(move || {
                complain(
                    "the summary can't be written",
                    notice::weekly(&world, &Desk { settings: &settings, config_file, hands: Hands::Daemon }).map(|_| ()),
                );
            }));
        }
        self.mail(world);
        if lost && free(&mut self.keeping) && due(&mut self.index, INDEX_EVERY, now) {
            let (world, settings, config_file) = (world.clone(), Arc::clone(settings), desk.config_file.clone());
            self.keeping = Some(std::thread::spawn(move || complain("the index can't be rebuilt", index(&world, &settings, config_file))));
        } else if free(&mut self.keeping) && due(&mut self.upkeep, UPKEEP_EVERY, now) {
            let (world, diary) = (world.clone(), settings.daemon.diary);
            self.keeping = Some(std::thread::spawn(move || complain("upkeep", upkeep(&world, diary))));
        } else if free(&mut self.keeping) && due(&mut self.look, LOOK_EVERY, now) {
            let (world, whole) = (world.clone(), std::mem::take(&mut self.exchanged));
            self.keeping = Some(std::thread::spawn(move || {
                found(&if whole { reindex::exchanged(&world) } else { reindex::look(&world) });
            }));
        }
    }

    /// Writes the heartbeat where it is time.
    pub(super) fn pulse(&mut self, world: &World, every: Duration, board: &Board, queue: &Queue) {
        let now = world.clock.now();
        if !due(&mut self.heartbeat, TimeDelta::from_std(every).unwrap_or(TimeDelta::seconds(30)), now) {
            return;
        }
        self.look_for_exchange(world, now);
        self.heartbeat = now;
        let heartbeat = Heartbeat {
            at: now,
            started_at: self.started,
            process: process::own_identity(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: String::from(env!("CARGO_PKG_VERSION")),
            running: board.current().into_iter().map(|current| current.run).collect(),
            waiting: queue.len(),
            waiting_since: queue.since(),
            stopping: self.stopping,
            awaiting: None,
        };
        let beaten = world.catalog.write(|writer| writer.beat(&heartbeat));
        self.beaten = beaten.is_ok().then_some(now);
        complain("the heartbeat can't be written", beaten);
    }

    /// A catalog that lacks the last sign of life that it took is another one: somebody put a copy in its place. Asked before the next is given.
    fn look_for_exchange(&mut self, world: &World, now: DateTime<Utc>) {
        let Some(beaten) = self.beaten.filter(|_| !lost_index(world)) else { return };
        let known = world.catalog.read(|reader| reader.heartbeat());
        if known.is_ok_and(|known| known.is_none_or(|known| known.at.timestamp_micros() != beaten.timestamp_micros())) {
            tracing::warn!("the catalog was exchanged, perhaps for an older copy; it is compared with the storages");
            self.beaten = None;
            self.heartbeat = now - TimeDelta::days(1);
            (self.look, self.exchanged) = (now - LOOK_EVERY, true);
        }
    }

    /// From now on each sign of life says that only what runs is waited for; the next is due at once.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.heartbeat -= TimeDelta::days(1);
    }

    /// Mails that were refused for good are tried again where the way they take was changed.
    pub(super) fn mail_again(world: &World, settings: &Settings) {
        match again::where_changed(world, settings) {
            Ok(0) => {}
            Ok(mails) => tracing::info!(mails, "mails that were refused are sent again: the mail settings have changed"),
            Err(failure) => tracing::error!("refused mails can't be sent again: {failure}"),
        }
    }

    /// The configuration changed: what it leaves behind is told at the next ring, not a minute later.
    pub(super) fn look_again(&mut self) {
        self.stale -= STALE_EVERY;
    }

    /// The wall clock jumped: a wrong one must have been there for a while before the diary is trimmed by it.
    pub(super) fn jumped(&mut self, now: DateTime<Utc>) {
        self.upkeep = now;
        self.stale = settling(now);
        self.heartbeat = now - TimeDelta::days(1);
    }

    /// Before the end: what waits in the outbox gets one more chance; what fails waits for the next start.
    pub(super) fn last_words(&mut self, world: &World, desk: &Desk<'_>) {
        for thread in [self.mail.take(), self.keeping.take(), self.summing.take()].into_iter().flatten() {
            drop(thread.join());
        }
        complain("what happened can't be turned into mail", notice::tell(world, desk).map(|_| ()));
        complain("mail can't be delivered", deliver::deliver(world).map(|_| ()));
        complain("the last heartbeat can't be written", world.catalog.write(|writer| writer.farewell(world.clock.now())));
    }
}

/// What was missed comes due at once; until that is known, nobody can say that a backup is too old and none on its way.
fn settling(now: DateTime<Utc>) -> DateTime<Utc> {
    now - STALE_EVERY + TimeDelta::seconds(5)
}

fn upkeep(world: &World, diary: std::time::Duration) -> Result<()> {
    let before = world.clock.now() - TimeDelta::from_std(diary).unwrap_or(TimeDelta::days(400));
    while world.catalog.write(|writer| writer.forget_before(before, 10_000))? > 0 {}
    found(&reindex::reindex(world)?);
    let now = world.clock.now().to_rfc3339();
    world.catalog.write(|writer| writer.put_meta(UPKEEP, &now))
}

/// What a look through the storages could not use or reach.
fn found(seen: &reindex::Reindexed) {
    seen.problems.iter().for_each(|problem| tracing::warn!("while looking through the storages: {problem}"));
}

/// From when the daemon counts to its first upkeep, so that one that is started anew every day comes to it as well.
fn counted_from(last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    match last {
        Some(last) if last <= now => last.max(now - UPKEEP_EVERY + SETTLED),
        _ => now,
    }
}

/// Whether the catalog was lost while this daemon served: it notices by itself, not only at its next start.
fn lost_index(world: &World) -> bool {
    world
        .catalog
        .needs_reindex()
        .unwrap_or_else(|failure| {
            tracing::error!("the catalog can't be read: {failure}");
            None
        })
        .is_some()
}

fn index(world: &World, settings: &Settings, config_file: Option<PathBuf>) -> Result<()> {
    let desk = Desk { settings, config_file, hands: Hands::Daemon };
    rebuild::if_needed(world, &desk)?;
    let names: Vec<&str> = settings.projects.iter().map(|project| project.name.as_str()).collect();
    world.catalog.write(|writer| writer.see_projects(&names))?;
    deliver::deliver(world).map(|_| ())
}

fn due(last: &mut DateTime<Utc>, every: TimeDelta, now: DateTime<Utc>) -> bool {
    let is_due = now - *last >= every || now < *last;
    if is_due {
        *last = now;
    }
    is_due
}

/// Whether the chore isn't running; forgets a thread that has ended.
fn free(thread: &mut Option<JoinHandle<()>>) -> bool {
    if thread.as_ref().is_some_and(|running| !running.is_finished()) {
        return false;
    }
    *thread = None;
    true
}

fn complain(doing: &str, result: Result<()>) {
    if let Err(failure) = result {
        tracing::error!("{doing}: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upkeep_that_came_due_while_nobody_served_is_done_an_hour_after_the_start() {
        let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(1000);
        let waits = |last: Option<TimeDelta>| counted_from(last.map(|ago| now - ago), now) + UPKEEP_EVERY - now;
        assert_eq!(waits(Some(TimeDelta::hours(30))), SETTLED);
        assert_eq!(waits(Some(TimeDelta::hours(23) + TimeDelta::minutes(30))), SETTLED);
        assert_eq!(waits(Some(TimeDelta::hours(10))), TimeDelta::hours(14), "one that is started anew every night");
        assert_eq!(waits(Some(-TimeDelta::days(365))), UPKEEP_EVERY, "by a clock that was ahead");
        assert_eq!(waits(None), UPKEEP_EVERY);
    }
}
