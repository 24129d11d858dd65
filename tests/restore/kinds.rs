//! A database with nearly every kind of thing that PostgreSQL has, under names and with contents that are traps: what comes back is the same,
//! and what reads a backup reads all of it. What it holds stands in `kinds.sql`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Stdio;

use crate::cluster::Setup;
use crate::scene::Scene;

const FORMATS: [&str; 4] = ["custom", "plain", "tar", "directory"];

fn scene() -> Scene {
    let scene = Scene::bare(Setup::default().setting("max_locks_per_transaction = 256").start(), "");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/restore/kinds.sql");
    let made = scene.cluster.psql_command("shop").args(["-q", "-v", "ON_ERROR_STOP=1", "-f", script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut projects = String::new();
    for format in FORMATS {
        let url = scene.cluster.url("");
        writeln!(projects, "[[project]]\nname = {format:?}\nconnection = {url:?}\ndatabases = [\"shop\"]\nformat = {format:?}").unwrap();
        writeln!(projects, "limits = {{ retries = [] }}").unwrap();
    }
    scene.configure(&projects);
    scene
}

/// What the server would write of a table's own rows.
fn copied(scene: &Scene, table: &str) -> BTreeSet<String> {
    let mut command = scene.cluster.psql_command("shop");
    let columns = scene.cluster.psql_in(
        "shop",
        &format!(
            "select coalesce(string_agg(quote_ident(attname), ', ' order by attnum), '') from pg_attribute
             where attrelid = $n${table}$n$::regclass and attnum > 0 and not attisdropped and attgenerated = ''"
        ),
    );
    let ended = command.args(["-c", &format!("copy (select {columns} from only {table}) to stdout")]).output().unwrap();
    assert!(ended.status.success(), "{table}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().split_terminator('\n').map(str::to_owned).collect()
}

#[test]
fn every_kind_of_thing_comes_back_and_is_read_in_every_format() {
    let scene = scene();
    let original = scene.fingerprint("shop");
    // Quoted as they are typed; a name may hold a line break.
    let names = |kinds: &str| -> Vec<String> {
        let asked = scene.cluster.psql_in(
            "shop",
            &format!(
                "set search_path = ''; select coalesce(json_agg(c.oid::regclass::text order by 1), '[]') from pg_class c
                 where c.relkind in ({kinds}) and not exists (select from pg_depend e where e.objid = c.oid and e.deptype = 'e')
                   and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
            ),
        );
        serde_json::from_str(&asked).unwrap()
    };
    let (tables, others) = (names("'r'"), names("'v', 'm', 'S', 'f', 'p'"));
    assert!(tables.len() > 20 && others.len() > 15, "{tables:?} {others:?}");
    for format in FORMATS {
        let backup = format!("{format}@latest");
        for (arguments, code) in [
            (&["backup", format][..], 0),
            (&["verify", &backup], 0),
            (&["restore", &backup, "--to", format], 0),
            (&["show", &backup, "--tables"], 0),
            (&["diff", &backup, "custom@latest"], 0),
        ] {
            let ended = scene.rig.run(arguments);
            assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        }
        assert!(scene.fingerprint(format) == original, "{format}:\n{}", difference(&original, &scene.fingerprint(format)));
        for table in &tables {
            let mut command = scene.rig.command();
            let ended = command.args(["cat", &backup, table, "--format", "copy"]).stdin(Stdio::null()).output().unwrap();
            assert!(ended.status.success(), "{format} {table}: {}", String::from_utf8_lossy(&ended.stderr));
            let rows: BTreeSet<String> = String::from_utf8(ended.stdout).unwrap().split_terminator('\n').map(str::to_owned).collect();
            assert_eq!(rows, copied(&scene, table), "{format} {table}");
        }
        for name in tables.iter().chain(&others).filter(|_| format != "plain") {
            let ended = scene.rig.run(&["show", &backup, "--ddl", name]);
            // The sequence of an identity column is made with it.
            let is_made = ["CREATE ", "ADD GENERATED "].iter().any(|words| ended.stdout.contains(words));
            assert!(ended.code == 0 && is_made, "{format} {name}: {ended:?}");
        }
    }
    for format in ["custom", "directory"] {
        let ended = scene.rig.run(&["restore", &format!("{format}@latest"), "--to", "many", "--jobs", "3", "--replace", "--drop-old"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(scene.fingerprint("many") == original, "{format}:\n{}", difference(&original, &scene.fingerprint("many")));
    }
}

/// A partition may lie on a server that can't be reached from here.
#[test]
fn statistics_that_can_not_be_gathered_cost_no_restore() {
    let scene = Scene::new(
        "create extension postgres_fdw; create server away foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
         create user mapping for public server away; create table mixed (id int) partition by list (id);
         create table near partition of mixed for values in (1); create foreign table far partition of mixed for values in (2) server away;
         insert into near values (1)",
    );
    let before = scene.fingerprint("shop");
    for (to, more) in [("new", &[][..]), ("new", &["--replace"]), ("shop", &["--in-place", "--no-safety-backup"])] {
        let ended = scene.restored(to, more);
        assert!(ended.stderr.contains("warning: the planner's statistics could not be gathered"), "{ended:?}");
        assert_eq!(scene.fingerprint(to), before, "{to}");
    }
    assert!(!scene.restored("quiet", &["--no-analyze"]).stderr.contains("statistics"));
}

/// The lines that only one of them has.
fn difference(one: &str, other: &str) -> String {
    let lines = |text: &'static str, of: &str, others: &str| -> String {
        let others: BTreeSet<&str> = others.lines().collect();
        of.lines().filter(|line| !others.contains(line)).take(20).fold(String::new(), |all, line| all + text + " " + line + "\n")
    };
    lines("-", one, other) + &lines("+", other, one)
}

/// Policies that hold for the owner as well keep the rows from whoever restores as the owner: they are counted all the same.
#[test]
fn rows_that_policies_keep_from_their_owner_are_counted() {
    let scene = Scene::new("");
    scene.cluster.psql("create role clerk login createdb");
    scene.cluster.psql_in(
        "shop",
        "create table kept (id int); alter table kept owner to clerk; insert into kept select generate_series(1, 7);
         alter table kept enable row level security; alter table kept force row level security",
    );
    scene.backup();
    let told = scene.restored("copy", &["--user", "clerk", "--no-owner"]);
    assert!(told.stdout.contains("7 rows"), "{told:?}");
    let forced = "select relforcerowsecurity from pg_class where relname = 'kept'";
    assert_eq!(
        (scene.cluster.psql_in("copy", "select count(*) from kept"), scene.cluster.psql_in("copy", forced)),
        ("7".into(), "t".into())
    );
}
