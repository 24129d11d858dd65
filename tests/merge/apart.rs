//! Partitions that order their columns each in its own way, and what a server says against single rows.

use pgdumpd::ops::merge::Rule;

use crate::command::Shop;
use crate::rules::{Place, request};

const PARTED: &str = "create table sale (day int, id int, what text, primary key (id, day)) partition by range (day);
    create table sale_1 partition of sale for values from (0) to (10);
    create table sale_2 (what text, gone int, id int not null, day int not null); alter table sale_2 drop column gone;
    alter table sale attach partition sale_2 for values from (10) to (20); create table sale_3 partition of sale default;
    insert into sale select g % 25, g, E'what\t' || g from generate_series(1, 1000) g";

#[test]
fn partitions_with_their_columns_in_another_order_are_merged_as_one_table() {
    for shape in ["", "format = \"tar\"\ncompression = \"none\"", "format = \"plain\"", "format = \"directory\""] {
        let shop = Shop::new("", shape);
        shop.ask(PARTED);
        shop.run(0, &["backup", "shop"]);
        shop.ask("create table before as table sale; delete from sale where id < 500; update sale set what = 'spoilt' where id > 990");
        assert_eq!(shop.counts("sale", "skip"), serde_json::json!([1000, 499, 0, 501]), "{shape}");
        assert_eq!(shop.counts("sale", "update"), serde_json::json!([1000, 0, 10, 990]), "{shape}");
        let differ = "select count(*) from (select day, id, what from before except select day, id, what from sale) d";
        assert_eq!(shop.ask(&format!("{differ}; select count(*) from sale")), "0\n1000", "{shape}");
        // All or nothing: a row of the last partition that can't be merged keeps those of the first away.
        shop.ask(
            "delete from sale; create function no() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$;
            create trigger no before insert on sale for each row when (new.id = 24) execute function no()",
        );
        let told = shop.merge(1, "sale", "skip", &[]).stderr;
        assert!(told.contains("merging into public.sale: not this one") && told.contains("the table is as it was"), "{told}");
        assert_eq!(shop.ask("select count(*) from sale"), "0", "{shape}");
        // Rows for people stand one below another in one order.
        let ended = shop.run(1, &["cat", "shop@latest", "sale"]);
        assert!(ended.stderr.contains("order their columns in different ways"), "{ended:?}");
    }
}

#[test]
fn what_the_server_has_against_a_row_is_told_with_the_table_and_what_to_do() {
    let place = Place::new(
        "create table parent (id int primary key); create table t (id int primary key, code text unique, p int references parent, r int4range,
           exclude using gist (r with &&)); insert into t values (1, 'a', null, '[1,5)'), (2, 'b', null, null);
         create table ruled (id int primary key); create rule also as on insert to ruled do also notify n;
         create table always (code text primary key, id int generated always as identity, v text); insert into always (code, v) values ('a', 'x')",
    );
    let columns = ["id", "code", "p", "r"];
    let told = |table: &str, columns: &[&str], rule: Rule, rows: &str| {
        let told = place.refused(&request(table, columns, rule), rows);
        let begin = format!("merging into public.{table}: ");
        assert!(told.contains(&begin) && told.contains("(nothing was merged, the table is as it was"), "{told}");
        told
    };
    let foreign = told("t", &columns, Rule::Skip, "3\tc\t9\t\\N\n");
    assert!(foreign.contains("merge the table that it refers to first"), "{foreign}");
    for (rule, rows) in [(Rule::Update, "1\tb\t\\N\t\\N\n"), (Rule::Skip, "3\ta\t\\N\t\\N\n"), (Rule::Skip, "3\tc\t\\N\t[4,6)\n")] {
        assert!(told("t", &columns, rule, rows).contains("the same value under another key"), "{rows}");
    }
    assert!(told("ruled", &["id"], Rule::Skip, "1\n").contains("DISABLE RULE"));
    told("t", &columns, Rule::Skip, "x\tc\t\\N\t\\N\n");
    assert_eq!(place.ask("select count(*), string_agg(code, ',' order by code) from t; select count(*) from ruled"), "2|a,b\n0");
    // What only the server gives stays, and that is said.
    let merged = place.merge(&request("always", &["code", "id", "v"], Rule::Update), "a\t7\ty\nb\t8\tz\n").expect("merged");
    assert!(merged.warnings.iter().any(|words| words.starts_with("rows that are there keep their id: ")), "{merged:?}");
    assert_eq!(place.ask("select string_agg(code || id || v, ',' order by code) from always"), "a1y,b8z");
    let merged = place.merge(&request("always", &["code", "id", "v"], Rule::Skip), "b\t9\tz\n").expect("merged");
    assert!(!merged.warnings.iter().any(|words| words.contains("keep their")), "{merged:?}");
}
