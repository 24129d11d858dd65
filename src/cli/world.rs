//! What most verbs begin with: the configuration read, the right user, the catalog open and indexed.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::Access;

use crate::catalog::{self, Catalog};
use crate::clock::Clock;
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::rebuild::{self, Rebuilt};
use crate::model::project::Project;
use crate::model::settings::{Problem, Settings, StorageSettings};
use crate::notify::redact::Redactor;
use crate::ops::World;
use crate::ops::notice::Desk;
use crate::ops::renaming::{self, When};

use super::{Common, out};

/// Whose folder this is tells which user the service runs as.
const USUAL_STATE: &str = "/var/lib/pgdumpd";

/// Reads the configuration; all its problems are told together. A secret that can't be read here stops only what needs it.
pub(super) fn settings(common: &Common) -> Result<Settings> {
    config::at_hand(&common.config)
        .map_err(|problems| none(common).or_else(|| not_ours(common)).unwrap_or_else(|| wrong(common, &problems)))
}

/// The same for the daemon. In a container, which has one project, a secret that can't be read is seen at its start or never.
pub(super) fn settings_to_serve(common: &Common) -> Result<Settings> {
    let settings = settings(common)?;
    if config::is_ambient(&common.config) && !settings.unread.is_empty() {
        return Err(wrong(common, &settings.unread));
    }
    Ok(settings)
}

fn wrong(common: &Common, problems: &[Problem]) -> Failure {
    let what = if config::is_ambient(&common.config) { "the environment" } else { "the configuration" };
    let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::new(Cause::Configuration, format!("{what} has {}", out::count(words.len() as u64, "problem"))).hint(words.join("\n"))
}

/// No file at all isn't a broken one: what can be done without is told.
fn none(common: &Common) -> Option<Failure> {
    let is_missing = std::fs::metadata(&common.config).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    (is_missing && !config::is_ambient(&common.config)).then(|| {
        Failure::new(Cause::Configuration, format!("there is no configuration: {} doesn't exist", common.config.display())).hint(
            "name another file with --config or PGDUMPD_CONFIG, or set DATABASE_URL and kin and name none, to do without one\n\
             without a configuration: pgdumpd backup --url postgresql://user@host/database -o FILE; show, verify, cat, diff and restore FILE",
        )
    })
}

/// A file that is there and closed to this user is the service's: the wrong user, not a wrong file.
fn not_ours(common: &Common) -> Option<Failure> {
    let denied = std::fs::File::open(&common.config).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let me = rustix::process::geteuid().as_raw();
    let state = std::fs::metadata(USUAL_STATE).map(|found| found.uid()).ok();
    let config = std::fs::metadata(&common.config).map(|found| found.uid()).ok();
    let owner = state.or(config).filter(|owner| *owner != me)?;
    denied.then(|| {
        Failure::new(Cause::Configuration, format!("{} can't be read by {}", common.config.display(), user(me)))
            .hint(format!("type: {}", as_user(owner)))
    })
}

/// Opens the catalog as the user it belongs to, and indexes the storages where it is new. What of them can't be read is told.
pub(super) fn open(common: &Common, settings: &Settings) -> Result<World> {
    let (world, unread) = open_to_write(common, settings)?;
    for problem in unread {
        out::note(format!("pgdumpd: {problem}"));
    }
    Ok(world)
}

/// The same for whoever meets by its own work what is wrong with a storage; what could not be read is returned.
pub(super) fn open_to_write(common: &Common, settings: &Settings) -> Result<(World, Vec<Failure>)> {
    right_user(common, settings)?;
    let world = World::open(settings, Clock::system())?;
    renaming::follow(&world, When::Start)?;
    let desk = Desk::by_hand(&world, settings, config::unusual(&common.config));
    let Some(Rebuilt { why, found }) = rebuild::if_needed(&world, &desk)? else { return Ok((world, Vec::new())) };
    if found.backups > 0 {
        out::note(format!("pgdumpd: {why}; rebuilt the index from {} manifests, the diary before is lost", found.backups));
    }
    Ok((world, found.problems))
}

/// The same for a question. Where variables name a database and nothing is kept, it makes neither a state folder nor a storage.
pub(super) fn look(common: &Common, settings: &Settings) -> Result<World> {
    if keeps_state(common, settings) {
        return open(common, settings);
    }
    let clock = Clock::system();
    let catalog = Catalog::in_memory(&clock)?;
    catalog.write(|writer| writer.reindexed())?;
    Ok(World::around(settings, clock, catalog))
}

/// The same for what changes something that is there. Where nothing is kept it is refused, and nothing is made for the asking.
pub(super) fn existing(common: &Common, settings: &Settings) -> Result<World> {
    if keeps_state(common, settings) {
        return open(common, settings);
    }
    let folders = settings.storages.values().map(|StorageSettings::Local { path, .. }| path.display().to_string());
    let folders: Vec<String> = folders.chain([settings.daemon.state_dir.display().to_string()]).collect();
    Err(Failure::new(Cause::NotFound, format!("nothing is kept here: there is no {}", folders.join(" and no ")))
        .hint("where it is kept elsewhere, set BACKUP_DIR and PGDUMPD_DAEMON_STATE_DIR; `pgdumpd serve` begins to keep backups"))
}

/// Whether state is kept here, or may be: variables that name nothing but a database say nothing of it.
pub(super) fn keeps_state(common: &Common, settings: &Settings) -> bool {
    !config::is_ambient(&common.config)
        || config::keeps_backups(&common.config)
        || settings.daemon.state_dir.exists()
        || settings.storages.values().any(|StorageSettings::Local { path, .. }| path.exists())
}

/// The service's own state without its configuration, where this user may write to it.
pub(super) fn usual() -> Result<Option<World>> {
    let folder = std::env::var_os("PGDUMPD_DAEMON_STATE_DIR").map_or_else(|| PathBuf::from(USUAL_STATE), PathBuf::from);
    let ours = std::fs::metadata(&folder).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
    if !ours || !folder.join(catalog::FILE).exists() {
        return Ok(None);
    }
    let clock = Clock::system();
    let catalog = Catalog::open(&folder, &clock)?;
    Ok(Some(World { catalog, ..World::alone(clock)? }))
}

/// Files made by the wrong user would lock the daemon out of its own state.
pub(super) fn right_user(common: &Common, settings: &Settings) -> Result<()> {
    let folder = &settings.daemon.state_dir;
    let Ok(found) = std::fs::metadata(folder) else { return Ok(()) };
    let me = rustix::process::geteuid().as_raw();
    // A volume may belong to root and be open to our group: what a plain user can write is not another service's.
    let open = || rustix::fs::access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok();
    if found.uid() == me || (me != 0 && open()) {
        return Ok(());
    }
    let words = format!("{} belongs to {}, and this is {}", folder.display(), user(found.uid()), user(me));
    let hint = if config::is_ambient(&common.config) {
        format!("chown {me} the volume, or run the container as user {}", found.uid())
    } else {
        format!("type: {}", as_user(found.uid()))
    };
    Err(Failure::new(Cause::Configuration, words).hint(hint))
}

/// This very command as another user, without the passwords in it.
fn as_user(uid: u32) -> String {
    let name = user_name(uid).unwrap_or_else(|| format!("'#{uid}'"));
    let words: Vec<String> = std::env::args().skip(1).map(|word| out::shell(&Redactor::default().clean(&word))).collect();
    let config = std::env::var("PGDUMPD_CONFIG").ok().filter(|_| !words.iter().any(|word| word.starts_with("--config")));
    let config = config.map(|file| format!(" --config {}", out::shell(&file))).unwrap_or_default();
    format!("sudo -u {name} pgdumpd{config} {}", words.join(" "))
}

fn user(uid: u32) -> String {
    user_name(uid).map_or_else(|| format!("user {uid}"), |name| format!("user {name}"))
}

/// The name of a local user; others are told by their number.
fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The project of that name, or the nearest name.
pub(super) fn project<'a>(settings: &'a Settings, name: &str) -> Result<&'a Project> {
    settings.project(name).ok_or_else(|| {
        let near = settings
            .projects
            .iter()
            .map(|project| (strsim::jaro_winkler(&project.name, name), &project.name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|one, two| one.0.total_cmp(&two.0));
        let failure = Failure::new(Cause::Configuration, format!("there is no project {name:?}"));
        match near {
            Some((_, near)) => failure.hint(format!("did you mean {near:?}?")),
            None => failure.hint("`pgdumpd status` lists the projects"),
        }
    })
}
