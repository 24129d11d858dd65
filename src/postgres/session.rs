//! The one session of a run: what the server is, what it holds, and what the run must know before and during the dump.
//!
//! Owns [`Session`] and [`Server`]. Questions go through psql, answers come as JSON. It never decides what a finding means for the run.
//! Rights, watching and the server lock stand in their own files; verbs and `doctor` call it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::advice::advise;
use super::connection::{Access, HostPort};
use super::merge::Feed;
use super::psql::Psql;
use super::{peer, version};
use crate::error::{Cause, Failure, Result};
use crate::model::project::Limits;
use crate::process::Cancel;

/// Longest wait for an answer once connected; the server's own `statement_timeout` for our questions is a little shorter.
const ANSWER: Duration = Duration::from_secs(60);

/// Longest wait for a statement that works through a whole database; a cancel and a lost connection end it before.
const PATIENCE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the first question finds out. The settings make the session immune to the role's and the database's own: no time-out ends it
/// while it waits beside the dump, and no function or operator in a schema of the search path can stand in for the system's. Where the server
/// doesn't know what its letters are (`SQL_ASCII`), it would refuse to tell names that aren't in UTF-8: they come as they are.
///
/// The statement's own time-out is lifted first, in a statement so short that even 100 ms don't end it.
const HELLO: &str = "set statement_timeout = '50s';
select pg_catalog.json_build_object(
  'host', :'HOST', 'port', :'PORT', 'database', pg_catalog.current_database(), 'role', current_user,
  'version', pg_catalog.current_setting('server_version'), 'version_num', pg_catalog.current_setting('server_version_num')::int4,
  'standby', pg_catalog.pg_is_in_recovery(),
  'superuser', (select r.rolsuper from pg_catalog.pg_roles r where r.rolname OPERATOR(pg_catalog.=) current_user),
  'settings', (select pg_catalog.count(pg_catalog.set_config(w.name, w.value, false))
     from (values ('search_path', 'pg_catalog'),
       ('client_encoding', case pg_catalog.current_setting('server_encoding') when 'SQL_ASCII' then 'SQL_ASCII' else 'UTF8' end), ('statement_timeout', '50s'), ('lock_timeout', '5s'),
       ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'), ('transaction_timeout', '0'),
       ('standard_conforming_strings', 'on'), ('datestyle', 'ISO')) w (name, value)
     where w.name OPERATOR(pg_catalog.=) any (array(select s.name from pg_catalog.pg_settings s))))";

/// The server that a session reached, and the role there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As it says itself: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The same as a number: 150018.
    pub version_num: u32,
    /// Host and port reached; the dump is pinned to it.
    pub reached: HostPort,
    /// Whether it is a standby (in recovery).
    pub standby: bool,
    /// The database connected to.
    pub database: String,
    /// The role in effect.
    pub role: String,
    /// Whether the role is a superuser.
    pub superuser: bool,
    /// The cluster's identifier, the same on a primary and its standbys; `None` where the role may not read it.
    pub system_identifier: Option<String>,
}

#[derive(Deserialize)]
struct Hello {
    host: String,
    port: String,
    database: String,
    role: String,
    version: String,
    version_num: u32,
    standby: bool,
    superuser: bool,
}

/// Names of databases. The server keeps them as bytes, in whatever encoding they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that are UTF-8.
    pub readable: Vec<String>,
    /// The others, as they are shown: `caf%E9`. Nothing finds a database by such a word.
    pub unreadable: Vec<String>,
}

/// An open session. Dropping it ends it, and releases the server lock with it.
#[derive(Debug)]
pub struct Session {
    psql: Psql,
    server: Server,
    /// Longest wait of a statement that waits for other sessions.
    pub(super) lock_wait: Duration,
    /// Whether a transaction is open (the server lock is held in it).
    pub(super) in_transaction: bool,
    pub(super) application_name: String,
}

impl Session {
    /// Connects and asks who is there. `database` overrules the target's own.
    ///
    /// Every failure to connect is [`Cause::Connection`], or [`Cause::Login`] where the server turns it away, with libpq's reason and a hint.
    pub fn open(
        client: &version::Client,
        access: &Access,
        database: Option<&str>,
        application_name: &str,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Self> {
        let spec = access.spec(client, client.psql(), database, application_name, None);
        let mut psql = Psql::start(spec, access.place(), cancel)?;
        let limit = limits.connect + Duration::from_secs(5);
        let answer = psql.ask(HELLO, false, limit).map_err(|failure| advise(failure, client, access, database));
        let hello: Hello = decode(&answer?)?;
        let port = hello.port.parse().unwrap_or(5432);
        let address = peer::address(psql.pid(), port).map(|address| address.to_string());
        let server = Server {
            version: hello.version,
            version_num: hello.version_num,
            reached: HostPort { host: hello.host, port, address },
            standby: hello.standby,
            database: hello.database,
            role: hello.role,
            superuser: hello.superuser,
            system_identifier: None,
        };
        let lock_wait = limits.lock_wait;
        let mut session = Self { psql, server, lock_wait, in_transaction: false, application_name: application_name.to_owned() };
        session.server.system_identifier = session.system_identifier()?;
        Ok(session)
    }

    /// What was found when connecting.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server's wall clock.
    pub fn clock(&mut self) -> Result<DateTime<Utc>> {
        self.ask("select to_json(to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))")
    }

    /// Whether the server still answers here.
    pub fn is_alive(&mut self) -> bool {
        self.ask::<bool>("select to_json(true)").unwrap_or(false)
    }

    /// The databases that allow connections and aren't templates, by name; without those that a failed DROP DATABASE left behind, and
    /// those that a restore or a drill is still filling.
    pub fn databases(&mut self) -> Result<Names> {
        self.names(
            "datallowconn and not datistemplate and datconnlimit <> -2
               and not (datname like 'pgdumpd\\_restore\\_%' and coalesce(shobj_description(oid, 'pg_database'), '') like 'pgdumpd restore %')
               and not (datname like 'pgdumpd\\_drill\\_%' and coalesce(shobj_description(oid, 'pg_database'), '') like 'pgdumpd drill %')",
        )
    }

    /// The databases that let nobody connect (`ALLOW_CONNECTIONS false`) and aren't templates, by name.
    pub fn closed_databases(&mut self) -> Result<Names> {
        self.names("not datallowconn and not datistemplate and datconnlimit <> -2")
    }

    /// The names of those databases, by their bytes: psql leaves out what is no UTF-8 in a text, and the name would be another's.
    fn names(&mut self, those: &str) -> Result<Names> {
        let all: Vec<String> = self.ask(&format!(
            "select coalesce(json_agg(encode(replace(datname::text, E'\\\\', E'\\\\\\\\')::bytea, 'hex') order by datname), '[]')
             from pg_database where {those}"
        ))?;
        let mut names = Names::default();
        for bytes in all.iter().map(|digits| bytes(digits)) {
            match String::from_utf8(bytes) {
                Ok(name) => names.readable.push(name),
                Err(other) => names.unreadable.push(shown(other.as_bytes())),
            }
        }
        Ok(names)
    }

    /// How many more connections the server would give this role in this database, as far as it can be asked. Of a superuser only the
    /// server's own limit counts.
    pub fn spare_connections(&mut self) -> Result<u32> {
        // Reserved slots are the superusers' (and, from release 16 on, some roles'); sessions without a database aren't counted there.
        self.ask(
            "select to_json(greatest(0, least(
               case when r.rolsuper or r.rolconnlimit < 0 then 1000000
                 else r.rolconnlimit - (select count(*) from pg_stat_activity a where a.usesysid = r.oid) end,
               case when r.rolsuper or d.datconnlimit < 0 then 1000000
                 else d.datconnlimit - (select count(*) from pg_stat_activity a where a.datid = d.oid and a.usesysid is not null) end,
               current_setting('max_connections')::int
                 - case when r.rolsuper then 0 else current_setting('superuser_reserved_connections')::int
                     + coalesce(current_setting('reserved_connections', true)::int, 0) end
                 - (select count(*) from pg_stat_activity a where a.datid is not null and a.usesysid is not null))::int))
             from pg_roles r, pg_database d where r.rolname = session_user and d.datname = current_database()",
        )
    }

    /// Size of the largest table of the connected database as it was when last vacuumed or analysed, bytes; 0 without any. Asking for the
    /// present size would wait for whoever has locked a table.
    pub fn largest_table(&mut self) -> Result<u64> {
        self.ask(
            "select to_json(coalesce(max(c.relpages::bigint + coalesce(t.relpages, 0)), 0) * current_setting('block_size')::bigint)
             from pg_class c left join pg_class t on t.oid = c.reltoastrelid where c.relkind in ('r', 'm')",
        )
    }

    /// Size of the connected database without indexes and system catalogs, bytes; too much where those were never vacuumed or analysed.
    pub fn tables_size(&mut self) -> Result<u64> {
        self.ask(
            "select to_json(greatest(0, pg_database_size(current_database())
               - coalesce(sum(relpages), 0) * current_setting('block_size')::bigint)::bigint)
             from pg_class where relkind = 'i' or oid < 16384",
        )
    }

    /// Size of the connected database on the server, bytes.
    pub fn database_size(&mut self) -> Result<u64> {
        self.ask("select to_json(pg_database_size(current_database()))")
    }

    /// Asks one statement that answers with one JSON value.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, statement: &str) -> Result<T> {
        decode(&self.psql.ask(statement, self.in_transaction, ANSWER)?)
    }

    /// Runs one statement for its effect, outside of any savepoint.
    pub(super) fn tell(&mut self, statement: &str) -> Result<()> {
        self.psql.ask(statement, false, ANSWER).map(drop)
    }

    /// Runs one statement of a merge, which may take as long as the rows need.
    pub(super) fn tell_long(&mut self, statement: &str) -> Result<()> {
        self.psql.ask(statement, false, PATIENCE).map(drop)
    }

    /// Asks one that may take as long.
    pub(super) fn ask_long<T: DeserializeOwned>(&mut self, statement: &str) -> Result<T> {
        decode(&self.psql.ask(statement, false, PATIENCE)?)
    }

    /// Runs `COPY … FROM STDIN` with these rows in COPY text, without the end mark.
    pub(super) fn copy_in(&mut self, statement: &str, feed: Feed<'_>) -> Result<()> {
        self.psql.copy_in(statement, feed, PATIENCE)
    }

    /// Runs one statement that may take as long as it needs: CREATE DATABASE on a busy server, ANALYZE of a large one.
    pub(super) fn tell_patiently(&mut self, statement: &str) -> Result<()> {
        self.patiently(statement).map(drop)
    }

    /// Runs one statement that may take so long; afterwards the server gives it up, and a server that says nothing is given up soon after.
    pub(super) fn tell_within(&mut self, statement: &str, limit: Duration) -> Result<()> {
        self.psql.ask(&format!("set statement_timeout = '{}ms'", limit.as_millis().max(1)), false, ANSWER)?;
        let done = self.psql.ask(statement, false, limit + ANSWER / 6);
        let again = self.psql.ask("set statement_timeout = '50s'", false, ANSWER);
        done.and(again).map(drop)
    }

    /// Asks one statement that may take as long as it needs: rows that are counted.
    pub(super) fn ask_patiently<T: DeserializeOwned>(&mut self, statement: &str) -> Result<T> {
        decode(&self.patiently(statement)?)
    }

    fn patiently(&mut self, statement: &str) -> Result<String> {
        self.psql.ask("set statement_timeout = 0", false, ANSWER)?;
        let answer = self.psql.ask(statement, false, PATIENCE)?;
        self.psql.ask("set statement_timeout = '50s'", false, ANSWER)?;
        Ok(answer)
    }

    /// Runs statements in one transaction: all of them, or none.
    pub(super) fn together(&mut self, statements: &[String]) -> Result<()> {
        self.tell("begin")?;
        let done = statements.iter().try_for_each(|statement| self.tell(statement)).and_then(|()| self.tell("commit"));
        if done.is_err() {
            // On a session that is gone the server rolls back by itself.
            drop(self.tell("rollback"));
        }
        done
    }

    /// Managed servers may keep it from the role; then it stays unknown.
    fn system_identifier(&mut self) -> Result<Option<String>> {
        match self.ask("select to_json(system_identifier::text) from pg_control_system()") {
            Ok(id) => Ok(Some(id)),
            Err(failure) if matches!(failure.cause, Cause::Permission | Cause::Query) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn decode<T: DeserializeOwned>(answer: &str) -> Result<T> {
    serde_json::from_str(answer)
        .map_err(|error| Failure::new(Cause::Query, format!("the server's answer can't be understood: {error}")).detail(answer))
}

/// The bytes behind hexadecimal digits.
fn bytes(digits: &str) -> Vec<u8> {
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).filter_map(pair).collect()
}

/// Bytes as text, with `%` and two digits for what is no UTF-8.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}
