//! Restores by the real binary on a real server: where they go, what they refuse, what comes back, and that a failure leaves the target as it was.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "pgdumpd and its surroundings are started from outside of it")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rig;
mod scene;
#[path = "../support/skip.rs"]
mod skip;

mod empty;
mod encodings;
mod failing;
mod forms;
mod globals;
mod in_use;
mod input;
mod kinds;
mod names;
mod parts;
mod places;
mod progress;
mod read_only;
mod refused;
mod replication;
mod room;
mod runbook;
mod safety;
mod swap;
mod within;
