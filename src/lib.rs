//! pgdumpd: `pg_dump`, on duty.
//!
//! The floors, bottom up. A module may use what stands on a floor below it; on floors 0 to 3 also its neighbours, while verbs, jobs and
//! doors never use one another. `tests/house` checks this list against the imports.

// Floor 0, words: values and pure decisions. No I/O; only `clock` reads the time.
pub mod alert;
pub mod clock;
pub mod error;
pub mod habit;
pub mod model;
pub mod retention;
pub mod schedule;
pub mod shell;
pub mod units;

// Floor 1, tools: one outside thing each, no knowledge of backups.
pub mod config;
pub mod process;
pub mod stream;

// Floor 2, edges: the outside world behind one small interface each. They never decide.
pub mod notify;
pub mod postgres;
pub mod storage;

// Floor 3, records: what happened, durably.
pub mod catalog;
pub mod lock;
pub mod manifest;

// Floor 4, verbs: one operation each; they never call one another.
pub mod ops;

// Floor 5, jobs: verbs in order, and what a failure skips.
pub mod jobs;

// Floor 6, the daemon: time, concurrency, shutdown.
pub mod daemon;

// Floor 8, the command line: argv, printing, exit codes.
pub mod cli;
