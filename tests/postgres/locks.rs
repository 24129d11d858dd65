//! Who blocks the dump, whom it blocks, the server's lock of a project, and ending a backend by force.

use std::time::Duration;

use pgdumpd::error::Cause;
use pgdumpd::model::backup::RunId;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::postgres::watch::ServerLock;
use pgdumpd::process::{self, Cancel, CancelReason};

use crate::cluster::Cluster;
use crate::support::{access, dump_command, open, open_as};

fn holding(cluster: &Cluster, statement: &str) -> std::process::Child {
    let mut psql = cluster.psql_command("postgres");
    psql.env("PGAPPNAME", "migration").args(["-c", "begin", "-c", statement, "-c", "select pg_sleep(60)"]).spawn().unwrap()
}

/// Ends the backend too: it would sleep on, with its locks, after its client is gone.
fn end(cluster: &Cluster, mut child: std::process::Child) {
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'migration'");
    child.wait().unwrap();
}

#[test]
fn f09_who_blocks_the_dump_and_whom_it_blocks_are_named() {
    let cluster = Cluster::start();
    cluster.psql("create table aa (n int); create table zz (n int); create role watcher login; grant pg_read_all_data to watcher");
    let holder = holding(&cluster, "lock table zz in access exclusive mode");
    cluster.wait_until("exists (select from pg_locks where relation = 'zz'::regclass)");
    // A plain role sees less of others; what it sees must be enough.
    let access = access(&cluster.url_as("watcher", "postgres"));
    let mut session = open(&access, None).unwrap();
    assert_eq!(session.try_server_lock("shop", "postgres").unwrap(), ServerLock::Held);
    let run = RunId("test".into());
    assert!(session.watch(&run).unwrap().blocked_by.is_empty());
    let mut child = process::spawn(&dump_command(&access, &session, &DumpShape::default())).unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 'zz'::regclass and not granted)");
    let victim = holding(&cluster, "alter table aa add column m int");
    cluster.wait_until("exists (select from pg_locks where relation = 'aa'::regclass and not granted)");
    let watch = session.watch(&run).unwrap();
    assert_eq!((watch.blocked_by.len(), watch.blocking.len()), (1, 1), "{watch:?}");
    let (blocker, victim_seen) = (&watch.blocked_by[0], &watch.blocking[0]);
    assert_eq!((blocker.user.as_deref(), blocker.relation.as_deref()), (Some("postgres"), Some("public.zz")));
    assert_eq!((blocker.application_name.as_deref(), victim_seen.relation.as_deref()), (Some("migration"), Some("public.aa")));
    assert!(blocker.seconds.is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{blocker:?}");
    assert!(blocker.to_string().contains("of postgres (migration) on public.zz"), "{blocker}");
    end(&cluster, victim);
    end(&cluster, holder);
    assert!(child.wait_timeout(Duration::from_secs(20)).is_some_and(process::Exit::is_success), "{}", child.stderr_tail());
    let watch = session.watch(&run).unwrap();
    assert!(watch.blocked_by.is_empty() && watch.blocking.is_empty(), "an old look was shown again: {watch:?}");
}

#[test]
fn a_killed_dump_leaves_a_backend_that_terminate_ends() {
    let cluster = Cluster::start();
    cluster.psql("create table t (n int)");
    let holder = holding(&cluster, "lock table t");
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass)");
    let access = access(&cluster.url("postgres"));
    let run = RunId("test".into());
    // The session has the run's own name, as in a real run, and must survive.
    let mut session = open_as("pgdumpd/test", &access, None).unwrap();
    session.try_server_lock("shop", "postgres").unwrap();
    let mut child = process::spawn(&dump_command(&access, &session, &DumpShape::default())).unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass and not granted)");
    child.kill();
    let left = "select count(*) from pg_stat_activity where application_name = 'pgdumpd/test'";
    assert_eq!(cluster.psql(left), "2", "the backend has gone by itself, so this proves nothing");
    assert_eq!(session.terminate(&run).unwrap(), 1);
    assert_eq!(cluster.psql(left), "1");
    assert_eq!(session.terminate(&run).unwrap(), 0);
    end(&cluster, holder);
}

#[test]
fn one_project_is_held_once_and_the_holder_is_told() {
    let cluster = Cluster::start();
    let access = access(&cluster.url("postgres"));
    let mut one = open_as("pgdumpd/one", &access, None).unwrap();
    let mut two = open_as("pgdumpd/two", &access, None).unwrap();
    assert_eq!(one.try_server_lock("shop", "postgres").unwrap(), ServerLock::Held);
    assert_eq!(two.try_server_lock("other", "postgres").unwrap(), ServerLock::Held);
    drop(two);
    let mut two = open_as("pgdumpd/two", &access, None).unwrap();
    let ServerLock::HeldByPgdumpd(other) = two.try_server_lock("shop", "postgres").unwrap() else { panic!("it was not held") };
    assert_eq!((other.run.as_str(), other.address.as_deref()), ("one", Some("127.0.0.1")));
    assert_eq!(two.other_runs().unwrap(), [other]);
    let key = cluster.psql("select (classid::int8 << 32) | objid::int8 from pg_locks where locktype = 'advisory'");
    assert_eq!(
        cluster.psql("select backend_xmin is null and xact_start is not null from pg_stat_activity where application_name = 'pgdumpd/one'"),
        "t"
    );
    // An error beside it must not cost the lock, nor may looking hold locks of its own.
    let broken = DumpShape { include_tables: vec!["t(".into()], ..DumpShape::default() };
    cluster.psql("create role plain login");
    assert_eq!(one.unreadable(&broken).map(|list| list.len()).ok(), Some(0), "a superuser is not asked");
    assert_eq!(one.row_security(&broken).unwrap_err().cause, Cause::Query);
    one.database_size().unwrap();
    let held = "select string_agg(distinct locktype, ',' order by locktype) from pg_locks l join pg_stat_activity a using (pid)
        where application_name = 'pgdumpd/one'";
    assert_eq!(cluster.psql(held), "advisory,virtualxid");
    drop(one);
    cluster.wait_until("not exists (select from pg_locks where locktype = 'advisory')");
    let stranger = holding(&cluster, &format!("select pg_advisory_lock({key})"));
    cluster.wait_until("exists (select from pg_locks where locktype = 'advisory')");
    let ServerLock::HeldByOther { application_name, .. } = two.try_server_lock("shop", "postgres").unwrap() else { panic!("not told") };
    assert_eq!(application_name, "migration");
    end(&cluster, stranger);
    cluster.wait_until("not exists (select from pg_locks where locktype = 'advisory')");
    assert_eq!(two.try_server_lock("shop", "postgres").unwrap(), ServerLock::Held);
}

#[test]
fn a_cancelled_session_stops_asking_at_once() {
    let cluster = Cluster::start();
    let cancel = Cancel::new();
    let access = access(&cluster.url("postgres"));
    let limits = crate::support::limits();
    let client = crate::support::client();
    let mut session = pgdumpd::postgres::session::Session::open(&client, &access, None, "pgdumpd/x", &limits, &cancel).unwrap();
    cancel.cancel(CancelReason::Interrupted);
    assert_eq!(session.database_size().unwrap_err().cause, Cause::Interrupted);
}
