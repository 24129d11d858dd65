//! Every way to reach a server.

use std::ffi::OsString;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use pgdumpd::error::Cause;
use pgdumpd::model::backup::RunId;
use pgdumpd::model::dump::{Compression, Content, DumpShape, Format};
use pgdumpd::model::options::vet_options;
use pgdumpd::model::project::Target;
use pgdumpd::postgres::connection::Access;
use pgdumpd::postgres::dump::Dump;
use pgdumpd::postgres::version::Clients;
use pgdumpd::process;

use crate::cluster::{Cluster, Setup};
use crate::support::{access, access_with, bare_env, client, dump, keywords, limits, open};

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
    assert_eq!(session.databases().unwrap().readable, ["postgres", "shop"]);
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

#[test]
fn a_unix_socket_and_a_service_file_lead_there_too() {
    let cluster = Cluster::start();
    let folder = cluster.dir().display().to_string();
    let encoded = folder.replace('/', "%2F");
    let port = cluster.port.to_string();
    let by_socket = [
        Target::Url(format!("postgresql://postgres@{encoded}:{port}/postgres")),
        Target::Url(format!("postgresql:///postgres?host={folder}&port={port}&user=postgres")),
        keywords(&[("host", &folder), ("port", &port), ("user", "postgres"), ("dbname", "postgres")]),
    ];
    for target in by_socket {
        let access = Access::new(&target, None, limits().connect, &bare_env).unwrap();
        let session = open(&access, None).unwrap();
        assert_eq!((session.server().reached.host.as_str(), &session.server().reached.address), (folder.as_str(), &None));
        assert!(dump(&access, &session, &DumpShape::default()).exit.is_success());
    }
    let services = cluster.dir().join("services");
    let text =
        format!("[shop]\nhost=nowhere.invalid,localhost\nhostaddr=127.0.0.1,127.0.0.1\nport=1,{port}\nuser=postgres\ndbname=postgres\n");
    std::fs::write(&services, text).unwrap();
    let env = |name: &str| if name == "PGSERVICEFILE" { Some(OsString::from(&services)) } else { bare_env(name) };
    for target in [keywords(&[("service", "shop")]), Target::Url("postgresql://?service=shop".into())] {
        let access = Access::new(&target, None, limits().connect, &env).unwrap();
        let session = open(&access, None).unwrap();
        assert_eq!((session.server().reached.host.as_str(), session.server().reached.port), ("localhost", cluster.port));
        let finished = dump(&access, &session, &DumpShape::default());
        assert!(finished.exit.is_success(), "{}", finished.stderr);
    }
}

#[test]
fn with_several_hosts_the_dump_goes_to_the_one_that_was_reached() {
    let cluster = Cluster::start();
    // A host that takes connections and never answers would eat the whole time; each has its share.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (dead, live) = (silent.local_addr().unwrap().port(), cluster.port);
    let access = access(&format!("postgresql://postgres@127.0.0.1:{dead},localhost:{live}/postgres"));
    let session = open(&access, None).unwrap();
    let reached = &session.server().reached;
    assert_eq!((reached.host.as_str(), reached.port, reached.address.as_deref()), ("localhost", live, Some("127.0.0.1")));
    let started = Instant::now();
    let finished = dump(&access, &session, &DumpShape::default());
    assert!(finished.exit.is_success(), "{}", finished.stderr);
    assert!(started.elapsed() < Duration::from_secs(4), "the dump tried the dead host first: {:?}", started.elapsed());
}

#[test]
fn hostile_database_names_are_names() {
    let cluster = Cluster::start();
    let long = "\u{fc}".repeat(31);
    let names = [
        "-Fp",
        "host=evil",
        "'; drop database postgres; --",
        "line\nbreak",
        "../../etc/x",
        "postgres://x/y",
        "\u{202e}txet",
        "qu\"ote",
        "back\\slash",
        "per%cent&amp=1?#",
        " ",
        "a b",
        &long,
    ];
    for name in names {
        cluster.psql(&format!("create database \"{}\"", name.replace('"', "\"\"")));
    }
    let access_by_url = access(&cluster.url("postgres"));
    let port = cluster.port.to_string();
    let by_keywords = keywords(&[("host", "127.0.0.1"), ("port", &port), ("user", "postgres"), ("dbname", "postgres")]);
    let access_by_keywords = Access::new(&by_keywords, None, limits().connect, &bare_env).unwrap();
    let found = open(&access_by_url, None).unwrap().databases().unwrap().readable;
    for name in names {
        assert!(found.iter().any(|other| other == name), "{name:?} is not among {found:?}");
        for access in [&access_by_url, &access_by_keywords] {
            let session = open(access, Some(name)).unwrap();
            assert_eq!(session.server().database, name);
            let finished = dump(access, &session, &DumpShape::default());
            assert!(finished.exit.is_success() && finished.stdout.starts_with(b"PGDMP"), "{name:?}: {}", finished.stderr);
        }
    }
    cluster.psql("create database newcomer");
    assert!(open(&access_by_url, None).unwrap().databases().unwrap().readable.contains(&"newcomer".to_owned()));
}

#[test]
fn f10_a_newer_server_is_refused_with_both_versions() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("pg_dump");
    std::fs::write(&script, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.22 (Debian 12.22-1)'\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink(client().psql(), folder.path().join("psql")).unwrap();
    let server = open(&access(&cluster.url("postgres")), None).unwrap().server().clone();
    let overruled = |name: &str| (name == "PG_DUMP_PATH").then(|| script.display().to_string());
    for clients in [
        Clients::find(Some(folder.path()), &|_| None).unwrap(),
        Clients::find(None, &overruled).unwrap_or_else(|failure| panic!("{failure}")),
    ] {
        let failure = clients.for_server(server.version_num).unwrap_err();
        assert_eq!(failure.cause, Cause::ServerTooNew);
        let number = server.version.split_whitespace().next().unwrap();
        assert!(failure.message.contains(number) && failure.message.contains("12.22"), "{}", failure.message);
    }
    let none = Clients::find(Some(std::path::Path::new("/nonexistent")), &|_| None).unwrap_err();
    assert_eq!(none.cause, Cause::ClientMissing);
}

#[test]
fn f13_a_role_with_short_time_outs_is_dumped_and_watched() {
    let cluster = Cluster::start();
    cluster.psql(
        "create role hasty login superuser; alter role hasty set statement_timeout = '100ms';
        alter role hasty set idle_in_transaction_session_timeout = '100ms'; alter role hasty set idle_session_timeout = '100ms';
        alter role hasty set lock_timeout = '1ms'; alter role hasty set search_path = 'evil';
        create schema evil; create function evil.coalesce(json, text) returns json language sql as 'select null::json'",
    );
    cluster.psql("create table big as select n, repeat('x', 100) as t from generate_series(1, 400000) n");
    let access = access(&cluster.url_as("hasty", "postgres"));
    let mut session = open(&access, None).unwrap();
    let mut holder = cluster.psql_command("postgres");
    let slow = ["begin", "lock table pg_database in access exclusive mode", "select pg_sleep(1)", "commit"];
    let mut holder = holder.args(slow.iter().flat_map(|statement| ["-c", statement])).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(400));
    let started = Instant::now();
    session.databases().unwrap();
    assert!(started.elapsed() > Duration::from_millis(150), "too fast to prove anything");
    holder.wait().unwrap();
    session.try_server_lock("shop", "postgres").unwrap();
    let started = Instant::now();
    let finished = dump(&access, &session, &DumpShape::default());
    assert!(finished.exit.is_success(), "{}", finished.stderr);
    assert!(started.elapsed() > Duration::from_millis(150), "too fast to prove anything");
    assert_eq!(session.databases().unwrap().readable, ["postgres"]);
}

#[test]
fn an_immediate_stop_is_a_lost_connection_and_a_terminated_session_a_shutdown() {
    let cluster = Cluster::start();
    let access = access(&cluster.url("postgres"));
    let mut session = open(&access, None).unwrap();
    cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgdumpd/session'");
    let failure = session.database_size().unwrap_err();
    assert_eq!(failure.cause, Cause::ServerShutdown, "{failure:?}");
    let mut session = open(&access, None).unwrap();
    cluster.stop_immediate();
    let failure = session.database_size().unwrap_err();
    assert!(failure.cause.is_transient() && failure.cause != Cause::Connection, "{failure:?}");
    cluster.start_again();
    open(&access, None).unwrap();
}

#[test]
fn globals_are_dumped_with_passwords_or_without() {
    let cluster = Cluster::start();
    cluster.psql("create role admin login superuser password 'x'; create role plain login");
    cluster.psql("create database \"od='d\"");
    let limits = limits();
    let (client, run, shape) = (client(), RunId("test".into()), DumpShape::default());
    for (role, passwords) in [("admin", true), ("plain", false)] {
        let access = access(&cluster.url_as(role, "od='d"));
        let mut session = open(&access, None).unwrap();
        assert_eq!(session.reads_role_passwords().unwrap(), passwords);
        let server = session.server();
        let dump = Dump {
            client: &client,
            access: &access,
            server: Some(server),
            database: &server.database,
            shape: &shape,
            limits: &limits,
            run: &run,
            scratch: None,
        };
        let finished = process::run(&dump.globals_command(passwords), &[], Duration::from_secs(30), 1 << 20).unwrap();
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(finished.exit.is_success() && text.contains("CREATE ROLE admin"), "{role}: {}", finished.stderr);
        assert_eq!(text.contains("SCRAM-SHA-256$"), passwords);
    }
}

#[test]
fn every_format_and_option_is_taken_by_pg_dump() {
    let cluster = Cluster::start();
    cluster.psql("create table t as select 1 n; select lo_create(7)");
    let access = access(&cluster.url("postgres"));
    let session = open(&access, None).unwrap();
    let (client, limits, run) = (client(), limits(), RunId("test".into()));
    let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<String>>();
    let options =
        words(&["--large-objects", "-O", "-x", "--encoding=UTF8", "--rows-per-insert=10", "--on-conflict-do-nothing", "--no-comments"]);
    let shapes = [
        DumpShape { options, ..DumpShape::default() },
        DumpShape { compression: Compression::Native, ..DumpShape::default() },
        DumpShape { format: Format::Directory, jobs: 2, ..DumpShape::default() },
        DumpShape { format: Format::Tar, ..DumpShape::default() },
        DumpShape { content: Content::Schema, format: Format::Plain, ..DumpShape::default() },
        DumpShape { content: Content::Data, ..DumpShape::default() },
    ];
    for shape in &shapes {
        vet_options(&shape.options).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let server = Some(session.server());
        let dump = Dump {
            client: &client,
            access: &access,
            server,
            database: "postgres",
            shape,
            limits: &limits,
            run: &run,
            scratch: Some(scratch.path()),
        };
        let finished = process::run(&dump.command(), &[], Duration::from_secs(30), 1 << 20).unwrap();
        assert!(finished.exit.is_success(), "{shape:?}: {}", finished.stderr);
        let made = scratch.path().join("archive/toc.dat").exists();
        assert_eq!((made, finished.stdout.is_empty()), (shape.format == Format::Directory, shape.format == Format::Directory));
    }
}

#[test]
fn a_server_of_another_kind_than_is_asked_for_is_told_as_such() {
    let cluster = Cluster::start();
    for (wanted, words) in [("read-only", "session is not read-only"), ("standby", "server is not in hot standby mode")] {
        let failure = open(&access(&format!("{}?target_session_attrs={wanted}", cluster.url("postgres"))), None).unwrap_err();
        assert_eq!(failure.cause, Cause::Connection, "a failover passes: {failure:?}");
        assert_eq!(failure.message, format!("no connection to 127.0.0.1 port {}: {words}", cluster.port));
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("is not what target_session_attrs asks for")), "{failure:?}");
    }
    cluster.psql("alter database postgres set default_transaction_read_only = on");
    let failure = open(&access(&format!("{}?target_session_attrs=read-write", cluster.url("postgres"))), None).unwrap_err();
    assert!(failure.message.ends_with(": session is read-only"), "{failure:?}");
    open(&access(&format!("{}?target_session_attrs=read-only", cluster.url("postgres"))), None).unwrap();
}

#[test]
fn a_refused_password_is_told_without_the_descriptor_it_came_from() {
    let cluster = Setup::default().hba("host all all 127.0.0.1/32 scram-sha-256").start();
    cluster.psql("create role plain login password 'right-one'");
    let target = Target::Url(cluster.url_as("plain", "postgres"));
    let failure = open(&access_with(&target, "wrong-one"), None).unwrap_err();
    let detail = failure.detail.clone().unwrap_or_default();
    assert!(
        detail.contains("password authentication failed") && detail.contains("the password is the one that pgdumpd was given"),
        "{failure:?}"
    );
    assert!(!format!("{failure:?}").contains("/proc/self/fd"), "{failure:?}");
}
