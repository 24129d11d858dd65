//! What the role can't read, and row security, told before the dump.

use pgdumpd::model::dump::{Content, DumpShape};

use crate::cluster::Cluster;
use crate::support::{access, dump, open};

fn names(list: &[pgdumpd::postgres::rights::Unreadable]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn f12_every_unreadable_object_is_named_with_the_grant_that_mends_it() {
    let cluster = Cluster::start();
    cluster.psql("create role \"Back Up\" login");
    cluster.psql(
        "create table public.open (n int); grant select on public.open to public; create table \"Odd.Table\" (n int);
         create schema hidden; create table hidden.t (n serial); create view hidden.v as select 1; select lo_create(4711)",
    );
    let access = access(&cluster.url_as("Back Up", "postgres"));
    let mut session = open(&access, None).unwrap();
    let full = DumpShape::default();
    let missing = session.unreadable(&full).unwrap();
    let expected = ["schema hidden", "sequence hidden.t_n_seq", "table hidden.t", "table public.\"Odd.Table\"", "large object 4711"];
    let mut sorted = names(&missing);
    sorted.sort_unstable();
    let mut wanted = expected;
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert!(!dump(&access, &session, &full).exit.is_success(), "pg_dump can read what was called unreadable");
    let only_definitions = DumpShape { content: Content::Schema, ..DumpShape::default() };
    assert_eq!(names(&session.unreadable(&only_definitions).unwrap()).len(), 3);
    for object in &missing {
        cluster.psql(&object.grant);
    }
    assert_eq!(names(&session.unreadable(&full).unwrap()), [""; 0]);
    let finished = dump(&access, &session, &full);
    assert!(finished.exit.is_success(), "{}", finished.stderr);
}

#[test]
fn what_a_selection_leaves_out_need_not_be_readable() {
    let cluster = Cluster::start();
    cluster.psql("create role reader login; create schema \"S\"; create schema two; create schema three;
        create table public.a (n int); create table public.b (n serial); create table \"S\".a (n int); create table two.a (n int);
        create table two.\"x.y\" (n int); create table three.dup (n int); create table two.dup (n int); select lo_create(1);
        grant usage on schema \"S\", two to reader; grant select on public.a, two.dup, two.\"x.y\" to reader; alter role reader set search_path = two, public");
    let access = access(&cluster.url_as("reader", "postgres"));
    let mut session = open(&access, None).unwrap();
    let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let tables = |words: &[&str]| DumpShape { include_tables: list(words), ..DumpShape::default() };
    // What is selected, and whether the dump can be made; pg_dump has to agree.
    let cases = [
        (tables(&["public.a"]), true),
        (tables(&["PUBLIC.A"]), true),
        (tables(&["two.\"x.y\""]), true),
        (tables(&["two.x?y"]), true),
        (tables(&["public.?"]), false),
        (tables(&["public.b"]), false),
        (tables(&["a"]), false),  // two.a hides public.a on the role's search path
        (tables(&["dup"]), true), // three.dup is not on the path
        (DumpShape { exclude_tables: list(&["public.b"]), ..tables(&["public.*"]) }, false), // the sequence matches by itself
        (DumpShape { exclude_tables: list(&["public.b*"]), ..tables(&["public.*"]) }, true),
        (DumpShape { include_schemas: list(&["public"]), ..DumpShape::default() }, false),
        (
            DumpShape { include_schemas: list(&["public"]), exclude_tables: list(&["public.b", "public.b_n_seq"]), ..DumpShape::default() },
            true,
        ),
        (DumpShape { include_schemas: list(&["\"S\""]), exclude_tables: list(&["\"S\".a"]), ..DumpShape::default() }, true),
        (DumpShape { exclude_schemas: list(&["t*", "\"S\""]), ..tables(&["public.a"]) }, true),
        (DumpShape { exclude_schemas: list(&["t*", "\"S\""]), exclude_tables: list(&["public.b*"]), ..DumpShape::default() }, false),
        (
            DumpShape {
                exclude_schemas: list(&["t*", "\"S\""]),
                exclude_tables: list(&["public.b*"]),
                options: list(&["--no-large-objects"]),
                ..DumpShape::default()
            },
            true,
        ),
    ];
    for (shape, can) in cases {
        let missing = session.unreadable(&shape).unwrap();
        assert_eq!(missing.is_empty(), can, "{:?}: {missing:?}", shape.selection());
        let finished = dump(&access, &session, &shape);
        assert_eq!(finished.exit.is_success(), can, "{:?}: {}", shape.selection(), finished.stderr);
    }
    assert!(!dump(&access, &session, &tables(&["public.a", "typo"])).exit.is_success(), "a name that matches nothing was let pass");
}

#[test]
fn f11_row_security_is_named_before_the_dump() {
    let cluster = Cluster::start();
    cluster.psql(
        "create role reader login; create table t (n int); alter table t enable row level security;
        create policy half on t using (n % 2 = 0); insert into t select generate_series(1, 100); grant select on t to reader;
        create table mine (n int); alter table mine owner to reader; alter table mine enable row level security",
    );
    let access = access(&cluster.url_as("reader", "postgres"));
    let mut session = open(&access, None).unwrap();
    let full = DumpShape::default();
    assert_eq!(session.row_security(&full).unwrap(), ["public.t"]);
    assert!(session.unreadable(&full).unwrap().is_empty());
    assert!(!dump(&access, &session, &full).exit.is_success());
    let without_rows = DumpShape { exclude_table_data: vec!["t".into()], ..DumpShape::default() };
    assert_eq!(session.row_security(&without_rows).unwrap(), [""; 0]);
    assert!(dump(&access, &session, &without_rows).exit.is_success());
    assert!(!session.reads_role_passwords().unwrap());
    cluster.psql("alter role reader bypassrls");
    assert_eq!(session.row_security(&full).unwrap(), [""; 0]);
    assert!(dump(&access, &session, &full).exit.is_success());
}
