//! The statements of a merge. Pure: names and keys in, SQL out; tested with names that would like to be SQL themselves.
//!
//! Nothing here depends on the search path: it is the role's own again while rows are written, so that triggers fire as they always do.

use super::{Column, Key, KeyColumn, Serial, Target};
use crate::postgres::quote::{ident, literal, qualified};

/// The staging table: it ends with the transaction.
const ROWS: &str = "pg_temp.pgdumpd_rows";

/// The rows of a backup against a table that is there.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    /// The table.
    pub target: &'a Target,
    /// The columns of the rows, in the backup's order.
    pub columns: &'a [String],
    /// What tells one row from another.
    pub key: &'a Key,
}

impl Merge<'_> {
    /// Nobody else writes to it until the end.
    pub(super) fn lock(&self) -> String {
        format!("lock table {} in share row exclusive mode", self.table())
    }

    /// The sessions and prepared transactions whose locks don't go with that one.
    pub(super) fn holders(&self) -> String {
        let table = literal(&self.table());
        format!(
            "select coalesce(json_agg(json_build_object('pid', coalesce(l.pid, 0), 'user', a.usename, 'application_name', a.application_name,
               'query', left(a.query, 300), 'relation', l.relation::regclass::text, 'seconds', null)), '[]')
             from pg_locks l left join pg_stat_activity a on a.pid = l.pid
             where l.granted and l.locktype = 'relation' and l.mode not in ('AccessShareLock', 'RowShareLock')
               and l.database = (select oid from pg_database where datname = current_database())
               and l.relation in (select {table}::regclass union select relid from pg_partition_tree({table}::regclass))"
        )
    }

    /// A table for the backup's rows, with the types of the target's columns and none of its rules.
    pub(super) fn stage(&self) -> String {
        let as_there = |name: &String| match self.target.column(name) {
            Some(column) if column.is_written() => format!("t.{}", ident(name)),
            _ => format!("null::pg_catalog.text as {}", ident(name)),
        };
        let columns: Vec<String> = self.columns.iter().map(as_there).collect();
        // Whatever the role's tables usually are kept by.
        format!(
            "create temporary table pgdumpd_rows using heap on commit drop as select {} from {} t where false",
            columns.join(", "),
            self.table()
        )
    }

    /// Takes rows that have their columns in this order.
    pub(super) fn copy(order: &[String]) -> String {
        format!("copy {ROWS} ({}) from stdin", Self::list(order.iter().map(String::as_str), ""))
    }

    /// How many rows came.
    pub(super) fn came() -> String {
        format!("select pg_catalog.to_json(pg_catalog.count(*)) from {ROWS}")
    }

    /// How many of them have no value in a column of the key, so that nothing could be told of them.
    pub(super) fn without_key(&self) -> String {
        let nulls: Vec<String> = self.key.columns.iter().map(|column| format!("s.{} is null", ident(&column.name))).collect();
        format!("select pg_catalog.to_json(pg_catalog.count(*)) from {ROWS} s where {}", nulls.join(" or "))
    }

    /// Keys that the backup's own rows hold more than once.
    pub(super) fn doubles(&self, most: usize) -> String {
        let keys: Vec<String> = self.key.columns.iter().map(|part| format!("s.{}{}", ident(&part.name), collated(part))).collect();
        format!(
            "select coalesce(pg_catalog.json_agg(k.k), '[]') from ({named} from {ROWS} s
               group by {keys} having pg_catalog.count(*) OPERATOR(pg_catalog.>) 1 limit {most}) k (k)",
            named = self.named_keys(|value| format!("pg_catalog.min({value} collate pg_catalog.\"C\")")),
            keys = keys.join(", "),
        )
    }

    /// How many rows have their like in the table, and some of their keys.
    pub(super) fn conflicts(&self, most: usize) -> String {
        format!(
            "select pg_catalog.json_build_object('count', (select pg_catalog.count(*) from {ROWS} s where {exists}),
               'keys', (select pg_catalog.json_agg(k.k) from ({keys} from {ROWS} s where {exists} limit {most}) k (k)))",
            exists = self.exists(),
            keys = self.named_keys(|value| value),
        )
    }

    /// Makes those rows like the backup's that differ, and counts them.
    pub(super) fn update(&self) -> String {
        let settable: Vec<&Column> = self.settable().collect();
        if settable.is_empty() {
            return String::from("select pg_catalog.to_json(0)");
        }
        let names = || settable.iter().map(|column| column.name.as_str());
        let sets: Vec<String> = names().map(|name| format!("{} = s.{}", ident(name), ident(name))).collect();
        // Compared by their bytes: every type has those, and what looks equal but isn't (1.0 and 1.00) is made equal as well.
        format!(
            "with pgdumpd_done as (update {target} t set {sets} from {ROWS} s where {same}
               and row({mine})::pg_catalog.record OPERATOR(pg_catalog.*<>) row({theirs})::pg_catalog.record returning 1)
             select pg_catalog.to_json(pg_catalog.count(*)) from pgdumpd_done",
            target = self.target_only(),
            sets = sets.join(", "),
            same = self.same(),
            mine = Self::list(names(), "t."),
            theirs = Self::list(names(), "s."),
        )
    }

    /// Adds the rows that have no like in the table, and counts them.
    pub(super) fn insert(&self) -> String {
        let names = || self.columns.iter().map(String::as_str).filter(|name| self.target.column(name).is_some_and(Column::is_written));
        format!(
            "with pgdumpd_done as (insert into {table} ({columns}) overriding system value select {values} from {ROWS} s where not {exists}
               returning 1)
             select pg_catalog.to_json(pg_catalog.count(*)) from pgdumpd_done",
            table = self.table(),
            columns = Self::list(names(), ""),
            values = Self::list(names(), "s."),
            exists = self.exists(),
        )
    }

    /// Moves a sequence past the largest value that came; the value it stands at now, or null where it stood further on.
    pub(super) fn advance(serial: &Serial) -> String {
        let sequence = qualified(&serial.schema, &serial.name);
        format!(
            "select coalesce(pg_catalog.to_json((select pg_catalog.setval({name}::pg_catalog.regclass, m.most, true)
               from (select pg_catalog.max(s.{column})::pg_catalog.int8 from {ROWS} s) m (most), {sequence} q
               where m.most OPERATOR(pg_catalog.>) q.last_value
                  or (m.most OPERATOR(pg_catalog.=) q.last_value and not q.is_called))), 'null')",
            name = literal(&sequence),
            column = ident(&serial.column),
        )
    }

    /// The columns that an update may set: what is written, without the key, and without what only the server may give.
    pub fn settable(&self) -> impl Iterator<Item = &Column> {
        let of_key = |name: &str| self.key.columns.iter().any(|column| column.name == name);
        let theirs = self.columns.iter().filter_map(|name| self.target.column(name));
        theirs.filter(move |column| column.is_written() && column.identity != "a" && !of_key(&column.name))
    }

    fn table(&self) -> String {
        qualified(&self.target.schema, &self.target.name)
    }

    /// A backup's rows are a table's own, never those of tables that inherit from it; partitions are the table.
    fn target_only(&self) -> String {
        if self.target.is_partitioned() { self.table() } else { format!("only {}", self.table()) }
    }

    /// Whether a row in the table has the key of a row in the backup, by the very operators of its unique index.
    fn same(&self) -> String {
        let parts: Vec<String> = self
            .key
            .columns
            .iter()
            .map(|part| {
                let column = ident(&part.name);
                let (schema, operator, collated) = (ident(&part.operator_schema), &part.operator, collated(part));
                let equal = format!("t.{column}{collated} OPERATOR({schema}.{operator}) s.{column}");
                if self.key.nulls_are_equal { format!("({equal} or (t.{column} is null and s.{column} is null))") } else { equal }
            })
            .collect();
        parts.join(" and ")
    }

    fn exists(&self) -> String {
        format!("exists (select from {} t where {})", self.target_only(), self.same())
    }

    /// A key as people read it, each value given through `of`: `id=5, region=north`.
    fn named_keys(&self, of: impl Fn(String) -> String) -> String {
        let parts: Vec<String> = self
            .key
            .columns
            .iter()
            .map(|part| {
                let value = of(format!("s.{}::pg_catalog.text", ident(&part.name)));
                format!("{}, coalesce({value}, 'null')", literal(&format!("{}=", part.name)))
            })
            .collect();
        format!("select pg_catalog.concat({})", parts.join(", ', ', "))
    }

    fn list<'n>(names: impl Iterator<Item = &'n str>, of: &str) -> String {
        names.map(|name| format!("{of}{}", ident(name))).collect::<Vec<_>>().join(", ")
    }
}

/// By which collation its index compares, where the column itself has another.
fn collated(part: &KeyColumn) -> String {
    part.collation.as_ref().map_or_else(String::new, |(schema, name)| format!(" collate {}", qualified(schema, name)))
}
