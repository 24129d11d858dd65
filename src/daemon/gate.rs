//! The limits: dumps at once over all projects, and on one server.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::jobs::Gate;
use crate::process::Cancel;

/// Jobs that wait for a retry give their place back, but each keeps a thread: beyond this many, a job waits in its place.
const STEPPED_OUT: usize = 256;

/// Places for dumps. Cheap to clone; clones share the places.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: Mutex<Taken>,
    freed: Condvar,
    /// Wakes the owner of the queue when a place comes free.
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Taken {
    limit: usize,
    per_server: usize,
    total: usize,
    servers: HashMap<String, usize>,
    /// Jobs without a place that will want one again.
    outside: usize,
}

impl Taken {
    fn try_take(&mut self, server: &str) -> bool {
        let here = self.servers.get(server).copied().unwrap_or(0);
        if self.total >= self.limit || here >= self.per_server {
            return false;
        }
        self.total += 1;
        self.servers.insert(server.to_owned(), here + 1);
        true
    }
}

impl Places {
    pub(super) fn new(limit: usize, per_server: usize, wake: Arc<Notify>) -> Self {
        let taken = Taken { limit, per_server, total: 0, servers: HashMap::new(), outside: 0 };
        Self(Arc::new(Shared { taken: Mutex::new(taken), freed: Condvar::new(), wake }))
    }

    /// Changes the limits; dumps beyond the new ones run to their end.
    pub(super) fn resize(&self, limit: usize, per_server: usize) {
        let mut taken = self.0.taken.lock();
        taken.limit = limit;
        taken.per_server = per_server;
        self.0.freed.notify_all();
        self.0.wake.notify_one();
    }

    /// Takes a place on that server if there is one.
    pub(super) fn try_enter(&self, server: &str) -> bool {
        self.0.taken.lock().try_take(server)
    }

    /// Whether every place is taken.
    pub(super) fn full(&self) -> bool {
        let taken = self.0.taken.lock();
        taken.total >= taken.limit
    }

    /// Gives a place back for a while, unless too many have done so; whether it did.
    fn step_out(&self, server: &str) -> bool {
        let mut taken = self.0.taken.lock();
        if taken.outside >= STEPPED_OUT {
            return false;
        }
        taken.outside += 1;
        drop(taken);
        self.leave(server);
        true
    }

    fn leave(&self, server: &str) {
        let mut taken = self.0.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(here) = taken.servers.get_mut(server) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.servers.remove(server);
            }
        }
        self.0.freed.notify_all();
        self.0.wake.notify_one();
    }

    /// Waits for a place after [`Places::step_out`]; `false` where the job was cancelled first.
    fn step_in(&self, server: &str, cancel: &Cancel) -> bool {
        let mut taken = self.0.taken.lock();
        while !taken.try_take(server) {
            if cancel.reason().is_some() {
                return false;
            }
            self.0.freed.wait_for(&mut taken, std::time::Duration::from_millis(200));
        }
        taken.outside = taken.outside.saturating_sub(1);
        true
    }
}

/// One job's claim on a place of one server; it begins holding the place that [`Places::try_enter`] took.
pub(super) struct Claim {
    places: Places,
    server: String,
    cancel: Cancel,
    held: AtomicBool,
}

impl Claim {
    pub(super) fn holding(places: Places, server: String, cancel: Cancel) -> Self {
        Self { places, server, cancel, held: AtomicBool::new(true) }
    }
}

impl Gate for Claim {
    fn enter(&self) -> bool {
        if !self.held.load(Ordering::SeqCst) {
            self.held.store(self.places.step_in(&self.server, &self.cancel), Ordering::SeqCst);
        }
        self.held.load(Ordering::SeqCst)
    }

    fn leave(&self) {
        if self.held.load(Ordering::SeqCst) && self.places.step_out(&self.server) {
            self.held.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.held.load(Ordering::SeqCst) {
            self.places.leave(&self.server);
        } else {
            let mut taken = self.places.0.taken.lock();
            taken.outside = taken.outside.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold() {
        let places = Places::new(2, 1, Arc::new(Notify::new()));
        assert!(places.try_enter("a"));
        assert!(!places.try_enter("a"), "one per server");
        assert!(places.try_enter("b"));
        assert!(!places.try_enter("c"), "two in all");
        places.leave("a");
        assert!(places.try_enter("c"));
    }
    #[test]
    fn a_job_that_waits_for_a_retry_gives_its_place_to_another_until_too_many_wait() {
        let places = Places::new(1, 1, Arc::new(Notify::new()));
        let mut waiting = Vec::new();
        for _ in 0..STEPPED_OUT {
            assert!(places.try_enter("a"));
            let claim = Claim::holding(places.clone(), String::from("a"), Cancel::new());
            claim.leave();
            waiting.push(claim);
        }
        assert!(places.try_enter("a"));
        let last = Claim::holding(places.clone(), String::from("a"), Cancel::new());
        last.leave();
        assert!(places.full(), "one more waits in its place");
        assert!(last.enter());
        drop(last);
        assert!(!places.full());
        let first = waiting.remove(0);
        assert!(first.enter(), "a place is there for who comes back");
        drop((first, waiting));
        let taken = places.0.taken.lock();
        assert_eq!((taken.total, taken.outside), (0, 0));
    }
}
