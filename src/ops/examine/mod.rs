//! Finds what would fail tonight, on this machine and on each project's server, without changing anything.
//!
//! Called by `doctor`. Each finding says what was looked at, how it is, and what to do where it isn't right.

mod machine;
mod server;

use serde::Serialize;

use crate::error::{Cause, Failure};
use crate::model::project::Project;
use crate::model::settings::Settings;

use super::World;

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Works, but someone should look at it.
    Warning,
    /// Would fail.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it was found.
    pub level: Level,
    /// What was looked at: `storage "main"`, `project "shop"`.
    pub about: String,
    /// How it is, a lowercase clause.
    pub words: String,
    /// What to do, where something is to be done.
    pub hint: Option<String>,
}

impl Finding {
    fn fine(about: &str, words: impl Into<String>) -> Self {
        Self { level: Level::Fine, about: about.to_owned(), words: words.into(), hint: None }
    }

    fn warning(about: &str, words: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { level: Level::Warning, about: about.to_owned(), words: words.into(), hint: Some(hint.into()) }
    }

    fn problem(about: &str, failure: &Failure) -> Self {
        Self { level: Level::Problem, about: about.to_owned(), words: failure.message.clone(), hint: failure.hint.clone() }
    }
}

/// Where pgdumpd lives, which decides how its daemon is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// A machine with a configuration file.
    Service,
    /// A container that is told by variables alone.
    Container,
}

impl Home {
    fn start(self) -> &'static str {
        match self {
            Self::Service => "systemctl enable --now pgdumpd",
            Self::Container => "start the container with `pgdumpd serve` as its command, or `pgdumpd backup` by a clock of your own",
        }
    }

    fn start_again(self) -> &'static str {
        match self {
            Self::Service => "start it again: systemctl start pgdumpd",
            Self::Container => "start the container again",
        }
    }

    fn look(self) -> &'static str {
        match self {
            Self::Service => "look at its log (`journalctl -u pgdumpd`) and restart it",
            Self::Container => "look at the container's log and restart it",
        }
    }
}

/// Looks at the machine: state directory, storages, mail, the service's sandbox.
#[must_use]
pub fn machine(world: &World, settings: &Settings, home: Home) -> Vec<Finding> {
    machine::look(world, settings, home)
}

/// Looks at the state directory alone, before the catalog in it is opened; `None` where it isn't there yet.
#[must_use]
pub fn state(settings: &Settings) -> Option<Finding> {
    let folder = &settings.daemon.state_dir;
    folder.is_dir().then(|| machine::state(folder))
}

/// Looks at one project: clients, login, clock, and for each database its rights and the space it needs.
#[must_use]
pub fn project(world: &World, settings: &Settings, project: &Project) -> Vec<Finding> {
    server::look(world, settings, project)
}

/// Whether the configuration's own findings have named this already, with its place in the file.
fn is_told(settings: &Settings, failure: &Failure) -> bool {
    failure.cause == Cause::Secret && settings.unread.iter().any(|problem| problem.message == failure.message)
}
