//! Reading a backup without a server: rows, definitions, contents, differences; real archives of a real server, byte by byte.

#![cfg(test)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "no daemon runs here")]
mod rig;

mod damage;
mod definitions;
mod differences;
mod frames;
mod rows;
mod stage;
