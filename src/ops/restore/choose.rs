//! Which entries of an archive belong to a selection: a table comes with its indexes, constraints, sequences, and what it needs.
//!
//! Pure. What is left out because it needs something that isn't chosen is told by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Cause, Failure, Result};
use crate::postgres::archive::name::shown;
use crate::postgres::archive::toc::Entry;
use crate::postgres::restore::Halves;

use super::Wanted;
use super::naming::Pattern;

/// What is of a relation and comes with it.
const PARTS: [&str; 21] = [
    "TABLE DATA",
    "TABLE ATTACH",
    "MATERIALIZED VIEW DATA",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "STATISTICS DATA",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
];

/// What comes with anything.
pub(super) const WORDS: [&str; 3] = ["COMMENT", "ACL", "SECURITY LABEL"];

/// What a name of a table may stand for.
pub(super) const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];

/// The chosen entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Their numbers.
    pub ids: BTreeSet<i32>,
    /// Those of them that weren't named: what was named needs them. In a database that is there they are made only where it lacks them.
    pub needed: BTreeSet<i32>,
    /// Schema and name of the tables whose rows are among them.
    pub rows: BTreeSet<(String, String)>,
    /// Foreign keys of what was named to tables that weren't, with what belongs to each, and why they are left out of a new database.
    pub homeless: BTreeMap<i32, Homeless>,
    /// The needed tables that had rows, which nobody asked for.
    pub without_rows: BTreeMap<i32, String>,
    /// What else was left out and why, a sentence each.
    pub left_out: Vec<String>,
}

/// A foreign key to a table that isn't chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homeless {
    /// It and its comment.
    pub ids: BTreeSet<i32>,
    /// Why it is left out.
    pub why: String,
}

impl Chosen {
    /// What a person should know, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let keys = self.homeless.values().map(|key| key.why.clone());
        let empty = self
            .without_rows
            .values()
            .map(|name| format!("{name} is made without its rows: what was asked for needs the table; its rows come with --table {name}"));
        self.left_out.iter().cloned().chain(keys).chain(empty).collect()
    }
}

/// Chooses.
pub(super) fn choose(entries: &[Entry], wanted: &Wanted) -> Result<Chosen> {
    let graph = Graph::new(entries);
    let named = graph.with_partitions(graph.roots(wanted)?);
    let by_name = graph.excluded(wanted)?;
    let excluded = graph.with_partitions(by_name.clone());
    let all = graph.with_parts(named, &PARTS);
    let gone = graph.dependents(&excluded);
    let mut own: BTreeSet<i32> = all.difference(&gone).copied().collect();
    if own.is_empty() {
        return Err(Failure::new(Cause::Refused, "nothing of the backup is left to restore: what was asked for is excluded as well")
            .hint("look at the tables with `pgdumpd show BACKUP --tables`, and exclude less"));
    }
    let mut homeless = graph.homeless(&own, "what it refers to is not restored");
    let foreign = all.intersection(&gone).copied().filter(|id| graph.is_foreign_to(*id, &excluded)).collect();
    homeless.extend(graph.without(&foreign, "it needs an excluded table"));
    own.retain(|id| !homeless.values().any(|key| key.ids.contains(id)));
    let mut ids = graph.needed(&own);
    ids.retain(|id| !gone.contains(id));
    let ids = graph.with_parts(ids, &WORDS);
    let own = graph.with_parts(own, &WORDS);
    let needed = ids.difference(&own).copied().chain(graph.shared(&own, &gone)).collect();
    let mut left_out = graph.told(&all, &excluded, &gone);
    left_out.extend(
        excluded
            .difference(&by_name)
            .filter(|id| all.contains(id))
            .map(|id| format!("left out {}: it is a partition of an excluded table", graph.name(*id))),
    );
    left_out.extend(graph.passed_over(&ids, wanted));
    Ok(Chosen {
        rows: graph.rows(&ids),
        without_rows: if wanted.halves == Halves::Both { graph.without_rows(&needed) } else { BTreeMap::new() },
        ids,
        needed,
        homeless,
        left_out,
    })
}

struct Graph<'a> {
    entries: BTreeMap<i32, &'a Entry>,
    users: BTreeMap<i32, Vec<i32>>,
}

/// Schema and name as people write them, without quotes; the name alone where it is in no schema.
pub(super) fn qualified(entry: &Entry) -> String {
    entry.namespace.as_ref().map_or_else(|| entry.tag.clone(), |schema| format!("{schema}.{}", entry.tag))
}

impl<'a> Graph<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let mut users: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for entry in entries {
            for needed in &entry.dependencies {
                users.entry(*needed).or_default().push(entry.dump_id);
            }
        }
        Self { entries: entries.iter().map(|entry| (entry.dump_id, entry)).collect(), users }
    }

    fn entry(&self, id: i32) -> Option<&'a Entry> {
        self.entries.get(&id).copied()
    }

    fn name(&self, id: i32) -> String {
        self.entry(id).map_or_else(String::new, |entry| format!("{} {}", entry.desc.to_lowercase(), qualified(entry)))
    }

    /// What the patterns name; without any, everything.
    fn roots(&self, wanted: &Wanted) -> Result<BTreeSet<i32>> {
        if wanted.tables.is_empty() && wanted.schemas.is_empty() {
            return Ok(self.entries.keys().copied().collect());
        }
        let mut roots = BTreeSet::new();
        for pattern in &wanted.tables {
            let found = self.relations(pattern);
            if found.is_empty() {
                return Err(self.unknown("table", pattern));
            }
            roots.extend(found);
        }
        for pattern in &wanted.schemas {
            let glob = Pattern::new(pattern);
            let within = |entry: &&Entry| {
                entry.namespace.as_deref().is_some_and(|schema| glob.names(schema)) || (entry.desc == "SCHEMA" && glob.names(&entry.tag))
            };
            let found: Vec<i32> = self.entries.values().copied().filter(within).map(|entry| entry.dump_id).collect();
            if found.is_empty() {
                return Err(self.unknown("schema", pattern));
            }
            roots.extend(found);
        }
        Ok(roots)
    }

    fn excluded(&self, wanted: &Wanted) -> Result<BTreeSet<i32>> {
        let mut excluded = BTreeSet::new();
        for pattern in &wanted.exclude_tables {
            let found = self.relations(pattern);
            if found.is_empty() {
                return Err(self.unknown("table", pattern));
            }
            excluded.extend(found);
        }
        Ok(excluded)
    }

    fn relations(&self, pattern: &str) -> Vec<i32> {
        let (schema, name) = Pattern::qualified(pattern);
        let fits = |entry: &&Entry| {
            let within = entry.namespace.as_deref().unwrap_or_default();
            let data = entry.desc == "TABLE DATA" && !self.has_definition(entry);
            (RELATIONS.contains(&entry.desc.as_str()) || data)
                && name.names(&entry.tag)
                && schema.as_ref().is_none_or(|schema| schema.names(within))
        };
        self.entries.values().copied().filter(fits).map(|entry| entry.dump_id).collect()
    }

    /// Whether rows come with their table's definition; those of a data-only backup don't.
    fn has_definition(&self, data: &Entry) -> bool {
        data.dependencies.iter().any(|id| self.entries.contains_key(id))
    }

    fn unknown(&self, what: &str, pattern: &str) -> Failure {
        let kinds: &[&str] = if what == "schema" { &["SCHEMA"] } else { &RELATIONS };
        let known = self.entries.values().filter(|entry| kinds.contains(&entry.desc.as_str()));
        let wanted = pattern.rsplit('.').next().unwrap_or(pattern);
        let near = known.map(|entry| (strsim::jaro_winkler(&entry.tag, wanted), entry)).max_by(|one, two| one.0.total_cmp(&two.0));
        let failure = Failure::new(Cause::NotFound, format!("the backup holds no {what} {pattern:?}"));
        match near.filter(|(likeness, _)| *likeness > 0.8) {
            Some((_, entry)) => {
                let name = shown(entry.namespace.as_deref().unwrap_or_default(), &entry.tag);
                let quotes = if name.contains('"') { " As in psql, capital letters and the like stand in double quotes." } else { "" };
                failure.hint(format!("did you mean {}?{quotes}", crate::shell::word(&name)))
            }
            None => failure.hint("look at the tables with `pgdumpd show BACKUP --tables`; names are given as psql takes them"),
        }
    }

    /// These, and whatever is a part of them, of these kinds.
    fn with_parts(&self, mut set: BTreeSet<i32>, kinds: &[&str]) -> BTreeSet<i32> {
        let mut new: Vec<i32> = set.iter().copied().collect();
        while let Some(id) = new.pop() {
            for user in self.users.get(&id).into_iter().flatten() {
                let is_part = |entry: &Entry| kinds.contains(&entry.desc.as_str()) && self.owns(id, entry);
                if self.entry(*user).is_some_and(is_part) && set.insert(*user) {
                    new.push(*user);
                }
            }
        }
        set
    }

    /// These, and whatever needs them.
    fn dependents(&self, of: &BTreeSet<i32>) -> BTreeSet<i32> {
        let mut set = of.clone();
        let mut new: Vec<i32> = of.iter().copied().collect();
        while let Some(id) = new.pop() {
            new.extend(self.users.get(&id).into_iter().flatten().filter(|user| set.insert(**user)));
        }
        set
    }

    /// These, and whatever they need.
    fn needed(&self, by: &BTreeSet<i32>) -> BTreeSet<i32> {
        let mut set = by.clone();
        let mut new: Vec<i32> = by.iter().copied().collect();
        while let Some(id) = new.pop() {
            let needs = self.entry(id).into_iter().flat_map(|entry| &entry.dependencies);
            new.extend(needs.filter(|id| self.entries.contains_key(id) && set.insert(**id)));
        }
        set
    }

    /// What is chosen, but for tables and their parts, and needed by what is excluded too.
    fn shared(&self, own: &BTreeSet<i32>, gone: &BTreeSet<i32>) -> BTreeSet<i32> {
        let apart = |id: &i32| self.entry(*id).is_some_and(|entry| ![&RELATIONS[..], &PARTS].concat().contains(&entry.desc.as_str()));
        let shared = self.needed(gone).intersection(own).copied().filter(apart).collect();
        self.with_parts(shared, &WORDS).intersection(own).copied().collect()
    }

    /// What refers to tables that aren't chosen: foreign keys would find no rows there.
    fn homeless(&self, own: &BTreeSet<i32>, why: &str) -> BTreeMap<i32, Homeless> {
        let misses = |id: &&i32| {
            let entry = self.entry(**id).filter(|entry| entry.desc == "FK CONSTRAINT");
            entry.is_some_and(|entry| entry.dependencies.iter().any(|need| self.entries.contains_key(need) && !own.contains(need)))
        };
        self.without(&own.iter().filter(misses).copied().collect(), why)
    }

    /// These foreign keys, each with what needs it, as left out for that reason.
    fn without(&self, keys: &BTreeSet<i32>, why: &str) -> BTreeMap<i32, Homeless> {
        let left_out = |id: &i32| Homeless { ids: self.dependents(&[*id].into()), why: format!("left out {}: {why}", self.name(*id)) };
        keys.iter().map(|id| (*id, left_out(id))).collect()
    }

    /// These, and the partitions of the tables among them.
    fn with_partitions(&self, mut set: BTreeSet<i32>) -> BTreeSet<i32> {
        let mut new: Vec<i32> = set.iter().copied().collect();
        while let Some(id) = new.pop() {
            let parts =
                self.users.get(&id).into_iter().flatten().filter_map(|user| self.entry(*user)).filter_map(|user| self.partition(id, user));
            new.extend(parts.filter(|part| set.insert(*part)));
        }
        set
    }

    /// The table that is a partition of another, as an entry that needs the other one tells.
    fn partition(&self, parent: i32, user: &Entry) -> Option<i32> {
        match user.desc.as_str() {
            "TABLE ATTACH" => user.dependencies.iter().copied().find(|id| *id != parent && self.owns(*id, user)),
            // Before release 14 pg_dump wrote it into the table's own definition.
            "TABLE" | "FOREIGN TABLE"
                if user.defn.lines().any(|line| line.starts_with("ALTER TABLE ") && line.contains(" ATTACH PARTITION ")) =>
            {
                Some(user.dump_id)
            }
            _ => None,
        }
    }

    /// Schema and name of the tables whose rows are among these.
    fn rows(&self, ids: &BTreeSet<i32>) -> BTreeSet<(String, String)> {
        let data = ids.iter().filter_map(|id| self.entry(*id)).filter(|entry| entry.desc == "TABLE DATA");
        data.map(|entry| (entry.namespace.clone().unwrap_or_default(), entry.tag.clone())).collect()
    }

    /// Of these the tables that have rows in the backup, by name.
    fn without_rows(&self, needed: &BTreeSet<i32>) -> BTreeMap<i32, String> {
        let has_rows = |id: &&i32| {
            let users = self.users.get(*id).into_iter().flatten().filter_map(|user| self.entry(*user));
            users.filter(|user| matches!(user.desc.as_str(), "TABLE DATA" | "MATERIALIZED VIEW DATA")).any(|user| self.owns(**id, user))
        };
        let tables = needed.iter().filter(has_rows).filter_map(|id| self.entry(*id));
        tables.map(|entry| (entry.dump_id, qualified(entry))).collect()
    }

    /// What belongs to no table and no schema, and so doesn't come with any.
    fn passed_over(&self, ids: &BTreeSet<i32>, wanted: &Wanted) -> Vec<String> {
        let missing = |kinds: &[&str]| {
            let others = self.entries.values().filter(|entry| kinds.contains(&entry.desc.as_str()) && !ids.contains(&entry.dump_id));
            others.map(|entry| entry.tag.clone()).collect::<Vec<String>>()
        };
        let mut told = Vec::new();
        if wanted.halves != Halves::Schema && !missing(&["BLOBS"]).is_empty() {
            told.push(String::from("left out the large objects: they belong to no table and no schema, and come with the whole backup or with --exclude-table alone"));
        }
        let extensions = missing(&["EXTENSION"]);
        if !wanted.schemas.is_empty() && !extensions.is_empty() {
            told.push(format!("left out the extension {}: nothing that is restored needs it", extensions.join(", ")));
        }
        told
    }

    /// What goes with excluded tables without being a part of them.
    fn told(&self, own: &BTreeSet<i32>, excluded: &BTreeSet<i32>, gone: &BTreeSet<i32>) -> Vec<String> {
        let parts = self.with_parts(excluded.clone(), &PARTS);
        let other = gone.iter().filter(|id| own.contains(id) && !parts.contains(id) && !self.is_foreign_to(**id, excluded));
        other.map(|id| format!("left out {}: it needs an excluded table", self.name(*id))).collect()
    }

    /// Whether this is a foreign key of a table that isn't excluded itself.
    fn is_foreign_to(&self, id: i32, excluded: &BTreeSet<i32>) -> bool {
        let Some(entry) = self.entry(id).filter(|entry| entry.desc == "FK CONSTRAINT") else { return false };
        entry.dependencies.iter().any(|need| self.owns(*need, entry) && !excluded.contains(need))
    }

    /// Whether what needs an entry is a part of it: a foreign key needs two tables, a policy or a rule may name some, and each belongs to the
    /// one that its name begins with.
    fn owns(&self, id: i32, part: &Entry) -> bool {
        let Some(owner) = self.entry(id) else { return false };
        let here = owner.namespace == part.namespace;
        match part.desc.as_str() {
            "DEFAULT" | "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" => {
                here && part.tag.strip_prefix(&owner.tag).is_some_and(|rest| rest.starts_with(' '))
            }
            "TABLE DATA" | "MATERIALIZED VIEW DATA" | "TABLE ATTACH" | "ROW SECURITY" => {
                here && part.tag == owner.tag && owner.desc != part.desc
            }
            // The owner is an index, or a constraint, whose tag is "TABLE CONSTRAINT".
            "INDEX ATTACH" => here && (part.tag == owner.tag || owner.tag.strip_suffix(&part.tag).is_some_and(|rest| rest.ends_with(' '))),
            _ => true,
        }
    }
}
