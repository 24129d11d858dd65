//! How a backup is named on the command line: its id (or the beginning of it), its file, `PROJECT@latest`, `PROJECT@TIME`, or `latest`.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::catalog::{BackupFilter, Page, Sort};
use crate::error::{Cause, Failure, Result};
use crate::jobs::scheduled::GLOBALS;
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest};
use crate::model::dump::Selection;
use crate::model::project::Project;
use crate::model::settings::Settings;
use crate::ops::{World, mount, origin, there};
use crate::storage::{Key, Storage};

use super::{Common, moment, out, told, world};

/// As many candidates as are named where a name is ambiguous.
const AMBIGUOUS: u32 = 5;

/// A beginning of an id says which is meant from this length on.
const SPEAKING: usize = 4;

/// A name that stands for the newest backup of something.
struct Newest<'a> {
    project: Option<&'a str>,
    database: Option<&'a str>,
    /// What it usually holds: whole databases, unless it is configured to hold less.
    selection: Selection,
    /// What stands behind the `@`.
    moment: &'a str,
    until: Option<DateTime<Utc>>,
    zone: Tz,
}

impl<'a> Newest<'a> {
    /// Takes such a name apart; `None` where it is another kind of name.
    fn parse(settings: &Settings, name: &'a str) -> Result<Option<Self>> {
        let mut newest = Self {
            project: None,
            database: None,
            selection: Selection::full(),
            moment: "latest",
            until: None,
            zone: settings.daemon.time_zone,
        };
        if name == "latest" {
            return Ok(Some(newest));
        }
        let Some((place, moment)) = name.rsplit_once('@').filter(|(place, _)| !place.is_empty()) else { return Ok(None) };
        let (project, database) = place.split_once('/').map_or((place, None), |(project, database)| (project, Some(database)));
        if let Some(configured) = settings.project(project) {
            (newest.selection, newest.zone) = (configured.shape.selection(), configured.time_zone);
        }
        (newest.project, newest.database, newest.moment) = (Some(project), database, moment);
        newest.until = if moment == "latest" { None } else { Some(moment::end(moment, newest.zone)?) };
        Ok(Some(newest))
    }

    fn filter(&self) -> BackupFilter {
        BackupFilter {
            project: self.project.map(str::to_owned),
            database: self.database.map(str::to_owned),
            selection: Some(self.selection.clone()),
            until: self.until,
            undamaged: true,
            ..BackupFilter::default()
        }
    }

    /// All that it could be, newest first.
    fn all(&self, world: &World) -> Result<Vec<BackupRow>> {
        world.catalog.read(|reader| reader.backups(&self.filter(), Sort::Date, Page::all()))
    }

    /// The newest of each database that the project still backs up, where there are such backups: one of a target that was about to be
    /// overwritten, or of a database that is gone, isn't what the project's name stands for.
    fn of_project(&self, world: &World, settings: &Settings, project: &str) -> Result<Vec<BackupRow>> {
        let mut rows = self.all(world)?;
        let there = world.catalog.read(|reader| there::recall(reader, project))?;
        let covered: BTreeSet<String> =
            there::covered(settings.project(project), there.as_ref(), &rows).into_iter().map(str::to_owned).collect();
        // As retention does: what is dated in the future is taken only where there is nothing else.
        let now = world.clock.now();
        rows.sort_by_key(|row| row.started_at > now);
        let mut seen = BTreeSet::new();
        rows.retain(|row| covered.contains(&row.database) && seen.insert(row.database.clone()));
        Ok(rows)
    }

    /// Why there is none, where more can be said than that: all are later, or they are of other databases.
    fn none(&self, world: &World, name: &str) -> Result<Option<Failure>> {
        let Some(project) = self.project else { return Ok(None) };
        let later = Self { until: None, selection: self.selection.clone(), ..*self }.all(world)?;
        if let Some(oldest) = later.last() {
            let at = out::moment(oldest.started_at, self.zone);
            let words = format!("there is no backup {name:?}: the oldest good one is {} of {at}", oldest.id);
            return Ok(Some(
                Failure::new(Cause::NotFound, words)
                    .hint(format!("name it by its id, {}; `pgdumpd list {project}` shows them all", oldest.id)),
            ));
        }
        let others = Self { until: None, database: None, selection: self.selection.clone(), ..*self }.all(world)?;
        let names: BTreeSet<&str> = others.iter().map(|row| row.database.as_str()).collect();
        if names.is_empty() {
            return self.damaged(world, name);
        }
        let typed: Vec<String> = names.iter().map(|database| out::shell(&format!("{project}/{database}@{}", self.moment))).collect();
        Ok(Some(Failure::new(Cause::NotFound, format!("there is no backup {name:?}")).hint(format!("there is {}", typed.join(", ")))))
    }

    /// Why there is none, where all that there are count as damaged.
    fn damaged(&self, world: &World, name: &str) -> Result<Option<Failure>> {
        let all = BackupFilter { undamaged: false, ..self.filter() };
        let Some(newest) = world.catalog.read(|reader| reader.latest_backup(&all))? else { return Ok(None) };
        let why = newest.damaged.as_deref().unwrap_or("no word of why");
        Ok(Some(
            Failure::new(
                Cause::NotFound,
                format!("there is no good backup {name:?}: all there are count as damaged, {} the newest ({why})", newest.id),
            )
            .hint(format!(
                "read what can be read of it: `pgdumpd show {0} --tables`, `pgdumpd cat {0} TABLE`; make a new one: `pgdumpd backup {1}`",
                newest.id,
                out::shell(&newest.project)
            )),
        ))
    }
}

/// The one backup that is meant. `latest` is the newest undamaged one of what the project usually holds: a schema-only or ad-hoc backup is
/// never taken for it.
///
/// `PROJECT@TIME` is the newest such one that was started at that time or before, in the project's zone; each means its own end.
/// Where that could be a backup of any of several databases it is refused: `shop@latest` must not mean whichever was dumped last. `latest`
/// alone is the newest of all.
pub(super) fn backup(world: &World, settings: &Settings, name: &str) -> Result<BackupRow> {
    let mut found = of_each_database(world, settings, name)?;
    if found.len() > 1 {
        return Err(ambiguous(name, &found));
    }
    found.pop().ok_or_else(|| unknown(name))
}

/// The same for what overwrites things: `latest` is taken for its project's, and refused where that has several databases. It is also refused
/// where the newest of a project whose backups come from several servers is asked for: `line` is the command with another name.
pub(super) fn of_one_database(world: &World, settings: &Settings, name: &str, line: &dyn Fn(&str) -> String) -> Result<BackupRow> {
    let mut rows = named(world, settings, name)?;
    if rows.len() > 1 {
        return Err(ambiguous(name, &rows));
    }
    let found = rows.pop().ok_or_else(|| unknown(name))?;
    let Some(newest) = Newest::parse(settings, name)? else { return Ok(found) };
    let until = newest.until;
    let found = if newest.project.is_some() {
        found
    } else {
        let mut rows = Newest { project: Some(&found.project), ..newest }.of_project(world, settings, &found.project)?;
        if rows.len() > 1 {
            return Err(ambiguous(name, &rows));
        }
        rows.pop().unwrap_or(found)
    };
    let Some(project) = settings.project(&found.project) else { return Ok(found) };
    let each = origin::newest_of_each(world, project, &like(&found, until))?;
    if each.is_empty() { Ok(found) } else { Err(of_several_servers(name, project, &each, line)) }
}

/// The backups that a name stands for, for what takes many: of a project with several databases the newest of each. Never none.
///
/// Where another pgdumpd backs up another server under the same name, the newest is the own one's, as in `status`.
pub(super) fn of_each_database(world: &World, settings: &Settings, name: &str) -> Result<Vec<BackupRow>> {
    let rows = named(world, settings, name)?;
    if Newest::parse(settings, name)?.is_none() {
        return Ok(rows);
    }
    let own = |newest: BackupRow| {
        let own = world.catalog.read(|reader| origin::own(reader, newest.clone()))?;
        if own.id != newest.id {
            let server = newest.server.as_deref().unwrap_or("place unknown");
            out::note(format!("note: {name} is {} here; {} is newer, and another server's ({server})", own.id, newest.id));
        }
        Ok(own)
    };
    rows.into_iter().map(own).collect()
}

fn named(world: &World, settings: &Settings, name: &str) -> Result<Vec<BackupRow>> {
    let Some(newest) = Newest::parse(settings, name)? else {
        return one(world, name)?.map(|row| vec![row]).ok_or_else(|| unusable(world, name).unwrap_or_else(|| unknown(name)));
    };
    let latest = |newest: &Newest<'_>| world.catalog.read(|reader| reader.latest_backup(&newest.filter()));
    let mut found = match (newest.project, newest.database) {
        (Some(project), None) => newest.of_project(world, settings, project)?,
        _ => latest(&newest)?.into_iter().collect(),
    };
    if found.is_empty() && newest.database == Some(GLOBALS) {
        // No database is called so: the roles and tablespaces are meant, as `list` names them.
        found.extend(latest(&Newest { selection: Selection::globals(), ..newest })?);
    }
    if found.is_empty() {
        return Err(newest.none(world, name)?.unwrap_or_else(|| unknown(name)));
    }
    found.iter().try_for_each(|row| passed_over(world, row, &newest))?;
    Ok(found)
}

/// The undamaged ones of the same database that hold the same, up to then.
fn like(row: &BackupRow, until: Option<DateTime<Utc>>) -> BackupFilter {
    BackupFilter {
        project: Some(row.project.clone()),
        database: Some(row.database.clone()),
        selection: Some(row.selection.clone()),
        until,
        undamaged: true,
        ..BackupFilter::default()
    }
}

/// Says so where a newer one counts as damaged: whoever asks for the newest may think that it is.
fn passed_over(world: &World, row: &BackupRow, asked: &Newest<'_>) -> Result<()> {
    let all = BackupFilter { undamaged: false, ..like(row, asked.until) };
    let newest = world.catalog.read(|reader| reader.latest_backup(&all))?.filter(|newest| newest.started_at > row.started_at);
    if let Some((newest, why)) = newest.and_then(|newest| Some((newest.id, newest.damaged?))) {
        out::note(format!("note: {newest} is newer than {}, and is passed over as it counts as damaged ({why})", row.id));
    }
    Ok(())
}

fn unknown(name: &str) -> Failure {
    Failure::new(Cause::NotFound, format!("there is no backup {name:?}")).hint(
        "`pgdumpd list` shows their ids; a file name, PROJECT@latest, PROJECT/DATABASE@latest, PROJECT@TIME or latest will do as well",
    )
}

/// A name of a project's newest backup, where the project has several databases.
fn ambiguous(name: &str, rows: &[BackupRow]) -> Failure {
    let moment = name.rsplit_once('@').map_or("latest", |(_, moment)| moment);
    let mut typed: Vec<String> = rows.iter().map(|row| out::shell(&format!("{}/{}@{moment}", row.project, row.database))).collect();
    typed.sort_unstable();
    Failure::new(Cause::Configuration, format!("{name:?} could be a backup of any of {} databases", rows.len()))
        .hint(format!("say which: {}", typed.join(", ")))
}

/// A name of the newest backup, where there is one of each of several servers.
fn of_several_servers(name: &str, project: &Project, rows: &[BackupRow], line: &dyn Fn(&str) -> String) -> Failure {
    let words = format!("{name:?} could be a backup of any of {} servers, and nobody has said that they are one line", rows.len());
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let (at, server) = (out::moment(row.started_at, project.time_zone), row.server.as_deref().unwrap_or("place unknown"));
            let identifier = row.system_identifier.as_deref().unwrap_or("unknown");
            format!("{}, {at}, of {server}, system identifier {identifier}", row.id)
        })
        .collect();
    lines.extend(rows.first().map(|row| format!("say which by its id: {}", line(row.id.as_str()))));
    lines.push(format!("if the newer server took the other's place: pgdumpd prune {} --confirm", out::shell(&project.name)));
    Failure::new(Cause::Configuration, words).hint(lines.join("\n"))
}

/// The storage and the manifest of the backup that is meant.
pub(super) fn opened(common: &Common, name: &str) -> Result<(Arc<dyn Storage>, Manifest)> {
    let settings = world::settings(common)?;
    let world = world::look(common, &settings)?;
    let row = backup(&world, &settings, name)?;
    if let Some(why) = &row.damaged {
        out::note(format!("warning: the backup {} counts as damaged: {why}", row.id));
    }
    let (storage, manifest) = of_row(&world, &row)?;
    let manifest = of_what_is_left(storage.as_ref(), manifest)?;
    Ok((storage, manifest))
}

/// The storage and the manifest of a backup.
pub(super) fn of_row(world: &World, row: &BackupRow) -> Result<(Arc<dyn Storage>, Manifest)> {
    let storage = world.storage_of(row)?;
    let key = Key { project: row.project.clone(), file: row.file.clone() };
    let manifest = manifest::read(storage.as_ref(), &manifest::key(&row.project, &row.file)).map_err(|failure| {
        // Where the storage isn't there, that is why.
        mount::look(world, storage.as_ref()).err().unwrap_or_else(|| without_manifest(storage.as_ref(), &key, failure))
    })?;
    Ok((Arc::clone(storage), manifest))
}

/// The manifest for reading what is left of an artifact that was cut: all rows have checksums, so those that come are right.
pub(super) fn of_what_is_left(storage: &dyn Storage, mut manifest: Manifest) -> Result<Manifest> {
    let (file, written) = (&manifest.backup_file, manifest.backup_size_bytes);
    let found = storage.size(&Key { project: manifest.project.clone(), file: file.clone() })?;
    if let Some(found) = found.filter(|found| *found < written) {
        out::note(format!("warning: {file} was cut: {found} of {written} bytes are there, and what lay beyond them is lost"));
        manifest.backup_size_bytes = found;
    }
    Ok(manifest)
}

/// A backup whose manifest can't be used is a dump file all the same, where that is there.
fn without_manifest(storage: &dyn Storage, key: &Key, failure: Failure) -> Failure {
    let (root, there) = (storage.place(), storage.size(key).is_ok_and(|size| size.is_some()));
    if failure.cause == Cause::NotMounted || !there || !root.starts_with('/') {
        return failure;
    }
    let path = out::shell(&told::file(Some(&root), &key.project, &key.file));
    let first = failure.hint.clone().unwrap_or_else(|| String::from("put it back from a copy of the storage"));
    failure.hint(format!("{first}; meanwhile the dump itself can be read by its path: `pgdumpd show {path}`, `pgdumpd cat {path} TABLE`"))
}

/// Why a backup that lies in a storage is not among the known ones: its manifest can't be used.
fn unusable(world: &World, name: &str) -> Option<Failure> {
    let is_id = |part: &str| part.len() >= SPEAKING && part.starts_with(name) || part == name;
    for storage in world.storages.values() {
        for project in storage.projects().unwrap_or_default() {
            let entries = storage.list(&project).unwrap_or_default();
            let files = entries.iter().filter_map(|entry| Some((entry, entry.key.file.strip_suffix(".json")?)));
            let of_it = |file: &str| file == name || file.split(['_', '.']).any(is_id);
            for (entry, _) in files.filter(|(_, file)| name.len() >= SPEAKING && file.rsplit('.').next() != Some("proof") && of_it(file)) {
                if let Err(failure) = manifest::read(storage.as_ref(), &entry.key) {
                    return Some(failure.context(format!("the backup {name:?} can't be used")));
                }
            }
        }
    }
    None
}

fn one(world: &World, name: &str) -> Result<Option<BackupRow>> {
    let mut matches = world.catalog.read(|reader| {
        let by_file = reader.backups_by_file(name)?;
        if by_file.is_empty() { reader.backups_by_prefix(name, AMBIGUOUS) } else { Ok(by_file) }
    })?;
    if matches.len() > 1 {
        let ids: Vec<String> = matches.iter().map(|row| format!("{} ({}/{})", row.id, row.project, row.database)).collect();
        let more = if matches.len() == AMBIGUOUS as usize { " or more" } else { "" };
        return Err(Failure::new(Cause::NotFound, format!("{name:?} could be any of {}{more} backups", matches.len())).hint(ids.join(", ")));
    }
    Ok(matches.pop())
}
