//! What becomes of due slots: each is claimed and queued, or recorded with the reason why it is not run.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::SlotKey;
use crate::jobs::scheduled::Order;
use crate::model::backup::Trigger;
use crate::model::run::{SlotOutcome, SlotRow};
use crate::model::settings::Settings;
use crate::ops::notice;

use super::agenda::{Due, ON_TIME};
use super::owner::{Owner, desk};
use super::queue;

impl Owner {
    /// Records each due slot's claim or its reason not to run, in one transaction, and queues what was claimed here.
    pub(super) fn take_on(&mut self, due: Vec<Due>, now: DateTime<Utc>) {
        let paused = self.paused();
        let mut rows = Vec::new();
        let mut orders = Vec::new();
        for due in due {
            if let Some(missed) = &due.missed {
                rows.push(SlotRow { until: Some(missed.last), count: missed.count, ..row(&due, missed.first, SlotOutcome::Missed, now) });
            }
            let Some(slot) = due.slot else { continue };
            let order = order_for(&due, slot, now);
            match self.may_run(&order, &paused) {
                SlotOutcome::Claimed => orders.push(order),
                outcome => rows.push(row(&due, slot, outcome, now)),
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
                ours.for_each(|(order, _)| self.line_up(order, now));
            }
            Err(failure) => {
                // A backup matters more than its diary: without the catalog the jobs run, and each says what it can't record.
                tracing::error!("due slots can't be recorded yet: {failure}");
                self.unrecorded.add(rows.iter().cloned());
                self.unrecorded.add(slots.iter().map(|slot| row_of(slot.clone(), now, SlotOutcome::Claimed)));
                orders.into_iter().for_each(|order| self.line_up(order, now));
            }
        }
        let skipped = rows.into_iter().filter(|row| row.outcome == SlotOutcome::SkippedOverrun);
        let skipped: Vec<SlotKey> =
            skipped.map(|row| SlotKey { project: row.project, schedule: row.schedule, due_at: row.due_at }).collect();
        if let Err(failure) = notice::overruns(&self.world, &desk(&self.settings, &self.config_file), &skipped, &slots) {
            tracing::error!("skipped slots can't be turned into mail: {failure}");
        }
    }

    fn line_up(&mut self, order: Order, since: DateTime<Utc>) {
        let line = if queue::is_drill(&order) { &mut self.drills } else { &mut self.queue };
        line.push(order, since);
    }

    /// The configuration is another: what waits has not begun, and goes by it.
    pub(super) fn line_up_anew(&mut self) {
        let mut waiting = [self.queue.drain_waiting(), self.drills.drain_waiting()].concat();
        waiting.sort_by_key(|(_, since)| *since);
        for (order, since) in waiting {
            match of_now(&order, &self.settings) {
                Some(order) => self.line_up(order, since),
                None => {
                    let (project, schedule) = (&order.project.name, &order.schedule);
                    tracing::info!(project, schedule, "this slot waited for a place and is skipped: the configuration no longer has it");
                    self.record(&order, SlotOutcome::SkippedDisabled);
                }
            }
        }
    }

    /// Whether the project was paused while its job waited for its place; that slot is skipped then.
    pub(super) fn is_paused_meanwhile(&mut self, order: &Order) -> bool {
        let paused = self.paused().contains(&order.project.name);
        if paused {
            self.record(order, SlotOutcome::SkippedPaused);
        }
        paused
    }

    fn paused(&self) -> HashSet<String> {
        match self.world.catalog.read(|reader| reader.pauses()) {
            Ok(pauses) => pauses.into_iter().map(|pause| pause.project).collect(),
            Err(failure) => {
                tracing::error!("pauses can't be read, so none holds: {failure}");
                HashSet::new()
            }
        }
    }

    fn may_run(&self, order: &Order, paused: &HashSet<String>) -> SlotOutcome {
        let key = queue::key(order);
        let project = &order.project;
        let enabled = project.enabled && project.plans().any(|plan| Some(&plan.name) == order.schedule.as_ref() && plan.enabled);
        if !enabled {
            return SlotOutcome::SkippedDisabled;
        }
        if paused.contains(&project.name) {
            return SlotOutcome::SkippedPaused;
        }
        let (running, waiting) = (self.running.contains_key(&key), self.queue.holds(&key) || self.drills.holds(&key));
        if running || waiting {
            let state = if running { "is still going" } else { "still waits for a place" };
            tracing::warn!(
                project = project.name,
                schedule = order.schedule,
                "the last run of this schedule {state}; this slot is skipped"
            );
            return SlotOutcome::SkippedOverrun;
        }
        SlotOutcome::Claimed
    }
}

/// The same order by these settings; `None` where they have nothing of the kind at work. A schedule that is gone may have got another name: a
/// backup too many costs less than one that is missing.
fn of_now(order: &Order, settings: &Settings) -> Option<Order> {
    let project = settings.projects.iter().find(|project| project.name == order.project.name).filter(|project| project.enabled)?;
    let shape = match project.plans().find(|plan| Some(&plan.name) == order.schedule.as_ref()) {
        Some(plan) if plan.enabled => plan.shape.clone(),
        None if !queue::is_drill(order) => order.shape.clone(),
        _ => return None,
    };
    Some(Order { project: Arc::clone(project), shape, ..order.clone() })
}

/// The slot that an order serves.
pub(super) fn slot_key(order: &Order) -> Option<SlotKey> {
    Some(SlotKey { project: order.project.name.clone(), schedule: order.schedule.clone()?, due_at: order.slot? })
}

/// A row for one slot.
pub(super) fn row_of(slot: SlotKey, recorded_at: DateTime<Utc>, outcome: SlotOutcome) -> SlotRow {
    SlotRow { project: slot.project, schedule: slot.schedule, due_at: slot.due_at, until: None, count: 1, recorded_at, outcome }
}

fn row(due: &Due, due_at: DateTime<Utc>, outcome: SlotOutcome, now: DateTime<Utc>) -> SlotRow {
    SlotRow {
        project: due.project.name.clone(),
        schedule: due.schedule().name.clone(),
        due_at,
        until: None,
        count: 1,
        recorded_at: now,
        outcome,
    }
}

fn order_for(due: &Due, slot: DateTime<Utc>, now: DateTime<Utc>) -> Order {
    let spread = TimeDelta::from_std(due.schedule().spread).unwrap_or_default();
    let late = (now - slot - spread).to_std().is_ok_and(|late| late > ON_TIME);
    Order {
        project: Arc::clone(&due.project),
        shape: due.schedule().shape.clone(),
        trigger: if late { Trigger::CatchUp } else { Trigger::Scheduled },
        schedule: Some(due.schedule().name.clone()),
        slot: Some(slot),
        only: Vec::new(),
    }
}
