//! Whether a word on the command line names a backup or a file that lies somewhere, and a file opened as the verbs read backups.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::ops::World;
use crate::ops::given::{self, Depth, Dump};
use crate::postgres::version::Clients;
use crate::process::Cancel;
use crate::storage::{Given, Storage};

use super::{Common, out, pick, progress, world};

/// What a word stands for.
#[derive(Debug)]
pub(super) enum Named {
    /// This file or folder.
    File(PathBuf),
    /// A backup, or a project.
    Backup,
}

/// Decides. A word with a slash in it is a file (but not `PROJECT/DATABASE@latest`); one without is a file where one is called so, and no
/// backup or project.
pub(super) fn which(common: &Common, word: &str) -> Result<Named> {
    if word == "-" {
        return Err(Failure::new(Cause::Configuration, "a dump can't be read from standard input: it is read more than once")
            .hint("write it to a file first, and type that file's path; a file called - is ./-"));
    }
    let path = Path::new(word);
    let is_there = path.symlink_metadata().is_ok();
    let names_moment = word.rsplit_once('@').is_some_and(|(place, _)| !place.is_empty());
    if word.contains('/') && (is_there || !names_moment) {
        return Ok(Named::File(path.to_path_buf()));
    }
    if !is_there {
        if is_configured(common) {
            return Ok(Named::Backup);
        }
        let words = format!("there is no file {word:?} here, and no configuration in which it could be a backup");
        return Err(Failure::new(Cause::NotFound, words).hint(format!(
            "type the path of a dump file; or name the configuration with --config, {} isn't there",
            common.config.display()
        )));
    }
    if ((word == "latest" || names_moment) && is_configured(common)) || is_known(common, word) {
        out::note(format!("pgdumpd: {word} is taken for the backup or project of this name; the file is ./{word}"));
        return Ok(Named::Backup);
    }
    out::note(format!("pgdumpd: {word} is taken for the file: no backup or project is called so"));
    Ok(Named::File(path.to_path_buf()))
}

/// Whether there is a configuration, good or not.
fn is_configured(common: &Common) -> bool {
    config::is_ambient(&common.config) || common.config.exists()
}

/// Whether a backup or a project is called so. What can't be asked knows nothing.
fn is_known(common: &Common, word: &str) -> bool {
    let asked = || -> Result<bool> {
        let settings = world::settings(common)?;
        if settings.project(word).is_some() {
            return Ok(true);
        }
        if !world::keeps_state(common, &settings) {
            return Ok(false);
        }
        let opened = world::open(common, &settings)?;
        opened.catalog.read(|reader| {
            Ok(!reader.backups_by_file(word)?.is_empty()
                || !reader.backups_by_prefix(word, 1)?.is_empty()
                || !reader.project_backups(word)?.is_empty())
        })
    };
    is_configured(common) && asked().unwrap_or(false)
}

/// Opens a file so far that its table of contents can be read.
pub(super) fn contents(path: &Path) -> Result<Dump> {
    open(path, Depth::Contents, &Cancel::new())
}

/// Opens a file and reads it to its end.
pub(super) fn whole(path: &Path, cancel: &Cancel) -> Result<Dump> {
    let clients = Clients::find(None, &|name| std::env::var(name).ok()).ok();
    open(path, Depth::Whole(clients.as_ref().map(Clients::newest)), cancel)
}

/// A large one takes its time, and shows how far it is.
fn open(path: &Path, depth: Depth<'_>, cancel: &Cancel) -> Result<Dump> {
    progress::of_file(path, Given::at(path)?, |given| given::open(path, given, depth, cancel)).inspect(told)
}

fn told(dump: &Dump) {
    dump.notes.iter().for_each(|note| out::note(format!("pgdumpd: {note}")));
}

/// The storage and the manifest of what is named, a backup or a file; `open` opens a file.
pub(super) fn opened(common: &Common, word: &str, open: impl FnOnce(&Path) -> Result<Dump>) -> Result<(Arc<dyn Storage>, Manifest)> {
    match which(common, word)? {
        Named::Backup => pick::opened(common, word),
        Named::File(path) => open(&path).map(|dump| (dump.storage, dump.manifest)),
    }
}

/// The world for work on a file: the configured one, so that it is written down; one without a diary where there is none. A configuration
/// that is broken, or another user's, must not keep anybody from a file: why nothing is written down is the second answer.
pub(super) fn diary(common: &Common) -> Result<(World, Option<Failure>)> {
    if !is_configured(common) {
        let world = world::usual()?.map_or_else(|| World::alone(Clock::system()), Ok)?;
        return Ok((world, None));
    }
    let opened = world::settings(common).and_then(|settings| {
        if world::keeps_state(common, &settings) { world::open(common, &settings) } else { World::alone(Clock::system()) }
    });
    match opened {
        Ok(world) => Ok((world, None)),
        Err(failure) => Ok((World::alone(Clock::system())?, Some(failure))),
    }
}
