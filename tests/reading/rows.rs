//! `cat`: what the server itself would write, from every format and compression.

use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::stage::{Stage, WAYS};

const SCRIPT: &str = r#"
create schema "Sch.ema";
create table "Sch.ema"."we;ird ""name"""("a,b" int, "c""d" text, "select" text, "ü{}" text);
insert into "Sch.ema"."we;ird ""name"""
  select g, chr(g), 'x' || chr(g) || 'y', chr(g) || chr(g) from generate_series(1, 300) g where g not between 55296 and 57343;
insert into "Sch.ema"."we;ird ""name""" values (null, null, '', null), (1, '\.', '\N', '\'), (2, '"', ',', E'\r\n'), (3, E'a\tb', ' ', 'NULL');
create table types(i2 smallint, i8 bigint, n numeric, n2 numeric(12,3), f real, d double precision, b boolean, t text, bin bytea, arr int[], txt text[],
  j json, jb jsonb, ts timestamptz, iv interval, r int4range, u uuid, x xml, bits bit(3), e point);
insert into types values
  (1, 9223372036854775807, 123456789012345678901234567890.123456789, 1.5, 1.1, 1e300, true, 'a', '\x00ff0a5c', '{1,NULL,2}', array['a"b', E'\n', null, '', '\'],
   '{"a":  1, "b": "x\ny"}', '{"a": [1, "\u00e9"]}', '2026-11-21 01:02:03.4+00', '1 day', '[1,5)', '00000000-0000-0000-0000-000000000001', '<a>&amp;</a>', b'101', '(1,2)'),
  (-32768, -1, 'NaN', null, 'NaN', '-Infinity', false, '', '', '{}', '{}', null, 'null', 'infinity', null, 'empty', null, '', null, null),
  (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
create table single(v text);
insert into single values ('\.'), (''), (null), ('x'), (E'\\.\n'), ('\.x');
create table nothing(id int, name text);
create table zero();
insert into zero default values; insert into zero default values; insert into zero default values;
create table made(id int generated always as identity, twice int generated always as (half * 2) stored, half int);
insert into made(half) select g from generate_series(1, 5) g;
create table long(id int, body text);
insert into long select g, repeat('a "long", text ', 300000) || g from generate_series(1, 2) g;
insert into long values (3, 'short');
create table parted(id int, k text) partition by list (k);
create table parted_a partition of parted for values in ('a');
create table parted_rest partition of parted default partition by range (id);
create table parted_low partition of parted_rest for values from (0) to (100);
create table parted_high partition of parted_rest for values from (100) to (1000);
insert into parted select g, case when g % 3 = 0 then 'a' else 'b' end from generate_series(1, 200) g;
create view looked as select 1; create materialized view seen as select 1 as one; create sequence counted;
create table kid(extra boolean) inherits (made);
insert into kid(id, half, extra) values (1, 7, true);
create table "Orders"(id int); insert into "Orders" values (1);
create schema old; create table old.single(v int); 
"#;

const TABLES: [&str; 9] = [
    "\"Sch.ema\".\"we;ird \"\"name\"\"\"",
    "public.types",
    "public.single",
    "public.nothing",
    "public.zero",
    "public.made",
    "public.long",
    "public.parted_low",
    "public.\"Orders\"",
];

/// A table as the server itself writes it.
struct Written {
    table: &'static str,
    csv: Vec<u8>,
    copy: Vec<u8>,
    json: Vec<Value>,
}

#[test]
fn rows_are_what_the_server_writes_from_every_format_and_compression() {
    let stage = Stage::new(SCRIPT);
    let written = |table: &'static str| Written {
        table,
        csv: stage.server(&format!("copy {table} to stdout (format csv, header)")),
        copy: stage.server(&format!("copy {table} to stdout")),
        json: objects(&stage.server(&format!("select row_to_json(whole) from only {table} whole"))),
    };
    let expected: Vec<Written> = TABLES.into_iter().map(written).collect();
    let parted = sorted(&stage.server("copy (select * from parted) to stdout (format csv, header)"));
    for (project, _) in WAYS {
        stage.backup(project);
        let latest = format!("{project}@latest");
        for Written { table, csv, copy, json } in &expected {
            assert!(stage.cat(&latest, table, "csv") == *csv, "{project}: {table} as csv");
            if ["gzip", "bzip2", "none", "plaingzip"].contains(&project) {
                continue;
            }
            assert!(stage.cat(&latest, table, "copy") == *copy, "{project}: {table} as copy");
            let ours = objects(&stage.cat(&latest, table, "json"));
            // Where the server embeds what isn't a number or a boolean, the values stand in the test of types.
            if *table == "public.types" {
                assert_eq!(ours.len(), json.len());
            } else {
                let without_made = |rows: &[Value]| rows.iter().cloned().map(ungenerated).collect::<Vec<_>>();
                assert!(ours == without_made(json), "{project}: {table} as json");
            }
        }
        assert_eq!(sorted(&stage.cat(&latest, "parted", "csv")), parted, "{project}: the partitions' rows are the parent's");
    }
    types_in_json(&stage);
    names(&stage);
}

fn sorted(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn objects(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A row without the generated column, which no dump holds.
fn ungenerated(mut row: Value) -> Value {
    row.as_object_mut().unwrap().remove("twice");
    row
}

fn types_in_json(stage: &Stage) {
    let text = String::from_utf8(stage.cat("zstd@latest", "types", "json")).unwrap();
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("{\"i2\":1,\"i8\":9223372036854775807,\"n\":123456789012345678901234567890.123456789,\"n2\":1.500,\"f\":1.1,"),
        "{first}"
    );
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[0]["b"], &rows[1]["b"], &rows[2]["b"]), (&json!(true), &json!(false), &Value::Null));
    assert_eq!((&rows[1]["n"], &rows[1]["f"], &rows[1]["d"]), (&json!("NaN"), &json!("NaN"), &json!("-Infinity")));
    assert_eq!((&rows[0]["bin"], &rows[0]["arr"], &rows[0]["bits"]), (&json!("\\x00ff0a5c"), &json!("{1,NULL,2}"), &json!("101")));
    assert_eq!(rows[0]["txt"], json!("{\"a\\\"b\",\"\n\",NULL,\"\",\"\\\\\"}"));
    assert_eq!(String::from_utf8(stage.cat("zstd@latest", "zero", "json")).unwrap(), "{}\n{}\n{}\n");
}

/// What names a table, and what is said where nothing or too much fits.
fn names(stage: &Stage) {
    let says = |code: i32, table: &str| stage.run(code, &["cat", "zstd@latest", table]).stderr;
    assert!(stage.cat("zstd@latest", "Orders", "csv") == b"id\n1\n", "as typed, where nothing else fits");
    assert!(stage.cat("zstd@latest", "PARTED_low", "csv").starts_with(b"id,k\n"));
    assert!(says(1, "single").contains("single could be any of 2 tables: old.single, public.single"));
    assert!(says(1, "singel").contains("near names are"));
    assert!(says(1, "looked").contains("public.looked is a view: the backup holds its definition, no rows"));
    assert!(says(1, "seen").contains("public.seen is a materialized view"));
    assert!(says(1, "counted").contains("public.counted is a sequence"));
    assert!(says(2, "a.b.c").contains("more than two parts"));
    let told = stage.run(0, &["cat", "zstd@latest", "parted"]).stderr;
    assert!(told.contains("public.parted is partitioned: these were the rows of its 3 partitions"), "{told}");
    assert!(stage.cat("zstd@latest", "kid", "csv").starts_with(b"id,half,extra\n"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let stage = Stage::new("create table big as select g, md5(g::text) t from generate_series(1, 200000) g");
    stage.backup("zstd");
    for format in ["csv", "json", "copy"] {
        let mut command = stage.rig.command();
        command.args(["cat", "latest", "big", "--format", format]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut first = [0; 20];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{format}");
    }
}

/// A file of statements on a full disk, and exit code 0: the next command in the script would go on with half of them.
#[test]
fn an_answer_that_can_not_be_written_is_a_failure() {
    let stage = Stage::new("create table t as select 7 as id");
    stage.backup("zstd");
    stage.backup("none");
    let (one, other) = ("zstd@latest", "none@latest");
    let answers: [&[&str]; 9] = [
        &["cat", one, "t"],
        &["show", one],
        &["show", one, "--json"],
        &["show", one, "--tables"],
        &["show", one, "--toc"],
        &["show", one, "--ddl", "t"],
        &["diff", one, other],
        &["diff", one, other, "--json"],
        &["list"],
    ];
    for words in answers {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = stage.rig.command().args(words).stdin(Stdio::null()).stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && told.contains("No space left on device"), "{words:?}: {:?} {told}", ended.status);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = stage.rig.command().args(words).stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]), "{words:?}: a reader that goes away is no failure");
    }
}

#[test]
fn what_holds_no_rows_says_so() {
    let stage = Stage::new("create table t as select 1 as id; create table skipped as select 2 as id");
    let projects = [
        stage.project("schema", "shop", "content = \"schema\""),
        stage.project("data", "shop", "content = \"data\""),
        stage.project("less", "shop", "exclude_table_data = [\"skipped\"]"),
        stage.project("inserts", "shop", "options = [\"--inserts\"]"),
        stage.project("latin", "shop", "options = [\"--encoding=LATIN1\"]"),
        stage.project("roles", "shop", "globals = true"),
    ];
    stage.cluster.psql_in("shop", "create table accents as select 'é' as word");
    stage.rig.configure(&projects.concat());
    for project in ["schema", "data", "less", "inserts", "latin", "roles"] {
        stage.backup(project);
    }
    let says = |project: &str, table: &str| stage.run(1, &["cat", &format!("{project}@latest"), table]).stderr;
    assert!(says("schema", "t").contains("the backup holds no rows of public.t (schema)"));
    assert!(says("less", "skipped").contains("the backup holds no rows of public.skipped (full exclude-table-data=\"skipped\")"));
    assert!(says("inserts", "t").contains("were dumped as INSERT commands"));
    assert_eq!(stage.cat("data@latest", "t", "csv"), b"id\n1\n");
    // COPY text is as it lies there, for psql that is told the encoding; what people and programs read is UTF-8.
    assert_eq!(stage.cat("latin@latest", "accents", "copy"), b"\xe9\n");
    assert_eq!(stage.cat("latin@latest", "accents", "csv"), "word\né\n".as_bytes());
    assert_eq!(stage.cat("latin@latest", "accents", "json"), "{\"word\":\"é\"}\n".as_bytes());
    assert!(stage.run(1, &["show", "data@latest", "--ddl", "t"]).stderr.contains("holds rows alone"));
    let globals = stage.rig.backups().into_iter().find(|row| row["content"] == "globals").unwrap();
    assert!(stage.run(1, &["cat", globals["id"].as_str().unwrap(), "t"]).stderr.contains("holds roles and tablespaces, no tables"));
}
