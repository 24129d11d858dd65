//! What a database holds, looked at from outside of any dump: before a restore (is it empty?) and after it (is it all there?).
//!
//! Owns [`Holds`] and [`Counted`]. It never decides what a finding means; restores, drills and their comparison do.

use serde::Deserialize;

use super::quote::{qualified, texts};
use super::session::Session;
use crate::error::Result;

/// The first number that the server gives to what people make (`FirstNormalObjectId` in its sources).
const FIRST_MADE: u32 = 16_384;

/// Tables counted in one statement.
const TOGETHER: usize = 100;

/// What people have made in a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Holds {
    /// Tables, views, sequences and their like.
    pub relations: u64,
    /// The first few of them, by name.
    pub names: Vec<String>,
    /// Functions, types, schemas, extensions and everything else.
    pub others: u64,
    /// Large objects.
    pub large_objects: u64,
}

impl Holds {
    /// Whether nobody has made anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relations == 0 && self.others == 0 && self.large_objects == 0
    }
}

/// A table's rows as they were counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// Schema name, unquoted.
    pub schema: String,
    /// Table name, unquoted.
    pub name: String,
    /// Its rows; unset where there is no such table.
    pub rows: Option<u64>,
    /// Whether an extension brought it: then it has rows that no dump holds.
    pub of_extension: bool,
}

impl Session {
    /// What people have made in the connected database.
    pub fn holds(&mut self) -> Result<Holds> {
        let made = |catalog: &str| {
            format!(
                "(select count(*) from {catalog} o where o.oid >= {FIRST_MADE} and not exists (select 1 from pg_depend e
                   where e.classid = '{catalog}'::regclass and e.objid = o.oid and e.deptype = 'e'))"
            )
        };
        let simple =
            ["pg_cast", "pg_event_trigger", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_publication", "pg_am", "pg_transform"];
        let simple: Vec<String> = simple.iter().map(|catalog| made(catalog)).collect();
        let within = |catalog: &str, space: &str| {
            format!(
                "(select count(*) from {catalog} o where o.oid >= {FIRST_MADE}
                   and not exists (select 1 from pg_namespace n where n.oid = o.{space} and n.nspname ~ '^pg_')
                   and not exists (select 1 from pg_depend e where e.classid = '{catalog}'::regclass and e.objid = o.oid and e.deptype in ('e', 'i')))"
            )
        };
        let spaced = [
            ("pg_proc", "pronamespace"),
            ("pg_operator", "oprnamespace"),
            ("pg_opclass", "opcnamespace"),
            ("pg_collation", "collnamespace"),
            ("pg_conversion", "connamespace"),
            ("pg_ts_config", "cfgnamespace"),
            ("pg_ts_dict", "dictnamespace"),
        ];
        let spaced: Vec<String> = spaced.iter().map(|(catalog, space)| within(catalog, space)).collect();
        self.ask(&format!(
            "with made as (select c.relname, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where c.oid >= {FIRST_MADE} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname !~ '^pg_'
                 and not exists (select 1 from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'))
             select json_build_object('relations', (select count(*) from made),
               'names', (select coalesce(json_agg(name), '[]') from (select quote_ident(nspname) || '.' || quote_ident(relname) as name
                  from made order by nspname, relname limit 3) few),
               'others', {} + {} + (select count(*) from pg_namespace where oid >= {FIRST_MADE} and nspname !~ '^pg_' and nspname <> 'public')
                 + (select count(*) from pg_extension where oid >= {FIRST_MADE} and extname <> 'plpgsql')
                 + (select count(*) from pg_type t where t.oid >= {FIRST_MADE} and t.typtype in ('d', 'e', 'r')
                     and not exists (select 1 from pg_depend e where e.classid = 'pg_type'::regclass and e.objid = t.oid and e.deptype = 'e')),
               'large_objects', (select count(*) from pg_largeobject_metadata))",
            simple.join(" + "),
            spaced.join(" + ")
        ))
    }

    /// Which of these roles the server lacks.
    pub fn missing_roles(&mut self, names: &[&str]) -> Result<Vec<String>> {
        self.missing(names, "select rolname from pg_roles")
    }

    /// Which of these extensions can't be had on the server.
    pub fn missing_extensions(&mut self, names: &[&str]) -> Result<Vec<String>> {
        self.missing(names, "select name from pg_available_extensions")
    }

    /// Which of these tablespaces the server lacks.
    pub fn missing_tablespaces(&mut self, names: &[&str]) -> Result<Vec<String>> {
        self.missing(names, "select spcname from pg_tablespace")
    }

    fn missing(&mut self, names: &[&str], known: &str) -> Result<Vec<String>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names = texts(names.iter().copied());
        self.ask(&format!("select coalesce(json_agg(n order by n), '[]') from unnest({names}) n where n not in ({known})"))
    }

    /// So many locks fit into the server's table: what one transaction makes takes one each.
    pub fn lock_room(&mut self) -> Result<u64> {
        self.ask(
            "select to_json(current_setting('max_locks_per_transaction')::int8
               * (current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8))",
        )
    }

    /// Empties the largest tables of the connected database, as far as the role may: what they take on the disk is free at once.
    pub fn empty_the_largest(&mut self) -> Result<()> {
        self.carry_out(&format!(
            "do $$ declare r regclass; begin
               for r in select oid from pg_class where relkind = 'r' and oid >= {FIRST_MADE} order by pg_table_size(oid) desc limit 20 loop
                 begin execute format('truncate table %s cascade', r); exception when others then null; end;
               end loop; end $$"
        ))
    }

    /// Where the server keeps its data, where the role may know.
    pub fn data_directory(&mut self) -> Result<Option<String>> {
        self.ask("select to_json(case when pg_has_role('pg_read_all_settings', 'USAGE') then current_setting('data_directory', true) end)")
            .or(Ok(None))
    }

    /// Counts the rows of these tables, given as schema and name; parents count without their children.
    pub fn count_rows(&mut self, tables: &[(&str, &str)]) -> Result<Vec<Counted>> {
        // Hidden rows would be missing rows; with this, the server says so instead.
        self.tell("set row_security = off")?;
        let mut counted = Vec::with_capacity(tables.len());
        for some in tables.chunks(TOGETHER) {
            let present = self.present(some)?;
            counted.extend(self.count(present)?);
        }
        Ok(counted)
    }

    /// Which of these tables there are; rows are left unset.
    fn present(&mut self, tables: &[(&str, &str)]) -> Result<Vec<Counted>> {
        let schemas = texts(tables.iter().map(|(schema, _)| *schema));
        let names = texts(tables.iter().map(|(_, name)| *name));
        self.ask(&format!(
            "select coalesce(json_agg(json_build_object('schema', w.schema, 'name', w.name,
               'rows', case when c.oid is not null then 0 end, 'of_extension', exists (select 1 from pg_depend e
                 where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')) order by w.n), '[]')
             from unnest({schemas}, {names}) with ordinality w (schema, name, n)
             left join pg_namespace s on s.nspname = w.schema
             left join pg_class c on c.relnamespace = s.oid and c.relname = w.name and c.relkind in ('r', 'p', 'm')"
        ))
    }

    fn count(&mut self, mut tables: Vec<Counted>) -> Result<Vec<Counted>> {
        let there: Vec<usize> = (0..tables.len()).filter(|at| tables[*at].rows.is_some()).collect();
        if there.is_empty() {
            return Ok(tables);
        }
        let one =
            |at: &usize| format!("select {at} as n, count(*) as rows from only {}", qualified(&tables[*at].schema, &tables[*at].name));
        let each: Vec<String> = there.iter().map(one).collect();
        let rows: Vec<u64> = self.ask_patiently(&format!("select json_agg(rows order by n) from ({}) c", each.join(" union all ")))?;
        for (at, rows) in there.into_iter().zip(rows) {
            tables[at].rows = Some(rows);
        }
        Ok(tables)
    }

    /// Number of large objects.
    pub fn count_large_objects(&mut self) -> Result<u64> {
        self.ask_patiently("select to_json(count(*)) from pg_largeobject_metadata")
    }

    /// Indexes that can't be used, but for those of partitioned tables, which count once each partition has its own.
    pub fn invalid_indexes(&mut self) -> Result<Vec<String>> {
        self.ask(
            "select coalesce(json_agg(i.indexrelid::regclass::text order by i.indexrelid::regclass::text), '[]') from pg_index i join pg_class c on c.oid = i.indexrelid
             where c.relkind = 'i' and not (i.indisvalid and i.indisready)",
        )
    }

    /// Constraints that were never checked against the rows, by name alone.
    pub fn unchecked_constraints(&mut self) -> Result<Vec<String>> {
        self.ask("select coalesce(json_agg(conname order by conname), '[]') from pg_constraint where not convalidated")
    }

    /// Last values of sequences, given as schema and name, and whether each has been given out.
    pub fn sequence_values(&mut self, sequences: &[(&str, &str)]) -> Result<Vec<(i64, bool)>> {
        let mut values = Vec::with_capacity(sequences.len());
        for some in sequences.chunks(TOGETHER) {
            let one = |(at, (schema, name)): (usize, &(&str, &str))| {
                format!("select {at} as n, last_value, is_called from {}", qualified(schema, name))
            };
            let each: Vec<String> = some.iter().enumerate().map(one).collect();
            let found: Vec<(i64, bool)> = self.ask(&format!(
                "select json_agg(json_build_array(last_value, is_called) order by n) from ({}) s",
                each.join(" union all ")
            ))?;
            values.extend(found);
        }
        Ok(values)
    }

    /// Lets the planner know what there is now.
    pub fn analyze(&mut self) -> Result<()> {
        self.tell_patiently("analyze")
    }
}
