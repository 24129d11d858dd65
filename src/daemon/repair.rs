//! What the start puts right after a crash, before anything is due: the index, orphans, cut-off runs and slots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::catalog::SlotKey;
use crate::error::{Cause, Failure, Result};
use crate::jobs::drill::begun;
use crate::jobs::restore::unfinished;
use crate::jobs::{mend, rebuild};
use crate::model::project::Schedule;
use crate::model::run::SlotOutcome;
use crate::model::settings::Settings;
use crate::ops::World;
use crate::ops::notice::{self, Desk};
use crate::ops::renaming::{self, When};
use crate::ops::restore::Unfinished;
use crate::ops::standing::{CONFIGURATION_PROBLEM, SERVE_LOCK};
use crate::postgres::throwaway;
use crate::process::Identity;

/// Proof that no other daemon uses the state directory, held as long as it lives.
pub(super) struct Alone {
    _file: File,
}

/// Takes the daemon's own lock in the state directory, before anything in it is touched.
pub(super) fn alone(state_dir: &Path) -> Result<Alone> {
    let path = state_dir.join(SERVE_LOCK);
    let unusable = |error: std::io::Error| {
        Failure::new(Cause::System, format!("the state directory {} can't be used: opening serve.lock: {error}", state_dir.display()))
            .hint("make it for the user that runs pgdumpd and see that its file system is writable, or set state_dir to another folder")
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(unusable)?;
    let mut file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path).map_err(unusable)?;
    if !locked(&file) {
        let mut holder = String::new();
        // Only for people; a daemon that is just starting may not have written it yet.
        drop(file.take(100).read_to_string(&mut holder));
        let who = holder.lines().next().filter(|line| !line.is_empty()).map(|line| format!(" ({line})")).unwrap_or_default();
        return Err(Failure::new(Cause::Locked, format!("another daemon{who} already serves {}", state_dir.display()))
            .hint("stop it first, or give this one a state_dir of its own"));
    }
    let line = format!("process {}\n", std::process::id());
    if let Err(error) = file.set_len(0).and_then(|()| file.write_all(line.as_bytes())) {
        tracing::warn!("{} can't be written, so a second daemon won't be able to name this one: {error}", path.display());
    }
    Ok(Alone { _file: file })
}

/// Whoever only looks whether a daemon serves holds the lock for an instant; that is no reason to end.
fn locked(file: &File) -> bool {
    (0..5).any(|attempt| {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

/// Puts everything right that can be; what can't is logged and left for the next job of that project.
pub(super) fn repair(world: &World, desk: &Desk<'_>) -> Result<()> {
    let settings = desk.settings;
    renaming::follow(world, When::Start)?;
    rebuild::if_needed(world, desk)?;
    let mut cut_off: BTreeSet<String> = world.catalog.read(|reader| reader.projects_with_removals())?.into_iter().collect();
    cut_off.extend(world.catalog.read(|reader| reader.unfinished_runs())?.into_iter().map(|unfinished| unfinished.run.project));
    for name in cut_off {
        let mended = match settings.project(&name) {
            Some(project) => mend::mend(world, project),
            None => mend::unconfigured(world, &name),
        };
        if let Err(failure) = mended {
            tracing::warn!(project = name, "what a crash cut off can't be mended yet: {failure}");
        }
    }
    for wait in world.catalog.read(|reader| reader.waits())? {
        if !wait.owner.as_ref().is_some_and(Identity::is_alive) {
            world.catalog.write(|writer| writer.end_wait(&wait.project, &wait.what))?;
        }
    }
    unfinished_restores(world, settings)?;
    for slot in world.catalog.read(|reader| reader.unfinished_slots())? {
        cut_off_slot(world, desk, &SlotKey { project: slot.project, schedule: slot.schedule, due_at: slot.due_at })?;
    }
    throwaway::places(&settings.daemon.state_dir).iter().for_each(|place| throwaway::sweep(place));
    let names: Vec<&str> = settings.projects.iter().map(|project| project.name.as_str()).collect();
    // What an earlier daemon could not read is in force now, or mended.
    world.catalog.write(|writer| writer.see_projects(&names).and_then(|()| writer.remove_meta(CONFIGURATION_PROBLEM)))
}

/// Removes from their servers what restores and drills have left that were ended by force. A server that can't be asked keeps it until the next start.
fn unfinished_restores(world: &World, settings: &Settings) -> Result<()> {
    let mut by_project: BTreeMap<String, Vec<Unfinished>> = BTreeMap::new();
    for one in unfinished::noted(world)? {
        by_project.entry(one.project.clone()).or_default().push(one);
    }
    for (name, left) in by_project {
        let Some(project) = settings.project(&name) else { continue };
        if let Err(failure) = unfinished::clear(world, project, &left) {
            tracing::warn!(project = name, "what a restore or a drill has left behind can't be removed yet: {failure}");
        }
    }
    Ok(())
}

fn cut_off_slot(world: &World, desk: &Desk<'_>, slot: &SlotKey) -> Result<()> {
    let plan = desk.settings.project(&slot.project).and_then(|project| {
        let plan = project.plans().find(|plan| plan.name == slot.schedule)?;
        Some((project, plan))
    });
    let outcome = match plan {
        Some((project, plan)) if project.is_drill(&plan.name) => cut_off_drill(world, desk, plan, slot)?,
        Some((project, plan)) => mend::slot(world, project, plan, slot)?,
        None => {
            world.catalog.write(|writer| writer.finish_slot(slot, SlotOutcome::Interrupted))?;
            begun::forget(world, &slot.project);
            SlotOutcome::Interrupted
        }
    };
    tracing::warn!(project = slot.project, schedule = slot.schedule, due = %slot.due_at, ?outcome, "this slot's job was cut off");
    Ok(())
}

/// A drill that had begun has failed, and is told like any other: to run it again by itself might end pgdumpd once more. One that had not
/// is due again.
fn cut_off_drill(world: &World, desk: &Desk<'_>, plan: &Schedule, slot: &SlotKey) -> Result<SlotOutcome> {
    let drilled = begun::untold(world, &slot.project)?;
    if drilled.is_empty() && mend::give_back(world, &[(plan, slot.clone())])? == 1 {
        return Ok(SlotOutcome::Claimed);
    }
    notice::drilled(world, desk, &slot.project, &drilled)?;
    world.catalog.write(|writer| writer.finish_slot(slot, SlotOutcome::Interrupted))?;
    begun::forget(world, &slot.project);
    Ok(SlotOutcome::Interrupted)
}
