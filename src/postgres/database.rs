//! Databases of a server as wholes: what one is, making one, dropping one, and putting one in another's place.
//!
//! Owns [`Database`] and the statements, which are text before they are run, so that a plan can show them. It decides nothing.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::likeness::LIKENESS;
pub use super::likeness::{alike, resembling};
use super::quote::{ident, literal};
use super::session::Session;
pub use super::work::{Abandoned, Work};
use crate::error::{Cause, Failure, Result};
use crate::model::database::{DatabaseProperties, Grant, Setting};
use crate::units::show_duration;

/// A database as it stands on the server, with what `pg_dump` without `--create` doesn't bring.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Database {
    /// Its number, which no other database of the server gets.
    pub oid: u64,
    /// Owner role.
    pub owner: String,
    /// Its size, bytes; unset where the role may not connect to it.
    pub size: Option<u64>,
    /// Whether it lets anybody in.
    pub allows_connections: bool,
    /// Whether it is a template.
    pub is_template: bool,
    /// Most connections at once; -1 is no limit.
    pub connection_limit: i32,
    /// Default tablespace.
    pub tablespace: String,
    /// Its comment.
    pub comment: Option<String>,
    /// Its privileges; unset where they are the built-in ones.
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE … SET`, for everybody and per role.
    pub settings: Vec<Setting>,
    /// Whether the role may do with it what its owner may.
    pub ours: bool,
    /// Sessions in it.
    pub sessions: u32,
}

/// What the connecting role may do with databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Rights {
    /// It may make databases.
    pub creates: bool,
    /// It may do everything.
    pub superuser: bool,
}

impl Session {
    /// The database of this name, if there is one.
    pub fn find_database(&mut self, name: &str) -> Result<Option<Database>> {
        self.ask(&format!(
            "select coalesce((select json_build_object(
               'owner', pg_get_userbyid(d.datdba), 'allows_connections', d.datallowconn, 'is_template', d.datistemplate,
               'size', case when has_database_privilege(d.oid, 'CONNECT') then pg_database_size(d.oid) end,
               'connection_limit', d.datconnlimit, 'tablespace', t.spcname, 'oid', d.oid::int8, {LIKENESS},
               'ours', pg_has_role(d.datdba, 'USAGE'),
               'sessions', (select count(*) from pg_stat_activity a where a.datid = d.oid and {OTHERS}))
             from pg_database d join pg_tablespace t on t.oid = d.dattablespace where d.datname = {}), 'null')",
            literal(name)
        ))
    }

    /// What the role may do with databases.
    pub fn database_rights(&mut self) -> Result<Rights> {
        self.ask(
            "select json_build_object('creates', rolcreatedb or rolsuper, 'superuser', rolsuper) from pg_roles where rolname = current_user",
        )
    }

    /// Whether the role may do what that role may.
    pub fn may_act_as(&mut self, role: &str) -> Result<bool> {
        self.ask(&format!(
            "select to_json(coalesce((select pg_has_role(oid, 'USAGE') from pg_roles where rolname = {}), false))",
            literal(role)
        ))
    }

    /// Runs a statement of this module that can't be in a transaction, for five minutes or the project's `lock_wait` at most.
    pub fn carry_out(&mut self, statement: &str) -> Result<()> {
        self.tell_within(statement, self.lock_wait.max(MAKING))
    }

    /// Runs statements of this module in one transaction: all of them, or none.
    pub fn carry_out_together(&mut self, statements: &[String]) -> Result<()> {
        self.together(statements)
    }

    /// Drops a database and ends the sessions in it, within the project's `lock_wait`. One that is gone already is fine.
    pub fn drop_database(&mut self, name: &str) -> Result<()> {
        let limit = self.lock_wait;
        for attempt in 1..=5 {
            self.end_sessions(name)?;
            let began = Instant::now();
            match self.tell_within(&format!("drop database if exists {}", ident(name)), limit) {
                Err(failure) if began.elapsed() >= limit => return Err(self.stuck(name, failure)),
                // Somebody else came in between.
                Err(failure) if attempt < 5 && failure.cause == Cause::Query => std::thread::sleep(Duration::from_millis(200)),
                done => return done,
            }
        }
        Ok(())
    }

    /// Why a database was not dropped in time: the server asks each of its sessions first, and one whose client is gone doesn't answer.
    fn stuck(&mut self, name: &str, failure: Failure) -> Failure {
        let silent: Vec<String> = self
            .ask(
                "select coalesce(json_agg(pid || ' (' || application_name || ')' order by query_start), '[]') from pg_stat_activity
                 where state = 'active' and wait_event in ('ClientRead', 'ClientWrite') and pid <> pg_backend_pid()",
            )
            .unwrap_or_default();
        let who = if silent.is_empty() { String::new() } else { format!("; those that wait for their client now: {}", silent.join(", ")) };
        let words = format!("the database {name:?} could not be dropped within {}", show_duration(self.lock_wait));
        Failure::new(Cause::LockTimeout, words)
            .hint(format!(
                "a session whose client is gone holds this up: find it in pg_stat_activity and end it with pg_terminate_backend{who}"
            ))
            .detail(failure.message)
    }

    /// Keeps others from restoring to the same database for as long as this connection lives; who does so already, where somebody does.
    pub fn hold_target(&mut self, name: &str) -> Result<Option<String>> {
        let key = format!("hashtext({})", literal(name));
        self.ask(&format!(
            "select case when pg_try_advisory_lock({TARGET}, {key}) then 'null'::json
               else to_json(coalesce((select a.application_name || ', pid ' || a.pid from pg_locks l join pg_stat_activity a on a.pid = l.pid
                 where l.locktype = 'advisory' and l.granted and l.classid = {TARGET} and l.objid = ({key}::bigint & 4294967295)::oid
                   and l.database = (select d.oid from pg_database d where d.datname = current_database()) limit 1), 'unknown')) end"
        ))
    }

    /// Ends the sessions in a database, as far as the role may; how many there were. Those of replication are among them: who reads by a
    /// logical slot, and the workers of subscriptions, which come back after some seconds as clients do.
    pub fn end_sessions(&mut self, name: &str) -> Result<u32> {
        self.ask(&format!(
            "select to_json(count(*) filter (where pg_terminate_backend(a.pid))) from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
             where a.datname = {} and a.pid <> pg_backend_pid() and {OTHERS}
               and (r.rolname = current_user or pg_has_role(r.oid, 'USAGE')
                 or (pg_has_role('pg_signal_backend', 'USAGE') and not r.rolsuper))",
            literal(name)
        ))
    }

    /// Databases that unfinished restores or drills have left: named as ours, marked as ours (or not marked yet, where this role may drop
    /// them). Those with the session that is kept beside the tools for as long as the work lives are in use.
    pub fn abandoned(&mut self, work: Work, project: &str) -> Result<Vec<Abandoned>> {
        let prefix = work.prefix();
        self.ask(&format!(
            "select coalesce(json_agg(json_build_object('name', d.datname, 'owner', pg_get_userbyid(d.datdba), 'ours', d.ours,
                 'busy', exists (select 1 from pg_stat_activity a where a.application_name = 'pgdumpd/' || d.run || ' beside'))
               order by d.datname), '[]')
             from (select d.datname, d.datdba, case when {ours} then substr(d.datname, {after}) end as run, shobj_description(d.oid, 'pg_database') as said,
                 pg_has_role(d.datdba, 'USAGE') as ours
               from pg_database d where {ours}) d
             where coalesce(d.said, case when d.ours then {mark} || d.run || ' ' || {project} end) = {mark} || d.run || ' ' || {project}",
            // Another's name may be no text in this database's encoding, and a function that counts letters would fail.
            ours = format!("d.datname like {}", literal(&(prefix.replace('_', "\\_") + "%"))),
            after = prefix.len() + 1,
            mark = literal(work.mark()),
            project = literal(project),
        ))
    }
}

/// The sessions, called `a`, that keep a database from being renamed or dropped, but for those that the server ends by itself.
const OTHERS: &str = "(a.backend_type in ('client backend', 'walsender') or a.backend_type like 'logical replication %worker')";

/// How long a database may take to be made, a role, a tablespace.
const MAKING: Duration = Duration::from_secs(300);

/// The first half of the key under which a restore holds its target.
const TARGET: u32 = 0x7067_6472;

/// CREATE DATABASE for the like of a dumped one. Without properties it is made as the server's template says.
pub fn create(name: &str, like: Option<&DatabaseProperties>, tablespace: Option<&str>, server: u32) -> Result<String> {
    let mut text = format!("create database {} template template0", ident(name));
    if let Some(like) = like {
        text.push_str(&format!(
            " encoding {} lc_collate {} lc_ctype {}",
            literal(&like.encoding),
            literal(&like.collate),
            literal(&like.ctype)
        ));
        text.push_str(&provider(name, like, server)?);
    }
    // Naming the server's own asks for a right on it that an owner of databases seldom has.
    if let Some(tablespace) = tablespace.filter(|name| *name != "pg_default") {
        text.push_str(&format!(" tablespace {}", ident(tablespace)));
    }
    Ok(text)
}

fn provider(name: &str, like: &DatabaseProperties, server: u32) -> Result<String> {
    let locale = like.icu_locale.as_deref().unwrap_or_default();
    let needs = match like.locale_provider.as_deref() {
        Some("i") if like.icu_rules.is_some() => 160_000,
        Some("i") => 150_000,
        Some("b") => 170_000,
        // Said, because from release 15 on the template's own provider would be taken over.
        Some(_) if server >= 150_000 => return Ok(String::from(" locale_provider libc")),
        _ => return Ok(String::new()),
    };
    if server < needs {
        let words =
            format!("the database {name:?} can't be made like the original: its locale provider needs PostgreSQL {}", needs / 10_000);
        return Err(Failure::new(Cause::Refused, words)
            .hint("make the database by hand with a locale of your choice, leave it empty, and restore into it"));
    }
    Ok(match like.locale_provider.as_deref() {
        Some("i") => {
            let rules = like.icu_rules.as_deref().map_or_else(String::new, |rules| format!(" icu_rules {}", literal(rules)));
            format!(" locale_provider icu icu_locale {}{rules}", literal(locale))
        }
        _ => format!(" locale_provider builtin builtin_locale {}", literal(locale)),
    })
}

/// The comment that marks a database as one that is being filled.
#[must_use]
pub fn mark(work: Work, name: &str, run: &str, project: &str) -> String {
    format!("comment on database {} is {}", ident(name), literal(&format!("{}{run} {project}", work.mark())))
}

/// What is committed in an unfinished database needs no flush of its own, of which `pg_restore` would wait for one at each statement. The
/// commit that gives it its name, in a session elsewhere, flushes all that came before (manual, 30.4 Asynchronous Commit).
#[must_use]
pub fn hasten(name: &str) -> String {
    format!("alter database {} set synchronous_commit = off", ident(name))
}

/// Undoes [`hasten`].
#[must_use]
pub fn unhasten(name: &str) -> String {
    format!("alter database {} reset synchronous_commit", ident(name))
}

/// COMMENT ON DATABASE; none takes it away.
#[must_use]
pub fn comment(name: &str, text: Option<&str>) -> String {
    format!("comment on database {} is {}", ident(name), text.map_or_else(|| String::from("null"), literal))
}

/// ALTER DATABASE … OWNER.
#[must_use]
pub fn give(name: &str, owner: &str) -> String {
    format!("alter database {} owner to {}", ident(name), ident(owner))
}

/// ALTER DATABASE … RENAME.
#[must_use]
pub fn rename(from: &str, to: &str) -> String {
    format!("alter database {} rename to {}", ident(from), ident(to))
}

/// DROP DATABASE.
#[must_use]
pub fn drop(name: &str) -> String {
    format!("drop database {}", ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_as_the_server_of_that_release_understands_it() {
        let like = DatabaseProperties {
            owner: "o".into(),
            encoding: "UTF8".into(),
            collate: "C".into(),
            ctype: "C".into(),
            icu_locale: Some("de".into()),
            icu_rules: None,
            locale_provider: Some("i".into()),
            comment: None,
            connection_limit: None,
            grants: None,
            settings: Vec::new(),
        };
        let made = create("x\"y", Some(&like), None, 150_018).unwrap();
        assert_eq!(
            made,
            "create database \"x\"\"y\" template template0 encoding E'UTF8' lc_collate E'C' lc_ctype E'C' locale_provider icu icu_locale E'de'"
        );
        assert_eq!(create("x", Some(&like), None, 140_000).unwrap_err().cause, Cause::Refused);
        let ruled = DatabaseProperties { icu_rules: Some("&a < g".into()), ..like };
        assert!(create("x", Some(&ruled), None, 160_000).unwrap().ends_with(" locale_provider icu icu_locale E'de' icu_rules E'&a < g'"));
        assert!(create("x", Some(&ruled), None, 150_018).unwrap_err().message.ends_with("needs PostgreSQL 16"));
    }
}
