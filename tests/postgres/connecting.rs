//! Every way to reach a server.

use pgdumpd::error::Cause;
use pgdumpd::model::dump::{DumpShape, Format};

use crate::cluster::Cluster;
use crate::support::{access, dump, open};

#[test]
fn a_session_tells_the_server_and_a_dump_follows_it() {
    let cluster = Cluster::start();
    cluster.psql("create database shop");
    cluster.psql_in("shop", "create table t as select generate_series(1, 1000) n");
    let access = access(&cluster.url("shop"));
    let mut session = open(&access, None).unwrap();
    let server = session.server().clone();
    assert_eq!((server.database.as_str(), server.role.as_str(), server.superuser, server.standby), ("shop", "postgres", true, false));
    assert_eq!((server.reached.host.as_str(), server.reached.port), ("127.0.0.1", cluster.port));
    assert_eq!(server.reached.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(server.system_identifier.unwrap(), cluster.psql("select system_identifier from pg_control_system()"));
    assert_eq!(server.version_num.to_string(), cluster.psql("show server_version_num"));
    assert_eq!(session.databases().unwrap(), ["postgres", "shop"]);
    assert!(session.database_size().unwrap() > 1_000_000);
    let properties = session.properties().unwrap();
    assert_eq!((properties.owner.as_str(), properties.encoding.as_str(), properties.collate.as_str()), ("postgres", "UTF8", "C"));
    for (format, start) in [(Format::Custom, "PGDMP"), (Format::Plain, "--\n-- PostgreSQL"), (Format::Tar, "toc.dat")] {
        let finished = dump(&access, &session, &DumpShape { format, ..DumpShape::default() });
        assert!(finished.exit.is_success(), "{}", finished.stderr);
        assert!(finished.stdout.starts_with(start.as_bytes()), "{format:?}");
    }
}

#[test]
fn a_refused_connection_is_transient_and_named() {
    let failure = open(&access("postgresql://u@127.0.0.1:1/x"), None).unwrap_err();
    assert_eq!(failure.cause, Cause::Connection);
    assert!(failure.message.contains("no connection to 127.0.0.1 port 1: ") && failure.message.contains("refused"), "{}", failure.message);
    assert!(failure.hint.unwrap().contains("nothing answers"));
}
