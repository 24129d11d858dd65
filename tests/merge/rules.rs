//! Merging rows into a table that is there: what each rule does to a real table, and that nothing happens where something is wrong.

use std::io::Write;
use std::time::{Duration, Instant};

use pgdumpd::error::{Cause, Failure, Result};
use pgdumpd::model::project::{Limits, Target};
use pgdumpd::ops::merge::{self, End, Means, Merged, Request, Room, Rule};
use pgdumpd::postgres::connection::Access;
use pgdumpd::postgres::session::Session;
use pgdumpd::postgres::version::Clients;
use pgdumpd::process::Cancel;
use pgdumpd::stream::gauge::Gauge;

use crate::cluster::{Cluster, Setup};

/// A server with the database `shop`.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    cancel: Cancel,
}

impl Place {
    pub(crate) fn new(sql: &str) -> Self {
        let cluster = Setup::default().start();
        cluster.psql("create database shop");
        cluster.psql_in("shop", sql);
        Self { cluster, cancel: Cancel::new() }
    }

    pub(crate) fn ask(&self, sql: &str) -> String {
        self.cluster.psql_in("shop", sql)
    }

    pub(crate) fn merge_as(&self, role: &str, request: &Request, feed: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<Merged> {
        let target = Target::Url(self.cluster.url_as(role, "shop"));
        let limits = Limits { lock_wait: Duration::from_millis(500), ..Limits::default() };
        let access = Access::new(&target, None, limits.connect, &|_| None).expect("access");
        let clients = Clients::find(None, &|name| std::env::var(name).ok()).expect("clients");
        merge::merge(
            Means { clients: &clients, access: &access, limits: &limits, cancel: &self.cancel, gauge: &Gauge::new() },
            request,
            &mut |_, sink| feed(sink),
        )
    }

    pub(crate) fn merge(&self, request: &Request, rows: &str) -> Result<Merged> {
        self.merge_as("postgres", request, &mut |sink| sink.write_all(rows.as_bytes()).map_err(|error| Failure::from_io("feeding", error)))
    }

    pub(crate) fn refused(&self, request: &Request, rows: &str) -> String {
        let failure = self.merge(request, rows).expect_err("refused");
        format!("{}: {} ({})", failure.cause, failure.message, failure.hint.unwrap_or_default())
    }
}

pub(crate) fn request(table: &str, columns: &[&str], rule: Rule) -> Request {
    Request {
        database: "shop".into(),
        schema: "public".into(),
        table: table.into(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        others: Vec::new(),
        rows: None,
        room: None,
        encoding: None,
        rule,
        key: Vec::new(),
        end: End::Commit,
    }
}

pub(crate) fn counts(merged: &Merged) -> (u64, u64, u64, u64) {
    (merged.rows, merged.inserted, merged.updated, merged.skipped)
}

const ITEMS: &str = "create table items (id int primary key, name text, price numeric);
    insert into items values (1, 'one', 1.0), (2, 'two', 2), (3, 'three', null)";

/// Row 1 is equal but for its digits, 2 is equal, 3 differs, 4 and 5 are new.
const ROWS: &str = "1.00\tone\t1\n2\ttwo\t2\n3\tdrei\t3\n4\tfour\t4\n\\N\tt\\tab\\nline\t5\n";

#[test]
fn each_rule_does_what_it_says_and_counts_it() {
    let columns = ["price", "name", "id"];
    let place = Place::new(ITEMS);
    let all = || {
        place.ask("select string_agg(id || ':' || coalesce(name, '-') || ':' || coalesce(price::text, '-'), ',' order by id) from items")
    };
    let before = all();
    let told = place.refused(&request("items", &columns, Rule::Error), ROWS);
    assert_eq!(
        told,
        "refused: 3 of the backup's rows are in public.items already, by id: id=1; id=2; id=3 (nothing was merged; --on-conflict skip leaves those rows as they are, update makes them the backup's)"
    );
    assert_eq!(all(), before);

    let merged = place.merge(&request("items", &columns, Rule::Skip), ROWS).expect("merged");
    assert_eq!((counts(&merged), merged.warnings.len(), merged.unchanged), ((5, 2, 0, 3), 0, 0), "{merged:?}");
    assert_eq!(all(), "1:one:1.0,2:two:2,3:three:-,4:four:4,5:t\tab\nline:-");

    let merged = place.merge(&request("items", &columns, Rule::Update), ROWS).expect("merged");
    assert_eq!((counts(&merged), merged.unchanged), ((5, 0, 2, 3), 3), "1.0 became 1.00, and three drei");
    assert_eq!(all(), "1:one:1.00,2:two:2,3:drei:3,4:four:4,5:t\tab\nline:-");
    assert_eq!(
        counts(&place.merge(&request("items", &columns, Rule::Update), ROWS).expect("merged")),
        (5, 0, 0, 5),
        "a second time changes nothing"
    );

    place.ask("truncate items");
    assert_eq!(counts(&place.merge(&request("items", &columns, Rule::Error), ROWS).expect("merged")), (5, 5, 0, 0));
    assert_eq!(counts(&place.merge(&request("items", &columns, Rule::Error), "").expect("merged")), (0, 0, 0, 0));
}

#[test]
fn hostile_names_are_names() {
    let place = Place::new(
        "create schema \"s.\"\" --\"; create table \"s.\"\" --\".\"t'; drop table x; --\" (\"i\"\"d\" int, \"a b\\\" text, unique (\"i\"\"d\", \"a b\\\"));
         insert into \"s.\"\" --\".\"t'; drop table x; --\" values (1, 'x')",
    );
    let mut request = request("t'; drop table x; --", &["i\"d", "a b\\"], Rule::Skip);
    request.schema = "s.\" --".into();
    request.key = vec!["a b\\".into(), "i\"d".into()];
    assert_eq!(counts(&place.merge(&request, "1\tx\n2\ty\n").expect("merged")), (2, 1, 0, 1));
    request.rule = Rule::Update;
    assert_eq!(counts(&place.merge(&request, "1\tx\n3\ty\n").expect("merged")), (2, 1, 0, 1), "the key is all there is");
    request.rule = Rule::Error;
    assert!(place.refused(&request, "1\tx\n").contains("i\"d=1, a b\\=x"));
}

#[test]
fn a_key_must_be_one() {
    let place = Place::new(
        "create table plain (id int, v text); create index on plain (id); create unique index part on plain (id) where id > 5;
         create table loose (id int unique, code text unique, v text); insert into loose values (1, 'a', 'x')",
    );
    assert!(place.refused(&request("plain", &["id", "v"], Rule::Skip), "1\ta\n").contains("no primary key"));
    let by = |key: &str| Request { key: vec![key.to_owned()], ..request("plain", &["id", "v"], Rule::Skip) };
    assert!(place.refused(&by("id"), "1\ta\n").contains("no unique index on just (id)"));
    let loose = Request { key: vec!["code".into()], ..request("loose", &["id", "code", "v"], Rule::Update) };
    assert!(place.refused(&Request { key: vec!["v".into()], ..loose.clone() }, "").contains("it has: --key code; --key id"));
    assert!(place.refused(&loose, "2\t\\N\tx\n").contains("1 rows of the backup have no value in the key (code)"));
    assert!(place.refused(&loose, "2\tb\tx\n3\tb\ty\n").contains("the same key more than once in public.loose: code=b"));
    assert_eq!(counts(&place.merge(&loose, "9\ta\ty\n2\tb\tz\n").expect("merged")), (2, 1, 1, 0));
    assert_eq!(place.ask("select string_agg(id || code || v, ',' order by id) from loose"), "2bz,9ay");
    let told = place.refused(&loose, "2\tc\tz\n");
    assert!(told.contains("loose_id_key") || told.contains("duplicate key"), "another unique index still holds: {told}");
}

#[test]
fn columns_are_matched_by_name_and_told() {
    let place = Place::new(
        "create table t (gone int, id int generated always as identity primary key, sum int generated always as (n * 2) stored, n int,
           extra text not null default 'd', note text);
         alter table t drop column gone; insert into t (n) values (1), (2);
         create table strict (id int primary key, must text not null)",
    );
    let merged = place.merge(&request("t", &["n", "id"], Rule::Update), "10\t1\n70\t7\n").expect("merged");
    assert_eq!(counts(&merged), (2, 1, 1, 0));
    assert!(merged.warnings.iter().any(|words| words.contains("default in extra, note")), "{merged:?}");
    assert!(merged.warnings.iter().any(|words| words.contains("t_id_seq was moved on to 7")), "{merged:?}");
    assert_eq!(place.ask("insert into t (n) values (0) returning id"), "8");
    assert_eq!(
        place.ask("select string_agg(concat_ws(':', id, sum, n, extra), ',' order by id) from t"),
        "1:20:10:d,2:4:2:d,7:140:70:d,8:0:0:d"
    );
    let computed = place.merge(&request("t", &["id", "sum", "n"], Rule::Skip), "9\t999\t5\n").expect("merged");
    assert!(computed.warnings.iter().any(|words| words.contains("computes sum")), "{computed:?}");
    assert_eq!(place.ask("select sum from t where id = 9"), "10");
    assert!(place.refused(&request("t", &["id", "x", "y"], Rule::Skip), "").contains("lacks columns that the backup's rows have: x, y"));
    assert!(
        place
            .refused(&request("strict", &["id"], Rule::Skip), "1\n")
            .contains("need a value, and the backup's rows have none for them: must")
    );
    assert!(place.refused(&request("nosuch", &["id"], Rule::Skip), "").starts_with("not-found: "));
}

#[test]
fn whatever_fails_leaves_the_table_as_it_was() {
    let place = Place::new(
        "create table parent (id int primary key); insert into parent values (1);
         create table child (id int primary key, parent int references parent deferrable initially deferred, check (id < 100));
         insert into child values (1, 1); create view v as select 1 id;
         create table hidden (id int primary key); alter table hidden enable row level security; create role reader login;
         grant all on all tables in schema public to reader",
    );
    let child = request("child", &["id", "parent"], Rule::Update);
    let all = || place.ask("select string_agg(id || ':' || parent, ',' order by id) from child");
    assert!(place.refused(&child, "2\t1\n3\t9\n").contains("foreign key"), "a deferred one");
    assert!(place.refused(&child, "2\t1\n100\t1\n").contains("check"));
    let told = place.refused(&child, "2\t1\nthree\t1\n");
    assert!(told.contains("the server refused the rows") && told.contains("three"), "{told}");
    let damaged = place.refused(&child, "2\t1\n\\.\ndrop table parent;\n");
    assert!(damaged.starts_with("damaged: ") && damaged.contains("end mark"), "{damaged}");
    assert!(place.refused(&child, "2\t1\n3").contains("in the middle of a line"));
    assert!(
        place
            .refused(&Request { rows: Some(2), ..child.clone() }, "2\t1\n")
            .contains("1 rows of public.child arrived, and the backup holds 2")
    );
    let broken = |sink: &mut dyn Write| {
        sink.write_all(b"2\t1\n").map_err(|error| Failure::from_io("x", error))?;
        Err(Failure::new(Cause::Damaged, "the archive breaks off"))
    };
    assert_eq!(place.merge_as("postgres", &child, &mut { broken }).expect_err("refused").message, "the archive breaks off");
    assert!(place.refused(&request("v", &["id"], Rule::Skip), "1\n").contains("is not a table"));
    let hidden = request("hidden", &["id"], Rule::Skip);
    let failure = place.merge_as("reader", &hidden, &mut |_| Ok(())).expect_err("refused");
    assert!(failure.message.contains("row security applies to the role \"reader\""), "{failure}");
    assert_eq!(all(), "1:1");
    assert_eq!(place.ask("select count(*) from parent"), "1");
}

#[test]
fn a_connection_that_is_killed_midway_leaves_the_table_as_it_was() {
    let place = Place::new(ITEMS);
    let items = request("items", &["id", "name", "price"], Rule::Update);
    let mut lines = 0;
    let failure = place
        .merge_as("postgres", &items, &mut |sink| {
            for number in 0..2_000_000 {
                if number == 1000 {
                    sink.flush().map_err(|error| Failure::from_io("flushing", error))?;
                    let ended =
                        place.ask("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgdumpd merge'");
                    assert_eq!(ended, "t");
                }
                lines = number;
                sink.write_all(format!("{number}\tx\t1\n").as_bytes()).map_err(|error| Failure::from_io("feeding", error))?;
            }
            Ok(())
        })
        .expect_err("the connection broke");
    assert!(matches!(failure.cause, Cause::ServerShutdown | Cause::ConnectionLost), "{failure:?}");
    let says_so =
        |failure: &Failure| failure.hint.as_deref().is_some_and(|hint| hint.starts_with("nothing was merged, the table is as it was"));
    assert!(says_so(&failure) && failure.message.starts_with("merging into public.items: "), "{failure:?}");
    assert!(lines < 1_999_999, "it was noticed on the way");
    assert_eq!(place.ask("select count(*) || min(name) from items"), "3one");
    place.cancel.cancel(pgdumpd::process::CancelReason::Cancelled);
    assert_eq!(place.merge(&items, "9\tx\t1\n").expect_err("cancelled").cause, Cause::Interrupted);
}

#[test]
fn a_table_in_use_is_waited_for_no_longer_than_said() {
    let place = Place::new(ITEMS);
    let mut holder = place.cluster.psql_command("shop");
    let holder = holder.args(["-c", "begin; lock table items; select pg_sleep(30)"]).spawn();
    let mut holder = holder.expect("psql");
    while place.ask("select count(*) from pg_locks where relation = 'items'::regclass and granted") == "0" {
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    let failure = place.merge(&request("items", &["id", "name", "price"], Rule::Skip), "9\tx\t1\n").expect_err("locked");
    assert_eq!(failure.cause, Cause::LockTimeout, "{failure:?}");
    assert!(failure.message.starts_with("the merge waited 500ms for public.items, which is held by process "), "{failure:?}");
    assert!(failure.message.ends_with(" of postgres (psql) on public.items: begin; lock table items; select pg_sleep(30)"), "{failure:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    holder.kill().expect("killed");
    holder.wait().expect("ended");
}

#[test]
fn partitions_triggers_and_odd_types_are_taken_as_they_come() {
    let place = Place::new(
        "create table events (id int, day date, data json, at point, primary key (id, day)) partition by range (day);
         create table events_1 partition of events for values from ('2026-01-01') to ('2026-02-01');
         create table events_2 partition of events for values from ('2026-02-01') to ('2026-03-01');
         insert into events values (1, '2026-01-05', '{\"a\": 1}', '(1,2)'), (2, '2026-02-05', '{\"a\":1}', '(1,2)');
         create table log (what text); create function note() returns trigger language plpgsql as
           $$ begin insert into log values (tg_op); if new.id = 99 then return null; end if; return new; end $$;
         create trigger noted before insert or update on events for each row execute function note()",
    );
    let rows = "1\t2026-01-05\t{\"a\": 1}\t(1,2)\n2\t2026-02-05\t{\"a\": 1}\t(1,3)\n3\t2026-02-06\t\\N\t\\N\n99\t2026-02-06\t\\N\t\\N\n";
    let merged = place.merge(&request("events", &["id", "day", "data", "at"], Rule::Update), rows).expect("merged");
    assert_eq!(counts(&merged), (4, 1, 1, 2), "{merged:?}");
    assert!(merged.warnings.iter().any(|words| words.contains("triggers fired as they always do: noted")), "{merged:?}");
    assert!(merged.warnings.iter().any(|words| words.contains("2 rows were missing, and 1 were inserted")), "{merged:?}");
    assert_eq!(place.ask("select string_agg(what, ',' order by what) from log"), "INSERT,INSERT,UPDATE", "found by its own search path");
    assert_eq!(place.ask("select data || ' ' || at from events_2 where id = 2"), "{\"a\": 1} (1,3)");
}

#[test]
fn what_a_table_takes_on_the_disk_is_known_with_its_partitions() {
    let place = Place::new(
        "create table plain (id int primary key, v text); insert into plain select g, md5(g::text) from generate_series(1, 10000) g;
         create table parts (id int, v text, primary key (id)) partition by range (id);
         create table parts_1 partition of parts for values from (0) to (5000);
         create table parts_2 partition of parts for values from (5000) to (20000);
         insert into parts select id, v from plain",
    );
    let access = Access::new(&Target::Url(place.cluster.url("shop")), None, Duration::from_secs(30), &|_| None).expect("access");
    let clients = Clients::find(None, &|name| std::env::var(name).ok()).expect("clients");
    let session = Session::open(clients.newest(), &access, None, "test", &Limits::default(), &place.cancel);
    let mut session = session.expect("a session");
    let sum = "select sum(pg_total_relation_size(oid)) from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace";
    for table in ["plain", "parts"] {
        let there: u64 = place.ask(&format!("{sum} and relname like '{table}%'")).parse().expect("bytes");
        assert_eq!(session.table_size("public", table).expect("a size"), there, "{table}");
    }
    // More than any disk has: what is there is some of it, and not nearly all.
    let room = Some(Room { staged: 0, merged: 1 << 60 });
    for rule in [Rule::Error, Rule::Skip, Rule::Update] {
        let told = place.refused(&Request { room, ..request("plain", &["id", "v"], rule) }, "0\tx\n");
        assert!(told.starts_with("space: the server's disk has "), "{told}");
    }
    let room = Some(Room { staged: 1 << 20, merged: 1 << 20 });
    assert_eq!(
        counts(&place.merge(&Request { room, ..request("plain", &["id", "v"], Rule::Error) }, "0\tx\n").expect("merged")),
        (1, 1, 0, 0)
    );
}

#[test]
fn many_rows_are_merged_in_flat_memory() {
    let place = Place::new(
        "create table big (id int primary key, v text); insert into big select g, md5(g::text) from generate_series(1, 200000, 2) g",
    );
    // A hundred megabytes of rows; the other tests of this process need little.
    let before = resident();
    let merged = place
        .merge_as("postgres", &Request { rows: Some(200_000), ..request("big", &["id", "v"], Rule::Update) }, &mut |sink| {
            for number in 1..=200_000 {
                let line = format!("{number}\t{}\n", "x".repeat(500));
                sink.write_all(line.as_bytes()).map_err(|error| Failure::from_io("feeding", error))?;
            }
            Ok(())
        })
        .expect("merged");
    assert_eq!(counts(&merged), (200_000, 100_000, 100_000, 0));
    assert_eq!(place.ask("select count(*) || ' ' || count(distinct v) from big"), "200000 1");
    assert!(resident() < before + (32 << 10), "{} KiB before, {} after", before, resident());
}

/// Peak memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
