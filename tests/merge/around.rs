//! What stands around a table: what its role may not do, and what is set for the role or the database. The one is told before a row is read,
//! the other changes nothing.

use std::io::Write;

use pgdumpd::error::{Cause, Failure, Result};
use pgdumpd::ops::merge::{Request, Rule};

use crate::rules::{Place, counts, request};

/// Rows that must not be asked for.
fn unread(_: &mut dyn Write) -> Result<()> {
    panic!("the rows were read before it was known that nothing comes of them");
}

fn rows(text: &str) -> impl FnMut(&mut dyn Write) -> Result<()> {
    move |sink| sink.write_all(text.as_bytes()).map_err(|error| Failure::from_io("feeding", error))
}

#[test]
fn what_the_role_may_not_do_is_told_before_a_row_is_read() {
    let place = Place::new(
        "create table t (id serial primary key, v text, w text); insert into t (v) values ('one'); create role app login;
         create schema hidden; create table hidden.t (id int primary key); grant all on hidden.t to app; create role mayflower",
    );
    let told = |request: &Request| {
        let failure = place.merge_as("app", request, &mut unread).expect_err("refused");
        assert_eq!(failure.cause, Cause::Refused, "{failure}");
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("with --user")), "{failure:?}");
        failure.message
    };
    let (skip, update) = (request("t", &["id", "v"], Rule::Skip), request("t", &["id", "v"], Rule::Update));
    assert_eq!(
        told(&update),
        "the role app lacks rights that a merge into public.t takes: UPDATE or DELETE on it, to lock it; SELECT on it; INSERT on it; \
         UPDATE on it; SELECT on the sequence public.t_id_seq"
    );
    place.ask("grant select, insert (id, v), delete on t to app");
    assert!(told(&skip).ends_with("takes: SELECT on the sequence public.t_id_seq"));
    place.ask("grant select on sequence t_id_seq to app");
    assert!(told(&update).ends_with("takes: UPDATE on it"));
    assert!(told(&Request { schema: "hidden".into(), ..request("t", &["id"], Rule::Skip) }).ends_with("takes: USAGE on its schema"));
    place.ask("revoke temporary on database shop from public");
    assert!(told(&skip).ends_with("takes: TEMPORARY on the database"));
    // What is granted is enough, and no more is asked for than what is done.
    place.ask("grant temporary on database shop to app");
    let merged = place.merge_as("app", &skip, &mut rows("1\teins\n")).expect("merged");
    assert_eq!(counts(&merged), (1, 0, 0, 1));
    place.ask("grant update (v) on t to app");
    assert_eq!(counts(&place.merge_as("app", &update, &mut rows("1\teins\n")).expect("merged")), (1, 0, 1, 0));
    // A role that is another one as soon as it is in has that one's rights.
    place.ask("grant mayflower to app; alter role app set role = mayflower");
    assert!(told(&skip).starts_with("the role mayflower lacks rights"));
    place.ask("grant all on t, t_id_seq to mayflower; revoke all on t, t_id_seq from app");
    place.ask("grant temporary on database shop to mayflower");
    assert_eq!(counts(&place.merge_as("app", &skip, &mut rows("9\tneun\n")).expect("merged")), (1, 1, 0, 0));
}

#[test]
fn what_is_set_for_the_role_or_the_database_changes_nothing_of_a_merge() {
    let place = Place::new(
        "create schema evil; create table evil.pgdumpd_rows (x int); create table noted (what text); grant all on schema evil to public;
         create function evil.note() returns trigger language plpgsql as
           $$ begin
                perform pg_catalog.pg_sleep(0.3);
                insert into public.noted values (current_setting('datestyle') || ' ' || date '2026-11-30');
                return new;
              end $$;
         create table parent (id int primary key); insert into parent values (1);
         create table t (id int primary key, parent int references parent, doc xml, tags text[], at date, path text default 'x\\y');
         create trigger note before insert on t for each row execute function evil.note();
         insert into t values (1, 1, '<a/>', '{a}', '2026-01-02'); truncate noted;
         create role boss superuser login",
    );
    for setting in [
        "session_replication_role = replica",
        "xmloption = document",
        "array_nulls = off",
        "search_path = evil",
        "datestyle = 'SQL, DMY'",
        "standard_conforming_strings = off",
        // Shorter than the trigger takes, and long enough for the statement that overrules it.
        "statement_timeout = 250",
        "lock_timeout = 1",
        "idle_in_transaction_session_timeout = 1",
        "default_transaction_isolation = serializable",
        "row_security = off",
        "client_encoding = LATIN1",
        "intervalstyle = sql_standard",
        "transform_null_equals = on",
    ] {
        place.ask(&format!("alter role boss set {setting}"));
    }
    let all = request("t", &["id", "parent", "doc", "tags", "at"], Rule::Update);
    let failure = place.merge_as("boss", &all, &mut rows("2\t9\t\\N\t\\N\t\\N\n")).expect_err("refused");
    assert!(failure.message.contains("foreign key"), "{failure}");
    let merged = place
        .merge_as("boss", &all, &mut rows("1\t1\ttext <b/> and ü\t{NULL,a}\t2026-03-04\n2\t1\t\\N\t{NULL}\t2026-03-04\n"))
        .expect("merged");
    assert_eq!(counts(&merged), (2, 1, 1, 0));
    assert!(merged.warnings.iter().any(|words| words.starts_with("session_replication_role is replica for this role here")), "{merged:?}");
    assert_eq!(place.ask("select tags[1] is null and at = '2026-03-04' and doc::text = 'text <b/> and ü' from t where id = 1"), "t");
    assert_eq!(place.ask("select tags[1] is null from t where id = 2"), "t");
    assert_eq!(place.ask("select string_agg(what, ',') from noted"), "SQL, DMY 30/11/2026", "a trigger sees what it always sees");
    // Who may not lift it is told so.
    place.ask("create role app login; grant all on all tables in schema public to app; alter database shop set session_replication_role = replica");
    let failure = place.merge_as("app", &all, &mut unread).expect_err("refused");
    assert!(failure.message.contains("session_replication_role is replica for the role app"), "{failure}");
    assert_eq!(place.ask("select count(*) from t"), "2");
}
