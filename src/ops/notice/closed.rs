//! Alerts that nothing could end any more, since nobody backs up what they are about, and databases that are gone from their server: told
//! once, with what is kept of them, and closed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::alert::{Alert, AlertKey, NoticeKind, Status};
use crate::catalog::{BackupFilter, Page, Reader, Sort, Writer};
use crate::error::Result;
use crate::model::dump::{Content, Selection};
use crate::model::run::ANY_DATABASE;
use crate::notify::letter::{About, Closed, Ended, Kept, Letter, Undo};

use super::super::World;
use super::super::there::{self, Gone, There};
use super::{Change, Desk, addressed, facts, known, queue};

/// What is no longer backed up: a schedule, a database or a selection of it, or the project itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Project,
    Database(String),
    Selection(String, Selection),
    Schedule(String),
}

/// By project: what has ended, why, and the alerts that end with it.
type Endings = BTreeMap<String, BTreeMap<Subject, (Gone, Vec<AlertKey>)>>;

/// Closes the alerts of what is no longer configured, or no longer on its server, and tells of it; returns the number of mails queued.
pub fn closed(world: &World, desk: &Desk<'_>) -> Result<usize> {
    let endings = world.catalog.read(|reader| endings(reader, desk))?;
    if endings.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    world.catalog.write(|tx| {
        let mut letters = Vec::new();
        for (name, subjects) in &endings {
            let project = desk.settings.project(name);
            let changes = remove(tx, subjects, now)?;
            if let Some(told) = there::recall(tx, name)? {
                there::keep(tx, name, &There { vanished: BTreeSet::new(), ..told })?;
            }
            let mut ended = Vec::new();
            for (subject, (gone, keys)) in subjects {
                let stood = changes.iter().filter(|change| keys.contains(&change.before.key));
                let stood: Vec<_> = stood.map(|change| (change.before.since, what_was(&change.before))).collect();
                ended.push(of_subject(tx, name, subject, *gone, stood)?);
            }
            tracing::info!(project = name, "no longer backed up, its alerts are closed: {}", words(&ended));
            let letter = Letter::Closed(Closed { about: about(world, desk, name, now), ended });
            letters.push(addressed(desk, project, facts::due(letter, &changes.iter().collect::<Vec<_>>()), now));
        }
        queue(tx, letters, now)
    })
}

fn what_was(alert: &Alert) -> String {
    let too_old = || format!("there was no good {} within max_backup_age", alert.key.selection.backup());
    alert.message.clone().unwrap_or_else(too_old)
}

fn endings(reader: &Reader, desk: &Desk<'_>) -> Result<Endings> {
    let mut endings = Endings::new();
    let seen = there::recall_all(reader, desk.settings)?;
    let mut removed = None;
    for alert in reader.alerts::<Alert>()?.into_iter().filter(|alert| alert.status != Status::Ok) {
        let key = alert.key;
        let gone = match desk.settings.project(&key.project) {
            Some(project) => there::subject(project, seen.get(&project.name), &key),
            // Another configuration beside the daemon's says nothing about the daemon's projects.
            None => {
                let removed = match &mut removed {
                    Some(removed) => removed,
                    none => none.insert(removed_projects(reader)?),
                };
                removed.contains(&key.project).then_some(Gone::Project)
            }
        };
        if let Some(gone) = gone {
            let subjects = endings.entry(key.project.clone()).or_default();
            subjects.entry(subject(&key, gone)).or_insert((gone, Vec::new())).1.push(key);
        }
    }
    for (name, there) in seen {
        let Some(project) = desk.settings.project(&name) else { continue };
        for database in &there.vanished {
            let Some(gone @ (Gone::NotOnServer | Gone::Closed)) = there::database(project, Some(&there), database) else { continue };
            if has_backups(reader, &name, database)? {
                let subjects = endings.entry(name.clone()).or_default();
                subjects.entry(Subject::Database(database.clone())).or_insert((gone, Vec::new()));
            }
        }
    }
    Ok(endings)
}

fn removed_projects(reader: &Reader) -> Result<BTreeSet<String>> {
    let known = reader.known_projects()?;
    Ok(known.into_iter().filter(|known| known.removed_at.is_some()).map(|known| known.name).collect())
}

fn subject(key: &AlertKey, gone: Gone) -> Subject {
    match key.of_schedule() {
        _ if gone == Gone::Project => Subject::Project,
        Some(schedule) => Subject::Schedule(schedule.to_owned()),
        None if gone == Gone::NotMade => {
            Subject::Selection(key.database.clone(), key.of_anomaly().unwrap_or_else(|| key.selection.clone()))
        }
        None => Subject::Database(key.database.clone()),
    }
}

fn has_backups(reader: &Reader, project: &str, database: &str) -> Result<bool> {
    let filter = BackupFilter { project: Some(project.to_owned()), database: Some(database.to_owned()), ..BackupFilter::default() };
    Ok(reader.latest_backup(&filter)?.is_some())
}

/// Takes the alerts away; what they said stays for the letter, which answers their first mails.
fn remove(tx: &Writer, subjects: &BTreeMap<Subject, (Gone, Vec<AlertKey>)>, now: DateTime<Utc>) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    for key in subjects.values().flat_map(|(_, keys)| keys) {
        let Some(before) = known(tx, key)? else { continue };
        tx.remove_alert(&key.project, &key.database, &key.selection)?;
        let after = Alert::new(key.clone(), now);
        changes.push(Change { before, after, kind: NoticeKind::Recovered, run: None });
    }
    Ok(changes)
}

fn of_subject(tx: &Reader, project: &str, subject: &Subject, gone: Gone, stood: Vec<(DateTime<Utc>, String)>) -> Result<Ended> {
    let why = match gone {
        Gone::Project | Gone::NotConfigured | Gone::NotMade => "is no longer configured",
        Gone::Excluded => "is left out by exclude_databases",
        Gone::NotOnServer => "is not on the server",
        Gone::Closed => "lets nobody connect",
    };
    let undo = match gone {
        Gone::NotOnServer => Undo::Restore,
        Gone::Closed => Undo::Open,
        Gone::Project | Gone::NotConfigured | Gone::NotMade | Gone::Excluded => Undo::Configure,
    };
    let what = match subject {
        Subject::Project => None,
        Subject::Database(name) if name == ANY_DATABASE => Some(String::from("every database")),
        Subject::Database(name) => Some(format!("database {name}")),
        Subject::Selection(name, selection) if name == ANY_DATABASE => Some(format!("the {}", selection.backup())),
        Subject::Selection(name, selection) => Some(format!("the {} of {name}", selection.backup())),
        Subject::Schedule(name) => Some(format!("schedule {name}")),
    };
    let kept = match subject {
        Subject::Schedule(_) => None,
        Subject::Project => Some(kept(tx, project, None, None)?),
        Subject::Database(name) => Some(kept(tx, project, Some(name).filter(|name| *name != ANY_DATABASE), None)?),
        Subject::Selection(name, selection) => Some(kept(tx, project, Some(name).filter(|name| *name != ANY_DATABASE), Some(selection))?),
    };
    Ok(Ended { what, why: String::from(why), undo, stood, kept })
}

fn kept(tx: &Reader, project: &str, database: Option<&String>, selection: Option<&Selection>) -> Result<Kept> {
    let filter = BackupFilter {
        project: Some(project.to_owned()),
        database: database.cloned(),
        selection: selection.cloned(),
        ..BackupFilter::default()
    };
    let rows = tx.backups(&filter, Sort::Date, Page::all())?;
    let good = |row: &&crate::model::backup::BackupRow| {
        let is_wanted = selection.is_some() || row.selection == Selection::full() && row.content == Content::Full;
        is_wanted && row.damaged.is_none()
    };
    let mut list = vec![String::from("list"), project.to_owned()];
    if let Some(database) = database {
        list.extend([String::from("--database"), database.clone()]);
    }
    Ok(Kept {
        count: rows.len(),
        bytes: rows.iter().map(|row| row.size).sum(),
        newest: rows.iter().find(good).cloned().map(facts::last_good),
        list,
    })
}

fn about(world: &World, desk: &Desk<'_>, name: &str, now: DateTime<Utc>) -> About {
    if let Some(project) = desk.settings.project(name) {
        return facts::about(world, desk, project, now);
    }
    About {
        project: name.to_owned(),
        zone: desk.settings.daemon.time_zone,
        now,
        server: String::new(),
        machine: facts::machine(),
        storage: String::new(),
        root: None,
        config: desk.config_file.as_ref().map(|path| path.display().to_string()),
        hands: desk.hands,
    }
}

fn words(ended: &[Ended]) -> String {
    let one = |ended: &Ended| format!("{} {}", ended.what.as_deref().unwrap_or("the project"), ended.why);
    ended.iter().map(one).collect::<Vec<_>>().join(", ")
}
