//! Which servers a project's backups come from, and whether a person has said that they are one line.
//!
//! Prune, `status` and notices ask; `prune --confirm` writes it down. The note is the catalog's: where that is lost, the question comes again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::catalog::{BackupFilter, Page, Reader, Sort, Writer};
use crate::error::Result;
use crate::model::backup::{BackupRow, Manifest, Marks};
use crate::model::dump::Selection;
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::retention::{self, Divided};

use super::World;
use super::there::{self, There};

/// The note under which the servers are kept that were told as several.
#[must_use]
pub fn told_key(project: &str) -> String {
    format!("servers-told:{project}")
}

fn agreed_key(project: &str) -> String {
    format!("servers-agreed:{project}")
}

/// A note that lists words.
pub fn listed(reader: &Reader, key: &str) -> Result<BTreeSet<String>> {
    Ok(reader.meta(key)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Keeps such a note.
pub fn list(writer: &Writer, key: &str, words: &BTreeSet<String>) -> Result<()> {
    writer.put_meta(key, &serde_json::to_string(words).unwrap_or_default())
}

/// Whether nothing more is made of what these backups hold.
#[must_use]
pub fn ended(project: &Project, on_server: Option<&There>, database: &str, selection: &Selection) -> bool {
    if *selection == Selection::globals() { !project.globals } else { there::database(project, on_server, database).is_some() }
}

/// Where backups of a project, all in its storage, come from several servers of which nobody has said that they are one line. Of what is no
/// longer backed up, or where everything is kept, nothing can be pushed out.
pub fn divided(reader: &Reader, project: &Project, on_server: Option<&There>, backups: &[BackupRow]) -> Result<Vec<Divided>> {
    if project.retention.keeps_all() || backups.iter().all(|row| row.system_identifier.is_none()) {
        return Ok(Vec::new());
    }
    let agreed = listed(reader, &agreed_key(&project.name))?;
    let mut divided = retention::divided(backups, &agreed);
    divided.retain(|group| !ended(project, on_server, &group.database, &group.selection));
    Ok(divided)
}

/// The same for every project, as far as the catalog knows.
pub fn standing(reader: &Reader, settings: &Settings) -> Result<HashMap<String, Vec<Divided>>> {
    let mut found = HashMap::new();
    for name in reader.divided_projects()? {
        let Some(project) = settings.project(&name) else { continue };
        let mut rows = reader.project_backups(&name)?;
        rows.retain(|row| row.storage == project.storage);
        found.insert(name, divided(reader, project, there::recall(reader, &project.name)?.as_ref(), &rows)?);
    }
    Ok(found)
}

/// What to fall back on where this is the newest backup there is: that, unless it was made by another pgdumpd from another server than the
/// last one that was made here, and nobody has said that they are one line. Another server's data is no younger state of this one's.
pub fn own(reader: &Reader, newest: BackupRow) -> Result<BackupRow> {
    if newest.system_identifier.is_none() || reader.run(&newest.id)?.is_some() {
        return Ok(newest);
    }
    let alike = |row: &BackupRow| (&row.storage, &row.database, &row.selection) == (&newest.storage, &newest.database, &newest.selection);
    let usable = |row: &BackupRow| row.damaged.is_none() && (row.suspicious.is_none() || newest.suspicious.is_some());
    let mut rows = reader.project_backups(&newest.project)?;
    rows.retain(|row| alike(row) && usable(row) && row.started_at <= newest.started_at);
    rows.sort_by_key(|row| Reverse(row.started_at));
    for row in rows {
        if reader.run(&row.id)?.is_none() {
            continue;
        }
        let agreed = listed(reader, &agreed_key(&newest.project))?;
        return Ok(if is_one_line(&agreed, &row, &newest) { newest } else { row });
    }
    Ok(newest)
}

/// Whether two backups are of one line: of one server, or of servers of which somebody has said so. One whose server is unknown counts as of any.
fn is_one_line(agreed: &BTreeSet<String>, one: &BackupRow, other: &BackupRow) -> bool {
    match (&one.system_identifier, &other.system_identifier) {
        (Some(one), Some(other)) => one == other || agreed.contains(one) && agreed.contains(other),
        _ => true,
    }
}

/// What there is to fall back on in place of this backup: the newest other good one of the same database and selection, and of the same line.
pub fn instead_of(reader: &Reader, lost: &BackupRow, now: DateTime<Utc>) -> Result<Option<BackupRow>> {
    let alike = BackupFilter {
        project: Some(lost.project.clone()),
        database: Some(lost.database.clone()),
        selection: Some(lost.selection.clone()),
        undamaged: true,
        ..BackupFilter::default()
    };
    let agreed = listed(reader, &agreed_key(&lost.project))?;
    let mut rows = reader.backups(&alike, Sort::Date, Page::all())?;
    rows.retain(|row| row.id != lost.id && is_one_line(&agreed, row, lost));
    // What is dated in the future is taken only where there is nothing else.
    rows.sort_by_key(|row| row.started_at > now);
    Ok(rows.into_iter().next())
}

/// These backups by the lines they are of, each by its newest.
pub fn by_line(reader: &Reader, rows: Vec<BackupRow>) -> Result<Vec<Vec<BackupRow>>> {
    let mut lines: Vec<Vec<BackupRow>> = Vec::new();
    let Some(first) = rows.first() else { return Ok(lines) };
    let agreed = listed(reader, &agreed_key(&first.project))?;
    for row in rows {
        match lines.iter_mut().find(|line| line.iter().all(|other| is_one_line(&agreed, &row, other))) {
            Some(line) => line.push(row),
            None => lines.push(vec![row]),
        }
    }
    Ok(lines)
}

/// What the newest of these, all of one database and selection, could be: the newest of each server, while nobody has said that they are one
/// line. Nothing where it can only be one.
pub fn newest_of_each(world: &World, project: &Project, these: &BackupFilter) -> Result<Vec<BackupRow>> {
    let these = BackupFilter { storage: Some(project.storage.clone()), ..these.clone() };
    let (mut newest, held) = world.catalog.read(|reader| {
        let mut rows = reader.project_backups(&project.name)?;
        rows.retain(|row| row.storage == project.storage);
        let held = divided(reader, project, there::recall(reader, &project.name)?.as_ref(), &rows)?;
        Ok((reader.backups(&these, Sort::Date, Page::all())?, held))
    })?;
    let is_held = |row: &BackupRow| held.iter().any(|group| (&group.database, &group.selection) == (&row.database, &row.selection));
    if !newest.first().is_some_and(is_held) {
        return Ok(Vec::new());
    }
    let now = world.clock.now();
    newest.sort_by_key(|row| row.started_at > now);
    let mut seen = BTreeSet::new();
    newest.retain(|row| seen.insert(row.system_identifier.clone()));
    // Those of which no server is known count as of any.
    Ok(if seen.iter().flatten().count() > 1 { newest } else { Vec::new() })
}

/// When the newest good backup of each database was started, by selection and database.
pub type Newest = BTreeMap<Selection, BTreeMap<String, DateTime<Utc>>>;

/// The same by project, of full backups and of what counts in these projects ([`Project::counted`]); where other servers' lie beside them,
/// that of the own one.
pub fn newest_good(reader: &Reader, projects: &[&Project]) -> Result<HashMap<String, Newest>> {
    let only = if let [one] = projects { Some(one.name.as_str()) } else { None };
    let mut found: HashMap<String, Newest> = HashMap::new();
    for ((project, database), at) in reader.last_good_full(only)? {
        found.entry(project).or_default().entry(Selection::full()).or_default().insert(database, at);
    }
    let divided: BTreeSet<String> = reader.divided_projects()?.into_iter().collect();
    for project in projects {
        let parts: Vec<Selection> = project.counted().into_iter().filter(|selection| !selection.is_full()).collect();
        for selection in parts {
            let newest = reader.last_good_of(&project.name, &selection)?.into_iter().collect();
            found.entry(project.name.clone()).or_default().insert(selection, newest);
        }
        let Some(newest) = found.get_mut(&project.name).filter(|_| divided.contains(&project.name)) else { continue };
        for (selection, databases) in newest {
            for (database, at) in databases {
                let filter = BackupFilter {
                    project: Some(project.name.clone()),
                    database: Some(database.clone()),
                    selection: Some(selection.clone()),
                    undamaged: true,
                    ..BackupFilter::default()
                };
                if let Some(row) = own_newest(reader, &filter)? {
                    *at = row.started_at;
                }
            }
        }
    }
    Ok(found)
}

/// The newest backup of these, all of one database and selection; where other servers' lie beside it, the own one's.
pub fn own_newest(reader: &Reader, these: &BackupFilter) -> Result<Option<BackupRow>> {
    reader.latest_backup(these)?.map(|newest| own(reader, newest)).transpose()
}

/// A person says that these are one line from now on.
pub fn agree(world: &World, project: &str, divided: &[Divided]) -> Result<()> {
    if divided.is_empty() {
        return Ok(());
    }
    let servers = divided.iter().flat_map(|group| &group.servers).map(|origin| origin.system_identifier.clone());
    world.catalog.write(|writer| {
        let mut agreed = listed(writer, &agreed_key(project))?;
        agreed.extend(servers.clone());
        list(writer, &agreed_key(project), &agreed)?;
        writer.remove_meta(&told_key(project))
    })
}

/// What a new backup should say of that: it comes from another server than those before it.
#[must_use]
pub fn warning(world: &World, project: &Project, storage: &str, manifest: &Manifest) -> Option<String> {
    let here = manifest.system_identifier.as_ref()?;
    let look = world.catalog.read(|reader| {
        let mut rows = reader.project_backups(&project.name)?;
        rows.retain(|row| row.storage == storage && row.database == manifest.database_name && row.selection == manifest.selection);
        rows.push(BackupRow::from_manifest(storage, manifest, None, Marks::default()));
        divided(reader, project, None, &rows)
    });
    let divided = look.unwrap_or_else(|failure| {
        tracing::warn!(run = %manifest.backup_id, "the servers of the backups before this one can't be asked: {failure}");
        Vec::new()
    });
    let other = divided.into_iter().next()?.servers.into_iter().find(|origin| origin.system_identifier != *here)?;
    Some(format!(
        "this backup is of another server ({}:{}, system identifier {here}) than others of this project and database ({}, {}): none of \
         them is pruned until `pgdumpd prune {} --confirm` says that they are one line",
        manifest.server_host,
        manifest.server_port,
        other.server.as_deref().unwrap_or("place unknown"),
        other.system_identifier,
        crate::shell::word(&project.name)
    ))
}
