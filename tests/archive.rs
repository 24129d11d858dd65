//! The tap against archives that real `pg_dump`s made of a real server: counted exactly, whole only when whole, and never upset.
//!
//! `PGDUMPD_TEST_CLIENTS` may name further folders with clients (`:` between them), to be tried besides the usual ones.

#![cfg(test)]

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use pgdumpd::error::{Cause, Result};
use pgdumpd::model::backup::Structure;
use pgdumpd::model::dump::Compression;
use pgdumpd::postgres::archive::{Observed, Tap, toc, unpack};
use pgdumpd::stream::{Gauge, Observe, decompress, pump};
use proptest::prelude::*;

#[path = "support/pg.rs"]
mod pg;

const SMALL: &str = r#"
create table plain(id int primary key, body text);
insert into plain select g, repeat('x', g) || E'\n\\.\n\tend' from generate_series(1, 40) g;
create table empty(id int);
create schema "Sch;ema";
create table "Sch;ema"."we;ird ""name""
-- with a line break"(id serial, b bytea default '\x0a0a5c2e', j jsonb, a text[]);
insert into "Sch;ema"."we;ird ""name""
-- with a line break"(j, a) select '{"k": "a\nb"}', array[E'\n', null, '\.'] from generate_series(1, 7);
create table parted(id int, k text) partition by list (k);
create table parted_a partition of parted for values in ('a');
create table parted_b partition of parted for values in ('b');
insert into parted select g, case when g % 3 = 0 then 'a' else 'b' end from generate_series(1, 30) g;
create materialized view seen as select count(*) from plain;
create function trap() returns text language sql as $$ select '
COPY public.nothing (id) FROM stdin;
'::text $$;
comment on function trap() is E'it''s \\ a
COPY public.nothing (id) FROM stdin;';
select lo_from_bytea(0, decode(repeat('0a', 5000), 'hex')), lo_from_bytea(0, ''), lo_from_bytea(0, 'abc');
create role someone;
grant select on plain to someone;
"#;

const LARGE: &str = "
create table a as select g, repeat(md5(g::text), 10) t from generate_series(1, 16000) g;
create table b as select g from generate_series(1, 1000) g;
create table c as select repeat(md5('c'), 320000) t;
create table d as select g, md5(g::text) t from generate_series(1, 1000) g;
";

struct Cluster {
    folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs; process.rs is for the product's children")]
fn command(program: &str, args: &[&str]) -> Output {
    let as_root = rustix::process::geteuid().is_root();
    let mut command = if as_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "env", "-i", "LC_ALL=C.UTF-8", program]);
        command
    } else {
        Command::new(program)
    };
    let output = command.args(args).current_dir("/").output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn program(name: &str) -> String {
    pg::bin().join(name).display().to_string()
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("tap").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let cluster = Self { folder };
        let (data, sockets) = (cluster.path("data"), cluster.path(""));
        command(&program("initdb"), &["-D", &data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]);
        let options = format!("-k {sockets} -c listen_addresses= -c fsync=off");
        command(&program("pg_ctl"), &["-w", "-D", &data, "-l", &cluster.path("log"), "-o", &options, "start"]);
        for (name, script) in [("small", SMALL), ("large", LARGE)] {
            command(&program("psql"), &["-h", &sockets, "-U", "postgres", "-qXc", &format!("create database {name}"), "postgres"]);
            let file = cluster.path(name);
            std::fs::write(&file, script).unwrap();
            command(&program("psql"), &["-h", &sockets, "-U", "postgres", "-qX", "-v", "ON_ERROR_STOP=1", "-f", &file, name]);
        }
        cluster
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn dump(&self, bin: &str, program: &str, args: &[&str]) -> Vec<u8> {
        let mut all = vec!["-h", self.folder.path().to_str().unwrap(), "-U", "postgres"];
        all.extend(args);
        command(&format!("{bin}/{program}"), &all).stdout
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        command(&program("pg_ctl"), &["-D", &self.path("data"), "-m", "immediate", "stop"]);
    }
}

/// What every test needs, made by one short-lived server.
struct Archives {
    /// Client, and its `-Fc -Z0` of the small database.
    custom: Vec<(String, Vec<u8>)>,
    native: Vec<(String, Vec<u8>)>,
    tar: Vec<(String, Vec<u8>)>,
    plain: Vec<(String, Vec<u8>)>,
    globals: Vec<(String, Vec<u8>)>,
    inserts: Vec<u8>,
    plain_inserts: Vec<u8>,
    schema: Vec<u8>,
    directory: Vec<u8>,
    large: Vec<u8>,
    /// The small database dumped to a file, in which `pg_dump` itself notes the places of the data.
    file: Vec<u8>,
}

static ARCHIVES: LazyLock<Archives> = LazyLock::new(|| {
    let cluster = Cluster::start();
    let bin = pg::bin().display().to_string();
    let further = std::env::var("PGDUMPD_TEST_CLIENTS").unwrap_or_default();
    let clients: Vec<&str> = [bin.as_str()].into_iter().chain(further.split(':').filter(|folder| Path::new(folder).is_dir())).collect();
    let each = |program: &str, args: &[&str]| -> Vec<(String, Vec<u8>)> {
        clients.iter().map(|bin| ((*bin).to_owned(), cluster.dump(bin, program, args))).collect()
    };
    let folder = cluster.path("folder");
    cluster.dump(&bin, "pg_dump", &["-Fd", "-Z0", "-f", &folder, "small"]);
    let file = cluster.path("file");
    cluster.dump(&bin, "pg_dump", &["-Fc", "-Z0", "-f", &file, "small"]);
    Archives {
        custom: each("pg_dump", &["-Fc", "-Z0", "small"]),
        native: each("pg_dump", &["-Fc", "small"]),
        tar: each("pg_dump", &["-Ft", "small"]),
        plain: each("pg_dump", &["small"]),
        globals: each("pg_dumpall", &["--globals-only"]),
        inserts: cluster.dump(&bin, "pg_dump", &["-Fc", "-Z0", "--inserts", "small"]),
        plain_inserts: cluster.dump(&bin, "pg_dump", &["--inserts", "small"]),
        schema: cluster.dump(&bin, "pg_dump", &["-Fc", "-Z0", "--schema-only", "small"]),
        directory: command("tar", &["-C", &folder, "-cf", "-", "."]).stdout,
        large: cluster.dump(&bin, "pg_dump", &["-Fc", "-Z0", "large"]),
        file: std::fs::read(file).unwrap(),
    }
});

fn watch(mut tap: Tap, bytes: &[u8], size: usize) -> Result<Observed> {
    let mut cuts = Vec::new();
    for piece in bytes.chunks(size) {
        tap.observe(piece, &mut cuts)?;
    }
    tap.finish()
}

const EXPECTED: [(&str, u64); 5] =
    [("empty", 0), ("parted_a", 10), ("parted_b", 20), ("plain", 40), ("we;ird \"name\"\n-- with a line break", 7)];

fn rows(seen: &Observed) -> Vec<(&str, Option<u64>)> {
    let mut rows: Vec<_> = seen.tables.iter().map(|table| (table.name.as_str(), table.rows)).collect();
    rows.sort_unstable();
    rows
}

fn known() -> Vec<(&'static str, Option<u64>)> {
    EXPECTED.iter().map(|&(name, rows)| (name, Some(rows))).collect()
}

fn unknown() -> Vec<(&'static str, Option<u64>)> {
    EXPECTED.iter().map(|&(name, _)| (name, None)).collect()
}

#[test]
fn every_client_s_archives_are_whole_and_counted() {
    let archives = &*ARCHIVES;
    for (tap, dumps, expected) in [
        (Tap::custom as fn() -> Tap, &archives.custom, known()),
        (Tap::custom, &archives.native, unknown()),
        (Tap::tar, &archives.tar, known()),
        (Tap::plain, &archives.plain, known()),
    ] {
        for (client, bytes) in dumps {
            let seen = watch(tap(), bytes, 64 * 1024).unwrap_or_else(|failure| panic!("{client}: {failure}"));
            assert_eq!(rows(&seen), expected, "{client}");
            assert_eq!((seen.structure, seen.bytes), (Structure::Whole, bytes.len() as u64), "{client}");
            if seen.header.is_some() {
                assert_eq!(seen.large_objects, 3, "{client}");
                assert!(seen.schema_version.is_some(), "{client}");
            }
        }
    }
    for (client, bytes) in &archives.globals {
        watch(Tap::globals(), bytes, 100).unwrap_or_else(|failure| panic!("{client}: {failure}"));
        assert!(watch(Tap::plain(), bytes, 100).is_err(), "a roles dump is no database dump ({client})");
    }
    assert_eq!(rows(&watch(Tap::tar(), &archives.directory, 1000).unwrap()), known());
}

#[test]
fn rows_written_as_inserts_are_unknown_and_a_schema_has_none() {
    let archives = &*ARCHIVES;
    let inserts = watch(Tap::custom(), &archives.inserts, 4096).unwrap();
    assert_eq!(rows(&inserts), unknown());
    assert_eq!(rows(&watch(Tap::plain(), &archives.plain_inserts, 4096).unwrap()).len(), EXPECTED.len());
    let schema = watch(Tap::custom(), &archives.schema, 4096).unwrap();
    assert!(schema.tables.is_empty());
    let full = watch(Tap::custom(), &archives.custom[0].1, 4096).unwrap();
    assert_eq!(schema.schema_version, full.schema_version, "the same schema with and without rows has one version");
}

#[test]
fn an_archive_cut_anywhere_is_incomplete() {
    let archives = &*ARCHIVES;
    let dumps = archives.custom.iter().chain(&archives.native).map(|(client, bytes)| (Tap::custom as fn() -> Tap, client, bytes));
    let tars = archives.tar.iter().map(|(client, bytes)| (Tap::tar as fn() -> Tap, client, bytes));
    for (tap, client, bytes) in dumps.chain(tars) {
        for end in (0..bytes.len()).step_by(23).chain(bytes.len().saturating_sub(40)..bytes.len()) {
            let failure = watch(tap(), &bytes[..end], 32 * 1024).expect_err(&format!("{client}: cut at {end} of {}", bytes.len()));
            assert_eq!(failure.cause, Cause::ArchiveIncomplete);
        }
    }
    for (client, bytes) in &archives.plain {
        let text = String::from_utf8_lossy(bytes);
        let complete = text.rfind("complete\n--").unwrap() + "complete\n--".len();
        for end in (0..complete).step_by(23).chain(complete - 40..complete) {
            assert!(watch(Tap::plain(), &bytes[..end], 32 * 1024).is_err(), "{client}: cut at {end}");
        }
    }
}

#[test]
fn the_failure_names_what_is_missing() {
    let bytes = &ARCHIVES.custom[0].1;
    let says = |end: usize| watch(Tap::custom(), &bytes[..end], 4096).unwrap_err().message;
    assert_eq!(says(0), "the archive is empty: pg_dump wrote nothing");
    assert_eq!(says(300), "the archive ends at byte 300 inside its table of contents");
    assert!(says(bytes.len() - 1).contains("inside the large objects of entry"), "{}", says(bytes.len() - 1));
    let text = watch(Tap::custom(), b"-- a script", 4).unwrap_err().message;
    assert_eq!(text, "the archive is broken at byte 1: it does not begin with PGDMP");
}

#[test]
fn an_unknown_version_is_unchecked_instead_of_broken() {
    let mut bytes = ARCHIVES.custom[0].1.clone();
    bytes[6] = 99;
    let seen = watch(Tap::custom(), &bytes[..5000], 7).unwrap();
    assert_eq!((seen.structure, seen.unchecked.as_deref()), (Structure::Unchecked, Some("its version 1.99 is unknown")));
}

#[test]
fn frames_begin_at_blocks_and_the_stored_file_reads_back() {
    let bytes = &ARCHIVES.large;
    let mut tap = Tap::custom();
    let source = Box::new(std::io::Cursor::new(bytes.clone()));
    let done = pump(source, &mut tap, Compression::Zstd(3), 1, Vec::new(), &Gauge::new(), &|| false).unwrap();
    let seen = tap.finish().unwrap();
    assert_eq!(rows(&seen), [("a", Some(16_000)), ("b", Some(1000)), ("c", Some(1)), ("d", Some(1000))]);
    assert_eq!(seen.tables[2].bytes, 32 * 320_000 + 1);
    let frames = done.pumped.frames;
    assert_eq!(frames.len(), 3, "{frames:?}");
    for frame in frames {
        let stored = done.sink[frame.stored as usize..].to_vec();
        let mut read = Vec::new();
        decompress(Compression::Zstd(3), Box::new(std::io::Cursor::new(stored))).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes[frame.archive as usize..]);
        assert!(frame.archive == 0 || read[0] == 1, "{frame:?} begins with {}", read[0]);
    }
}

#[test]
fn the_table_of_contents_reads_as_a_whole() {
    for (client, bytes) in &ARCHIVES.custom {
        let toc = toc::read(&mut &bytes[..]).unwrap();
        let table = toc.entries.iter().find(|entry| entry.desc == "TABLE" && entry.tag == "plain").unwrap();
        assert!(table.defn.starts_with("CREATE TABLE public.plain ("), "{client}: {}", table.defn);
        let rows = toc.entries.iter().find(|entry| entry.desc == "TABLE DATA" && entry.tag == "plain").unwrap();
        assert!(rows.had_dumper && rows.data == toc::Data::ToCome && rows.dependencies.contains(&table.dump_id), "{client}");
        assert_eq!(rows.copy_stmt.as_deref(), Some("COPY public.plain (id, body) FROM stdin;\n"));
        assert_eq!(toc.header.database, "small");
    }
}

#[test]
fn what_is_unpacked_is_what_pg_dump_writes_to_a_file() {
    let archives = &*ARCHIVES;
    let mut unpacked = tempfile::tempfile().unwrap();
    let seen = unpack(&mut &archives.custom[0].1[..], &unpacked).unwrap();
    assert_eq!(rows(&seen), known());
    let mut bytes = Vec::new();
    unpacked.read_to_end(&mut bytes).unwrap();
    let (ours, theirs) = (toc::read(&mut &bytes[..]).unwrap(), toc::read(&mut &archives.file[..]).unwrap());
    assert_eq!(ours, theirs);
    assert!(ours.entries.iter().filter(|entry| matches!(entry.data, toc::Data::At(_))).count() >= 6);
    let end = theirs.entries.last().unwrap().end as usize;
    assert!(bytes[end..] == archives.file[end..], "the data differs");
}

#[test]
fn altered_and_random_bytes_never_upset_a_tap() {
    let archives = &*ARCHIVES;
    let taps = [Tap::custom as fn() -> Tap, Tap::tar, Tap::plain];
    let originals = [&archives.custom[0].1, &archives.tar[0].1, &archives.plain[0].1];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for round in 0..1500 {
        let (tap, original) = (taps[round % 3], originals[round % 3]);
        let mut bytes = if round % 10 == 9 { vec![0; next(3000)] } else { original.clone() };
        let flips = if round % 10 == 9 { bytes.len() } else { 1 + next(6) };
        for _ in 0..flips {
            let at = if round % 2 == 0 { next(bytes.len()) } else { next(bytes.len().min(4000)) };
            bytes[at] = next(256) as u8;
        }
        let _ = watch(tap(), &bytes, 1 + next(20_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn how_the_bytes_are_cut_changes_nothing(sizes in proptest::collection::vec(1_usize..3000, 1..60)) {
        let archives = &*ARCHIVES;
        for (tap, bytes) in [
            (Tap::custom as fn() -> Tap, &archives.custom[0].1),
            (Tap::custom, &archives.native[0].1),
            (Tap::tar, &archives.tar[0].1),
            (Tap::plain, &archives.plain[0].1),
        ] {
            let whole = watch(tap(), bytes, usize::MAX).unwrap();
            let mut pieces = tap();
            let mut rest = &bytes[..];
            for &size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at(size.min(rest.len()));
                pieces.observe(piece, &mut Vec::new()).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(pieces.finish().unwrap(), whole);
        }
    }
}
