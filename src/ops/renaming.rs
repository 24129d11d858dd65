//! Storages that the configuration calls otherwise than before: known by the ids in their markers, they keep their backups under the new name.
//!
//! Whoever opens the catalog asks once; as long as another pgdumpd serves, it goes by the names that one has read, until it reads the new ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Reader, Writer};
use crate::error::{Cause, Failure, Result};

use super::mount::{self, ID};
use super::{World, standing};

/// The note of where each configured storage was when its marker was last seen, so that markers are read only where that has changed.
const PLACES: &str = "storage-places";

/// When names may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing of ours is at work yet.
    Start,
    /// Jobs may go on under the names they began with: no name may be given to another storage.
    Running,
}

/// The storages that are called otherwise now.
#[derive(Debug, Default)]
pub struct Renaming {
    /// Old and new names; of names that are old and new ones the storages change places.
    moves: Vec<(String, String)>,
    /// The ids that the new names stand for.
    ids: BTreeMap<String, String>,
    /// Where the storages are whose markers were seen and are as expected.
    places: BTreeMap<String, String>,
    /// The ids by name that this was made from.
    from: BTreeMap<String, String>,
}

impl Renaming {
    /// Names that had backups of their own and are given to other storages: nothing for a job to live through.
    #[must_use]
    pub fn exchanged(&self) -> Vec<&str> {
        let olds: BTreeSet<&str> = self.moves.iter().map(|(old, _)| old.as_str()).collect();
        self.moves.iter().map(|(_, new)| new.as_str()).filter(|new| olds.contains(new)).collect()
    }
}

/// Looks which storages are called otherwise now. Reads, writes nothing; `None` where there is nothing to be written down.
pub fn plan(world: &World) -> Result<Option<Renaming>> {
    let now: BTreeMap<String, String> = world.storages.iter().map(|(name, storage)| (name.clone(), storage.place())).collect();
    let (before, from) = world.catalog.read(|reader| Ok((places(reader)?, reader.metas(ID)?)))?;
    if world.catalog.path().is_none() || now.iter().all(|(name, place)| before.get(name) == Some(place)) {
        return Ok(None);
    }
    let mut known = from.clone();
    for name in now.keys() {
        known.extend(mount::remembered(world, name)?.map(|id| (name.clone(), id)));
    }
    // A marker that can't be read is missed by whoever needs the storage.
    let there: BTreeMap<String, Option<String>> =
        world.storages.iter().map(|(name, storage)| (name.clone(), storage.id().ok().flatten())).collect();
    let mut found = there.clone();
    for (name, id) in found.iter_mut().filter(|(_, id)| id.is_none()) {
        // Not mounted, and under another name in the same place: it must not look like one that was never used.
        let same = known.iter().find(|(old, _)| !now.contains_key(*old) && before.get(*old) == now.get(name));
        *id = same.map(|(_, id)| id.clone());
    }
    let moves = moves(&known, &found, &|old, new| before.contains_key(old) && before.get(old) == now.get(new));
    let ids: BTreeMap<String, String> = moves.iter().filter_map(|(_, new)| Some((new.clone(), found.get(new)?.clone()?))).collect();
    let is_settled = |name: &String| there[name].is_some() && there[name].as_ref() == ids.get(name).or_else(|| known.get(name));
    let places: BTreeMap<String, String> = now.into_iter().filter(|(name, _)| is_settled(name)).collect();
    if moves.is_empty() && places.iter().all(|(name, place)| before.get(name) == Some(place)) {
        return Ok(None);
    }
    Ok(Some(Renaming { moves, ids, places, from }))
}

/// Notes where a storage is whose marker was just taken for what it is.
pub(super) fn stands(writer: &Writer, name: &str, place: String) -> Result<()> {
    let mut seen = places(writer)?;
    seen.insert(name.to_owned(), place);
    put_places(writer, &seen)
}

fn put_places(writer: &Writer, seen: &BTreeMap<String, String>) -> Result<()> {
    writer.put_meta(PLACES, &serde_json::to_string(seen).unwrap_or_default())
}

fn places(reader: &Reader) -> Result<BTreeMap<String, String>> {
    Ok(reader.meta(PLACES)?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Old and new names of the storages that are called otherwise than they were `known`, by the ids that were `found` under the configured names.
/// A name that stands for backups of its own is given to another storage only where those are found under a new name as well. `stood` says
/// whether the first name was where the second is now.
fn moves(
    known: &BTreeMap<String, String>,
    found: &BTreeMap<String, Option<String>>,
    stood: &dyn Fn(&str, &str) -> bool,
) -> Vec<(String, String)> {
    let mut moves = Vec::new();
    for (new, id) in found.iter().filter_map(|(new, id)| Some((new, id.as_ref()?))) {
        let has_moved = |old: &String| match found.get(old) {
            None => true,
            Some(Some(here)) => here != id,
            // Not mounted, or a new folder that is still to be used.
            Some(None) => stood(old, new),
        };
        let was = known.iter().filter(|(old, known)| *known == id && *old != new && has_moved(old));
        moves.extend(was.map(|(old, _)| (old.clone(), new.clone())));
    }
    loop {
        let leaves: BTreeSet<String> = moves.iter().map(|(old, _)| old.clone()).collect();
        let is_its = |new: &String, id: &String| found.get(new).is_some_and(|found| found.as_ref() == Some(id));
        let is_free = |new: &String| known.get(new).is_none_or(|id| is_its(new, id)) || leaves.contains(new);
        let before = moves.len();
        moves.retain(|(_, new)| is_free(new));
        if moves.len() == before {
            return moves;
        }
    }
}

/// Goes by the names of now, and says so once. As long as another pgdumpd serves by the old ones, nothing is changed.
pub fn follow(world: &World, when: When) -> Result<()> {
    let Some(renaming) = plan(world)? else { return Ok(()) };
    let is_held = is_served_by_another(world) || when == When::Running && !renaming.exchanged().is_empty();
    if !renaming.moves.is_empty() && is_held {
        return Ok(());
    }
    let Some(counts) = world.catalog.write(|writer| rename(writer, &renaming))? else { return Ok(()) };
    renaming.moves.iter().for_each(|(old, _)| mount::remove_note(world, old));
    renaming.ids.iter().for_each(|(new, id)| mount::put_note(world, new, id));
    for ((old, new), backups) in renaming.moves.iter().zip(counts) {
        tracing::info!(storage = new, was = old, backups, "the storage {old:?} is called {new:?} now; its backups go on under that name");
        world.audit("rename-storage", None, &format!("{old} is {new} now"), &format!("{backups} backups"))?;
    }
    Ok(())
}

/// `None` where somebody else was faster.
fn rename(writer: &Writer, renaming: &Renaming) -> Result<Option<Vec<u64>>> {
    if writer.metas(ID)? != renaming.from {
        return Ok(None);
    }
    let counts = writer.rename_storages(&renaming.moves)?;
    let before = places(writer)?;
    let mut seen = before.clone();
    for (old, _) in &renaming.moves {
        writer.remove_meta(&format!("{ID}{old}"))?;
        seen.remove(old);
    }
    for (new, id) in &renaming.ids {
        writer.put_meta(&format!("{ID}{new}"), id)?;
    }
    seen.extend(renaming.places.clone());
    if seen != before {
        put_places(writer, &seen)?;
    }
    Ok(Some(counts))
}

/// Whether a daemon goes by the names that it has read, and isn't this process.
fn is_served_by_another(world: &World) -> bool {
    let folder = world.catalog.path().and_then(|path| path.parent());
    folder.and_then(standing::served_by).is_some_and(|process| process != Some(std::process::id()))
}

/// Why a backup can't be reached whose storage has this name.
#[must_use]
pub fn unreachable(world: &World, name: &str) -> Failure {
    let asked = world.catalog.read(|reader| Ok((reader.meta(&format!("{ID}{name}"))?, places(reader)?.remove(name))));
    let (id, place) = asked.unwrap_or_default();
    if let Some(storage) = world.storages.values().find(|storage| id.is_some() && storage.id().ok().flatten() == id) {
        let words =
            format!("the backup lies in storage {name:?}, which is to be called {:?}, but the daemon goes by the old name", storage.name());
        return Failure::new(Cause::Configuration, words).hint(READ_AGAIN);
    }
    let place = place.map(|place| format!(" (it was {place})")).unwrap_or_default();
    Failure::new(Cause::Configuration, format!("the backup lies in storage {name:?}{place}, which is no longer configured"))
        .hint("put its folder into the configuration again, under any name: it is known by its marker file")
}

/// What to do where the daemon doesn't know the new name yet.
pub(super) const READ_AGAIN: &str = "let it read the configuration again (systemctl reload pgdumpd), then try once more";

#[cfg(test)]
mod tests {
    use super::*;

    /// `name=id`, with `-` for a marker that isn't there.
    fn names(text: &str) -> BTreeMap<String, Option<String>> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, id)| (name.to_owned(), Some(id.to_owned()).filter(|id| id != "-"))).collect()
    }

    #[test]
    fn a_name_follows_its_id_and_is_given_away_only_where_its_own_backups_have_another() {
        for (known, found, expected) in [
            ("main=X", "main=X", ""),
            ("main=X", "disk=X", "main>disk"),
            ("main=X", "disk=X other=Y", "main>disk"),
            ("main=X disk=X", "disk=X", "main>disk"),
            ("main=X", "disk=X main=-", "main>disk"),
            ("a=X b=Y", "a=Y b=X", "b>a a>b"),
            ("a=X b=Y c=Z", "a=Z b=X c=Y", "c>a a>b b>c"),
            ("a=X b=Y", "a=Y c=X", "b>a a>c"),
            ("a=X b=X", "a=X b=X", ""),
            ("a=X", "a=X copy=X", ""),
            // Nobody has the folder that was a: its backups must not be mixed with others.
            ("a=X b=Y", "a=Y", ""),
            ("a=X b=Y c=Z", "b=Z a=Y", ""),
            // The disk of b isn't there.
            ("a=X b=Y", "a=Y b=-", ""),
            ("b=Y", "a=Y b=-", ""),
            ("a=X", "a=Y", ""),
            ("", "a=X", ""),
        ] {
            let ids = names(known).into_iter().filter_map(|(name, id)| Some((name, id?))).collect();
            let moves: Vec<String> = moves(&ids, &names(found), &|old, new| old == "main" && new == "disk")
                .into_iter()
                .map(|(old, new)| format!("{old}>{new}"))
                .collect();
            assert_eq!(moves.join(" "), expected, "{known} / {found}");
        }
    }
}
