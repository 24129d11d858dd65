//! Backups of several servers under one project: told once for each server that comes, and again only after it was settled.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::model::project::Project;
use crate::notify::letter::{Divided as Several, Letter};
use crate::retention::Divided;

use super::super::{World, origin};
use super::facts::{self, Due};
use super::{Desk, queue, waiting};

/// Tells that nothing is pruned of these; with none of them forgets what was told.
pub fn divided(world: &World, desk: &Desk<'_>, project: &Project, divided: &[Divided]) -> Result<()> {
    let key = origin::told_key(&project.name);
    let told = world.catalog.read(|reader| origin::listed(reader, &key))?;
    let now: BTreeSet<String> = divided.iter().flat_map(|group| &group.servers).map(|origin| origin.system_identifier.clone()).collect();
    if now.is_empty() && !told.is_empty() {
        return world.catalog.write(|writer| writer.remove_meta(&key));
    }
    if now.is_subset(&told) {
        return Ok(());
    }
    let at = world.clock.now();
    let letter = Letter::Divided(Several { about: facts::about(world, desk, project, at), groups: divided.to_vec() });
    world.catalog.write(|tx| {
        origin::list(tx, &key, &now)?;
        let due = Due { letter: letter.clone(), thread: None, begins: Vec::new() };
        queue(tx, vec![waiting(desk, project, due, at)], at).map(drop)
    })
}
