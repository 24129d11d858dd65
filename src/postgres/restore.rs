//! The command lines that bring a backup back: `pg_restore` for archives, psql for scripts.
//!
//! Owns [`Restore`] and [`Form`]. It starts nothing and decides nothing; `ops::restore` says what is wanted and judges what comes of it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::connection::{Access, HostPort, PASSFILE_FD};
use super::dump::application_name;
use super::version::Client;
use crate::model::backup::RunId;
use crate::process::{Input, Output, Spec};

/// The number of the archive's descriptor in `pg_restore`, where it reads a file.
const ARCHIVE_FD: i32 = 6;
/// The number of the list's descriptor in `pg_restore`.
const LIST_FD: i32 = 7;
/// What `pg_restore` says of an archive whose compression it was built without (`RestoreArchive` in `pg_backup_archiver.c`).
const NOT_BUILT_FOR_IT: &str = "cannot restore from compressed archive";
const _: () = assert!(ARCHIVE_FD != PASSFILE_FD && LIST_FD != PASSFILE_FD, "all are open in pg_restore");

/// Which halves of an archive are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Halves {
    /// Definitions and rows.
    #[default]
    Both,
    /// Definitions alone.
    Schema,
    /// Rows alone, into tables that are there.
    Data,
}

/// What happens at the first error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtError {
    /// It ends the restore.
    #[default]
    Stop,
    /// The restore goes on; errors are counted.
    GoOn,
}

/// How a backup is brought back.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Definitions, rows or both.
    pub halves: Halves,
    /// What an error does.
    pub at_error: AtError,
    /// Whether all of it is one transaction; never with more than one job.
    pub one_transaction: bool,
    /// Whether each object is dropped before it is made.
    pub clean: bool,
    /// Everything belongs to the connecting role.
    pub no_owner: bool,
    /// GRANT and REVOKE are left out.
    pub no_privileges: bool,
    /// Everything goes into the default tablespace.
    pub no_tablespaces: bool,
    /// Foreign keys aren't checked while rows alone are loaded; a superuser may do so.
    pub disable_triggers: bool,
    /// Connections that restore in parallel, at least 1; more need a file to read.
    pub jobs: u32,
    /// The entries to restore, as `pg_restore -L` reads them; `None` is all of them.
    pub list: Option<Arc<OwnedFd>>,
}

/// Where `pg_restore` finds the archive.
#[derive(Debug, Clone, Copy)]
pub enum Archive<'a> {
    /// In its input.
    Pipe,
    /// In a file, which need not have a name any more.
    File(&'a Arc<OwnedFd>),
    /// In a folder: the directory format.
    Folder(&'a Path),
}

/// One restore to be started.
#[derive(Debug, Clone, Copy)]
pub struct Restore<'a> {
    /// The programs.
    pub client: &'a Client,
    /// How the server is reached.
    pub access: &'a Access,
    /// The server that was asked before; the restore goes to that one.
    pub reached: &'a HostPort,
    /// The database.
    pub database: &'a str,
    /// The run, for `application_name`.
    pub run: &'a RunId,
    /// How.
    pub form: &'a Form,
}

/// Where `pg_restore` ended because it was built without the library for the archive's compression, be that ever so whole: its words, by which
/// alone that can be told. Debian's has them all.
#[must_use]
pub fn lacks_library(said: &str) -> Option<&str> {
    said.lines().find(|line| line.contains(NOT_BUILT_FOR_IT)).map(str::trim)
}

impl Restore<'_> {
    /// `pg_restore`.
    #[must_use]
    pub fn archive(&self, archive: Archive<'_>) -> Spec {
        let form = self.form;
        let name = application_name(self.run);
        let mut spec = self.access.spec(self.client, &self.client.pg_restore(), Some(self.database), &name, Some(self.reached));
        let mut add = |text: &str| spec.args.push(OsString::from(text));
        add("--no-password");
        let flags = [
            (form.at_error == AtError::Stop, "--exit-on-error"),
            (form.one_transaction, "--single-transaction"),
            (form.clean, "--clean"),
            (form.clean, "--if-exists"),
            (form.no_owner, "--no-owner"),
            (form.no_privileges, "--no-privileges"),
            (form.no_tablespaces, "--no-tablespaces"),
            (form.halves == Halves::Schema, "--schema-only"),
            (form.halves == Halves::Data, "--data-only"),
            (form.halves == Halves::Data && form.disable_triggers, "--disable-triggers"),
        ];
        flags.iter().filter(|(wanted, _)| *wanted).for_each(|(_, flag)| add(flag));
        if form.jobs > 1 {
            add(&format!("--jobs={}", form.jobs));
        }
        if form.list.is_some() {
            add(&format!("--use-list=/proc/self/fd/{LIST_FD}"));
        }
        match archive {
            Archive::Pipe => (spec.stdin, spec.bulk) = (Input::Piped, true),
            // These it reads by itself, so it has to say how far it is.
            Archive::File(file) => {
                add("--verbose");
                add(&format!("/proc/self/fd/{ARCHIVE_FD}"));
                spec.inherit.push((Arc::clone(file), ARCHIVE_FD));
            }
            Archive::Folder(path) => {
                add("--verbose");
                spec.args.push(path.into());
            }
        }
        (spec.stdout, spec.guarded) = (Output::Null, true);
        spec.inherit.extend(form.list.iter().map(|list| (Arc::clone(list), LIST_FD)));
        spec
    }

    /// psql reading a script from its input. Without its end of input it commits nothing, where all is one transaction.
    #[must_use]
    pub fn script(&self) -> Spec {
        let name = application_name(self.run);
        let mut spec = self.access.spec(self.client, self.client.psql(), Some(self.database), &name, Some(self.reached));
        let stop = if self.form.at_error == AtError::Stop { "ON_ERROR_STOP=1" } else { "ON_ERROR_STOP=0" };
        spec.args.extend(["-X", "-w", "-q", "-v", stop, "-v", "VERBOSITY=verbose"].map(OsString::from));
        if self.form.one_transaction {
            spec.args.push("--single-transaction".into());
        }
        spec.args.extend(["-f", "-"].map(OsString::from));
        (spec.stdin, spec.bulk) = (Input::Piped, true);
        (spec.stdout, spec.guarded) = (Output::Null, true);
        spec
    }
}
