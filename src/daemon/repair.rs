//! What the start puts right after a crash, before anything is due: the index, orphans, cut-off runs and slots.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::catalog::SlotKey;
use crate::error::{Cause, Failure, Result};
use crate::jobs::mend;
use crate::model::run::SlotOutcome;
use crate::model::settings::Settings;
use crate::ops::{World, reindex};

/// Proof that no other daemon uses the state directory, held as long as it lives.
pub(super) struct Alone {
    _file: File,
}

/// Takes the daemon's own lock in the state directory.
pub(super) fn alone(state_dir: &Path) -> Result<Alone> {
    let path = state_dir.join("serve.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Failure::new(Cause::System, format!("opening {}: {error}", path.display())))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::new(Cause::Locked, format!("another daemon already serves {}", state_dir.display()))
            .hint("stop it first, or give this one a state_dir of its own")
    })?;
    Ok(Alone { _file: file })
}

/// Puts everything right that can be; what can't is logged and left for the next job of that project.
pub(super) fn repair(world: &World, settings: &Settings) -> Result<()> {
    if let Some(why) = world.catalog.needs_reindex()? {
        tracing::warn!("{why}");
        let found = reindex::reindex(world)?;
        tracing::info!(backups = found.backups, "indexed the storages");
        for problem in &found.problems {
            tracing::warn!("while indexing: {problem}");
        }
    }
    let cut_off: BTreeSet<String> =
        world.catalog.read(|reader| reader.unfinished_runs())?.into_iter().map(|unfinished| unfinished.run.project).collect();
    for name in cut_off {
        match settings.project(&name) {
            Some(project) => {
                if let Err(failure) = mend::mend(world, project) {
                    tracing::warn!(project = name, "a cut-off run can't be mended yet: {failure}");
                }
            }
            None => tracing::warn!(project = name, "a project that is no longer configured has a cut-off run"),
        }
    }
    for slot in world.catalog.read(|reader| reader.unfinished_slots())? {
        tracing::warn!(project = slot.project, schedule = slot.schedule, due = %slot.due_at, "this slot's job was cut off");
        let key = SlotKey { project: slot.project, schedule: slot.schedule, due_at: slot.due_at };
        world.catalog.write(|writer| writer.finish_slot(&key, SlotOutcome::Interrupted))?;
    }
    let names: Vec<&str> = settings.projects.iter().map(|project| project.name.as_str()).collect();
    world.catalog.write(|writer| writer.see_projects(&names))?;
    Ok(())
}
