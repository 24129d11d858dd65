//! Mails that were refused for good are sent once more when a person has mended what was wrong: the settings, or the mailbox.
//!
//! An alert counts as told when its mail is written. A mail that reached nobody would otherwise never be followed by another one before the
//! next reminder, and by none at all where the incident ends before that.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::World;
use super::standing::unmended;
use crate::catalog::Letter;
use crate::error::Result;
use crate::model::settings::Settings;
use crate::notify::{Message, address};

/// What was refused longer ago has been told since by reminders.
const NEWS: TimeDelta = TimeDelta::days(3);

/// The note of whom mail went to, and how, when the daemon last looked.
const WAY: &str = "mail-way";

/// Queues them again where the way that mail takes has changed since the last look; returns how many.
pub fn where_changed(world: &World, settings: &Settings) -> Result<usize> {
    let way = way(settings);
    let before = world.catalog.read(|reader| reader.meta(WAY))?;
    if before.as_ref() == Some(&way) {
        return Ok(0);
    }
    let queued = if before.is_some() { queue(world, settings, None)? } else { 0 };
    world.catalog.write(|writer| writer.put_meta(WAY, &way))?;
    Ok(queued)
}

/// Queues those that go to these people now, who were seen to be reachable; returns how many.
pub fn to(world: &World, settings: &Settings, people: &[String]) -> Result<usize> {
    queue(world, settings, Some(&people.iter().cloned().collect()))
}

fn queue(world: &World, settings: &Settings, only: Option<&BTreeSet<String>>) -> Result<usize> {
    let since = world.clock.now() - NEWS;
    world.catalog.write(|tx| {
        let mut queued = 0;
        for Letter { id, message, queued_at, .. } in unmended(tx)? {
            let to = people(settings, &message);
            if queued_at >= since && !to.is_empty() && only.is_none_or(|only| to.is_subset(only)) {
                tx.queue_again(id, &Message { to: to.into_iter().collect(), ..message })?;
                queued += 1;
            }
        }
        Ok(queued)
    })
}

/// Whom a mail would go to if it were written now, but for those who have it: an address may have been the mistake.
fn people(settings: &Settings, message: &Message) -> BTreeSet<String> {
    let everybody = || settings.smtp.iter().flat_map(|smtp| smtp.to.iter().cloned());
    let mut people = BTreeSet::new();
    for project in message.projects.iter().filter_map(|name| settings.project(name)) {
        match project.notify.to.as_slice() {
            [] => people.extend(everybody()),
            own => people.extend(own.iter().cloned()),
        }
    }
    if people.is_empty() {
        people.extend(everybody());
    }
    if people.is_empty() {
        people.extend(message.to.iter().cloned());
    }
    people.retain(|one| message.had.iter().all(|had| address(had) != address(one)));
    people
}

/// Everything on which it depends whether a mail is taken, but for the password.
fn way(settings: &Settings) -> String {
    let server = settings.smtp.as_ref().map(|smtp| (&smtp.host, smtp.port, smtp.security, &smtp.username, &smtp.from, &smtp.to));
    let own: Vec<_> = settings.projects.iter().filter(|project| !project.notify.to.is_empty()).collect();
    let own: Vec<_> = own.iter().map(|project| (&project.name, &project.notify.to)).collect();
    format!("{server:?} {own:?}")
}
