//! HUP: reads the configuration again. A file that is wrong changes nothing and is reported; a right one says what it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config;
use crate::model::project::Project;
use crate::model::settings::{Problem, Settings};
use crate::ops::World;
use crate::ops::renaming::{self, When};
use crate::ops::standing::{CONFIGURATION_PROBLEM, UNREAD_SECRETS};
use crate::process;

use super::agenda::Agenda;
use super::chores::Chores;
use super::owner::Owner;
use super::systemd;

pub(super) fn reload(owner: &mut Owner) {
    systemd::reloading();
    match config::here(&owner.config_file) {
        Ok(settings) => adopt(owner, settings),
        Err(problems) => {
            let words = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            for problem in &problems {
                tracing::error!("{problem}");
            }
            let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
            tracing::error!("the configuration was not changed: the file has {count} problem{plural}");
            remember(&owner.world, &words);
        }
    }
    process::memory::give_back();
    systemd::ready(&owner.summary());
}

fn adopt(owner: &mut Owner, settings: Settings) {
    if settings.daemon.state_dir != owner.settings.daemon.state_dir {
        return refuse(owner, "state_dir can't be changed while running; restart pgdumpd for it");
    }
    let world = World::around(&settings, owner.world.clock.clone(), owner.world.catalog.clone());
    let exchanged = renaming::plan(&world).map(|plan| plan.map(|plan| plan.exchanged().join(", ")).unwrap_or_default());
    match exchanged {
        Ok(names) if names.is_empty() => {}
        Ok(names) => {
            return refuse(owner, &format!("the names of storages ({names}) can't be exchanged while running; restart pgdumpd for it"));
        }
        Err(failure) => tracing::error!("the names of the storages can't be looked at: {failure}"),
    }
    for line in effect(&owner.settings, &settings) {
        tracing::info!("configuration: {line}");
    }
    let names: Vec<&str> = settings.projects.iter().map(|project| project.name.as_str()).collect();
    let seen = owner.world.catalog.write(|writer| writer.see_projects(&names));
    match seen.and_then(|()| Agenda::plan(&owner.world, &settings)) {
        Ok(agenda) => {
            owner.agenda = agenda;
            owner.world = world;
            if let Err(failure) = renaming::follow(&owner.world, When::Running) {
                tracing::error!("the new names of the storages can't be taken over yet: {failure}");
            }
            owner.places.resize(settings.daemon.max_parallel, settings.daemon.max_parallel_per_server);
            owner.settings = Arc::new(settings);
            owner.line_up_anew();
            remember(&owner.world, "");
            note_secrets(&owner.world, &owner.settings);
            owner.chores.look_again();
            owner.announce();
            Chores::mail_again(&owner.world, &owner.settings);
        }
        Err(failure) => tracing::error!("the configuration was not changed: {failure}"),
    }
}

fn refuse(owner: &Owner, words: &str) {
    tracing::error!("{words}");
    remember(&owner.world, words);
}

fn remember(world: &World, words: &str) {
    if let Err(failure) = world.catalog.write(|writer| writer.put_meta(CONFIGURATION_PROBLEM, words)) {
        tracing::error!("the catalog could not be told of the configuration's state: {failure}");
    }
}

/// Notes which secrets the daemon itself can't read: whoever asks in a shell knows another environment.
pub(super) fn note_secrets(world: &World, settings: &Settings) {
    let places: Vec<String> = settings.unread.iter().map(Problem::place).collect();
    let text = serde_json::to_string(&places).unwrap_or_default();
    if let Err(failure) = world.catalog.write(|writer| writer.put_meta(UNREAD_SECRETS, &text)) {
        tracing::error!("the catalog could not be told of the secrets that can't be read: {failure}");
    }
}

/// What a new configuration changes, a line each. Running jobs keep the one they started with.
fn effect(old: &Settings, new: &Settings) -> Vec<String> {
    fn by_name(settings: &Settings) -> BTreeMap<&str, &Project> {
        settings.projects.iter().map(|project| (project.name.as_str(), project.as_ref())).collect()
    }
    let (before, after) = (by_name(old), by_name(new));
    let mut lines = Vec::new();
    for (name, project) in &after {
        match before.get(name) {
            None => lines.push(format!("project {name:?} added")),
            Some(was) if was != project => lines.push(format!("project {name:?} changed")),
            Some(_) => {}
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("project {name:?} removed; its backups stay and are listed as orphaned"));
    }
    if old.daemon != new.daemon {
        lines.push(String::from("[daemon] changed"));
        if old.daemon.log_format != new.daemon.log_format {
            lines.push(String::from("log_format changes with the next start"));
        }
    }
    if old.smtp != new.smtp {
        lines.push(String::from("[smtp] changed"));
    }
    if old.storages != new.storages {
        lines.push(String::from("[storage] changed"));
    }
    if lines.is_empty() {
        lines.push(String::from("read again, nothing changed"));
    }
    lines
}
