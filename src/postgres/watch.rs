//! What happens around a running dump: who holds the project elsewhere, who blocks the dump, whom the dump blocks, and its end by force.
//!
//! Owns [`ServerLock`], [`Watch`], [`Other`] and [`OtherRun`]. It reports and, when told, ends the run's own backends; it never decides.
//! Verbs and repair call it.

use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::dump::application_name;
use super::quote::literal;
use super::session::Session;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;

/// Outcome of asking for the server's lock of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerLock {
    /// It is ours as long as the session lives.
    Held,
    /// Another pgdumpd has it.
    HeldByPgdumpd(OtherRun),
    /// Something else has taken that number; the run can go on.
    HeldByOther {
        /// Its backend.
        pid: i32,
        /// What it calls itself.
        application_name: String,
    },
    /// It could not be had (a server that forbids it, say); the reason.
    Unavailable(String),
}

/// A session or dump of another run of pgdumpd in the same database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OtherRun {
    /// Its run.
    pub run: String,
    /// Its backend.
    pub pid: i32,
    /// Where it comes from, where the role may know; unset for a Unix socket too.
    pub address: Option<String>,
}

/// A session beside the dump that waits for it, or that it waits for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Other {
    /// Its backend; 0 is a prepared transaction.
    pub pid: i32,
    /// Its role.
    pub user: Option<String>,
    /// What it calls itself.
    pub application_name: Option<String>,
    /// Its statement, the current or the last one, cut to 300 characters; unset where the role may not see it.
    pub query: Option<String>,
    /// The relation waited for, where it is one of this database.
    pub relation: Option<String>,
    /// How long the waiting side has waited, seconds, where known.
    pub seconds: Option<f64>,
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid == 0 {
            f.write_str("a prepared transaction")?;
        } else {
            write!(f, "process {}", self.pid)?;
        }
        if let Some(user) = &self.user {
            write!(f, " of {user}")?;
        }
        if let Some(name) = self.application_name.as_deref().filter(|name| !name.is_empty()) {
            write!(f, " ({name})")?;
        }
        if let Some(relation) = &self.relation {
            write!(f, " on {relation}")?;
        }
        if let Some(query) = self.query.as_deref().filter(|query| !query.is_empty()) {
            write!(f, ": {query}")?;
        }
        Ok(())
    }
}

/// The locks around a dump at one moment.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Watch {
    /// Who keeps the dump waiting.
    pub blocked_by: Vec<Other>,
    /// Who waits for the dump, directly or behind another that does.
    pub blocking: Vec<Other>,
}

/// The number that stands for a project and database in the server's advisory locks.
fn lock_number(project: &str, database: &str) -> i64 {
    let digest = Sha256::digest(format!("pgdumpd\0{project}\0{database}").as_bytes());
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

impl Session {
    /// Tries to take the project's lock in this database, without waiting. It is held in a transaction that stays open and holds no
    /// snapshot, so that it neither leaks through a pooler nor keeps vacuum back.
    pub fn try_server_lock(&mut self, project: &str, database: &str) -> Result<ServerLock> {
        let key = lock_number(project, database);
        match self.take(key) {
            Ok(true) => Ok(ServerLock::Held),
            Ok(false) => {
                self.tell("rollback")?;
                self.holder(key)
            }
            Err(failure) if matches!(failure.cause, Cause::Permission | Cause::Query | Cause::NotFound | Cause::ReplayConflict) => {
                self.tell("rollback")?;
                Ok(ServerLock::Unavailable(failure.message))
            }
            Err(failure) => Err(failure),
        }
    }

    /// In the transaction itself: rolling a savepoint back would give the lock back.
    fn take(&mut self, key: i64) -> Result<bool> {
        self.tell("begin isolation level read committed, read only")?;
        let taken = self.ask(&format!("select to_json(pg_try_advisory_xact_lock({key}))"))?;
        self.in_transaction = taken;
        Ok(taken)
    }

    fn holder(&mut self, key: i64) -> Result<ServerLock> {
        #[derive(Deserialize)]
        struct Holder {
            pid: i32,
            name: Option<String>,
            address: Option<String>,
        }
        let (high, low) = ((key as u64 >> 32) as u32, key as u64 as u32);
        let holder: Option<Holder> = self.ask(&format!(
            "select coalesce((select json_build_object('pid', l.pid, 'name', a.application_name, 'address', a.client_addr)
               from pg_locks l left join pg_stat_activity a on a.pid = l.pid
               where l.locktype = 'advisory' and l.granted and l.classid = {high}::oid and l.objid = {low}::oid and l.objsubid = 1
                 and l.database = (select oid from pg_database where datname = current_database()) limit 1), 'null')"
        ))?;
        let Some(holder) = holder else {
            return Ok(ServerLock::Unavailable(String::from("the lock was held by a session that has just ended")));
        };
        let name = holder.name.unwrap_or_default();
        Ok(match name.strip_prefix("pgdumpd/") {
            Some(run) => ServerLock::HeldByPgdumpd(OtherRun { run: run.to_owned(), pid: holder.pid, address: holder.address }),
            None => ServerLock::HeldByOther { pid: holder.pid, application_name: name },
        })
    }

    /// Other runs of pgdumpd with a session or a dump in this database: an orphaned dump outlives the session that held the lock.
    pub fn other_runs(&mut self) -> Result<Vec<OtherRun>> {
        self.clear_snapshot()?;
        let own = literal(&self.application_name);
        self.ask(&format!(
            "select coalesce(json_agg(json_build_object('run', substr(application_name, 9), 'pid', pid, 'address', client_addr)
               order by pid), '[]') from pg_stat_activity
             where application_name like 'pgdumpd/%' and application_name <> {own} and datname = current_database()"
        ))
    }

    /// Who blocks the run's dump, and whom it blocks, at this moment.
    pub fn watch(&mut self, run: &RunId) -> Result<Watch> {
        self.clear_snapshot()?;
        let name = literal(&application_name(run));
        // A role without pg_read_all_stats sees neither the wait events nor the statements of others, but their locks; so start there.
        let other = "json_build_object('pid', o.pid, 'user', a.usename, 'application_name', a.application_name,
            'query', nullif(left(a.query, 300), '<insufficient privilege>'), 'relation', o.relation, 'seconds', o.seconds)";
        self.ask(&format!(
            "with dump as (select pid, query_start from pg_stat_activity where application_name = {name} and pid <> pg_backend_pid()),
             waiting as (select w.pid, min(case when w.locktype = 'relation' and w.database = (select oid from pg_database
                 where datname = current_database()) then w.relation::regclass::text end) as relation
               from pg_locks w where not w.granted and w.pid is not null group by w.pid),
             pairs as (select distinct w.pid as waiter, w.relation, b.pid as blocker
               from waiting w cross join lateral unnest(pg_blocking_pids(w.pid)) b (pid)),
             blockers as (select distinct p.blocker as pid, p.relation,
                 extract(epoch from clock_timestamp() - d.query_start)::float8 as seconds
               from pairs p join dump d on d.pid = p.waiter where p.blocker not in (select pid from dump)),
             waiters as (select distinct p.waiter as pid, p.relation,
                 extract(epoch from clock_timestamp() - a.query_start)::float8 as seconds
               from pairs p join dump d on d.pid = p.blocker left join pg_stat_activity a on a.pid = p.waiter
               where p.waiter not in (select pid from dump))
             select json_build_object(
               'blocked_by', (select coalesce(json_agg({other} order by o.pid), '[]') from blockers o
                  left join pg_stat_activity a on a.pid = o.pid),
               'blocking', (select coalesce(json_agg({other} order by o.pid), '[]') from waiters o
                  left join pg_stat_activity a on a.pid = o.pid))"
        ))
    }

    /// How many bytes of COPY text the server has taken from the run's connections for the tables that it is at now; `None` before release 14,
    /// which doesn't tell.
    pub fn copied(&mut self, run: &RunId) -> Result<Option<u64>> {
        if self.server().version_num < 140_000 {
            return Ok(None);
        }
        let name = literal(&application_name(run));
        self.ask(&format!(
            "select to_json(coalesce(sum(c.bytes_processed), 0)::int8) from pg_stat_progress_copy c
             join pg_stat_activity a on a.pid = c.pid where a.application_name = {name} and c.command = 'COPY FROM'"
        ))
    }

    /// Ends every backend of the run but this one, and waits up to 10 s until they are gone; how many there were. After a cancelled or
    /// broken session open a new one for it.
    pub fn terminate(&mut self, run: &RunId) -> Result<u32> {
        let name = literal(&application_name(run));
        let which = format!("from pg_stat_activity where application_name = {name} and usename = current_user and pid <> pg_backend_pid()");
        self.clear_snapshot()?;
        let ended: u32 = self.ask(&format!("select to_json(count(pg_terminate_backend(pid))) {which}"))?;
        for _ in 0..50 {
            self.clear_snapshot()?;
            if self.ask::<u32>(&format!("select to_json(count(*)) {which}"))? == 0 {
                return Ok(ended);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(Failure::new(Cause::Query, format!("a backend of run {run} does not end although it was told to"))
            .hint(format!("look at pg_stat_activity for application_name = '{}'", application_name(run))))
    }

    /// Within a transaction the server would show the sessions of its first look again and again.
    fn clear_snapshot(&mut self) -> Result<()> {
        self.tell("select pg_stat_clear_snapshot()")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_and_databases_have_their_own_numbers() {
        assert_eq!(lock_number("shop", "app"), lock_number("shop", "app"));
        assert_ne!(lock_number("shop", "app"), lock_number("shopapp", ""));
        assert_ne!(lock_number("shop", "app"), lock_number("app", "shop"));
    }
}
