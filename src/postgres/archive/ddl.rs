//! Which entries of an archive make a table: itself, its defaults, sequences, constraints, indexes, triggers, policies, comments, privileges.
//!
//! Entries name what they need by dump id, but not what they belong to; that is told from their kind, their tag (`TABLE NAME`) and their
//! definition, as `pg_dump.c` writes them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::toc::Entry;

/// Kinds that can be asked for by name.
pub const NAMED: [&str; 5] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"];

/// What belongs to one table. Entries are shown twice, in the archive's order: first [`Belongings::learn`], then [`Belongings::take`].
#[derive(Debug)]
pub struct Belongings {
    schema: String,
    name: String,
    /// Dump id and name as SQL has it, once it has been seen.
    table: Option<(i32, String)>,
    /// What the table and its defaults need; those of them that are sequences belong to it.
    needed: BTreeSet<i32>,
    /// The entries taken so far, with the name of an index they make.
    taken: BTreeMap<i32, String>,
}

impl Belongings {
    /// Of this table, or what else has its name.
    #[must_use]
    pub fn of(schema: &str, name: &str) -> Self {
        Self { schema: schema.to_owned(), name: name.to_owned(), table: None, needed: BTreeSet::new(), taken: BTreeMap::new() }
    }

    /// Finds the table and what it needs.
    pub fn learn(&mut self, entry: &Entry) {
        if self.table.is_none() && NAMED.contains(&entry.desc.as_str()) && self.here(entry) && entry.tag == self.name {
            self.table = Some((entry.dump_id, sql_name(entry).unwrap_or_default()));
            self.needed.extend(&entry.dependencies);
        } else if entry.desc == "DEFAULT" && self.is_part(entry) {
            self.needed.extend(&entry.dependencies);
        }
    }

    /// Whether an entry belongs to the table.
    pub fn take(&mut self, entry: &Entry) -> bool {
        let belongs = self.belongs(entry);
        if belongs {
            let index = entry.tag.strip_prefix(&format!("{} ", self.name)).filter(|_| entry.desc == "CONSTRAINT").unwrap_or(&entry.tag);
            self.taken.insert(entry.dump_id, index.to_owned());
        }
        belongs
    }

    fn belongs(&self, entry: &Entry) -> bool {
        let Some((id, sql)) = &self.table else { return false };
        let needs = entry.dependencies.contains(id);
        match entry.desc.as_str() {
            _ if entry.dump_id == *id => true,
            "DEFAULT" | "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" => self.is_part(entry),
            "ROW SECURITY" | "TABLE ATTACH" => needs && self.here(entry) && entry.tag == self.name,
            "INDEX" => needs && [" ON ", " ON ONLY "].iter().any(|on| entry.defn.contains(&format!("{on}{sql} "))),
            "STATISTICS" => needs && entry.defn.contains(&format!(" FROM {sql};")),
            "SEQUENCE" => needs || self.needed.contains(&entry.dump_id),
            "INDEX ATTACH" => entry.dependencies.iter().any(|id| self.taken.get(id) == Some(&entry.tag)),
            "COMMENT" | "ACL" | "SECURITY LABEL" | "SEQUENCE OWNED BY" => entry.dependencies.iter().any(|id| self.taken.contains_key(id)),
            _ => false,
        }
    }

    /// Whether an entry is a part of the table that is tagged with the table's name and its own.
    fn is_part(&self, entry: &Entry) -> bool {
        let tagged = entry.tag.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with(' '));
        tagged && self.here(entry) && self.table.as_ref().is_some_and(|(id, _)| entry.dependencies.contains(id))
    }

    fn here(&self, entry: &Entry) -> bool {
        entry.namespace.as_deref().unwrap_or_default() == self.schema
    }
}

/// The entry's object as SQL names it: what its DROP statement says.
fn sql_name(entry: &Entry) -> Option<String> {
    let name = entry.drop_stmt.strip_prefix("DROP ")?.strip_prefix(entry.desc.as_str())?.trim();
    Some(name.strip_suffix(';').unwrap_or(name).to_owned())
}

/// The statements that make an entry's object, its owner and tablespace included, as `pg_restore` writes them.
#[must_use]
pub fn statements(entry: &Entry) -> String {
    let mut sql = String::new();
    if let Some(tablespace) = &entry.tablespace {
        sql.push_str(&format!("SET default_tablespace = {};\n", identifier(tablespace)));
    }
    let method = entry.access_method.as_ref().filter(|method| *method != "heap");
    if let Some(method) = method {
        sql.push_str(&format!("SET default_table_access_method = {};\n", identifier(method)));
    }
    sql.push_str(entry.defn.trim_end());
    sql.push('\n');
    if let Some(name) = sql_name(entry).filter(|_| !entry.owner.is_empty() && (entry.desc == "STATISTICS" || NAMED.contains(&&*entry.desc)))
    {
        sql.push_str(&format!("ALTER {} {name} OWNER TO {};\n", entry.desc, identifier(&entry.owner)));
    }
    if method.is_some() {
        sql.push_str("SET default_table_access_method = heap;\n");
    }
    if entry.tablespace.is_some() {
        sql.push_str("SET default_tablespace = '';\n");
    }
    sql
}

/// Quoted in any case: a role may be called like a key word.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
