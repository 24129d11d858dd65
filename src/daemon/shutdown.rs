//! The end: what waits is given back, what runs is drained or interrupted, and what there is to tell goes out.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, sleep_until};

use crate::catalog::SlotKey;
use crate::jobs::mend;
use crate::jobs::scheduled::Order;
use crate::model::project::Schedule;
use crate::process::CancelReason;

use super::claim::slot_key;
use super::owner::Owner;
use super::signals::{Asked, Listening};
use super::systemd;

/// How often the end gives a sign of life; it may last as long as a dump.
const PULSE: Duration = Duration::from_secs(10);

impl Owner {
    /// Drains or interrupts what runs; a second signal interrupts at once.
    pub(super) async fn shut_down(&mut self, signal: i32, signals: &mut Listening) {
        tracing::info!(signal, running = self.running.len(), waiting = self.queue.len() + self.drills.len(), "stopping");
        systemd::stopping("stopping");
        self.give_waiting_back();
        block_in_place(|| self.still_running());
        if !self.settings.daemon.drain.is_zero() && !self.jobs.is_empty() {
            tracing::info!(limit = ?self.settings.daemon.drain, "letting running dumps finish; a second signal interrupts them");
            let until = Instant::now() + self.settings.daemon.drain;
            self.wait_for_jobs(Some((until, signals))).await;
        }
        self.rounds.stop();
        for running in self.running.values() {
            running.cancel.cancel(CancelReason::Interrupted);
        }
        self.wait_for_jobs(None).await;
        block_in_place(|| self.last_words());
        tracing::info!("stopped");
    }

    /// Says at once how many runs the end waits for.
    fn still_running(&mut self) {
        self.chores.stop();
        self.pulse();
    }

    /// The slots of jobs that never began. In one transaction: ten thousand of them would outlast what systemd allows for a stop.
    fn give_waiting_back(&mut self) {
        let orders = [self.queue.drain(), self.drills.drain()].concat();
        if self.give_back(&orders) {
            tracing::info!(jobs = orders.len(), "waiting jobs are left to the next start");
        }
    }

    /// Makes slots due again, those of jobs that never began and of one that was interrupted: the next start runs them, unless they have
    /// grown too old by then. `false` where that can't be recorded, or nothing was given back.
    pub(super) fn give_back(&self, orders: &[Order]) -> bool {
        let now = self.world.clock.now();
        let fresh = |order: &&Order| order.slot.and_then(|slot| (now - slot).to_std().ok()).is_some_and(|age| age < order.project.catch_up);
        let slots: Vec<(&Schedule, SlotKey)> =
            orders.iter().filter(fresh).filter_map(|order| Some((plan_of(order)?, slot_key(order)?))).collect();
        match mend::give_back(&self.world, &slots) {
            Ok(given) => given > 0,
            Err(failure) => {
                tracing::error!("the slots of jobs that were not done can't be given back: {failure}");
                false
            }
        }
    }

    /// Until no job is left; where told, also until a time or another signal.
    async fn wait_for_jobs(&mut self, mut bound: Option<(Instant, &mut Listening)>) {
        while !self.jobs.is_empty() {
            let pulse = self.no_longer_than(PULSE);
            let ask = async {
                match &mut bound {
                    None => std::future::pending().await,
                    Some((until, signals)) => tokio::select! {
                        () = sleep_until(*until) => {}
                        Some(Asked::Stop { .. }) = signals.asked.recv() => {}
                    },
                }
            };
            tokio::select! {
                ended = self.jobs.join_next() => if let Some(Ok((order, report))) = ended {
                    block_in_place(|| {
                        self.ended(&order, &report);
                        self.still_running();
                    });
                },
                () = ask => return,
                () = sleep(pulse) => block_in_place(|| self.pulse()),
            }
        }
    }
}

/// The schedule that asked for it.
fn plan_of(order: &Order) -> Option<&Schedule> {
    order.project.plans().find(|plan| Some(&plan.name) == order.schedule.as_ref())
}
