//! The PostgreSQL edge against real servers: connecting, asking, dumping, locks, dead networks, standbys.
#![cfg(test)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "postgres/support.rs"]
mod support;

#[path = "postgres/connecting.rs"]
mod connecting;
