//! What a database holds, looked at from outside of any dump: before a restore (is it empty?) and after it (is it all there?).
//!
//! Owns [`Holds`] and [`Counted`]. It never decides what a finding means; restores, drills and their comparison do.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::quote::{literal, qualified, texts};
use super::session::Session;
use crate::error::Result;

/// The first number that the server gives to what people make (`FirstNormalObjectId` in its sources).
const FIRST_MADE: u32 = 16_384;

/// So many are named.
const FEW: u32 = 3;

/// Catalogs of what is in no schema, beside schemas and extensions.
const APART: [&str; 8] = [
    "pg_cast",
    "pg_event_trigger",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_publication",
    "pg_am",
    "pg_transform",
    "pg_language",
];

/// Catalogs of what is in a schema, beside relations and types, with the column that says in which.
const WITHIN: [(&str, &str); 10] = [
    ("pg_proc", "pronamespace"),
    ("pg_operator", "oprnamespace"),
    ("pg_opclass", "opcnamespace"),
    ("pg_opfamily", "opfnamespace"),
    ("pg_collation", "collnamespace"),
    ("pg_conversion", "connamespace"),
    ("pg_ts_config", "cfgnamespace"),
    ("pg_ts_dict", "dictnamespace"),
    ("pg_ts_parser", "prsnamespace"),
    ("pg_ts_template", "tmplnamespace"),
];

/// Tables counted in one statement.
const TOGETHER: usize = 100;

/// What people have made in a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Holds {
    /// Tables, views, sequences and their like.
    pub relations: u64,
    /// The first few of them, by name.
    pub names: Vec<String>,
    /// Functions, types, schemas, extensions, subscriptions and everything else.
    pub others: u64,
    /// The first few of them, as the server describes them.
    pub other_names: Vec<String>,
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
    /// Whether row security holds for who asks.
    pub hidden: bool,
}

/// An index or a constraint, and what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OfTable {
    /// Schema name, unquoted.
    pub schema: String,
    /// The table, or the domain.
    pub table: String,
    /// Its own name.
    pub name: String,
}

impl Session {
    /// What people have made in the connected database.
    pub fn holds(&mut self) -> Result<Holds> {
        // Release 10 brought them; their catalog is the whole server's.
        let subscriptions = if self.server().version_num < 100_000 {
            "null::text where false"
        } else {
            "'subscription ' || quote_ident(s.subname) from pg_subscription s
               where s.subdbid = (select d.oid from pg_database d where d.datname = current_database())"
        };
        self.ask(&format!(
            "with made as (select c.relname, n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where c.oid >= {FIRST_MADE} and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and n.nspname !~ '^pg_'
                 and not exists (select 1 from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')),
             other (class, oid) as ({others}),
             few as (select pg_describe_object(class, oid, 0) as name from (select * from other order by class, oid limit {FEW}) o),
             subscription (name) as (select {subscriptions})
             select json_build_object('relations', (select count(*) from made),
               'names', (select coalesce(json_agg(name), '[]') from (select quote_ident(nspname) || '.' || quote_ident(relname) as name
                  from made order by nspname, relname limit {FEW}) first),
               'others', (select count(*) from other) + (select count(*) from subscription),
               'other_names', (select coalesce(json_agg(name), '[]')
                 from (select name from subscription union all select name from few limit {FEW}) first),
               'large_objects', (select count(*) from pg_largeobject_metadata))",
            others = others(),
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

    /// Drops the largest tables of the connected database, as far as the role may: what they take on the disk is free at once. On a disk without
    /// a byte left they can't be emptied, which takes a block of a new index for their long values.
    pub fn empty_the_largest(&mut self) -> Result<()> {
        self.carry_out(&format!(
            "do $$ declare r regclass; begin
               for r in select oid from pg_class where relkind = 'r' and oid >= {FIRST_MADE} order by pg_table_size(oid) desc limit 20 loop
                 begin execute format('drop table if exists %s cascade', r); exception when others then null; end;
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

    /// Which of these tables, given as schema and name, hold rows; parents count without their children.
    pub fn with_rows(&mut self, tables: &[(&str, &str)]) -> Result<Vec<String>> {
        self.tell("set row_security = off")?;
        let mut found: Vec<String> = Vec::new();
        for some in tables.chunks(TOGETHER) {
            let there = self.present(some)?.into_iter().filter(|table| table.rows.is_some());
            let one = |table: Counted| {
                let Counted { schema, name, .. } = table;
                format!(
                    "select {} as name where exists (select from only {})",
                    literal(&format!("{schema}.{name}")),
                    qualified(&schema, &name)
                )
            };
            let each: Vec<String> = there.map(one).collect();
            if !each.is_empty() {
                found.extend(self.ask_patiently::<Vec<String>>(&format!(
                    "select coalesce(json_agg(name), '[]') from ({}) t",
                    each.join(" union all ")
                ))?);
            }
        }
        Ok(found)
    }

    /// Which of these tables there are; rows are left unset.
    fn present(&mut self, tables: &[(&str, &str)]) -> Result<Vec<Counted>> {
        let schemas = texts(tables.iter().map(|(schema, _)| *schema));
        let names = texts(tables.iter().map(|(_, name)| *name));
        self.ask(&format!(
            "select coalesce(json_agg(json_build_object('schema', w.schema, 'name', w.name,
               'rows', case when c.oid is not null then 0 end, 'hidden', coalesce(row_security_active(c.oid), false), 'of_extension', exists (select 1 from pg_depend e
                 where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')) order by w.n), '[]')
             from unnest({schemas}, {names}) with ordinality w (schema, name, n)
             left join pg_namespace s on s.nspname = w.schema
             left join pg_class c on c.relnamespace = s.oid and c.relname = w.name
               and c.relkind in ('r', 'p', 'm') and c.relispopulated"
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
        let all = format!("select json_agg(rows order by n) from ({}) c", each.join(" union all "));
        let hidden: Vec<String> = tables.iter().filter(|table| table.hidden).map(|table| qualified(&table.schema, &table.name)).collect();
        let rows: Vec<u64> = if hidden.is_empty() { self.ask_patiently(&all)? } else { self.ask_unhidden(&hidden, &all)? };
        for (at, rows) in there.into_iter().zip(rows) {
            tables[at].rows = Some(rows);
        }
        Ok(tables)
    }

    /// Asks about tables whose policies hold for their owner as well, who may lift that; nothing of it stays.
    fn ask_unhidden<T: DeserializeOwned>(&mut self, tables: &[String], statement: &str) -> Result<T> {
        self.tell("begin")?;
        let lifted = tables.iter().try_for_each(|table| {
            let lifted = self.tell(&format!("alter table only {table} no force row level security"));
            lifted.map_err(|failure| {
                failure
                    .context(format!("counting the rows of {table}, which row security keeps from this role"))
                    .hint("restore as the table's owner, a superuser or a role with BYPASSRLS (--user)")
            })
        });
        let asked = lifted.and_then(|()| self.ask_patiently(statement));
        let ended = self.tell("rollback");
        asked.and_then(|answer| ended.map(|()| answer))
    }

    /// Number of large objects.
    pub fn count_large_objects(&mut self) -> Result<u64> {
        self.ask_patiently("select to_json(count(*)) from pg_largeobject_metadata")
    }

    /// Indexes that can't be used, but for those of partitioned tables, which count once each partition has its own.
    pub fn invalid_indexes(&mut self) -> Result<Vec<OfTable>> {
        self.ask(
            "select coalesce(json_agg(json_build_object('schema', n.nspname, 'table', r.relname, 'name', c.relname)
               order by n.nspname, c.relname), '[]')
             from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class r on r.oid = i.indrelid
             join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'i' and not (i.indisvalid and i.indisready)",
        )
    }

    /// Constraints that were never checked against the rows.
    pub fn unchecked_constraints(&mut self) -> Result<Vec<OfTable>> {
        self.ask(
            "select coalesce(json_agg(json_build_object('schema', n.nspname, 'table', coalesce(r.relname, t.typname), 'name', k.conname)
               order by n.nspname, coalesce(r.relname, t.typname), k.conname), '[]')
             from pg_constraint k join pg_namespace n on n.oid = k.connamespace
             left join pg_class r on r.oid = k.conrelid left join pg_type t on t.oid = k.contypid
             where not k.convalidated and coalesce(r.relname, t.typname) is not null",
        )
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

    /// Lets the planner know what there is now: of these tables, given as schema and name, or of the whole database.
    pub fn analyze(&mut self, tables: Option<&[(&str, &str)]>) -> Result<()> {
        let Some(tables) = tables else { return self.tell_patiently("analyze") };
        let each: Vec<String> = tables.iter().map(|(schema, name)| qualified(schema, name)).collect();
        if each.is_empty() { Ok(()) } else { self.tell_patiently(&format!("analyze {}", each.join(", "))) }
    }
}

/// A query for class and number of everything that somebody has made but for relations, large objects and subscriptions.
fn others() -> String {
    let own = |catalog: &str, but: &str| {
        format!(
            "select '{catalog}'::regclass::oid, o.oid from {catalog} o where o.oid >= {FIRST_MADE} and not exists (select 1 from pg_depend e
               where e.classid = '{catalog}'::regclass and e.objid = o.oid and e.deptype in ({but}))"
        )
    };
    // What a temporary table brings is in a schema of the server's.
    let outside = |space: &str| format!("not exists (select 1 from pg_namespace n where n.oid = o.{space} and n.nspname ~ '^pg_')");
    let mut all: Vec<String> = APART.iter().map(|catalog| own(catalog, "'e'")).collect();
    all.extend(WITHIN.iter().map(|(catalog, space)| format!("{} and {}", own(catalog, "'e', 'i'"), outside(space))));
    all.push(format!("{} and o.nspname !~ '^pg_' and o.nspname <> 'public'", own("pg_namespace", "'e'")));
    all.push(format!("{} and o.extname <> 'plpgsql'", own("pg_extension", "'e'")));
    // Row types of relations and arrays come with what they are of.
    all.push(format!(
        "{} and {} and (o.typtype in ('d', 'e', 'r', 'p') or (o.typtype = 'b' and o.typcategory <> 'A')
           or exists (select 1 from pg_class c where c.oid = o.typrelid and c.relkind = 'c'))",
        own("pg_type", "'e'"),
        outside("typnamespace")
    ));
    all.join(" union all ")
}
