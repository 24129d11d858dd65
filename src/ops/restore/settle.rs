//! A part of a backup and a database that is there: what was named is dropped and made again, or made where it is missing. What is only
//! needed is made where the database lacks it, and never dropped or emptied. What else depends on something that would be dropped is named
//! before a byte is written.

use std::collections::BTreeSet;

use crate::error::{Cause, Failure, Result};
use crate::model::dump::Content;
use crate::postgres::archive::toc::Entry;
use crate::postgres::dump::beside;
use crate::postgres::present::{Named, Remade};
use crate::postgres::restore::Halves;
use crate::postgres::session::Session;

use super::choose::{Chosen, RELATIONS, WORDS};
use super::{Means, Recipe, Wanted};

/// What others may be in as well, so that a part of a backup only makes it where it is missing.
const SHARED: [&str; 3] = ["SCHEMA", "EXTENSION", "PUBLICATION"];

/// What is looked for by name where nothing is to be dropped.
const OBJECTS: [&str; 11] =
    ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX", "TYPE", "DOMAIN", "FUNCTION", "PROCEDURE", "AGGREGATE"];

/// What stands in the way is named, but not all of it.
const SOME: usize = 5;

/// What becomes of what was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is dropped first, where it is there.
    Remade,
    /// It must not be there.
    Added,
}

/// The part as it goes into that database.
pub(super) fn settle(means: Means<'_>, target: &str, recipe: &Recipe, named: Fate) -> Result<Option<Chosen>> {
    let (Some(toc), Some(chosen)) = (&recipe.toc, &recipe.chosen) else { return Ok(None) };
    let mut session = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let part = Part::of(&toc.entries, chosen);
    let lacking: BTreeSet<i32> = session.lacking(&part.questions())?.into_iter().collect();
    let mut settled = part.settled(&lacking);
    match named {
        Fate::Added => part.is_new(&lacking, target)?,
        Fate::Remade => {
            others(&mut session, target, &part)?;
            part.published(&mut session, &lacking, &mut settled)?;
        }
    }
    Ok(Some(settled))
}

/// Refuses where the server would drop partitions that the backup knows nothing of together with their table.
pub(super) fn keeps_partitions(means: Means<'_>, target: &str, recipe: &Recipe) -> Result<()> {
    let mut session = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let entries = recipe.entries();
    let relations = entries.iter().filter(|entry| RELATIONS.contains(&entry.desc.as_str())).map(|entry| named(entry)).collect::<Vec<_>>();
    let partitions = session.other_partitions(&relations)?;
    if partitions.is_empty() {
        return Ok(());
    }
    let words = format!("the server would drop partitions that the restore does not bring back with their table: {}", some(&partitions));
    Err(Failure::new(Cause::Refused, words).hint(format!(
        "detach what is to stay (ALTER TABLE … DETACH PARTITION …), or drop it; or restore into a new database: --to {target}_restored"
    )))
}

/// Refuses where rows would go that don't come back: with what is dropped and made again by its definition alone.
pub(super) fn keeps_rows(means: Means<'_>, target: &str, recipe: &Recipe, wanted: &Wanted) -> Result<()> {
    let chosen_so = wanted.halves == Halves::Schema;
    let by_definition = chosen_so || means.manifest.content == Content::Schema;
    // A view that the backup holds without its rows is refreshed from tables that keep theirs.
    let (kinds, data) = (["TABLE", "MATERIALIZED VIEW"], ["TABLE DATA", "MATERIALIZED VIEW DATA"]);
    let kinds = if by_definition { &kinds[..] } else { &kinds[..1] };
    let of_kinds = |kinds: &[&str]| -> BTreeSet<(&str, &str)> {
        recipe.entries().into_iter().filter(|entry| kinds.contains(&entry.desc.as_str())).map(named).collect()
    };
    let coming = if by_definition { BTreeSet::new() } else { of_kinds(&data) };
    let emptied: Vec<(&str, &str)> = of_kinds(kinds).difference(&coming).copied().collect();
    if emptied.is_empty() {
        return Ok(());
    }
    let mut session = Session::open(means.clients.newest(), means.access, Some(target), &beside(means.run), means.limits, means.cancel)?;
    let found = session.with_rows(&emptied)?;
    if found.is_empty() {
        return Ok(());
    }
    let why = if chosen_so { "--schema-only brings none back" } else { "the backup holds none of them" };
    let words = format!("what is dropped and made again in place would lose its rows, as {why}: {}", some(&found));
    let instead = if chosen_so { "leave out --schema-only, and the backup's rows come with the definitions; or " } else { "" };
    Err(Failure::new(Cause::Configuration, words).hint(format!(
        "{instead}restore into a new database: --to {target}_restored; or empty what is there first, where its rows may go (TRUNCATE)"
    )))
}

fn named(entry: &Entry) -> (&str, &str) {
    (entry.namespace.as_deref().unwrap_or_default(), entry.tag.as_str())
}

fn some(names: &[String]) -> String {
    let more = if names.len() > SOME { format!(", and {} more", names.len() - SOME) } else { String::new() };
    format!("{}{more}", names.iter().take(SOME).cloned().collect::<Vec<_>>().join(", "))
}

/// Refuses where something that isn't restored depends on what would be dropped.
fn others(session: &mut Session, target: &str, part: &Part<'_>) -> Result<()> {
    let found = session.dependents(&part.remade())?;
    if found.is_empty() {
        return Ok(());
    }
    let words = format!("what would be dropped and made again is needed by what the restore leaves alone: {}", some(&found));
    Err(Failure::new(Cause::Refused, words).hint(format!(
        "name that with --table too, drop it first, or merge rows into the table that is there with --on-conflict; \
         or restore into a new database: --to {target}_restored"
    )))
}

struct Part<'a> {
    entries: &'a [Entry],
    chosen: &'a Chosen,
    /// What is made only where it is missing.
    shared: BTreeSet<i32>,
}

impl<'a> Part<'a> {
    fn of(entries: &'a [Entry], chosen: &'a Chosen) -> Self {
        let kinds = |kinds: &[&str]| {
            let of = entries.iter().filter(|entry| chosen.ids.contains(&entry.dump_id) && kinds.contains(&entry.desc.as_str()));
            of.collect::<Vec<&Entry>>()
        };
        let mut shared: BTreeSet<i32> = kinds(&SHARED).iter().map(|entry| entry.dump_id).collect();
        let words = kinds(&WORDS).into_iter().filter(|entry| entry.dependencies.iter().any(|id| shared.contains(id)));
        let words: Vec<i32> = words.map(|entry| entry.dump_id).collect();
        shared.extend(words);
        shared.extend(&chosen.needed);
        Self { entries, chosen, shared }
    }

    fn chosen(&self) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| self.chosen.ids.contains(&entry.dump_id))
    }

    /// What was named, of these kinds.
    fn own(&self, kinds: &'static [&'static str]) -> impl Iterator<Item = &'a Entry> {
        self.chosen().filter(move |entry| kinds.contains(&entry.desc.as_str()) && !self.shared.contains(&entry.dump_id))
    }

    /// What it must be known of whether it is there.
    fn questions(&self) -> Vec<Named<'a>> {
        let referred: BTreeSet<i32> = self.homes().flat_map(|(_, needs)| needs).collect();
        let is_asked = |entry: &&Entry| {
            let asked = self.shared.contains(&entry.dump_id) && !WORDS.contains(&entry.desc.as_str());
            let own = self.chosen.ids.contains(&entry.dump_id) && OBJECTS.contains(&entry.desc.as_str());
            asked || own || referred.contains(&entry.dump_id)
        };
        let asked = self.entries.iter().filter(is_asked);
        asked.map(|entry| Named { id: entry.dump_id, kind: &entry.desc, schema: named(entry).0, tag: &entry.tag }).collect()
    }

    /// The foreign keys to tables that aren't chosen, and what each needs of them.
    fn homes(&self) -> impl Iterator<Item = (i32, Vec<i32>)> {
        let keys = self.entries.iter().filter(|entry| self.chosen.homeless.contains_key(&entry.dump_id));
        let is_other = |id: &i32| !self.chosen.ids.contains(id) || self.shared.contains(id);
        keys.map(move |entry| (entry.dump_id, entry.dependencies.iter().copied().filter(is_other).collect()))
    }

    fn settled(&self, lacking: &BTreeSet<i32>) -> Chosen {
        let is_made = |entry: &&Entry| match self.shared.contains(&entry.dump_id) {
            false => true,
            true if WORDS.contains(&entry.desc.as_str()) => entry.dependencies.iter().any(|id| lacking.contains(id)),
            true => lacking.contains(&entry.dump_id),
        };
        let mut settled = self.chosen.clone();
        settled.ids = self.chosen().filter(is_made).map(|entry| entry.dump_id).collect();
        for (key, needs) in self.homes().filter(|(_, needs)| needs.iter().all(|id| !lacking.contains(id))) {
            if let Some(key) = settled.homeless.remove(&key).filter(|_| !needs.is_empty()) {
                settled.ids.extend(key.ids);
            }
        }
        let joined = self.joined_by_the_server(lacking);
        settled.ids.retain(|id| !joined.contains(id));
        settled.without_rows.retain(|id, _| settled.ids.contains(id));
        settled.needed.retain(|id| settled.ids.contains(id));
        settled
    }

    /// Indexes of a partition whose table is there: the server makes them when the two are joined, and neither makes nor drops them apart.
    fn joined_by_the_server(&self, lacking: &BTreeSet<i32>) -> BTreeSet<i32> {
        // The tables are among what it needs as well.
        let indexes: BTreeSet<i32> =
            self.chosen().filter(|entry| matches!(entry.desc.as_str(), "INDEX" | "CONSTRAINT")).map(|entry| entry.dump_id).collect();
        let mut joined = BTreeSet::new();
        // Once for each level of partitions below.
        loop {
            let known = joined.len();
            for attach in self.own(&["INDEX ATTACH"]) {
                let (parents, parts): (Vec<i32>, Vec<i32>) =
                    attach.dependencies.iter().filter(|id| indexes.contains(id)).partition(|id| self.shared.contains(id));
                let is_there = !parents.is_empty() && parents.iter().all(|id| !lacking.contains(id));
                if is_there || parts.iter().any(|id| joined.contains(id)) {
                    joined.extend(parts);
                    joined.insert(attach.dump_id);
                }
            }
            if joined.len() == known {
                break;
            }
        }
        let words = self.own(&WORDS).filter(|entry| entry.dependencies.iter().any(|id| joined.contains(id))).map(|entry| entry.dump_id);
        let words: Vec<i32> = words.collect();
        joined.extend(words);
        joined
    }

    /// A table that is dropped leaves its publications; those that name it get it back.
    fn published(&self, session: &mut Session, lacking: &BTreeSet<i32>, settled: &mut Chosen) -> Result<()> {
        let tables: Vec<(&str, &str)> = self.own(&RELATIONS).map(named).collect();
        let found = session.published(&tables)?;
        let is_member = |entry: &Entry| {
            let of = |found: &&crate::postgres::present::Published| {
                named(entry).0 == found.schema && entry.tag == format!("{} {}", found.publication, found.table)
            };
            found.iter().any(|found| of(&found))
        };
        let of_publications = self.entries.iter().filter(|entry| entry.desc.starts_with("PUBLICATION TABLE"));
        let mut back = 0;
        for entry in of_publications {
            if entry.desc == "PUBLICATION TABLE" && is_member(entry) {
                settled.ids.insert(entry.dump_id);
                back += 1;
            } else if !entry.dependencies.iter().any(|id| lacking.contains(id)) {
                settled.ids.remove(&entry.dump_id);
            }
        }
        if back == found.len() {
            return Ok(());
        }
        let names: Vec<String> = found.iter().map(|found| format!("{}.{} of {}", found.schema, found.table, found.publication)).collect();
        let words = format!("tables would leave publications that the backup does not know them in: {}", some(&names));
        Err(Failure::new(Cause::Refused, words).hint("take them out of the publications first, and put them in again afterwards"))
    }

    fn remade(&self) -> Remade<'a> {
        let plain = |(schema, tag): (&'a str, &'a str)| (schema, tag.split_once('(').map_or(tag, |(name, _)| name));
        Remade {
            relations: self.own(&RELATIONS).map(named).collect(),
            types: self.own(&["TYPE", "DOMAIN"]).map(named).collect(),
            functions: self.own(&["FUNCTION", "PROCEDURE", "AGGREGATE"]).map(named).map(plain).collect(),
        }
    }

    /// Refuses where something that was named is there.
    fn is_new(&self, lacking: &BTreeSet<i32>, target: &str) -> Result<()> {
        let there: Vec<String> = self
            .own(&OBJECTS)
            .filter(|entry| !lacking.contains(&entry.dump_id))
            .map(|entry| format!("{}.{}", named(entry).0, entry.tag))
            .collect();
        if there.is_empty() {
            return Ok(());
        }
        let words = format!("the database {target:?} is not empty: of what would be restored it holds {}", some(&there));
        Err(Failure::new(Cause::Refused, words).hint(format!(
            "drop and make it again with --in-place, merge the rows of a table into it with --on-conflict, or restore into a new database: \
             --to {target}_restored"
        )))
    }
}
