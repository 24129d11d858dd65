//! Which entries of an archive belong to a selection: a table comes with its indexes, constraints, sequences, and what it needs.
//!
//! Pure. What is left out because it needs something that isn't chosen is told by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Cause, Failure, Result};
use crate::postgres::archive::toc::Entry;

use super::Wanted;

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
const WORDS: [&str; 3] = ["COMMENT", "ACL", "SECURITY LABEL"];

/// What a name of a table may stand for.
const RELATIONS: [&str; 5] = ["TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"];

/// The chosen entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Their numbers.
    pub ids: BTreeSet<i32>,
    /// Schema and name of the tables whose rows are among them.
    pub rows: BTreeSet<(String, String)>,
    /// What was left out and why, a sentence each.
    pub warnings: Vec<String>,
}

/// Chooses.
pub(super) fn choose(entries: &[Entry], wanted: &Wanted) -> Result<Chosen> {
    let graph = Graph::new(entries);
    let roots = graph.roots(wanted)?;
    let excluded = graph.excluded(wanted)?;
    let mut own = graph.with_parts(roots, &PARTS);
    let gone = graph.dependents(&excluded);
    let mut warnings = graph.told(&own, &excluded, &gone);
    own.retain(|id| !gone.contains(id));
    let homeless = graph.homeless(&own);
    warnings.extend(homeless.iter().map(|id| format!("left out {}: what it refers to is not restored", graph.name(*id))));
    let homeless = graph.dependents(&homeless);
    own.retain(|id| !homeless.contains(id));
    let mut ids = graph.needed(&own);
    ids.retain(|id| !gone.contains(id));
    let words = graph.with_parts(ids, &WORDS);
    let rows = words
        .iter()
        .filter_map(|id| graph.entry(*id))
        .filter(|entry| entry.desc == "TABLE DATA")
        .map(|entry| (entry.namespace.clone().unwrap_or_default(), entry.tag.clone()))
        .collect();
    Ok(Chosen { ids: words, rows, warnings })
}

struct Graph<'a> {
    entries: BTreeMap<i32, &'a Entry>,
    users: BTreeMap<i32, Vec<i32>>,
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
        self.entry(id).map_or_else(String::new, |entry| {
            let schema = entry.namespace.as_deref().map(|schema| format!("{schema}.")).unwrap_or_default();
            format!("{} {schema}{}", entry.desc.to_lowercase(), entry.tag)
        })
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
                failure.hint(format!("did you mean {:?}?", self.name(entry.dump_id).rsplit(' ').next().unwrap_or_default()))
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

    /// What refers to tables that aren't chosen: foreign keys would find no rows there.
    fn homeless(&self, own: &BTreeSet<i32>) -> BTreeSet<i32> {
        let foreign = |id: &&i32| self.entry(**id).is_some_and(|entry| entry.desc == "FK CONSTRAINT");
        let misses = |id: &&i32| {
            let entry = self.entry(**id);
            entry.is_some_and(|entry| entry.dependencies.iter().any(|need| self.entries.contains_key(need) && !own.contains(need)))
        };
        own.iter().filter(foreign).filter(misses).copied().collect()
    }

    /// What goes with excluded tables without being a part of them.
    fn told(&self, own: &BTreeSet<i32>, excluded: &BTreeSet<i32>, gone: &BTreeSet<i32>) -> Vec<String> {
        let parts = self.with_parts(excluded.clone(), &PARTS);
        let other = gone.iter().filter(|id| own.contains(id) && (!parts.contains(id) || self.is_foreign_to(**id, excluded)));
        other.map(|id| format!("left out {}: it needs an excluded table", self.name(*id))).collect()
    }

    /// Whether this is a foreign key of a table that isn't excluded itself.
    fn is_foreign_to(&self, id: i32, excluded: &BTreeSet<i32>) -> bool {
        let Some(entry) = self.entry(id).filter(|entry| entry.desc == "FK CONSTRAINT") else { return false };
        entry.dependencies.iter().any(|need| self.owns(*need, entry) && !excluded.contains(need))
    }

    /// Whether what needs an entry is a part of it: a foreign key needs two tables and belongs to the one that its name begins with.
    fn owns(&self, id: i32, part: &Entry) -> bool {
        part.desc != "FK CONSTRAINT"
            || self.entry(id).is_some_and(|owner| {
                let rest = part.tag.strip_prefix(&owner.tag);
                owner.namespace == part.namespace && rest.is_some_and(|rest| rest.starts_with(' '))
            })
    }
}

/// A name as psql takes it: `*` and `?` are wildcards, letters outside of double quotes are lower case.
struct Pattern(Vec<Piece>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Letter(char),
    One,
    Many,
    Dot,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut quoted = false;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => {
                    letters.next();
                    pieces.push(Piece::Letter('"'));
                }
                '"' => quoted = !quoted,
                '*' if !quoted => pieces.push(Piece::Many),
                '?' if !quoted => pieces.push(Piece::One),
                '.' if !quoted => pieces.push(Piece::Dot),
                _ if quoted => pieces.push(Piece::Letter(letter)),
                _ => pieces.extend(letter.to_lowercase().map(Piece::Letter)),
            }
        }
        Self(pieces)
    }

    /// `schema.name`, or a name in any schema.
    fn qualified(text: &str) -> (Option<Self>, Self) {
        let all = Self::new(text).0;
        match all.iter().position(|piece| *piece == Piece::Dot) {
            Some(at) => (Some(Self(all[..at].to_vec())), Self(all[at + 1..].to_vec())),
            None => (None, Self(all)),
        }
    }

    fn names(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        fits(&self.0, &name)
    }
}

fn fits(pieces: &[Piece], name: &[char]) -> bool {
    match (pieces.split_first(), name.split_first()) {
        (None, _) => name.is_empty(),
        (Some((Piece::Many, rest)), _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (Some(_), None) => false,
        (Some((piece, rest)), Some((letter, after))) => {
            let one = match piece {
                Piece::Letter(wanted) => wanted == letter,
                Piece::Dot => *letter == '.',
                Piece::One | Piece::Many => true,
            };
            one && fits(rest, after)
        }
    }
}
