//! The command lines of `pg_dump` and `pg_dumpall`: one for each shape of a dump, and one for a server's roles and tablespaces.
//!
//! Owns [`Dump`] and [`application_name`]. It starts nothing and reads nothing; which options people may add is `model::options`' business.
//! Verbs call it.

use std::ffi::OsString;
use std::path::Path;

use super::connection::Access;
use super::session::Server;
use super::version::Client;
use crate::model::backup::RunId;
use crate::model::dump::{Compression, Content, DumpShape, Format};
use crate::model::options;
use crate::model::project::Limits;
use crate::process::{Output, Spec};

/// What every session and every dump of a run is called on the server: other hosts look for it, and a forced end ends backends by it.
#[must_use]
pub fn application_name(run: &RunId) -> String {
    format!("pgdumpd/{run}")
}

/// What the sessions beside a restore are called: ending the backends of its tools must not end them.
#[must_use]
pub fn beside(run: &RunId) -> String {
    format!("pgdumpd/{run} beside")
}

/// One dump to be started.
#[derive(Debug, Clone, Copy)]
pub struct Dump<'a> {
    /// The programs.
    pub client: &'a Client,
    /// How the server is reached.
    pub access: &'a Access,
    /// The server the session reached; the dump goes to that one. `None` where there was no connection to spare for a session.
    pub server: Option<&'a Server>,
    /// The database.
    pub database: &'a str,
    /// What is dumped, and how.
    pub shape: &'a DumpShape,
    /// The lock limit is used.
    pub limits: &'a Limits,
    /// The run.
    pub run: &'a RunId,
    /// An empty folder with room for the whole archive, on the storage: the directory format writes its archive to `archive` in it. The
    /// other formats need none.
    pub scratch: Option<&'a Path>,
}

impl Dump<'_> {
    /// `pg_dump` writing to its output, or, for the directory format, into the folder `archive` below the scratch folder.
    #[must_use]
    pub fn command(&self) -> Spec {
        let mut spec = self.base(self.client.pg_dump());
        spec.bulk = true;
        let mut add = |text: String| spec.args.push(OsString::from(text));
        add(format!("--lock-wait-timeout={}", self.limits.lock_wait.as_millis().max(1)));
        self.form().into_iter().for_each(&mut add);
        self.selection().into_iter().for_each(&mut add);
        options::for_client(&self.shape.options, self.client.version_num).into_iter().for_each(&mut add);
        if let (Format::Directory, Some(scratch)) = (self.shape.format, self.scratch) {
            let mut file = OsString::from("--file=");
            file.push(scratch.join("archive"));
            spec.args.push(file);
            // It writes into files, with workers of its own: nothing would tell it that nobody waits for it any more.
            spec.guarded = true;
        }
        spec
    }

    /// `pg_dumpall --globals-only`; with `passwords` off the roles come without them, as on servers that keep `pg_authid` to themselves.
    #[must_use]
    pub fn globals_command(&self, passwords: bool) -> Spec {
        let mut spec = self.base(&self.client.pg_dumpall());
        spec.args.push(format!("--lock-wait-timeout={}", self.limits.lock_wait.as_millis().max(1)).into());
        spec.args.push("--globals-only".into());
        if !passwords {
            spec.args.push("--no-role-passwords".into());
        }
        // Without it pg_dumpall looks for a database called postgres or template1, which need not let the role in.
        // Like every name there, it is read as a connection string where it looks like one, so it is always made one.
        let database = self.database.replace('\\', "\\\\").replace('\'', "\\'");
        spec.args.push(format!("--database=dbname='{database}'").into());
        spec
    }

    fn base(&self, program: &Path) -> Spec {
        let pin = self.server.map(|server| &server.reached);
        let mut spec = self.access.spec(self.client, program, Some(self.database), &application_name(self.run), pin);
        spec.args.push("--no-password".into());
        spec.stdout = Output::Piped;
        spec
    }

    /// Format, compression and content.
    fn form(&self) -> Vec<String> {
        let mut args = vec![format!("--format={}", self.shape.format.word())];
        let native = self.shape.compression == Compression::Native;
        match self.shape.format {
            // Compressed twice it would only cost time.
            Format::Custom | Format::Directory if !native => args.push(String::from("--compress=0")),
            // Natively it is pg_dump's default: custom and directory are compressed, plain and tar are not.
            _ => {}
        }
        if self.shape.format == Format::Directory {
            args.push(format!("--jobs={}", self.shape.jobs.max(1)));
        }
        match self.shape.content {
            Content::Schema => args.push(String::from("--schema-only")),
            Content::Data => args.push(String::from("--data-only")),
            Content::Full | Content::Globals => {}
        }
        args
    }

    /// Patterns. A pattern that matches nothing is an error: a selection with a typo must not pass for a backup.
    fn selection(&self) -> Vec<String> {
        let shape = self.shape;
        let parts = [
            ("table", &shape.include_tables),
            ("exclude-table", &shape.exclude_tables),
            ("schema", &shape.include_schemas),
            ("exclude-schema", &shape.exclude_schemas),
            ("exclude-table-data", &shape.exclude_table_data),
        ];
        let mut args: Vec<String> =
            parts.iter().flat_map(|(name, patterns)| patterns.iter().map(move |pattern| format!("--{name}={pattern}"))).collect();
        if !args.is_empty() {
            args.push(String::from("--strict-names"));
        }
        args
    }
}
