//! What the role may not read of a selection, told before the dump instead of in its middle.
//!
//! Owns [`Unreadable`]. It looks at what `pg_dump` will lock and read: schemas, tables, sequences, large objects, and row security. It
//! never decides whether the dump goes ahead; verbs and `doctor` call it.

use serde::Deserialize;

use super::pattern::{self, any_schema, any_table};
use super::quote::{ident, literal};
use super::session::{Server, Session};
use crate::error::{Cause, Result};
use crate::model::dump::{Content, DumpShape};
use crate::model::options::dumps_large_objects;

/// Most objects named; more don't help a person.
const MOST: u32 = 200;

/// One object that the role can't read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Unreadable {
    /// `schema`, `table`, `sequence` or `large object`.
    pub kind: String,
    /// Its name, quoted as SQL needs it.
    pub name: String,
    /// The statement that lets the role read it.
    pub grant: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What to do about a pattern under this key that matches nothing of what is there.
#[must_use]
pub fn mend(key: &str) -> String {
    format!(
        "correct the name in {key}, or take it out: one without a schema is looked for on the role's search_path, and capitals count only in \
         double quotes"
    )
}

/// What a globals backup lacks where the role can't read the roles' passwords, and what to do about it.
#[must_use]
pub fn without_passwords(server: &Server) -> (String, String) {
    let words = format!("without role passwords, as the role {:?} can't read pg_authid in the database {:?}", server.role, server.database);
    let hint = format!(
        "to have them (as hashes, which that role can read then), type in that database: GRANT SELECT ON pg_catalog.pg_authid TO {}; \
         where the server's provider keeps them, set them anew after a restore: ALTER ROLE … PASSWORD",
        ident(&server.role)
    );
    (words, hint)
}

impl Session {
    /// What a dump of this shape needs to read and the role may not, at most 200 objects. Empty for a superuser.
    pub fn unreadable(&mut self, shape: &DumpShape) -> Result<Vec<Unreadable>> {
        if self.server().superuser || shape.content == Content::Globals {
            return Ok(Vec::new());
        }
        let chosen = self.chosen(shape)?;
        let large_objects = if dumps_large_objects(shape) { self.large_objects() } else { String::new() };
        self.ask(&format!(
            "with chosen as ({chosen}), missing (kind, name, place) as (
               select distinct 'schema', quote_ident(schema), 1 from chosen where needed and not has_schema_privilege(namespace, 'USAGE')
               union all
               select case relkind when 'S' then 'sequence' else 'table' end, quote_ident(schema) || '.' || quote_ident(name), 2
               from chosen where needed and not has_table_privilege(oid, 'SELECT')
               {large_objects}
             ), few as (select * from missing order by place, name limit {MOST})
             select coalesce(json_agg(json_build_object('kind', kind, 'name', name, 'grant',
               'GRANT ' || case kind when 'schema' then 'USAGE' else 'SELECT' end || ' ON ' || upper(kind) || ' ' || name
               || ' TO ' || quote_ident(current_user) || ';') order by place, name), '[]') from few"
        ))
    }

    /// The tables whose row security would hide rows from the role, among those whose rows are dumped, quoted and in order.
    pub fn row_security(&mut self, shape: &DumpShape) -> Result<Vec<String>> {
        if matches!(shape.content, Content::Schema | Content::Globals) {
            return Ok(Vec::new());
        }
        let chosen = self.chosen(shape)?;
        self.ask(&format!(
            "with chosen as ({chosen}), few as (select quote_ident(schema) || '.' || quote_ident(name) as name from chosen
               where relkind = 'r' and rows and row_security_active(oid) order by 1 limit {MOST})
             select coalesce(json_agg(name order by name), '[]') from few"
        ))
    }

    /// The unlogged tables whose rows were to be dumped: a standby has none of them, and its dump leaves them out without a word.
    pub fn unlogged(&mut self, shape: &DumpShape) -> Result<Vec<String>> {
        if matches!(shape.content, Content::Schema | Content::Globals) {
            return Ok(Vec::new());
        }
        let chosen = self.chosen(shape)?;
        self.ask(&format!(
            "with chosen as ({chosen}), few as (select quote_ident(schema) || '.' || quote_ident(name) as name from chosen
               join pg_class c using (oid) where chosen.relkind = 'r' and rows and c.relpersistence = 'u' order by 1 limit {MOST})
             select coalesce(json_agg(name order by name), '[]') from few"
        ))
    }

    /// The patterns for tables and schemas to dump that match nothing, so that `--strict-names` makes the dump fail: what they are for
    /// (`tables`, `schemas`), and the pattern. It doesn't cover those of what is left out (measured).
    pub fn unmatched(&mut self, shape: &DumpShape) -> Result<Vec<(String, String)>> {
        let visible = if shape.include_tables.is_empty() { String::from("true") } else { self.visible()? };
        let tables = shape.include_tables.iter().map(|pattern| {
            let found = format!(
                "exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and {})",
                pattern::table(pattern, &visible)
            );
            ("tables", pattern, found)
        });
        let schemas = shape
            .include_schemas
            .iter()
            .map(|pattern| ("schemas", pattern, format!("exists (select 1 from pg_namespace n where {})", pattern::schema(pattern))));
        let asked: Vec<String> =
            tables.chain(schemas).map(|(key, name, found)| format!("({}, {}, {found})", literal(key), literal(name))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(&format!(
            "select coalesce(json_agg(json_build_array(key, pattern)), '[]') from (values {}) asked (key, pattern, found) where not found",
            asked.join(", ")
        ))
    }

    /// Whether the role can read the roles' password hashes, which a whole globals backup needs. Tried, not asked: a managed server may keep
    /// them from a role that has the privilege.
    pub fn reads_role_passwords(&mut self) -> Result<bool> {
        match self.ask("select to_json(count(rolpassword) >= 0) from pg_authid") {
            Err(failure) if failure.cause == Cause::Permission => Ok(false),
            answer => answer,
        }
    }

    /// A query for the tables and sequences that the shape selects. `needed`: the dump reads or locks it; `rows`: it reads its rows.
    ///
    /// `pg_dump` locks every table whatever the content, and reads sequences only where rows are wanted.
    fn chosen(&mut self, shape: &DumpShape) -> Result<String> {
        let visible = if shape.include_tables.is_empty() && shape.exclude_tables.is_empty() && shape.exclude_table_data.is_empty() {
            String::from("true")
        } else {
            self.visible()?
        };
        let table = |patterns| any_table(patterns, &visible);
        let included = if !shape.include_tables.is_empty() {
            // A chosen table takes the sequences of its columns along; the schemas' patterns then count for nothing.
            format!(
                "({0} or exists (select 1 from pg_depend d join pg_class t on t.oid = d.refobjid where d.objid = s.oid and s.relkind = 'S'
                   and d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
                   and exists (select 1 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = t.oid and {0})))",
                table(&shape.include_tables)
            )
        } else if shape.include_schemas.is_empty() {
            format!("not {}", any_schema(&shape.exclude_schemas))
        } else {
            format!("{} and not {}", any_schema(&shape.include_schemas), any_schema(&shape.exclude_schemas))
        };
        let rows = shape.content != Content::Schema;
        Ok(format!(
            "select s.oid, s.relkind, s.relnamespace as namespace, n.nspname as schema, s.relname as name,
               {rows} and not {without_rows} as rows, s.relkind in ('r', 'p') or ({rows} and not {without_rows} and not exists (
                 select 1 from pg_depend e where e.objid = s.oid and e.classid = 'pg_class'::regclass and e.deptype = 'e')) as needed
             from pg_class s join pg_class c on c.oid = s.oid join pg_namespace n on n.oid = s.relnamespace
             where s.relkind in ('r', 'p', 'S') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
               and {included} and not {excluded}",
            without_rows = table(&shape.exclude_table_data),
            excluded = table(&shape.exclude_tables),
        ))
    }

    /// The condition under which `c` in `n` is seen without its schema's name, on the search path that `pg_dump` will find.
    fn visible(&mut self) -> Result<String> {
        self.tell("reset search_path")?;
        let path = self.ask::<Vec<String>>("select pg_catalog.array_to_json(pg_catalog.current_schemas(true))");
        self.tell("set search_path = pg_catalog")?;
        let path: Vec<String> = path?.iter().map(|schema| literal(schema)).collect();
        let path = format!("array[{}]::text[]", path.join(", "));
        Ok(format!(
            "(n.nspname = any ({path}) and not exists (select 1 from pg_class o join pg_namespace m on m.oid = o.relnamespace
               where o.relname = c.relname and array_position({path}, m.nspname::text) < array_position({path}, n.nspname::text)))"
        ))
    }

    /// Large objects without SELECT for the role; `pg_read_all_data` covers them from release 19 on.
    fn large_objects(&self) -> String {
        let all = if self.server().version_num >= 190_000 { "pg_has_role('pg_read_all_data', 'USAGE')" } else { "false" };
        format!(
            "union all select 'large object', o.oid::text, 3 from pg_largeobject_metadata o
             where current_setting('lo_compat_privileges') = 'off' and not {all} and not exists (
               select 1 from aclexplode(coalesce(o.lomacl, acldefault('L', o.lomowner))) a
               where a.privilege_type = 'SELECT' and (a.grantee = 0 or pg_has_role(a.grantee, 'USAGE')))"
        )
    }
}
