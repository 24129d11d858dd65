//! One backup without a configuration: lock → clear up → backup → verify. It keeps no state and leaves nothing but its file.
//!
//! Called by `pgdumpd backup --url` and kin. The dump goes the way of every other; only where it ends is a file of the caller's choosing.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, RunId, Trigger};
use crate::model::dump::Format;
use crate::model::project::Project;
use crate::notify::redact::Redactor;
use crate::ops::World;
use crate::ops::backup::{self, Means, Request};
use crate::postgres::connection::Access;
use crate::postgres::dump::Dump;
use crate::postgres::session::{Server, Session};
use crate::postgres::version::{Client, Clients};
use crate::process::{Cancel, Spec};
use crate::shell;
use crate::storage::{Key, Loose, Storage};
use crate::stream::gauge::Gauge;

use super::hold;
use super::{Board, Current};

/// What of the environment says where to go, where the connection itself doesn't (manual: Environment Variables).
pub(super) const PLACES: [&str; 8] =
    ["PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS"];

/// The server as it answered before anything was written.
pub struct Met {
    world: World,
    project: Project,
    clients: Clients,
    access: Access,
    /// The program that suits the server.
    pub client: Client,
    /// The server, and the database reached.
    pub server: Server,
    /// The database's size there, bytes.
    pub database_size: u64,
    /// Its tables without indexes, bytes: about what a dump of all of it has before compression.
    pub tables_size: u64,
}

/// Where the backup goes.
pub enum Target {
    /// A file.
    File(Loose),
    /// Standard output, with a folder for what must lie on a disk first.
    Pipe(Loose),
}

impl Target {
    fn storage(&self) -> &Loose {
        let (Self::File(loose) | Self::Pipe(loose)) = self;
        loose
    }
}

/// How to go about it.
pub struct Setting<'a> {
    /// Ends the run early.
    pub cancel: &'a Cancel,
    /// Shows how far it is.
    pub board: &'a Board,
    /// Gets `pg_dump`'s own lines.
    pub said: Option<fn(&str)>,
    /// What is done once nobody else can be at it, before anything is cleared up.
    pub first: &'a dyn Fn() -> Result<()>,
}

/// Finds the clients, connects, and asks which server and database that is; `database` overrules the connection's. Nothing
/// is written.
pub fn meet(project: Project, database: Option<&str>, clock: Clock, cancel: &Cancel) -> Result<Met> {
    let world = World::alone(clock)?;
    let clients = world.clients(&project)?;
    let access = world.access(&project)?.with(&PLACES, &|name| std::env::var_os(name));
    let redactor = Redactor::new(access.secret());
    let asked = Session::open(clients.newest(), &access, database, "pgdumpd", &project.limits, cancel).and_then(|mut session| {
        let client = clients.for_server(session.server().version_num)?;
        Ok((client, session.server().clone(), session.database_size()?, session.tables_size()?))
    });
    let (client, server, database_size, tables_size) = asked.map_err(|failure| redactor.clean_failure(failure))?;
    Ok(Met {
        world,
        project: Project { name: server.database.clone(), ..project },
        clients,
        access,
        client,
        server,
        database_size,
        tables_size,
    })
}

impl Met {
    /// The project as it will be dumped.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The command line of `pg_dump`, which never holds a secret.
    #[must_use]
    pub fn command(&self) -> Spec {
        let scratch = (self.project.shape.format == Format::Directory).then(|| Path::new("SCRATCH"));
        Dump {
            client: &self.client,
            access: &self.access,
            server: Some(&self.server),
            database: &self.server.database,
            shape: &self.project.shape,
            limits: &self.project.limits,
            run: &RunId::random(),
            scratch,
        }
        .command()
    }

    /// Makes the backup at `target` under the name `file`; `verified` says of the file before it counts whether it is good. Whatever
    /// fails, nothing is left of it.
    pub fn back_up(
        &self,
        target: &Target,
        file: &str,
        setting: &Setting<'_>,
        verified: &dyn Fn(&mut Manifest) -> Result<()>,
    ) -> Result<Manifest> {
        let loose = target.storage();
        let storage: Arc<dyn Storage> = Arc::new(loose.clone());
        let lock = hold::by_name(&self.world, &self.project.name, &storage)?;
        let lock = lock.or_held(&self.project.name).map_err(|failure| {
            Failure { message: failure.message.replacen("the project", "the backup of", 1), ..failure }
                .hint("wait until that run has ended; `pgdumpd backup` ends with exit code 11 until then")
        })?;
        (setting.first)()?;
        let swept = storage.sweep(&self.project.name, None)?;
        if !swept.is_empty() {
            tracing::warn!(?swept, "removed what an interrupted run had left");
        }
        match loose.sweep_others() {
            Ok(swept) if swept.is_empty() => {}
            Ok(swept) => tracing::warn!(?swept, "removed what interrupted runs had left"),
            // It is in nobody's way.
            Err(failure) => tracing::warn!("what interrupted runs had left could not be removed: {failure}"),
        }
        let redactor = Redactor::new(self.access.secret());
        let made = self.dump(&storage, &lock, setting).and_then(|mut manifest| {
            let key = Key { project: String::new(), file: manifest.backup_file.clone() };
            rename(&mut manifest, file);
            match verified(&mut manifest) {
                Ok(()) => Ok(manifest),
                Err(failure) => {
                    storage.delete(&key)?;
                    Err(failure)
                }
            }
        });
        // Others find the next one under its name: a lock whose file is gone is none.
        drop(loose.remove_lock());
        drop(lock);
        made.map_err(|failure| in_other_words(redactor.clean_failure(failure), loose, file))
    }

    fn dump(&self, storage: &Arc<dyn Storage>, lock: &crate::lock::ProjectLock, setting: &Setting<'_>) -> Result<Manifest> {
        let gauge = Gauge::new();
        let request = Request {
            run: RunId::random(),
            database: self.server.database.clone(),
            connect_to: self.server.database.clone(),
            shape: self.project.shape.clone(),
            selection: self.project.shape.selection(),
            trigger: Trigger::AdHoc,
            schedule: None,
            slot: None,
        };
        let whole = request.shape.selection().is_full();
        setting.board.put(Current {
            run: request.run.clone(),
            project: self.project.name.clone(),
            database: request.database.clone(),
            since: self.world.clock.now(),
            expected: Some(self.tables_size).filter(|size| whole && *size > 0),
            gauge: gauge.clone(),
        });
        let means = Means {
            project: &self.project,
            storage,
            clients: &self.clients,
            access: &self.access,
            lock,
            cancel: setting.cancel,
            grace: self.world.grace,
            gauge: &gauge,
            said: setting.said,
        };
        let made = backup::backup(&self.world, means, &request);
        setting.board.take(&request.run);
        made
    }

    /// Fails where twice the database's size isn't free, with both figures.
    pub fn require_twice(&self, free: Option<u64>) -> Result<()> {
        let needed = self.database_size.saturating_mul(2);
        match free {
            Some(free) if free < needed => Err(Failure::new(
                Cause::Space,
                format!(
                    "twice the database's size is required: {}, and {} are available",
                    crate::units::show_size(needed),
                    crate::units::show_size(free)
                ),
            )
            .hint("free some space, or name another folder with --output-dir")),
            _ => Ok(()),
        }
    }
}

/// There is no storage here, and no retention; and a file is called by its name before it has it.
fn in_other_words(mut failure: Failure, loose: &Loose, file: &str) -> Failure {
    if let Some(unproven) = loose.unproven().as_deref().and_then(Path::file_name).and_then(OsStr::to_str) {
        failure.message = failure.message.replace(unproven, file);
    }
    if failure.cause != Cause::Space {
        return failure;
    }
    let message = failure.message.replace("storage \"output\" has", "the output's folder has").replace(" beyond its reserve", "");
    let hint = failure.hint.map(|hint| {
        let hint = hint.replace(", or let the retention keep less", ", or write elsewhere");
        hint.replace(", move the storage to a larger disk, or lower the retention and run `pgdumpd prune`", ", or write elsewhere")
            .replace("format = \"custom\"", "--format custom")
    });
    Failure { message, hint, ..failure }
}

/// The engine's own name for the artifact gives way to the file's.
fn rename(manifest: &mut Manifest, file: &str) {
    let old = std::mem::replace(&mut manifest.backup_file, file.to_owned());
    let quoted = shell::file(file);
    manifest.restore_command = manifest.restore_command.replace(&format!("'{old}'"), &quoted).replace(&old, &quoted);
}
