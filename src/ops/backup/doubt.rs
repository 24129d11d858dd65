//! Whether the backup that is about to be committed falls out of the habit, asked of the backups before it.
//!
//! The catalog names them, their manifests say what was in them. One that can't be read is passed over; where none can, nobody can say that
//! nothing was lost, and the backup counts as suspicious: doubt never costs a backup, neither the new one nor those before it.

use std::cell::Cell;

use crate::catalog::{BackupFilter, Page, Sort};
use crate::error::{Failure, Result};
use crate::habit::{self, Counted, Figures, Habit, Known, Past, Rule, Standing};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest, RunId, Trigger};
use crate::model::dump::{Compression, Format};
use crate::storage::{Key, Storage, names};
use crate::units::show_age;

use super::super::{World, accepted};
use super::Means;

/// More earlier backups than this before those in doubt are not looked at.
const LOOK_BACK: usize = 200;

/// So many tables that lost rows are looked for, to be named.
const WORST: usize = 3;

/// What the look came to.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Why the new backup is suspicious, if it is.
    pub(super) suspicious: Option<String>,
    /// What to write down of it otherwise.
    pub(super) note: Option<String>,
    /// Earlier suspicious ones that are the new habit together with this one.
    pub(super) settled: Vec<BackupRow>,
}

/// Looks at it. The manifest is complete but for its mark.
pub(super) fn look(world: &World, means: Means<'_>, manifest: &Manifest) -> Doubt {
    let Some(rule) = means.project.anomaly.filter(|_| manifest.trigger != Trigger::AdHoc) else { return Doubt::default() };
    judge(world, means.storage.as_ref(), &rule, manifest).unwrap_or_else(|failure| {
        tracing::warn!(run = %manifest.backup_id, "this backup could not be compared with the ones before it: {failure}");
        Doubt { suspicious: Some(format!("it could not be compared with the backups before it: {failure}")), ..Doubt::default() }
    })
}

fn judge(world: &World, storage: &dyn Storage, rule: &Rule, new: &Manifest) -> Result<Doubt> {
    let rows = earlier(world, storage, new)?;
    let past = rows.iter().map(|row| past(storage, row)).collect::<Result<Vec<Past>>>()?;
    let habit = Habit::of(rule, new.content, &past);
    if !habit.is_known {
        return Ok(Doubt::default());
    }
    let members: Vec<&BackupRow> = habit.members.iter().filter_map(|place| rows.get(*place)).collect();
    let read = Earlier { storage, rows: Cell::new(&members) };
    let newest = read.newest()?;
    // pg_dump's own compression and another format change the size without changing the data.
    let comparable = newest.as_ref().is_some_and(|newest| is_like(newest, new));
    let figures = Figures { rows: new.total_rows, bytes: Some(new.uncompressed_size_bytes).filter(|_| comparable) };
    let mut fall = habit::fall(rule, new.content, habit.figures(&past), figures);
    let known = known(new);
    if rule.tables && new.total_rows.is_some() {
        fall.tables = habit::missing(&known, &mut |place| match (place, &newest) {
            (0, newest) => Ok(newest.as_ref().map(counted)),
            _ => Ok(read.next().as_ref().map(counted)),
        })?;
    }
    if fall.is_none() {
        return Ok(Doubt::default());
    }
    let worst = newest.as_ref().filter(|_| new.total_rows.is_some()).map(|newest| habit::worst(&counted(newest), &known, WORST));
    let why = fall.words(&worst.unwrap_or_default());
    let alike = habit::alike(rule, new.content, &past, &habit, figures);
    let alike: Vec<usize> = habit.doubted.iter().copied().take(alike).collect();
    Ok(verdict(rule, why, new, &alike, rows))
}

fn verdict(rule: &Rule, why: String, new: &Manifest, alike: &[usize], rows: Vec<BackupRow>) -> Doubt {
    let first = alike.last().and_then(|place| rows.get(*place)).map_or(new.backup_timestamp, |row| row.started_at);
    // A clock that was set back makes it shorter.
    let over = (new.backup_timestamp - first).to_std().unwrap_or_default();
    if !habit::is_new_habit(rule, alike.len(), over) {
        return Doubt { suspicious: Some(why), ..Doubt::default() };
    }
    let settled = rows.into_iter().enumerate().filter(|(place, _)| alike.contains(place)).map(|(_, row)| row).collect();
    let note = format!("{} alike in a row over {} are the new habit, although {why}", alike.len() + 1, show_age(over));
    Doubt { suspicious: None, note: Some(note), settled }
}

/// Earlier backups of the same kind, newest first. However many are in doubt, those before them are among them: else there would be no habit
/// any more to doubt by.
fn earlier(world: &World, storage: &dyn Storage, new: &Manifest) -> Result<Vec<BackupRow>> {
    let filter = BackupFilter {
        storage: Some(storage.name().to_owned()),
        project: Some(new.project.clone()),
        database: Some(new.database_name.clone()),
        selection: Some(new.selection.clone()),
        undamaged: true,
        ..BackupFilter::default()
    };
    let mut rows = world.catalog.read(|reader| reader.backups(&filter, Sort::Date, Page::all()))?;
    rows.retain(|row| row.trigger != Trigger::AdHoc && row.id != new.backup_id);
    let doubted = rows.iter().take_while(|row| row.suspicious.is_some()).count();
    rows.truncate(doubted + LOOK_BACK);
    Ok(rows)
}

/// The acceptance lies beside the artifact; the catalog only knows that the mark is gone.
fn past(storage: &dyn Storage, row: &BackupRow) -> Result<Past> {
    let accepted = || storage.size(&Key { project: row.project.clone(), file: names::accepted_file(&row.file) });
    let standing = match row.suspicious {
        Some(_) => Standing::Suspicious,
        None if accepted()?.is_some() => Standing::Accepted,
        None => Standing::Normal,
    };
    Ok(Past { figures: Figures { rows: row.rows, bytes: Some(row.uncompressed_size) }, standing })
}

/// The manifests of the habit's members, newest first, read one at a time; those that can't be read are passed over.
struct Earlier<'a> {
    storage: &'a dyn Storage,
    rows: Cell<&'a [&'a BackupRow]>,
}

impl Earlier<'_> {
    fn next(&self) -> Option<Manifest> {
        self.read(&mut None)
    }

    /// The newest that can be read. There is none, where there are no members; where none of them can be read, the first one's failure.
    fn newest(&self) -> Result<Option<Manifest>> {
        let mut failed = None;
        let found = self.read(&mut failed);
        match failed {
            Some(failure) if found.is_none() => Err(failure),
            _ => Ok(found),
        }
    }

    fn read(&self, failed: &mut Option<Failure>) -> Option<Manifest> {
        while let Some((row, rest)) = self.rows.get().split_first() {
            self.rows.set(rest);
            match manifest::read(self.storage, &manifest::key(&row.project, &row.file)) {
                Ok(manifest) => return Some(manifest),
                Err(failure) => {
                    tracing::warn!(backup = %row.id, "no new backup can be compared with this one: {failure}");
                    failed.get_or_insert(failure);
                }
            }
        }
        None
    }
}

fn is_like(one: &Manifest, other: &Manifest) -> bool {
    let native = |manifest: &Manifest| manifest.compression == Compression::Native && manifest.dump_format != Format::Plain;
    one.dump_format == other.dump_format && native(one) == native(other)
}

fn known(manifest: &Manifest) -> Vec<Known<'_>> {
    manifest.tables.iter().filter_map(|table| Some(Known { schema: &table.schema, name: &table.name, rows: table.rows? })).collect()
}

fn counted(manifest: &Manifest) -> Vec<Counted> {
    manifest.tables.iter().filter_map(|table| Some((table.schema.clone(), table.name.clone(), table.rows?))).collect()
}

/// Takes the marks away from those that are the new habit now; a crash before leaves them, and the next backup in doubt again.
pub(super) fn settle(world: &World, storage: &dyn Storage, by: &RunId, settled: Vec<BackupRow>) {
    for row in settled {
        let done = accepted::accept(world, storage, &row);
        match done.and_then(|_| world.audit("accept", Some(&row.project), &row.file, &accepted::by_itself(by))) {
            Ok(()) => {}
            Err(failure) => tracing::warn!(backup = %row.id, "it is the new habit, but its mark stays for now: {failure}"),
        }
    }
}
