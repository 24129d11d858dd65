//! Proof that backups are what they should be: verification, drills, and the daemon's rounds; with a real server and the real binary.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "servers and programs are started from outside of pgdumpd")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/smtp.rs"]
#[expect(dead_code, reason = "the mail tests use the rest")]
mod smtp;
mod stage;

mod cut_off;
mod drill;
mod ended;
mod keeping;
mod room;
mod rounds;
mod scripts;
mod several;
mod small;
mod unpruned;
mod unwritten;
mod verify;
