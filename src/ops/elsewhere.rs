//! Backups of a project that lie in another storage than the one its new ones go to: it was moved, or their storage is no longer configured.
//!
//! They stay listed; the retention of each storage goes by itself, so nothing prunes what was left behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::mount::ID;
use crate::catalog::Reader;
use crate::error::Result;
use crate::model::settings::Settings;

/// What is left in one storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Elsewhere {
    /// The storage's name.
    pub storage: String,
    /// How many backups.
    pub backups: u64,
    /// Whether the storage is configured still; where it isn't, nothing can be read from it.
    pub configured: bool,
}

impl Elsewhere {
    /// `3 backups remain in storage "old", where no retention prunes them`.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { storage, backups, configured } = self;
        let (subject, lie) = if *backups == 1 { (String::from("1 backup"), "lies") } else { (format!("{backups} backups"), "lie") };
        let them = if *backups == 1 { "it" } else { "them" };
        if *configured {
            let remain = if *backups == 1 { "remains" } else { "remain" };
            format!("{subject} {remain} in storage {storage:?}, where no retention prunes {them}")
        } else {
            format!("{subject} {lie} in storage {storage:?}, which is no longer configured: nothing reads or prunes {them}")
        }
    }

    /// What there is to do about it; `list` is what shows them.
    #[must_use]
    pub fn hint(&self, list: &str) -> String {
        if self.configured {
            format!("they restore as before; what is not needed any more can be removed one by one: {list}, pgdumpd delete BACKUP")
        } else {
            format!(
                "put the folder that was storage {:?} into the configuration again, under any name: it is known by its marker file",
                self.storage
            )
        }
    }
}

/// What every project, configured or not, has elsewhere.
pub fn all(reader: &Reader, settings: &Settings) -> Result<BTreeMap<String, Vec<Elsewhere>>> {
    let mut found: BTreeMap<String, Vec<Elsewhere>> = BTreeMap::new();
    let known: BTreeSet<String> = reader.metas(ID)?.into_keys().chain(settings.storages.keys().cloned()).collect();
    // One storage and no other, ever: nothing to count, however many backups there are.
    if known.len() < 2 {
        return Ok(found);
    }
    let stores: HashMap<&str, &str> = settings.projects.iter().map(|project| (project.name.as_str(), project.storage.as_str())).collect();
    for (project, storage, backups) in reader.backups_by_storage()? {
        let configured = settings.storages.contains_key(&storage);
        let is_own = stores.get(project.as_str()).map_or(configured, |own| *own == storage);
        if !is_own {
            found.entry(project).or_default().push(Elsewhere { storage, backups, configured });
        }
    }
    Ok(found)
}

/// The same of all projects together, by storage.
pub fn by_storage(reader: &Reader, settings: &Settings) -> Result<Vec<Elsewhere>> {
    let mut found: BTreeMap<String, Elsewhere> = BTreeMap::new();
    for one in all(reader, settings)?.into_values().flatten() {
        found.entry(one.storage.clone()).and_modify(|known| known.backups += one.backups).or_insert(one);
    }
    Ok(found.into_values().collect())
}
