//! Jobs that are due and wait for a place: first come, first served on each server, servers in turn.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use crate::jobs::scheduled::Order;

/// The queue. One project's jobs never run side by side; different schedules of a project wait for one another.
#[derive(Debug, Default)]
pub(super) struct Queue {
    by_server: HashMap<String, VecDeque<Order>>,
    turns: VecDeque<String>,
    /// Since when each job waits.
    waiting: HashMap<(String, String), DateTime<Utc>>,
}

/// A schedule's identity: project and schedule name.
pub(super) fn key(order: &Order) -> (String, String) {
    (order.project.name.clone(), order.schedule.clone().unwrap_or_default())
}

/// Whether it is a drill: those only read, run beside the project's dumps, and wait in a queue of their own.
pub(super) fn is_drill(order: &Order) -> bool {
    order.schedule.as_ref().is_some_and(|plan| order.project.is_drill(plan))
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a job of that schedule waits already.
    pub(super) fn holds(&self, key: &(String, String)) -> bool {
        self.waiting.contains_key(key)
    }

    /// Since when the job that has waited longest does so.
    pub(super) fn since(&self) -> Option<DateTime<Utc>> {
        self.waiting.values().min().copied()
    }

    pub(super) fn push(&mut self, order: Order, now: DateTime<Utc>) {
        let server = order.project.connection.server();
        self.waiting.insert(key(&order), now);
        let line = self.by_server.entry(server.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(server);
        }
        line.push_back(order);
    }

    /// The next job that may begin: `may_start` says whether its server has a place (and takes it) and whether its project is idle.
    pub(super) fn pop(&mut self, idle: impl Fn(&Order) -> bool, mut place: impl FnMut(&str) -> bool) -> Option<(String, Order)> {
        for _ in 0..self.turns.len() {
            let server = self.turns.pop_front()?;
            let line = self.by_server.entry(server.clone()).or_default();
            let position = line.iter().position(&idle);
            let order = match position {
                Some(position) if place(&server) => line.remove(position),
                _ => None,
            };
            if line.is_empty() {
                self.by_server.remove(&server);
            } else {
                self.turns.push_back(server.clone());
            }
            if let Some(order) = order {
                self.waiting.remove(&key(&order));
                return Some((server, order));
            }
        }
        None
    }

    /// Takes everything out, for a shutdown.
    pub(super) fn drain(&mut self) -> Vec<Order> {
        self.drain_waiting().into_iter().map(|(order, _)| order).collect()
    }

    /// The same with the time since when each has waited, each server's in its order.
    pub(super) fn drain_waiting(&mut self) -> Vec<(Order, DateTime<Utc>)> {
        let mut since = std::mem::take(&mut self.waiting);
        self.turns.clear();
        let orders = self.by_server.drain().flat_map(|(_, line)| line);
        orders.filter_map(|order| Some((since.remove(&key(&order))?, order))).map(|(since, order)| (order, since)).collect()
    }
}
