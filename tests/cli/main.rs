//! The command line as people and programs meet it: exit codes, the shapes of `--json`, the words of answers and errors.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the binary under test is started from outside")]

#[path = "../support/cluster.rs"]
mod cluster;
#[path = "../support/rig.rs"]
#[expect(dead_code, reason = "every test binary uses its own part of it")]
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../support/smtp.rs"]
#[expect(dead_code, reason = "this mail server does little wrong here")]
mod smtp;

mod bench;

mod backup;
mod completions;
mod delete;
mod doctor;
mod globals;
mod mails;
mod prune;
mod scope;
mod secrets;
mod servers;
mod status;
mod storages;
mod words;
