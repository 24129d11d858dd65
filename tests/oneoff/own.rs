//! Plain dumps that `pg_dump --create` made: where they go is told before somebody loses a database by them.

use std::process::{Command, Stdio};

use crate::elsewhere::{restore, shell};
use crate::scene::{Scene, clients};

/// Types a line as it was printed, with a name for the new database, against the scene's server.
fn typed(scene: &Scene, line: &str) -> std::process::Output {
    let path = format!("{}:/usr/bin:/bin", clients());
    let line = line.replace("NEW_DATABASE", "fresh");
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(scene.work()).env_clear().env("PATH", path).env("PGHOST", "127.0.0.1");
    command.env("PGPORT", scene.cluster.port.to_string()).env("PGUSER", "postgres").stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_script_that_makes_its_own_database_says_which_and_names_no_other() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    scene.cluster.psql("create database fresh");
    for (file, more, words) in [
        ("drops.sql", &["--", "--create", "--clean", "--if-exists"][..], "drops the database \"shop\" with all that is in it"),
        ("makes.sql.gz", &["--", "--create"], "makes the database \"shop\" by itself, and fails where there is one"),
    ] {
        let made = scene.alone(&[], &[&["backup", "--url", &url, "-o", file], more].concat());
        let told = made.stdout.clone() + &made.stderr;
        let path = format!("./{file}");
        let shown = scene.alone(&[], &["show", &path]);
        let refused = restore(&scene, &path, "fresh", &[]);
        assert_eq!((made.code, shown.code, refused.code), (0, 0, 1), "{made:?} {shown:?} {refused:?}");
        for text in [&told, &shown.stdout, &refused.stderr] {
            assert!(text.contains(words) && text.contains("-d postgres") && !text.contains("NEW_DATABASE"), "{file}: {text}");
        }
        let line = shown.stdout.lines().find_map(|line| line.strip_prefix("by hand    ")).unwrap().to_owned();
        assert!(told.contains(&line) && refused.stderr.contains(&line), "{line}: {told} {refused:?}");
        assert_eq!(scene.alone(&[], &["show", &path, "--json"]).json()["restore_command"], line.as_str());
        // What was said comes true.
        scene.cluster.psql_in("shop", "insert into item values (-1, 'later')");
        let ended = typed(&scene, &line);
        if file == "drops.sql" {
            assert!(ended.status.success(), "{ended:?}");
            assert_eq!(scene.cluster.psql_in("shop", "select count(*) from item where n < 0"), "0");
        } else {
            assert!(String::from_utf8_lossy(&ended.stderr).contains("already exists"), "{ended:?}");
            scene.cluster.psql("drop database shop");
            assert!(typed(&scene, &line).status.code() == Some(0));
        }
        assert_eq!(scene.cluster.psql_in("shop", "select count(*) from item"), "500");
        assert_eq!(scene.cluster.psql_in("fresh", "select count(*) from pg_class where relname = 'item'"), "0");
    }
}

#[test]
fn a_script_made_elsewhere_is_told_by_what_stands_in_it() {
    let scene = Scene::new();
    scene.cluster.psql("create database \"My \"\"Shop\" template shop");
    shell(&scene, "PGDATABASE='My \"Shop' pg_dump -C -c -f odd.sql; pg_dump -C shop | sed 's/$/\\r/' >dos.sql");
    let odd = scene.alone(&[], &["show", "./odd.sql"]);
    assert!(odd.stdout.contains("drops the database \"My \\\"Shop\"") && odd.stdout.contains("-d postgres -f odd.sql"), "{odd:?}");
    let dos = scene.alone(&[], &["show", "./dos.sql"]);
    assert!(dos.stdout.contains("makes the database \"shop\" by itself"), "{dos:?}");
}

/// The line that is told fails in a new database where it is told that it would, and nowhere else.
#[test]
fn what_a_restore_line_presumes_is_said() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    scene.cluster.psql_in("shop", "create schema audit; create table audit.log as select 1 as a");
    for (number, (arguments, words)) in [
        (&["-o", "a.dump", "--tables", "audit.log"][..], "needs a database that has its schema"),
        (&["-o", "b.dump", "--tables", "dear"], "what else it builds on"),
        (&["-o", "c.dump", "--data-only"], "holds no definitions of tables"),
        (&["-o", "d.sql", "--", "--section=data"], "holds no definitions of tables"),
        (&["-o", "e.sql", "--", "--clean"], "in a new database it needs --if-exists"),
        (&["-o", "f.sql", "--", "--clean", "--if-exists"], ""),
        (&["-o", "g.dump", "--", "--clean"], ""),
        (&["-o", "h.dump", "--", "--section=pre-data", "--section=data"], ""),
        (&["-o", "i.dump", "--schemas", "audit"], ""),
        (&["-o", "j.dump", "--schema-only"], ""),
    ]
    .into_iter()
    .enumerate()
    {
        let made = scene.alone(&[], &[&["backup", "--url", &url, "--json"], arguments].concat());
        let answer = made.json();
        let warnings = answer["warnings"].as_array().unwrap();
        let said = warnings.iter().any(|warning| warning.as_str().unwrap().contains(words));
        assert!(made.code == 0 && said != warnings.is_empty() && said != words.is_empty(), "{arguments:?}: {answer:#}");
        scene.cluster.psql(&format!("create database new{number}"));
        let line = answer["restoreCommand"].as_str().unwrap().replace("NEW_DATABASE", &format!("new{number}"));
        assert_eq!(typed(&scene, &line).status.success(), words.is_empty(), "{line}");
    }
}
