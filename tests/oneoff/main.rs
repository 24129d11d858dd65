//! The directory format, and backups without a configuration: the real binary in front of a real server.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "pgdumpd and its surroundings are started from outside of it")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../support/skip.rs"]
mod skip;

mod alone;
mod altered;
mod application;
mod beside;
mod directory;
mod elsewhere;
mod killed;
mod meant;
mod nowhere;
mod own;
mod scene;
mod watched;
