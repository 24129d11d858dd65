//! A network that drops everything: session and dump end within the keepalive bound of 60 s.

use std::time::{Duration, Instant};

use pgdumpd::error::Cause;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::process;

use crate::cluster::Setup;
use crate::namespace::Namespace;
use crate::skip::skip;
use crate::support::{access, dump_command, open};

#[test]
fn f07_a_dead_network_ends_session_and_dump_within_a_minute() {
    let Some(namespace) = Namespace::new() else {
        return skip("f07_a_dead_network_ends_session_and_dump_within_a_minute", "needs root, iproute2 and network namespaces");
    };
    let cluster = Setup::default().namespace(&namespace.name).hba("host all all all trust").start();
    cluster.psql("create table t (n int)");
    let url = format!("postgresql://postgres@{}:{}/postgres", namespace.there, cluster.port);
    let (ours, theirs) =
        (access(&url), access(&format!("{url}?keepalives_idle=2&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=4000")));
    let mut session = open(&ours, None).unwrap();
    assert_eq!(session.server().reached.address.as_deref(), Some(namespace.there.as_str()));
    let mut holder =
        cluster.psql_command("postgres").args(["-c", "begin", "-c", "lock table t", "-c", "select pg_sleep(120)"]).spawn().unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass)");
    let mut command = dump_command(&ours, &session, &DumpShape::default());
    // Without its own bound on locks, so that only the network can end it.
    command.args.retain(|arg| !arg.to_string_lossy().starts_with("--lock-wait-timeout"));
    let mut child = process::spawn(&command).unwrap();
    let mut quick = process::spawn(&dump_command(&theirs, &session, &DumpShape::default())).unwrap();
    cluster.wait_until("2 = (select count(*) from pg_locks where relation = 't'::regclass and not granted)");
    namespace.silent(true);
    let started = Instant::now();
    assert_eq!(quick.wait_timeout(Duration::from_secs(15)), Some(process::Exit::Code(1)), "the target's own keepalives don't count");
    let failure = session.database_size().unwrap_err();
    assert_eq!(failure.cause, Cause::ConnectionLost, "{failure:?}");
    assert_eq!(child.wait_timeout(Duration::from_secs(60)), Some(process::Exit::Code(1)));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(open(&ours, None).is_err_and(|failure| failure.cause == Cause::Connection));
    holder.kill().unwrap();
    holder.wait().unwrap();
}
