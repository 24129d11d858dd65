//! The schema `public`, which every new database has and no dump makes: looked for, made as `initdb` makes it, and taken away again.
//!
//! It decides nothing; a restore into a database that somebody took it from does.

use super::session::Session;
use crate::error::Result;

impl Session {
    /// Whether the connected database has no schema `public`.
    pub fn lacks_public(&mut self) -> Result<bool> {
        self.ask("select to_json(not exists (select 1 from pg_namespace where nspname = 'public'))")
    }

    /// Makes it as new databases of that release have it: from 15 on the database's owner's, to be used by all; before, open to all.
    pub fn make_public(&mut self) -> Result<()> {
        let is_owners = self.server().version_num >= 150_000;
        let is_owner = is_owners && self.ask::<bool>("select to_json(pg_has_role('pg_database_owner', 'USAGE'))")?;
        self.together(&[
            format!("create schema public{}", if is_owner { " authorization pg_database_owner" } else { "" }),
            format!("grant {} on schema public to public", if is_owners { "usage" } else { "usage, create" }),
            String::from("comment on schema public is 'standard public schema'"),
        ])
    }

    /// Takes it away again, where nothing is in it.
    pub fn drop_public(&mut self) -> Result<()> {
        self.tell("drop schema public")
    }
}
