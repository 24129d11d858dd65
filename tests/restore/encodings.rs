//! Databases that aren't in UTF-8, with names beyond ASCII: what is backed up comes back, in every format and by every command.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, Setup, bin};
use crate::scene::{SHOP, Scene};

/// The database, its encoding, a table, a column and a value that its encoding has letters for.
const OF: [(&str, &str, &str, &str, &str); 4] = [
    ("lat", "LATIN1", "Ü", "Spalte ü", "größer"),
    // Its bytes in LATIN1 are a letter of UTF-8.
    ("two", "LATIN1", "Ã¼", "Ã¤", "Ã¶"),
    ("win", "WIN1251", "Таблица", "столбец", "значение"),
    ("euc", "EUC_JP", "表", "列", "日本語"),
];

fn say(cluster: &Cluster, database: &str, sql: &str) -> String {
    let ended = cluster.psql_command(database).env("PGCLIENTENCODING", "UTF8").args(["-c", sql]).output().unwrap();
    assert!(ended.status.success(), "{sql}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().trim().to_owned()
}

fn make(cluster: &Cluster, (database, encoding, table, column, value): (&str, &str, &str, &str, &str)) {
    cluster.psql(&format!("create database {database} encoding {encoding} template template0 lc_collate 'C' lc_ctype 'C'"));
    let sql = format!(
        "create table \"{table}\" (id int primary key, \"{column}\" text); insert into \"{table}\" values (1, '{value}'), (2, 'plain');
         create sequence \"{column}\" start 7; select nextval('\"{column}\"')"
    );
    say(cluster, database, &sql);
}

fn rows(cluster: &Cluster, database: &str, table: &str, column: &str) -> String {
    say(cluster, database, &format!("select string_agg(id || '=' || \"{column}\", ' ' order by id) from \"{table}\""))
}

#[test]
fn names_beyond_ascii_come_back_in_every_encoding_and_format() {
    let scene = Scene::bare(Setup::default().start(), SHOP);
    let (cluster, rig) = (&scene.cluster, &scene.rig);
    let formats = ["custom", "plain", "tar", "directory"];
    let mut projects = String::new();
    // In custom everything; in the others where the names are told.
    let formats_of = |database: &str| if database == "lat" { &formats[..] } else { &formats[..if database == "euc" { 2 } else { 1 }] };
    for of in OF {
        make(cluster, of);
        for format in formats_of(of.0) {
            let (url, database) = (cluster.url(""), of.0);
            writeln!(projects, "[[project]]\nname = \"{database}-{format}\"\nconnection = {url:?}\ndatabases = [\"{database}\"]").unwrap();
            writeln!(projects, "format = \"{format}\"\nlimits = {{ retries = [] }}").unwrap();
        }
    }
    scene.configure(&projects);
    let run = |arguments: &[&str]| {
        let ended = rig.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        ended
    };
    for (database, encoding, table, column, value) in OF {
        for format in formats_of(database) {
            let backup = format!("{database}-{format}@latest");
            run(&["backup", &format!("{database}-{format}")]);
            run(&["verify", &backup]);
            let to = format!("{database}_{format}");
            run(&["restore", &backup, "--to", &to]);
            assert_eq!(cluster.psql(&format!("select pg_encoding_to_char(encoding) from pg_database where datname = '{to}'")), encoding);
            assert_eq!(rows(cluster, &to, table, column), format!("1={value} 2=plain"), "{format}");
            run(&["drill", &backup, "--on", &cluster.url("postgres")]);
            let quoted = format!("\"{table}\"");
            let shown = run(&["show", &backup, "--tables"]).stdout;
            assert!(shown.contains(table) && !shown.contains('\u{fffd}'), "{shown}");
            assert_eq!(run(&["cat", &backup, &quoted]).stdout, format!("id,{column}\n1,{value}\n2,plain\n"), "{format}");
            let json = run(&["cat", &backup, &quoted, "--format", "json"]).stdout;
            assert!(json.contains(&format!("\"{column}\":\"{value}\"")), "{json}");
            say(cluster, &to, &format!("delete from \"{table}\" where id = 1"));
            run(&["restore", &backup, "--to", &to, "--table", &quoted, "--on-conflict", "skip"]);
            assert_eq!(rows(cluster, &to, table, column), format!("1={value} 2=plain"), "{format}");
            if *format != "plain" {
                run(&["restore", &backup, "--to", &format!("{to}_part"), "--table", &quoted]);
            }
            // The line for a hand without pgdumpd.
            let by_hand = format!("{to}_hand");
            cluster.psql(&format!("create database {by_hand} encoding {encoding} template template0 lc_collate 'C' lc_ctype 'C'"));
            by_itself(&scene, &format!("{database}-{format}"), &by_hand);
            assert_eq!(rows(cluster, &by_hand, table, column), format!("1={value} 2=plain"), "{format}");
        }
    }
}

/// Types the restore line of the project's manifest.
fn by_itself(scene: &Scene, project: &str, database: &str) {
    let folder = scene.rig.storage().join(project);
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let manifest = names.filter(|path| path.extension().is_some_and(|ending| ending == "json")).find_map(|path| {
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        Some(read["restore_command"].as_str()?.to_owned())
    });
    let line = manifest.unwrap().replace("NEW_DATABASE", database);
    let path = format!("{}:{}", bin().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(&folder).env("PATH", path).env("PGUSER", "postgres").env("PGHOST", "127.0.0.1");
    let ended = command.env("PGPORT", scene.cluster.port.to_string()).stdin(Stdio::null()).output().unwrap();
    assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn names_that_nobody_can_read_are_told_and_the_backup_restores_all_the_same() {
    let scene = Scene::bare(Setup::default().start(), SHOP);
    make(&scene.cluster, OF[3]);
    let file = scene.rig.path().join("euc.dump");
    let url = scene.cluster.url("euc");
    let dumped = Command::new(bin().join("pg_dump")).args(["-Fc", "-Z0", "-d", &url, "-f"]).arg(&file).status().unwrap();
    assert!(dumped.success());
    let file = file.to_str().unwrap();
    let ended = scene.rig.run(&["verify", file]);
    assert!(ended.code == 3 && ended.stdout.contains("names in it are in EUC_JP"), "{ended:?}");
    let ended = scene.rig.run(&["restore", file, "--to", "back", "--url", &scene.cluster.url("postgres")]);
    assert!(ended.code == 0 && (ended.stdout.clone() + &ended.stderr).contains("can't be compared"), "{ended:?}");
    assert_eq!(rows(&scene.cluster, "back", "表", "列"), "1=日本語 2=plain");
    // A dump in the database's own encoding, as asked for, is a backup, and says what is not known of it.
    scene.configure(&format!(
        "[[project]]\nname = \"euc\"\nconnection = {:?}\ndatabases = [\"euc\"]\noptions = [\"--encoding=EUC_JP\"]",
        scene.cluster.url("")
    ));
    let ended = scene.rig.run(&["backup", "euc"]);
    assert!(ended.code == 0 && (ended.stdout.clone() + &ended.stderr).contains("names in it are in EUC_JP"), "{ended:?}");
    let ended = scene.rig.run(&["restore", "euc@latest", "--to", "again"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(rows(&scene.cluster, "again", "表", "列"), "1=日本語 2=plain");
}

/// A database that doesn't know what its letters are: two names in LATIN1 that look alike to whoever reads UTF-8, one in UTF-8, one plain.
const UNKNOWN: &[u8] = b"create table \"k\xfc\" (id int primary key, \"sp\xe4lte\" text); insert into \"k\xfc\" values (1, 'gr\xf6\xdfer');
    create table \"k\xe4\" (id int primary key); insert into \"k\xe4\" values (7), (8); create table \"\xc3\xbc\" (id int primary key);
    create table plain (id int primary key, v text); insert into plain values (1, '\xff'); create view \"v\xfc\" as select * from \"k\xfc\";
    create role \"r\xf6le\"; alter table plain owner to \"r\xf6le\"; grant select on \"k\xfc\" to \"r\xf6le\"";

/// Everything that the server says of it, as bytes.
fn bytes(scene: &Scene, database: &str) -> Vec<u8> {
    let url = scene.cluster.url(database);
    let dumped = Command::new(bin().join("pg_dump")).args(["--inserts", "-d", &url]).output().unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let lines = dumped.stdout.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"\\") && !line.starts_with(b"--"));
    lines.collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn names_of_no_known_encoding_come_back_and_nothing_is_said_or_done_by_them() {
    let scene = Scene::bare(Setup::default().start(), SHOP);
    scene.cluster.psql("create database raw encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'");
    let script = scene.rig.path().join("raw.sql");
    std::fs::write(&script, UNKNOWN).unwrap();
    let made = scene.cluster.psql_command("raw").env("PGCLIENTENCODING", "SQL_ASCII").arg("-f").arg(&script).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let formats = ["custom", "plain", "tar", "directory"];
    let mut projects = String::new();
    for format in formats {
        let url = scene.cluster.url("");
        writeln!(projects, "[[project]]\nname = {format:?}\nconnection = {url:?}\ndatabases = [\"raw\"]\nformat = {format:?}").unwrap();
        writeln!(projects, "limits = {{ retries = [] }}").unwrap();
    }
    scene.configure(&projects);
    let original = bytes(&scene, "raw");
    let run = |code: i32, words: &str, arguments: &[&str]| {
        let ended = scene.rig.run(arguments);
        assert!(ended.code == code && (ended.stdout.clone() + &ended.stderr).contains(words), "{arguments:?}: {ended:?}");
    };
    let unread = "which pgdumpd can't read";
    for format in formats {
        let backup = format!("{format}@latest");
        run(0, unread, &["backup", format]);
        run(0, unread, &["show", &backup, "--tables"]);
        run(0, "can't be compared with it", &["restore", &backup, "--to", format]);
        assert!(bytes(&scene, format) == original, "{format}");
        run(0, "\"backup_file\"", &["show", &backup, "--json"]);
        run(0, "", &["cat", &backup, "plain", "--format", "copy"]);
        run(1, "may stand for several tables", &["cat", &backup, "\"k\u{fffd}\""]);
        run(1, "may stand for several tables", &["restore", &backup, "--to", "raw", "--table", "\"k\u{fffd}\"", "--on-conflict", "skip"]);
        run(1, "nothing can be compared", &["diff", &backup, "custom@latest"]);
        run(1, "is not empty: it holds ", &["restore", &backup, "--to", "raw"]);
        run(0, "the old database is kept as", &["restore", &backup, "--to", format, "--replace"]);
        assert!(bytes(&scene, format) == original, "{format}");
    }
    let proofs = scene.rig.backups();
    assert!(proofs.iter().all(|backup| backup["proof"] == "whole"), "what was not compared is no proof: {proofs:?}");
    for part in [
        &["--in-place"][..],
        &["--in-place", "--schema-only"],
        &["--in-place", "--table", "plain"],
        &["--table", "plain"],
        &["--data-only"],
    ] {
        run(1, "it can't tell what of them \"raw\" has", &[&["restore", "custom@latest", "--to", "raw"], part].concat());
    }
    run(0, "merged 1 row", &["restore", "custom@latest", "--to", "raw", "--table", "plain", "--on-conflict", "update"]);
    assert!(bytes(&scene, "raw") == original);
}
