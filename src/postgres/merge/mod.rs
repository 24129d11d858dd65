//! A table that rows are merged into: what it is, and the conversation that stages, compares, writes and commits.
//!
//! Everything after `begin` is one transaction in one session; whatever fails, and whoever is killed, the server rolls back. It never decides
//! which rule holds: `ops::merge` does.

mod sql;

use std::io::Write;

use serde::Deserialize;

use super::quote::{literal, qualified};
use super::session::Session;
use super::watch::Other;
use crate::error::{Cause, Failure, Result};

pub use sql::Merge;

/// What writes a backup's rows: COPY text without its end mark.
pub type Feed<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<()>;

/// So many keys are named where some are in the way.
pub const NAMED: usize = 5;

/// The table as it stands on the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// Schema, unquoted.
    pub schema: String,
    /// Name, unquoted.
    pub name: String,
    /// `pg_class.relkind`: `r` for a table, `p` for a partitioned one.
    pub kind: String,
    /// Whether row security would hide rows from this role.
    pub row_security: bool,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its unique indexes that hold for every row, the primary key first.
    pub keys: Vec<Key>,
    /// Names of triggers that people made and that would fire.
    pub triggers: Vec<String>,
    /// Sequences that its columns take their values from.
    pub serials: Vec<Serial>,
    /// What the role has no right to that every merge needs.
    pub lacks: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// Name, unquoted.
    pub name: String,
    /// Whether it must have a value.
    pub not_null: bool,
    /// Whether it gets one by itself.
    pub has_default: bool,
    /// `a` for GENERATED ALWAYS AS IDENTITY, `d` for BY DEFAULT, else empty.
    pub identity: String,
    /// Whether it is computed from others.
    pub generated: bool,
    /// Which of SELECT, INSERT and UPDATE the role may not do with it.
    pub lacks: Vec<String>,
}

/// What tells one row from another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Key {
    /// Name of the index.
    pub name: String,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether two rows without a value count as equal (NULLS NOT DISTINCT).
    pub nulls_are_equal: bool,
    /// Its columns, in its order.
    pub columns: Vec<KeyColumn>,
}

/// A column of a key, and the operator by which its index says "equal".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct KeyColumn {
    /// Name, unquoted.
    pub name: String,
    /// The operator's schema.
    pub operator_schema: String,
    /// The operator.
    pub operator: String,
    /// Schema and name of the collation that it is asked with, where that isn't the column's own.
    pub collation: Option<(String, String)>,
}

/// A sequence behind a column.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Serial {
    /// The column.
    pub column: String,
    /// The sequence's schema.
    pub schema: String,
    /// The sequence's name.
    pub name: String,
    /// Whether the role may see where it stands.
    pub may_read: bool,
}

/// Rows that have their like in the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Conflicts {
    /// How many.
    pub count: u64,
    /// Some of their keys, as `id=5`.
    pub keys: Option<Vec<String>>,
}

impl Target {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether its rows are in partitions.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }
}

impl Column {
    /// Whether a row may bring a value for it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.generated
    }
}

impl Key {
    /// Its columns' names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }
}

/// What `pg_dump` wrote is read with these, whatever the role or the database has set.
const AS_DUMPED: [(&str, &str); 2] = [("xmloption", "content"), ("array_nulls", "on")];

/// Works from release 12 to 18; `to_jsonb` asks for a field that older catalogs don't have.
const TARGET: &str = "select coalesce((select json_build_object(
  'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'row_security', row_security_active(c.oid),
  'columns', (select json_agg(json_build_object('name', a.attname, 'not_null', a.attnotnull,
       'has_default', a.atthasdef or a.attidentity <> '', 'identity', a.attidentity, 'generated', a.attgenerated <> '',
       'lacks', array(select p.name from unnest(array['SELECT', 'INSERT', 'UPDATE']) p (name)
          where not has_column_privilege(c.oid, a.attnum, p.name))) order by a.attnum)
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'keys', (select coalesce(json_agg(json_build_object('name', k.relname, 'primary', i.indisprimary,
       'nulls_are_equal', coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
       'columns', (select json_agg(json_build_object('name', a.attname, 'operator_schema', ns.nspname, 'operator', o.oprname,
            'collation', case when co.oid is not null then json_build_array(cn.nspname, co.collname) end) order by p.n)
          from generate_series(0, i.indnkeyatts - 1) p (n)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[p.n]
          join pg_opclass oc on oc.oid = i.indclass[p.n]
          join pg_amop ao on ao.amopfamily = oc.opcfamily and ao.amopstrategy = 3 and ao.amoplefttype = oc.opcintype
            and ao.amoprighttype = oc.opcintype
          join pg_operator o on o.oid = ao.amopopr join pg_namespace ns on ns.oid = o.oprnamespace
          left join pg_collation co on co.oid = i.indcollation[p.n] and co.oid <> a.attcollation
          left join pg_namespace cn on cn.oid = co.collnamespace))
       order by i.indisprimary desc, k.relname), '[]')
     from pg_index i join pg_class k on k.oid = i.indexrelid
     where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null),
  'triggers', (select coalesce(json_agg(t.tgname order by t.tgname), '[]') from pg_trigger t
     where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled in ('O', 'A')),
  'serials', (select coalesce(json_agg(distinct jsonb_build_object('column', a.attname, 'schema', sn.nspname, 'name', s.relname,
       'may_read', has_sequence_privilege(s.oid, 'SELECT'))), '[]')
     from pg_attribute a
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     join pg_depend p on (p.classid = 'pg_attrdef'::regclass and p.objid = d.oid and p.refclassid = 'pg_class'::regclass)
       or (p.classid = 'pg_class'::regclass and p.refclassid = 'pg_class'::regclass and p.refobjid = c.oid and p.refobjsubid = a.attnum
         and p.deptype in ('a', 'i'))
     join pg_class s on s.relkind = 'S' and s.oid = case when p.classid = 'pg_class'::regclass then p.objid else p.refobjid end
     join pg_namespace sn on sn.oid = s.relnamespace
     join pg_sequence q on q.seqrelid = s.oid and q.seqincrement > 0
     where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)),
  'lacks', (select coalesce(json_agg(r.name), '[]') from (values
     ('USAGE on its schema', has_schema_privilege(n.oid, 'USAGE')),
     ('UPDATE or DELETE on it, to lock it', has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'
       || case when current_setting('server_version_num')::int >= 170000 then ', MAINTAIN' else '' end)),
     ('TEMPORARY on the database', has_database_privilege(current_database(), 'TEMP'))) r (name, is_had) where not r.is_had))
 from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = SCHEMA and c.relname = NAME and c.relkind <> 'i'), 'null')";

impl Session {
    /// The table of that name in the connected database, or nothing.
    pub fn merge_target(&mut self, schema: &str, name: &str) -> Result<Option<Target>> {
        // The later place first: what is put in could hold the other's word.
        let statement = TARGET.replacen("= NAME and", &format!("= {} and", literal(name)), 1);
        self.ask(&statement.replacen("SCHEMA", &literal(schema), 1))
    }

    /// What a table takes on the disk with its indexes, its partitions' too, bytes. It waits where somebody has locked one.
    pub fn table_size(&mut self, schema: &str, name: &str) -> Result<u64> {
        self.ask(&format!(
            "select to_json((pg_total_relation_size(r.oid) + coalesce((select sum(pg_total_relation_size(p.relid))
               from pg_partition_tree(r.oid) p where p.relid <> r.oid), 0))::int8) from (select {}::regclass) r (oid)",
            literal(&qualified(schema, name))
        ))
    }

    /// Lets triggers and foreign keys see what is written also where a setting of the role or the database keeps it from them. `None` where
    /// nothing does, else whether it could be lifted: only some roles may.
    pub fn lift_replica(&mut self) -> Result<Option<bool>> {
        if self.ask::<String>("select to_json(current_setting('session_replication_role'))")? != "replica" {
            return Ok(None);
        }
        match self.tell("set session_replication_role = origin") {
            Ok(()) => Ok(Some(true)),
            Err(failure) if failure.cause == Cause::Permission => Ok(Some(false)),
            Err(failure) => Err(failure),
        }
    }

    /// Begins the transaction, and waits at most this long for the table.
    pub fn begin_merge(&mut self, merge: &Merge<'_>, lock_wait: std::time::Duration) -> Result<()> {
        self.tell("begin isolation level read committed")?;
        self.tell(&format!("set local lock_timeout = '{}ms'", lock_wait.as_millis().max(1)))?;
        self.tell("set local statement_timeout = 0")?;
        AS_DUMPED.iter().try_for_each(|(name, value)| self.tell(&format!("set local {name} = {value}")))?;
        self.tell_long(&merge.lock())?;
        self.tell(&merge.stage())?;
        Ok(())
    }

    /// Who has the table so that it could not be locked: the transaction has failed for it, and is ended.
    pub fn holders(&mut self, merge: &Merge<'_>) -> Result<Vec<Other>> {
        self.tell("rollback")?;
        self.ask(&merge.holders())
    }

    /// Takes rows of the backup that have their columns in this order.
    pub fn stage_rows(&mut self, order: &[String], encoding: Option<&str>, feed: Feed<'_>) -> Result<()> {
        // Names are told in UTF-8, whatever the rows are in.
        let with = encoding.map(|encoding| format!(" (encoding {})", literal(encoding))).unwrap_or_default();
        self.copy_in(&(Merge::copy(order) + &with), feed)
    }

    /// How many rows of the backup came.
    pub fn staged_rows(&mut self) -> Result<u64> {
        self.tell_long("analyze pg_temp.pgdumpd_rows")?;
        self.ask_long(&Merge::came())
    }

    /// Rows without a key, and keys that stand in the backup twice.
    pub fn unclear_rows(&mut self, merge: &Merge<'_>) -> Result<(u64, Vec<String>)> {
        let without = if merge.key.nulls_are_equal { 0 } else { self.ask_long(&merge.without_key())? };
        Ok((without, self.ask_long(&merge.doubles(NAMED))?))
    }

    /// Rows that have their like in the table.
    pub fn conflicts(&mut self, merge: &Merge<'_>) -> Result<Conflicts> {
        self.ask_long(&merge.conflicts(NAMED))
    }

    /// From here on triggers, defaults and constraints see what they always see.
    pub fn as_usual(&mut self) -> Result<()> {
        let ours = ["search_path", "datestyle", "standard_conforming_strings"];
        let all = ours.into_iter().chain(AS_DUMPED.iter().map(|(name, _)| *name));
        all.into_iter().try_for_each(|name| self.tell(&format!("reset {name}")))
    }

    /// Updates rows that differ; how many.
    pub fn update_rows(&mut self, merge: &Merge<'_>) -> Result<u64> {
        self.ask_long(&merge.update())
    }

    /// Inserts rows that are missing; how many.
    pub fn insert_rows(&mut self, merge: &Merge<'_>) -> Result<u64> {
        self.ask_long(&merge.insert())
    }

    /// Moves a sequence past what came; where it stands now, if it moved.
    pub fn advance(&mut self, serial: &Serial) -> Result<Option<i64>> {
        self.ask_long(&Merge::advance(serial))
    }

    /// Checks what is deferred, then undoes everything.
    pub fn roll_back_merge(&mut self) -> Result<()> {
        self.tell_long("set constraints all immediate")?;
        self.tell_long("rollback")
    }

    /// Checks what is deferred, commits, and asks the server whether it did. Success is said only where it says so itself.
    pub fn commit_merge(&mut self) -> Result<()> {
        self.tell_long("set constraints all immediate")?;
        let transaction: String = self.ask("select pg_catalog.to_json(pg_catalog.txid_current()::pg_catalog.text)")?;
        let unknown = |failure: Failure| {
            failure
                .context("whether the merge was committed is not known, the connection broke at that moment")
                .hint(format!("ask the server: select txid_status({transaction}); then merge again, which changes nothing where it was"))
        };
        self.tell_long("commit").map_err(|failure| if failure.cause == Cause::Query { failure } else { unknown(failure) })?;
        let status: Option<String> = self
            .ask(&format!(
                "select coalesce(pg_catalog.to_json(pg_catalog.txid_status({}::pg_catalog.int8)), 'null')",
                literal(&transaction)
            ))
            .map_err(unknown)?;
        match status.as_deref() {
            Some("committed") => Ok(()),
            other => Err(Failure::new(
                Cause::Query,
                format!("the merge was not committed: the server says {}", other.unwrap_or("nothing of it")),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
