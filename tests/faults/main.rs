//! What must not harm a backup, done to the real binary in front of a real server: rows of docs/faults.md, by number.
//!
//! `scene` sets the stage and holds the one assertion of everything a failed run owes (STD); each module plays the faults of one kind.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "pgdumpd and its surroundings are started, and files moved, from outside of it")]

#[path = "../support/around.rs"]
mod around;
#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/namespace.rs"]
mod namespace;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rig;
mod scene;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/smtp.rs"]
#[expect(dead_code, reason = "the mail tests use the rest")]
mod smtp;

mod destination;
mod dump;
mod forms;
mod names;
mod network;
mod server;
mod standby;
mod stuck;
mod undo;
mod vanished;
