//! `show --toc`, `show --ddl`: what makes a table is all there, as `pg_dump` sees what was made by it.

use std::io::Write as _;
use std::process::Stdio;

use crate::stage::Stage;

const SCHEMA: &str = "
create role reader; create role \"select\";
create schema s; create schema \"S 2\";
create function s.touched() returns trigger language plpgsql as $$ begin return new; end $$;
";

const TABLES: &str = r#"
create sequence s.shared;
create table s.parent(id int generated always as identity primary key, code text unique, email text default 'x;y', qty numeric(10,2) check (qty > 0),
  total numeric generated always as (qty * 2) stored, ticket bigint default nextval('s.shared'));
create table s."par"(id int primary key);
create table s.par_ent(id int primary key references s.parent(id));
create table s.ser(id serial primary key, p int references s.parent(id) on delete cascade, constraint c1 check (p <> 3));
alter table s.ser add constraint c2 check (p <> 4) not valid;
create index ser_p on s.ser(p);
create statistics s.st on id, p from s.ser;
alter table s.ser alter column p set statistics 500;
create trigger tr before insert on s.ser for each row execute function s.touched();
alter table s.ser enable row level security;
create policy pol on s.ser using (exists (select 1 from s.parent));
create rule ru as on delete to s.ser do instead nothing;
comment on table s.ser is 'a table'; comment on column s.ser.p is 'it''s';
comment on index s.ser_p is 'index'; comment on constraint c1 on s.ser is 'constraint'; comment on trigger tr on s.ser is 'trigger';
comment on policy pol on s.ser is 'policy'; comment on rule ru on s.ser is 'rule'; comment on statistics s.st is 'statistics';
grant select on s.ser to reader; grant update(p) on s.ser to reader; grant usage on sequence s.ser_id_seq to reader;
alter table s.ser owner to "select";
alter table s.ser replica identity using index ser_pkey; alter table s.ser cluster on ser_pkey;
create policy other on s.parent using (exists (select 1 from s.ser));
create index parent_like on s.parent(length(code));
create unlogged table "S 2"."Ta ""b"" le"("Col umn" int primary key, "x;y" text default ')');
create index on "S 2"."Ta ""b"" le"("x;y");
create table s.part(id int, k text, primary key (id, k)) partition by list (k);
create table s.part_a partition of s.part for values in ('a') partition by range (id);
create table s.part_a1 partition of s.part_a for values from (1) to (100);
create index part_i on s.part(id);
create view s.looked as select id from s.ser; create materialized view s.kept as select id from s.parent; create index on s.kept(id);
"#;

/// In the order in which they need one another.
const NAMES: [&str; 11] = [
    "s.parent",
    "s.par",
    "s.par_ent",
    "s.ser",
    "\"S 2\".\"Ta \"\"b\"\" le\"",
    "s.part",
    "s.part_a",
    "s.part_a1",
    "s.looked",
    "s.kept",
    "s.shared",
];

#[test]
fn the_statements_of_each_table_make_it_again() {
    let stage = Stage::new(&format!("{SCHEMA}{TABLES}"));
    let projects = [stage.project("zstd", "shop", ""), stage.project("schema", "shop", "content = \"schema\"\nformat = \"tar\"")];
    stage.rig.configure(&projects.concat());
    stage.backup("zstd");
    stage.backup("schema");
    for project in ["zstd", "schema"] {
        stage.cluster.psql(&format!("create database again_{project}"));
        let again = format!("again_{project}");
        stage.cluster.psql_in(&again, SCHEMA.split_once('\n').unwrap().1.split_once('\n').unwrap().1);
        let mut policies = String::new();
        for name in NAMES {
            let statements = stage.run(0, &["show", &format!("{project}@latest"), "--ddl", name, "--json"]).json();
            let mut script = String::new();
            for statement in statements["statements"].as_array().unwrap() {
                let (kind, sql) = (statement["kind"].as_str().unwrap(), statement["sql"].as_str().unwrap());
                // These look at a table that comes later; and the shared sequence comes with its table.
                let late = kind == "POLICY" || statement["name"].as_str().unwrap().starts_with("POLICY ");
                if late { policies.push_str(sql) } else { script.push_str(sql) }
            }
            assert!(!script.is_empty(), "{name}");
            if name != "s.shared" {
                run_script(&stage, &again, &script);
            }
        }
        run_script(&stage, &again, &policies);
        let dump = |database: &str| {
            let text = stage.client("pg_dump", database, &["-s", "-n", "s", "-n", "S 2"]);
            let lines = String::from_utf8(text).unwrap();
            lines.split_inclusive('\n').filter(|line| !line.contains("restrict ")).collect::<String>()
        };
        similar(&dump("shop"), &dump(&again));
    }
    let script = stage.run(0, &["show", "latest", "--ddl", "s.ser"]).stdout;
    assert!(
        script.starts_with("CREATE TABLE s.ser (\n") && !script.contains("s.parent_") && script.contains("OWNER TO \"select\""),
        "{script}"
    );
    assert!(!stage.run(0, &["show", "latest", "--ddl", "s.par"]).stdout.contains("par_ent"));
    let told = stage.run(1, &["show", "latest", "--ddl", "s.sre"]).stderr;
    assert!(told.contains("s.ser"), "{told}");
    contents(&stage);
}

fn run_script(stage: &Stage, database: &str, script: &str) {
    let mut command = stage.cluster.psql_command(database);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
}

/// The same lines; entries may stand in another order where nothing orders them.
fn similar(one: &str, other: &str) {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (left, right) = (sorted(one), sorted(other));
    let missing: Vec<_> = left.iter().filter(|line| !right.contains(line)).collect();
    let more: Vec<_> = right.iter().filter(|line| !left.contains(line)).collect();
    assert!(left == right, "missing {missing:#?}\nmore {more:#?}\n{one}\n{other}");
}

fn contents(stage: &Stage) {
    let entries = stage.run(0, &["show", "zstd@latest", "--toc", "--json"]).json();
    let listed = stage.client("pg_restore", "shop", &["-l", &unpacked(stage)]);
    let ids = |text: &str| {
        text.lines().filter(|line| !line.starts_with(';')).map(|line| line.split(';').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let theirs = ids(&String::from_utf8_lossy(&listed));
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["dump_id"].to_string()).filter(|id| theirs.contains(id)).collect::<Vec<_>>(), theirs);
    let table = entries.iter().find(|entry| entry["kind"] == "TABLE" && entry["name"] == "ser").unwrap();
    assert_eq!((&table["schema"], &table["owner"], &table["section"]), (&"s".into(), &"select".into(), &"pre-data".into()));
    let text = stage.run(0, &["show", "zstd@latest", "--toc"]).stdout;
    assert!(text.lines().any(|line| line.split_whitespace().eq([&table["dump_id"].to_string(), "TABLE", "s", "ser", "select"])), "{text}");
}

/// The newest archive, decompressed to a file.
fn unpacked(stage: &Stage) -> String {
    let file = stage.rig.path().join("archive").display().to_string();
    let stored = std::fs::File::open(stage.artifact("zstd")).unwrap();
    std::fs::write(&file, zstd::decode_all(stored).unwrap()).unwrap();
    file
}

#[test]
fn a_script_has_no_contents() {
    let stage = Stage::new("create table t(id int)");
    stage.backup("plain");
    for arguments in [&["show", "plain@latest", "--toc"][..], &["show", "plain@latest", "--ddl", "t"]] {
        let told = stage.run(1, arguments).stderr;
        assert!(told.contains("is a script, which has no table of contents"), "{told}");
    }
    let tables = stage.run(0, &["show", "plain@latest", "--tables"]).stdout;
    assert!(tables.contains("public.t"), "{tables}");
}

#[test]
fn an_unpacked_archive_restores_with_several_jobs() {
    let stage = Stage::new(&format!("{SCHEMA}{TABLES}create table big as select g, md5(g::text) t from generate_series(1, 50000) g;"));
    stage.backup("zstd");
    let piped = std::fs::read(unpacked(&stage)).unwrap();
    let path = stage.rig.path().join("seekable");
    let file = std::fs::File::create(&path).unwrap();
    pgdumpd::postgres::archive::unpack(&mut &piped[..], &file).unwrap();
    stage.cluster.psql("create database restored");
    stage.client("pg_restore", "restored", &["-j", "2", "-e", "-d", "restored", &path.display().to_string()]);
    let count = "select count(*) || ' ' || sum(hashtext(t)) from big";
    assert_eq!(stage.cluster.psql_in("restored", count), stage.cluster.psql_in("shop", count));
}
