//! The end: what waits is recorded as interrupted, what runs is drained or interrupted, and what there is to tell goes out.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, sleep_until};

use crate::catalog::SlotKey;
use crate::model::run::SlotOutcome;
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
        tracing::info!(signal, running = self.running.len(), waiting = self.queue.len(), "stopping");
        systemd::stopping("stopping");
        self.give_up_waiting();
        if !self.settings.daemon.drain.is_zero() && !self.jobs.is_empty() {
            tracing::info!(limit = ?self.settings.daemon.drain, "letting running dumps finish; a second signal interrupts them");
            let until = Instant::now() + self.settings.daemon.drain;
            self.wait_for_jobs(Some((until, signals))).await;
        }
        for running in self.running.values() {
            running.cancel.cancel(CancelReason::Interrupted);
        }
        self.wait_for_jobs(None).await;
        block_in_place(|| self.last_words());
        tracing::info!("stopped");
    }

    /// In one transaction: ten thousand of them would outlast what systemd allows for a stop.
    fn give_up_waiting(&mut self) {
        let slots: Vec<SlotKey> = self.queue.drain().iter().filter_map(slot_key).collect();
        let recorded =
            self.world.catalog.write(|writer| slots.iter().try_for_each(|slot| writer.finish_slot(slot, SlotOutcome::Interrupted)));
        if let Err(failure) = recorded {
            tracing::error!("the slots that waited can't be recorded as interrupted: {failure}");
        }
    }

    /// Until no job is left; where told, also until a time or another signal.
    async fn wait_for_jobs(&mut self, mut bound: Option<(Instant, &mut Listening)>) {
        while !self.jobs.is_empty() {
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
                ended = self.jobs.join_next() => if let Some(Ok((order, report))) = ended { block_in_place(|| self.ended(&order, &report)) },
                () = ask => return,
                () = sleep(PULSE) => block_in_place(|| self.pulse()),
            }
        }
    }
}
