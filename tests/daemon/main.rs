//! The daemon under time, load and signals: the real binary, a real PostgreSQL wherever a dump takes part.
//!
//! FAULTS rows 26, 28, 29, 40 to 44 (docs/faults.md), and what else happens by the clock or by a signal.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the tests run programs, read the time and rename files themselves")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/smtp.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod smtp;

mod alerts;
mod clock;
mod closed;
mod health;
mod logs;
mod mail;
mod reload;
mod scale;
mod secrets;
mod slots;
mod support;
mod weekly;
