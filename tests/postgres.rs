//! The PostgreSQL edge against real servers: connecting, asking, dumping, locks, dead networks, standbys.
#![cfg(test)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "support/skip.rs"]
mod skip;
#[path = "postgres/support.rs"]
mod support;

#[path = "postgres/connecting.rs"]
mod connecting;
#[path = "postgres/locks.rs"]
mod locks;
#[path = "postgres/network.rs"]
mod network;
#[path = "postgres/rights.rs"]
mod rights;
#[path = "postgres/secrets.rs"]
mod secrets;
#[path = "postgres/standby.rs"]
mod standby;
#[path = "postgres/tls.rs"]
mod tls;
