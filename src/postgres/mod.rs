//! The PostgreSQL edge: which clients are installed, how they reach a server, what is asked of it, and the dump's command line.
//!
//! Everything goes through PostgreSQL's own programs, so that the check and the dump follow the same rules of libpq. It never decides
//! whether a backup is made, kept or trusted; the verbs do.

mod advice;
pub mod archive;
pub mod connection;
pub mod content;
pub mod database;
pub mod default_privileges;
pub mod dump;
pub mod follow;
mod likeness;
pub mod merge;
mod pattern;
mod peer;
pub mod present;
mod psql;
pub mod public;
pub mod quote;
pub mod read_only;
pub mod replay;
pub mod restore;
pub mod rights;
pub mod session;
pub mod tablespace;
mod target;
pub mod throwaway;
pub mod ties;
pub mod version;
pub mod watch;
mod work;
