//! What went wrong, in the words people read at three in the morning.
//!
//! Owns [`Failure`] (what failed, on what, why, what to do) and [`Cause`] (the stable code behind it). It never prints and never
//! decides whether to try again: it only says whether a cause can pass by itself. Every floor above uses it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Result of anything that can fail with a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why something failed: a stable, machine-readable class. An alert counts as "changed" when this changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The configuration file or a command-line argument is wrong.
    Configuration,
    /// No `pg_dump`, `psql` or `pg_restore` was found, or it can't be run.
    ClientMissing,
    /// The server's major version is newer than every installed client.
    ServerTooNew,
    /// No connection to the server could be made, whatever the reason (libpq tells no SQLSTATE before connecting).
    Connection,
    /// The server answers and turns the connection away, or its parameters can't be right: password, role, database, TLS, service.
    Login,
    /// The connection broke after it had been made.
    ConnectionLost,
    /// The server ended the session by an administrator's order or while shutting down (SQLSTATE class 57).
    ServerShutdown,
    /// The role lacks a privilege it needs to read everything that was selected.
    Permission,
    /// Row security would hide rows from the role.
    RowSecurity,
    /// A selected table, schema or database does not exist.
    NotFound,
    /// A lock could not be had within the lock limit.
    LockTimeout,
    /// Nothing moved for longer than the no-progress limit.
    NoProgress,
    /// The total time limit passed.
    TimeLimit,
    /// `pg_dump` ended with a non-zero exit status.
    DumpFailed,
    /// `pg_dump` was ended by a signal.
    DumpKilled,
    /// The archive that passed through was not whole, although `pg_dump` said so.
    ArchiveIncomplete,
    /// A query to the server failed for another reason.
    Query,
    /// The server cancelled the work on a standby because of a replay conflict (SQLSTATE 40001, class 40).
    ReplayConflict,
    /// What was asked for would overwrite something, or could not succeed; nothing was touched.
    Refused,
    /// `pg_restore` or psql ended with a non-zero exit status, or what came of it isn't what was backed up.
    RestoreFailed,
    /// Too little space at the destination, before or during the run.
    Space,
    /// The storage's marker file is not there: most likely the disk is not mounted.
    NotMounted,
    /// Reading or writing the storage failed.
    Storage,
    /// A path is, or leads through, something it must not (a symbolic link, another owner's folder).
    UnsafePath,
    /// Another run holds the project's lock.
    Locked,
    /// A schedule's slots were skipped in a row, because the run before them was not over.
    Overrun,
    /// A backup holds far less than the ones before it.
    Suspicious,
    /// What is stored does not match its manifest.
    Damaged,
    /// A manifest can't be understood, or asks for something outside its folder.
    BadManifest,
    /// The catalog can't be read or written.
    Catalog,
    /// The mail could not be delivered.
    Mail,
    /// The run was ended on purpose (signal, shutdown, cancel).
    Interrupted,
    /// A secret can't be read, or others can read it too.
    Secret,
    /// The operating system refused something else.
    System,
}

impl Cause {
    /// The stable code, as it stands in JSON and in the catalog: `connection-lost`.
    #[must_use]
    pub fn code(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(code)) => code,
            _ => String::from("system"),
        }
    }

    /// Whether the cause can pass by itself within minutes, so that a bounded retry makes sense (1 and 5 min).
    ///
    /// Every failure to connect counts as such (a password is rotated, a database is being swapped), and so does a `pg_dump` that failed without pgdumpd seeing why: only causes that pgdumpd
    /// detects itself are permanent.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::Login
                | Self::ConnectionLost
                | Self::ServerShutdown
                | Self::LockTimeout
                | Self::NoProgress
                | Self::ReplayConflict
                | Self::DumpFailed
                | Self::DumpKilled
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code())
    }
}

/// "Too many levels of symbolic links": what `O_NOFOLLOW` answers at a link. Its `ErrorKind` isn't stable yet.
const ELOOP: i32 = 40;

/// A failure as it is told: one lowercase sentence, a hint, and the last words of the program that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class, for decisions.
    pub cause: Cause,
    /// One lowercase sentence without a full stop: what failed, on what, why.
    pub message: String,
    /// What to do about it, as a sentence or a line to type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The tail of the child's stderr, secrets removed; for people only, never for decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Failure {
    /// A failure with a cause and its sentence.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), hint: None, detail: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds more behind what there is to do about it.
    #[must_use]
    pub fn also(self, more: &str) -> Self {
        let hint = self.hint.as_ref().map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}"));
        self.hint(hint)
    }

    /// Adds the child's last words, unless they are blank.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        if !detail.trim().is_empty() {
            self.detail = Some(detail);
        }
        self
    }

    /// Puts what was being done in front of the sentence: `listing databases: connection refused`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// A failure of the storage from an I/O error, naming the path; "no space" and "read-only" keep their own class and hint.
    #[must_use]
    pub fn storage(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let cause = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Cause::Space,
            ErrorKind::NotADirectory => Cause::UnsafePath,
            _ if error.raw_os_error() == Some(ELOOP) => Cause::UnsafePath,
            _ => Cause::Storage,
        };
        Self::new(cause, format!("{doing}: {error}"))
    }

    /// The failure that an I/O error carries, for readers and writers that know more than the system does; else one of the system.
    #[must_use]
    pub fn from_io(doing: impl fmt::Display, error: std::io::Error) -> Self {
        let words = error.to_string();
        match error.into_inner().map(|inner| inner.downcast::<Self>()) {
            Some(Ok(failure)) => *failure,
            _ => Self::new(Cause::System, format!("{doing}: {words}")),
        }
    }
}

impl From<Failure> for std::io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case() {
        assert_eq!(Cause::ConnectionLost.code(), "connection-lost");
        assert_eq!(Cause::DumpFailed.to_string(), "dump-failed");
    }

    #[test]
    fn a_failure_passes_through_an_io_error() {
        let failure = Failure::new(Cause::Damaged, "x is damaged").hint("take another");
        assert_eq!(Failure::from_io("reading", failure.clone().into()), failure);
        let other = Failure::from_io("reading x", std::io::Error::other("no"));
        assert_eq!((other.cause, other.message.as_str()), (Cause::System, "reading x: no"));
    }

    #[test]
    fn a_full_disk_is_told_from_other_storage_errors() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Failure::storage("writing x", &full).cause, Cause::Space);
        let eio = std::io::Error::from_raw_os_error(5);
        assert_eq!(Failure::storage("writing x", &eio).cause, Cause::Storage);
    }
}
