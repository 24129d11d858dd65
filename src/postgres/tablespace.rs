//! Tablespaces: which one is filled, and the folder that it is on the server's machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::quote::{literal, qualified, texts};
use super::session::Session;
use crate::error::Result;

/// The tablespace that a database has unless another was named for it.
pub const DEFAULT: &str = "pg_default";

impl Session {
    /// The tablespace of what is made in a database without naming one: of a database that is there, else of a new one. Where a tool says
    /// nothing of tablespaces (`by_setting`), `default_tablespace` comes first.
    pub fn tablespace_of(&mut self, database: &str, by_setting: bool) -> Result<String> {
        let of = |name: &str| {
            format!(
                "(select t.spcname from pg_database d join pg_tablespace t on t.oid = d.dattablespace where d.datname = {})",
                literal(name)
            )
        };
        let set =
            if by_setting { "(select spcname from pg_tablespace where spcname = current_setting('default_tablespace'))" } else { "null" };
        self.ask(&format!("select to_json(coalesce({set}, {}, {}))", of(database), of("template0")))
    }

    /// The tablespace of a table in the connected database.
    pub fn tablespace_of_table(&mut self, schema: &str, name: &str) -> Result<String> {
        self.ask(&format!(
            "select to_json((select t.spcname from pg_tablespace t where t.oid = case c.reltablespace when 0 then d.dattablespace
               else c.reltablespace end)) from pg_class c, pg_database d
             where c.oid = {}::regclass and d.datname = current_database()",
            literal(&qualified(schema, name))
        ))
    }

    /// The folders of these tablespaces, as far as the role may know them.
    pub fn tablespace_folders(&mut self, names: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
        let found: BTreeMap<String, String> = self
            .ask(&format!(
                "select coalesce(json_object_agg(spcname, pg_tablespace_location(oid)), '{{}}') from pg_tablespace
                 where spcname in (select n from unnest({}) n)",
                texts(names.iter().copied())
            ))
            .unwrap_or_default();
        let data = self.data_directory()?;
        // The server's own lie in its data folder and have no other place; those that lie there as well are named from it.
        let place = |(name, location): (String, String)| match &data {
            _ if location.starts_with('/') => Some((name, PathBuf::from(location))),
            Some(data) => Some((name, Path::new(data).join(location))),
            None => None,
        };
        Ok(found.into_iter().filter_map(place).collect())
    }
}
