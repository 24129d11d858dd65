//! What most verbs begin with: the configuration read, the right user, the catalog open and indexed.

use std::os::unix::fs::MetadataExt;

use crate::clock::Clock;
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::jobs::rebuild::{self, Rebuilt};
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::notice::Desk;

use super::{Common, out};

/// Reads the configuration; all its problems are told together.
pub(super) fn settings(common: &Common) -> Result<Settings> {
    config::load(&common.config, &|name| std::env::var(name).ok()).map_err(|problems| {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(
            Cause::Configuration,
            format!("the configuration has {} problem{}", words.len(), if words.len() == 1 { "" } else { "s" }),
        )
        .hint(words.join("\n  "))
    })
}

/// Opens the catalog as the user it belongs to, and indexes the storages where it is new.
pub(super) fn open(common: &Common, settings: &Settings) -> Result<World> {
    right_user(settings)?;
    let world = World::open(settings, Clock::system())?;
    let desk = Desk { settings, config_file: config::unusual(&common.config) };
    if let Some(Rebuilt { why, found }) = rebuild::if_needed(&world, &desk)? {
        if found.backups > 0 {
            out::note(format!("pgdumpd: {why}; rebuilt the index from {} manifests, the diary before is lost", found.backups));
        }
        for problem in &found.problems {
            out::note(format!("pgdumpd: {problem}"));
        }
    }
    Ok(world)
}

/// Files made by the wrong user would lock the daemon out of its own state.
pub(super) fn right_user(settings: &Settings) -> Result<()> {
    let Ok(found) = std::fs::metadata(&settings.daemon.state_dir) else { return Ok(()) };
    let me = rustix::process::geteuid().as_raw();
    if found.uid() == me {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    Err(Failure::new(
        Cause::Configuration,
        format!("{} belongs to user {}, and this is user {me}", settings.daemon.state_dir.display(), found.uid()),
    )
    .hint(format!("type: sudo -u '#{}' pgdumpd {}", found.uid(), arguments.join(" "))))
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
