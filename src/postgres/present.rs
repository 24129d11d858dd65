//! What of a backup's objects a database has, and what in it would go, or stand in the way, if some of its tables were dropped.
//!
//! Owns [`Named`] and [`Remade`]. It only asks; `ops::restore` decides. All names are compared as `pg_dump` writes them, with nothing on
//! the search path.

use serde::Deserialize;

use super::quote::texts;
use super::session::Session;
use crate::error::Result;

/// An object as an archive's table of contents names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// Its number there.
    pub id: i32,
    /// `TABLE`, `FUNCTION`, `CONSTRAINT`.
    pub kind: &'a str,
    /// Its schema; empty where it is in none.
    pub schema: &'a str,
    /// Its name; for a part of a table, the table's name and its own; for a function, with its arguments' types.
    pub tag: &'a str,
}

/// Objects that are dropped and made again, schema and name each.
#[derive(Debug, Clone, Default)]
pub struct Remade<'a> {
    /// Tables, views, sequences.
    pub relations: Vec<(&'a str, &'a str)>,
    /// Types and domains.
    pub types: Vec<(&'a str, &'a str)>,
    /// Functions by name alone: an overloaded one counts for all.
    pub functions: Vec<(&'a str, &'a str)>,
}

/// A table that a publication names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// The publication.
    pub publication: String,
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

/// Kinds, the catalog with their names in it, and the columns for name and schema.
const WITHIN: [(&str, &str, &str, &str); 11] = [
    ("'TYPE', 'DOMAIN', 'SHELL TYPE'", "pg_type", "typname", "typnamespace"),
    ("'OPERATOR'", "pg_operator", "oprname", "oprnamespace"),
    ("'OPERATOR CLASS'", "pg_opclass", "opcname", "opcnamespace"),
    ("'OPERATOR FAMILY'", "pg_opfamily", "opfname", "opfnamespace"),
    ("'COLLATION'", "pg_collation", "collname", "collnamespace"),
    ("'CONVERSION'", "pg_conversion", "conname", "connamespace"),
    ("'TEXT SEARCH CONFIGURATION'", "pg_ts_config", "cfgname", "cfgnamespace"),
    ("'TEXT SEARCH DICTIONARY'", "pg_ts_dict", "dictname", "dictnamespace"),
    ("'TEXT SEARCH PARSER'", "pg_ts_parser", "prsname", "prsnamespace"),
    ("'TEXT SEARCH TEMPLATE'", "pg_ts_template", "tmplname", "tmplnamespace"),
    ("'TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE', 'INDEX'", "pg_class", "relname", "relnamespace"),
];

/// The same for what is in no schema.
const APART: [(&str, &str, &str); 6] = [
    ("'SCHEMA'", "pg_namespace", "nspname"),
    ("'EXTENSION'", "pg_extension", "extname"),
    ("'FOREIGN DATA WRAPPER'", "pg_foreign_data_wrapper", "fdwname"),
    ("'SERVER'", "pg_foreign_server", "srvname"),
    ("'PROCEDURAL LANGUAGE'", "pg_language", "lanname"),
    ("'ACCESS METHOD'", "pg_am", "amname"),
];

/// The same for what is tagged with a table's name and its own: its name, and its table.
const OF_TABLES: [(&str, &str, &str, &str); 3] = [
    ("'CONSTRAINT', 'CHECK CONSTRAINT', 'FK CONSTRAINT'", "pg_constraint", "conname", "conrelid"),
    ("'TRIGGER'", "pg_trigger", "tgname", "tgrelid"),
    ("'RULE'", "pg_rewrite", "rulename", "ev_class"),
];

impl Session {
    /// The numbers of those that the connected database lacks. Of what can't be looked for it is said that it is there.
    pub fn lacking(&mut self, objects: &[Named<'_>]) -> Result<Vec<i32>> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        self.tell("set search_path = ''")?;
        let ids: Vec<String> = objects.iter().map(|object| object.id.to_string()).collect();
        self.ask(&format!(
            "select coalesce(json_agg(w.id order by w.id), '[]')
             from unnest(array[{}]::int4[], {}, {}, {}) w (id, kind, space, tag) where not case {} {} {}
               when w.kind in ('FUNCTION', 'PROCEDURE') then exists (select 1 from pg_proc o join pg_namespace n on n.oid = o.pronamespace
                 where n.nspname = w.space and o.proname || '(' || oidvectortypes(o.proargtypes) || ')' = w.tag)
               when w.kind = 'AGGREGATE' then exists (select 1 from pg_proc o join pg_namespace n on n.oid = o.pronamespace
                 where n.nspname = w.space and o.proname || '(' = left(w.tag, length(o.proname) + 1))
               when w.kind = 'DEFAULT' then exists (select 1 from pg_attrdef o join pg_class r on r.oid = o.adrelid
                 join pg_attribute a on a.attrelid = r.oid and a.attnum = o.adnum join pg_namespace n on n.oid = r.relnamespace
                 where n.nspname = w.space and r.relname || ' ' || a.attname = w.tag)
               when w.kind in ('TABLE ATTACH', 'INDEX ATTACH') then exists (select 1 from pg_inherits i join pg_class r on r.oid = i.inhrelid
                 join pg_namespace n on n.oid = r.relnamespace where n.nspname = w.space and r.relname = w.tag)
               when w.kind = 'PUBLICATION' then {}
               else true end",
            ids.join(", "),
            texts(objects.iter().map(|object| object.kind)),
            texts(objects.iter().map(|object| object.schema)),
            texts(objects.iter().map(|object| object.tag)),
            each(&WITHIN, |(kinds, catalog, name, space)| format!(
                "when w.kind in ({kinds}) then exists (select 1 from {catalog} o join pg_namespace n on n.oid = o.{space}
                   where n.nspname = w.space and o.{name} = w.tag)"
            )),
            each(&APART, |(kind, catalog, name)| format!(
                "when w.kind = {kind} then exists (select 1 from {catalog} o where o.{name} = w.tag)"
            )),
            each(&OF_TABLES, |(kinds, catalog, name, table)| format!(
                "when w.kind in ({kinds}) then exists (select 1 from {catalog} o join pg_class r on r.oid = o.{table}
                   join pg_namespace n on n.oid = r.relnamespace where n.nspname = w.space and r.relname || ' ' || o.{name} = w.tag)"
            )),
            // Release 10 brought them.
            if self.server().version_num >= 100_000 { "exists (select 1 from pg_publication o where o.pubname = w.tag)" } else { "false" },
        ))
    }

    /// Which of these tables publications name; those of all tables, or of a whole schema, name none.
    pub fn published(&mut self, tables: &[(&str, &str)]) -> Result<Vec<Published>> {
        if tables.is_empty() || self.server().version_num < 100_000 {
            return Ok(Vec::new());
        }
        self.ask(&format!(
            "select coalesce(json_agg(json_build_object('publication', p.pubname, 'schema', n.nspname, 'table', c.relname)
               order by p.pubname, n.nspname, c.relname), '[]')
             from pg_publication_rel r join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid
             join pg_namespace n on n.oid = c.relnamespace join {} w on w.space = n.nspname and w.name = c.relname",
            names(tables)
        ))
    }

    /// Partitions of these tables that aren't among them, by name: the server drops them with their table, and all that is in them.
    pub fn other_partitions(&mut self, tables: &[(&str, &str)]) -> Result<Vec<String>> {
        if tables.is_empty() || self.server().version_num < 100_000 {
            return Ok(Vec::new());
        }
        self.tell("set search_path = ''")?;
        self.ask(&format!(
            "with r as (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join {} w on w.space = n.nspname and w.name = c.relname)
             select coalesce(json_agg(i.inhrelid::regclass::text order by i.inhrelid::regclass::text), '[]')
             from pg_inherits i join pg_class c on c.oid = i.inhrelid
             where c.relispartition and c.relkind in ('r', 'p', 'f') and i.inhparent in (select oid from r) and i.inhrelid not in (select oid from r)",
            names(tables)
        ))
    }

    /// What isn't among these and needs one of them, as the server describes it: without it they can't be dropped.
    pub fn dependents(&mut self, remade: &Remade<'_>) -> Result<Vec<String>> {
        self.tell("set search_path = ''")?;
        self.ask(&format!(
            "with r as (select c.oid, c.reltype from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join {relations} w on w.space = n.nspname and w.name = c.relname),
             ty as (select t.oid, t.typarray from pg_type t join pg_namespace n on n.oid = t.typnamespace
               join {types} w on w.space = n.nspname and w.name = t.typname
               union select t.oid, t.typarray from pg_type t join r on r.reltype = t.oid),
             o (class, oid) as (select 'pg_class'::regclass, oid from r
               union select 'pg_type'::regclass, oid from ty union select 'pg_type'::regclass, typarray from ty
               union select 'pg_constraint'::regclass, k.oid from pg_constraint k join r on r.oid = k.conrelid
               union select 'pg_class'::regclass, i.indexrelid from pg_index i join r on r.oid = i.indrelid),
             d as (select distinct e.classid, e.objid, case
                 when e.classid = 'pg_class'::regclass then coalesce((select i.indrelid from pg_index i where i.indexrelid = e.objid), e.objid)
                 when e.classid = 'pg_rewrite'::regclass then (select x.ev_class from pg_rewrite x where x.oid = e.objid)
                 when e.classid = 'pg_constraint'::regclass then (select nullif(x.conrelid, 0) from pg_constraint x where x.oid = e.objid)
                 when e.classid = 'pg_attrdef'::regclass then (select x.adrelid from pg_attrdef x where x.oid = e.objid)
                 when e.classid = 'pg_trigger'::regclass then (select x.tgrelid from pg_trigger x where x.oid = e.objid)
                 when e.classid = 'pg_policy'::regclass then (select x.polrelid from pg_policy x where x.oid = e.objid)
                 when e.classid = 'pg_type'::regclass then (select nullif(x.typrelid, 0) from pg_type x where x.oid = e.objid) end as rel
               from pg_depend e join o on o.class = e.refclassid and o.oid = e.refobjid where e.deptype = 'n')
             select coalesce(json_agg(said order by said), '[]') from (select distinct case
                 when d.classid = 'pg_rewrite'::regclass and (select c.relkind from pg_class c where c.oid = d.rel) in ('v', 'm')
                   then pg_describe_object('pg_class'::regclass, d.rel, 0) else pg_describe_object(d.classid, d.objid, 0) end as said
               from d where not exists (select 1 from pg_depend q join d above on above.classid = q.refclassid and above.objid = q.refobjid
                 where q.classid = 'pg_constraint'::regclass and d.classid = q.classid and d.objid = q.objid and q.refclassid = q.classid)
               and ((d.rel is not null and d.rel not in (select oid from r))
                 or (d.rel is null and d.classid = 'pg_type'::regclass and d.objid not in (select oid from ty))
                 or (d.classid = 'pg_proc'::regclass and not exists (select 1 from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                   join {functions} w on w.space = n.nspname and w.name = p.proname where p.oid = d.objid)))) s",
            relations = names(&remade.relations),
            types = names(&remade.types),
            functions = names(&remade.functions),
        ))
    }
}

/// Schemas and names as a table `(space, name)` without its alias.
fn names(some: &[(&str, &str)]) -> String {
    let (spaces, names) = (texts(some.iter().map(|(space, _)| *space)), texts(some.iter().map(|(_, name)| *name)));
    format!("(select * from unnest({spaces}, {names}) u (space, name))")
}

fn each<T>(all: &[T], one: impl Fn(&T) -> String) -> String {
    all.iter().map(one).collect::<Vec<_>>().join(" ")
}
