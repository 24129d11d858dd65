//! `diff`: objects that came, went or changed, rows that moved; across databases and for backups without rows.

use serde_json::{Value, json};

use crate::stage::Stage;

const SCRIPT: &str = "
create role another;
create table kept(id int, name text); insert into kept select g, 'n' from generate_series(1, 10) g;
create table grows(id int); insert into grows select g from generate_series(1, 5) g;
create table goes(id int primary key); insert into goes values (1), (2);
create table alters(id int);
create table given(id int);
create table replaced(id int, word text); insert into replaced values (1, 'a');
create view looks as select 1 as one;
create index kept_i on kept(id);
create function f() returns int language sql as 'select 1'; create function f(int) returns int language sql as 'select 1';
";

const CHANGE: &str = "
insert into grows select g from generate_series(6, 12) g; drop table goes; alter table alters add more text;
alter table given owner to another; create or replace view looks as select 2 as one; drop index kept_i; create table \"New Table\"(id int);
insert into \"New Table\" values (1); update replaced set word = 'longer'; drop function f(int);
";

fn ids(stage: &Stage, project: &str) -> Vec<String> {
    let rows = stage.rig.backups();
    rows.iter().filter(|row| row["project"] == project).rev().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn objects(difference: &Value, group: &str) -> Vec<String> {
    let object = |object: &Value| format!("{} {}", object["kind"].as_str().unwrap(), object["name"].as_str().unwrap());
    difference[group].as_array().unwrap().iter().map(object).collect()
}

#[test]
fn what_came_went_changed_and_moved_is_told() {
    let stage = Stage::new(SCRIPT);
    for project in ["zstd", "tar", "plain"] {
        stage.backup(project);
        stage.backup(project);
    }
    let same = ids(&stage, "zstd");
    let told = stage.run(0, &["diff", &same[0], &same[1], "--exit-code"]).stdout;
    assert!(told.ends_with("no difference\n"), "{told}");
    stage.cluster.psql_in("shop", CHANGE);
    for project in ["zstd", "tar", "plain"] {
        stage.backup(project);
        let ids = ids(&stage, project);
        let difference = stage.run(0, &["diff", &ids[0], &ids[2], "--json"]).json()["difference"].clone();
        stage.run(1, &["diff", &ids[0], &ids[2], "--exit-code"]);
        let moved: Vec<_> =
            difference["tables"].as_array().unwrap().iter().map(|t| (&t["name"], &t["before"]["rows"], &t["after"]["rows"])).collect();
        let null = Value::Null;
        let expected = [
            (&json!("New Table"), &null, &json!(1)),
            (&json!("goes"), &json!(2), &null),
            (&json!("grows"), &json!(5), &json!(12)),
            (&json!("replaced"), &json!(1), &json!(1)),
        ];
        assert_eq!(moved, expected, "{project}");
        if project == "plain" {
            assert!(difference["notes"][0].as_str().unwrap().contains("definitions are not compared"), "{difference}");
            continue;
        }
        assert_eq!(objects(&difference, "came"), ["TABLE New Table"], "{project}");
        assert_eq!(
            objects(&difference, "went"),
            ["CONSTRAINT goes goes_pkey", "FUNCTION f(integer)", "INDEX kept_i", "TABLE goes"],
            "{project}"
        );
        assert_eq!(objects(&difference, "changed"), ["TABLE alters", "TABLE given", "VIEW looks"], "{project}");
        assert_eq!((&difference["changed"][0]["what"], &difference["changed"][1]["what"]), (&json!(["definition"]), &json!(["owner"])));
        assert_eq!(difference["notes"], json!([]));
    }
    let ids = ids(&stage, "zstd");
    let told = stage.run(0, &["diff", &ids[0], &ids[2]]).stdout;
    for line in ["+ TABLE public.New Table", "- INDEX public.kept_i", "~ VIEW public.looks (definition)", "~ TABLE public.given (owner)"] {
        assert!(told.lines().any(|told| told == line), "{line} in {told}");
    }
    let row = told.lines().find(|line| line.starts_with("public.grows")).unwrap();
    assert!(row.split_whitespace().eq(["public.grows", "5", "12", "+7", "+17"]), "{row}");
}

#[test]
fn backups_of_other_databases_and_without_rows_compare() {
    let stage = Stage::new(SCRIPT);
    stage.cluster.psql("create database other");
    stage.cluster.psql_in("other", SCRIPT.split_once(';').unwrap().1);
    stage.cluster.psql("comment on database other is 'another one'; alter database other set work_mem = '5MB'");
    let schema = stage.project("schema", "other", "content = \"schema\"");
    stage.rig.configure(&[stage.project("zstd", "shop", ""), stage.project("other", "other", ""), schema].concat());
    for project in ["zstd", "other", "schema"] {
        stage.backup(project);
    }
    let difference = stage.run(0, &["diff", "zstd@latest", "other@latest", "--exit-code", "--json"]).json();
    assert_eq!(difference["difference"], json!({"came": [], "went": [], "changed": [], "tables": [], "notes": []}));
    stage.cluster.psql_in("other", "drop view looks");
    stage.backup("schema");
    let difference = stage.run(1, &["diff", "other@latest", "schema@latest", "--exit-code", "--json"]).json()["difference"].clone();
    assert_eq!(objects(&difference, "went"), ["VIEW looks"]);
    let notes = difference["notes"].to_string();
    assert!(notes.contains("different selections") && notes.contains("rows are not compared"), "{notes}");
}

/// Whoever goes from `pg_dump`'s own compression to another finds each table changed, if lengths are all that is looked at.
#[test]
fn what_pg_dump_has_compressed_itself_is_no_difference() {
    let stage = Stage::new("create table t as select g id, md5(g::text) from generate_series(1, 500) g");
    let folder = "format = \"directory\"\ncompression = \"native\"";
    stage.rig.configure(
        &[
            stage.project("zstd", "shop", ""),
            stage.project("native", "shop", "compression = \"native\""),
            stage.project("folder", "shop", folder),
        ]
        .concat(),
    );
    for project in ["zstd", "native", "folder"] {
        stage.backup(project);
    }
    for (one, other) in [("zstd", "native"), ("native", "zstd"), ("native", "folder"), ("zstd", "folder"), ("native", "native")] {
        let told = stage.run(0, &["diff", &format!("{one}@latest"), &format!("{other}@latest"), "--exit-code"]).stdout;
        assert!(told.contains("no difference") && told.contains("not compared") == (one != other), "{one} {other}: {told}");
    }
    stage.cluster.psql_in("shop", "delete from t where id > 10");
    stage.backup("native");
    let earlier = stage.rig.backups().iter().filter(|row| row["project"] == "native").nth(1).unwrap()["id"].as_str().unwrap().to_owned();
    assert!(stage.run(1, &["diff", &earlier, "native@latest", "--exit-code"]).stdout.contains("public.t"), "its like is compared");
}
