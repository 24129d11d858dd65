//! Merging single tables: the rules against real tables, and the command from a backup to the table.
#![cfg(test)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "every test binary uses its own part of it")]
mod rig;

mod apart;
mod around;
mod command;
mod equal;
mod rules;
