//! What crashes, signals, rivals and vanishing disks do to pgdumpd: the real binary against a real server (docs/faults.md, 15 to 34).
#![cfg(test)]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/smtp.rs"]
#[expect(dead_code, reason = "this mail server does nothing wrong here")]
mod smtp;

mod bench;

mod catalogs;
mod disks;
mod manifests;
mod orphans;
mod power;
mod rivals;
mod safety;
mod signals;
mod stages;
mod sweep;
