//! What storages are called: their names stand in rows, and change with the configuration.
//!
//! A job keeps the names that it began with. What it writes under one that was changed meanwhile goes to the name of now.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Row, params};

use super::value::count;
use super::{Reader, Writer};
use crate::error::Result;

/// The note of what a storage that was renamed is called now, behind its old name.
const NOW: &str = "storage-now:";

/// What stands before a new name as long as others may still be old ones.
const ON_THE_WAY: char = '\u{1}';

/// The tables whose rows name a storage.
const TABLES: [&str; 3] = ["backups", "removals", "staged"];

impl Reader {
    /// The notes whose keys begin so, by the rest of their keys.
    pub fn metas(&self, prefix: &str) -> Result<BTreeMap<String, String>> {
        self.ask("reading notes", |db| {
            let sql = "SELECT substr(key, length(?1) + 1), value FROM meta WHERE key >= ?1 AND key < ?1 || char(1114111)";
            db.prepare_cached(sql)?.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// What a storage that was renamed is called now.
    pub fn storage_now(&self, name: &str) -> Result<Option<String>> {
        self.meta(&format!("{NOW}{name}"))
    }

    /// How many backups each project has in each storage, by their names.
    pub fn backups_by_storage(&self) -> Result<Vec<(String, String, u64)>> {
        let sql = "SELECT project, storage, count(*) FROM backups GROUP BY project, storage ORDER BY project, storage";
        self.ask("counting the backups of each storage", |db| {
            let entry = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, count(row.get(2)?)));
            db.prepare_cached(sql)?.query_map([], entry)?.collect()
        })
    }

    /// The name under which rows of this storage stand.
    pub(super) fn storage_in_rows(&self, name: &str) -> Result<String> {
        Ok(self.storage_now(name)?.unwrap_or_else(|| name.to_owned()))
    }
}

impl Writer {
    /// Puts each second name in place of the first, all at once, so that names may change places. A backup that stands under both stays
    /// once. Returns how many backups each of them moved.
    pub fn rename_storages(&self, moves: &[(String, String)]) -> Result<Vec<u64>> {
        let mut counts = Vec::new();
        for (old, new) in moves {
            let waiting = format!("{ON_THE_WAY}{new}");
            for table in TABLES {
                let rows = self.put_name(table, old, &waiting)?;
                if table == "backups" {
                    counts.push(rows);
                }
            }
        }
        let names: BTreeSet<&str> = moves.iter().map(|(_, new)| new.as_str()).collect();
        for new in &names {
            let waiting = format!("{ON_THE_WAY}{new}");
            for table in TABLES {
                self.put_name(table, &waiting, new)?;
            }
        }
        self.note_renames(moves, &names)?;
        Ok(counts)
    }

    /// The name is a storage's own: what was written under it before, and is called otherwise now, has been settled.
    pub fn settle_storage_name(&self, name: &str) -> Result<()> {
        self.remove_meta(&format!("{NOW}{name}"))
    }

    fn put_name(&self, table: &str, old: &str, new: &str) -> Result<u64> {
        let note = if table == "removals" { ", backup = json_set(backup, '$.storage', ?2)" } else { "" };
        let rename = format!("UPDATE OR IGNORE {table} SET storage = ?2{note} WHERE storage = ?1");
        let rest = format!("DELETE FROM {table} WHERE storage = ?1");
        self.ask("renaming a storage", |db| {
            let rows = db.prepare_cached(&rename)?.execute(params![old, new])?;
            // What stands under the new name already.
            db.prepare_cached(&rest)?.execute([old])?;
            Ok(rows as u64)
        })
    }

    /// Old names lead to the new one; a name that a storage has now leads nowhere.
    fn note_renames(&self, moves: &[(String, String)], names: &BTreeSet<&str>) -> Result<()> {
        for (before, now) in self.metas(NOW)? {
            if names.contains(before.as_str()) {
                self.settle_storage_name(&before)?;
            } else if let Some((_, new)) = moves.iter().find(|(old, _)| *old == now) {
                self.put_meta(&format!("{NOW}{before}"), new)?;
            }
        }
        let mut gone = moves.iter().filter(|(old, _)| !names.contains(old.as_str()));
        gone.try_for_each(|(old, new)| self.put_meta(&format!("{NOW}{old}"), new))
    }
}
