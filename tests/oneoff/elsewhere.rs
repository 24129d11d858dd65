//! Dumps that plain `pg_dump` made, or that lie apart from their project: shown, read, compared, verified, restored, without a configuration.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::is_root;
use crate::rig::Ended;
use crate::scene::{Scene, clients};

/// Runs a shell line among the dumps, with the clients at hand and the server in the environment.
pub(crate) fn shell(scene: &Scene, line: &str) {
    let path = format!("{}:/usr/bin:/bin", clients());
    let mut command = Command::new("sh");
    command.args(["-ec", line]).current_dir(scene.work()).env_clear().env("PATH", path).env("PGHOST", "127.0.0.1");
    command.env("PGPORT", scene.cluster.port.to_string()).env("PGUSER", "postgres");
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
}

/// `restore FILE --to DATABASE` on the scene's server.
pub(crate) fn restore(scene: &Scene, file: &str, to: &str, more: &[&str]) -> Ended {
    scene.alone(&[], &[&["restore", file, "--to", to, "--url", &scene.cluster.url("")], more].concat())
}

/// Each form of one database: the file, and whether its rows can be counted without a server.
const FORMS: [(&str, &str, bool); 12] = [
    ("pg_dump -Fc -f a.dump shop", "./a.dump", true),
    ("pg_dump -Fc -Z0 shop | cat >b.dump", "./b.dump", true),
    ("pg_dump -Fc shop | gzip >c.dump.gz", "./c.dump.gz", true),
    ("pg_dump -Fc -Z0 shop | zstd -q >odd-name", "./odd-name", true),
    ("pg_dump -Ft shop >d.tar", "./d.tar", true),
    ("pg_dump -Ft shop | bzip2 >e.tar.bz2", "./e.tar.bz2", true),
    ("pg_dump shop >f.sql", "./f.sql", true),
    ("pg_dump --inserts shop | zstd -q >g.sql.zst", "./g.sql.zst", false),
    ("pg_dump --clean --if-exists shop | bzip2 >h.sql.bz2", "./h.sql.bz2", true),
    ("pg_dump -Fd -f i.dir shop", "./i.dir", true),
    ("pg_dump -Fd -Z0 -f j.dir shop; tar -czf j.tgz j.dir", "./j.tgz", true),
    ("pg_dump -Fd -f k.dir shop; tar -C k.dir -c . | zstd -q >k.tar.zst", "./k.tar.zst", true),
];

#[test]
fn each_form_is_shown_verified_and_restored() {
    let scene = Scene::new();
    for (number, (made, file, counted)) in FORMS.into_iter().enumerate() {
        shell(&scene, made);
        let shown = scene.alone(&[], &["show", file, "--tables", "--json"]);
        assert_eq!(shown.code, 0, "{file}: {shown:?}");
        let expected = if counted { Value::from(20_500) } else { Value::Null };
        let answer = shown.json();
        assert_eq!((&answer["total_rows"], &answer["manifest"]), (&expected, &Value::Null), "{file}: {answer:#}");
        assert_eq!(answer["tables"].as_array().unwrap().len(), 2, "{file}: {answer:#}");
        assert_eq!(scene.alone(&[], &["verify", file]).code, 0, "{file}");
        let database = format!("again{number}");
        let ended = restore(&scene, file, &database, &[]);
        assert_eq!(ended.code, 0, "{file}: {ended:?}");
        assert_eq!(ended.stderr.contains("could not be compared: no manifest beside the file"), !counted, "{file}: {ended:?}");
        assert_eq!(scene.contents(&database), scene.contents("shop"), "{file}");
    }
    // Nothing was written beside them, and nothing is left on the server.
    let names = scene.cluster.psql("select count(*) from pg_database where datname like 'pgdumpd%'");
    assert_eq!(names, "0");
    assert!(!std::fs::read_dir(scene.work()).unwrap().flatten().any(|entry| entry.file_name().to_str().unwrap().starts_with(".pgdumpd")));
}

/// Line ends that an editor or a transfer has changed are the server's business, and no part of the last column.
#[test]
fn rows_of_a_script_with_other_line_ends_are_the_same() {
    let scene = Scene::new();
    scene.cluster.psql_in("shop", "insert into item values (1000, E'a\rb\r\nc'), (1001, null), (1002, '')");
    shell(&scene, "pg_dump shop >unix.sql; sed 's/$/\\r/' unix.sql >dos.sql; gzip -k dos.sql");
    for format in ["copy", "csv", "json"] {
        let cat = |file: &str| scene.alone(&[], &["cat", file, "item", "--format", format]);
        let expected = cat("./unix.sql");
        assert!(expected.code == 0 && expected.stdout.lines().count() >= 503, "{expected:?}");
        for file in ["./dos.sql", "./dos.sql.gz"] {
            let ended = cat(file);
            assert!(ended.code == 0 && ended.stdout == expected.stdout, "{format}: {file}: {}", ended.stderr);
        }
    }
    assert_eq!(restore(&scene, "./dos.sql", "again", &[]).code, 0);
    let differs = "select (select md5(string_agg(n || ':' || coalesce(name, 'NULL'), ',' order by n)) from item)";
    assert_eq!(scene.cluster.psql_in("again", differs), scene.cluster.psql_in("shop", differs));
}

#[test]
fn each_form_gives_its_rows_and_definitions() {
    let scene = Scene::new();
    scene.cluster.psql_in("shop", "insert into item values (1000, E'tab\\t, \"quote\"\\nline'), (1001, null), (1002, '')");
    shell(&scene, "psql -d shop -qc '\\copy item to item.copy'; psql -d shop -qc '\\copy item to item.csv csv header'");
    let expected = |name: &str| std::fs::read_to_string(scene.work().join(name)).unwrap();
    for (made, file, counted) in FORMS {
        shell(&scene, made);
        let cat = |format: &str| scene.alone(&[], &["cat", file, "public.item", "--format", format]);
        if file == "./g.sql.zst" {
            assert!(!counted && cat("csv").stderr.contains("INSERT commands"), "{:?}", cat("csv"));
            continue;
        }
        assert_eq!(cat("copy").stdout, expected("item.copy"), "{file}");
        assert_eq!(cat("csv").stdout, expected("item.csv"), "{file}");
        let lines = cat("json").stdout;
        assert!(lines.contains("{\"n\":1001,\"name\":null}"), "{file}: {lines}");
        let missing = scene.alone(&[], &["cat", file, "itm"]);
        assert!(missing.code == 1 && missing.stderr.contains("itm"), "{file}: {missing:?}");
        let (toc, ddl) = (scene.alone(&[], &["show", file, "--toc"]), scene.alone(&[], &["show", file, "--ddl", "item"]));
        if file.contains(".sql") {
            assert!(toc.code == 1 && toc.stderr.contains("a script, which has no table of contents"), "{file}: {toc:?}");
        } else {
            assert!(toc.code == 0 && toc.stdout.contains("Größe; x"), "{file}: {toc:?}");
            assert!(ddl.code == 0 && ddl.stdout.contains("PRIMARY KEY (n)"), "{file}: {ddl:?}");
        }
    }
}

#[test]
fn what_is_no_whole_dump_is_told_in_a_sentence_and_touches_nothing() {
    let scene = Scene::new();
    shell(
        &scene,
        "pg_dump -Fc -f a.dump shop; pg_dump -Ft -f a.tar shop; pg_dump -f a.sql shop; pg_dump -C -f create.sql shop; pg_dumpall -f all.sql
         head -c 200000 a.dump >cut.dump; head -c 300 a.dump >toc.dump; head -c 300000 a.tar >cut.tar; head -c 5000 a.sql >cut.sql
         gzip -c a.dump | head -c 100000 >cut.gz; : >empty.dump; head -c 50000 /dev/urandom >noise.dump; mkdir folder; tar -cf other.tar a.sql
         cp a.dump new.dump; printf '\\143' | dd of=new.dump bs=1 seek=6 conv=notrunc 2>/dev/null
         cp a.dump altered.dump; printf 'XXXX' | dd of=altered.dump bs=1 seek=300000 conv=notrunc 2>/dev/null
         awk '{print} /^SET client_encoding/ {print \"\\\\! touch pwned\"}' a.sql >evil.sql; ln -s a.dump link",
    );
    for (file, words) in [
        ("./none.dump", "No such file"),
        ("./cut.dump", "ends at byte 200000 inside the data of table"),
        ("./toc.dump", "inside its table of contents"),
        ("./cut.tar", "without its end mark"),
        ("./cut.sql", "inside the data of table"),
        ("./cut.gz", "not whole"),
        ("./empty.dump", "is empty"),
        ("./noise.dump", "is no dump"),
        ("./folder", "holds no toc.dat"),
        ("./other.tar", "toc.dat"),
        ("./new.dump", "version 1.99, which this pgdumpd doesn't know"),
        ("./altered.dump", "not whole"),
        ("./all.sql", "script of pg_dumpall"),
        ("./evil.sql", "a command to psql itself"),
        ("./create.sql", "made with --create"),
    ] {
        let ended = restore(&scene, file, "never", &[]);
        assert_eq!(ended.code, 1, "{file}: {ended:?}");
        let first = ended.stderr.lines().next().unwrap();
        assert!(first.starts_with("pgdumpd: ") && first.contains(words), "{file}: {ended:?}");
        assert_eq!(ended.stderr.lines().filter(|line| !line.starts_with("  ")).count(), 1, "one sentence: {file}: {ended:?}");
        let verified = scene.alone(&[], &["verify", file]);
        let is_whole = ["./evil.sql", "./create.sql"].contains(&file);
        assert_eq!(verified.code, i32::from(!is_whole), "{file}: {verified:?}");
        assert_eq!(
            scene.cluster.psql("select count(*) from pg_database where datname in ('never') or datname like 'pgdumpd%'"),
            "0",
            "{file}"
        );
    }
    assert!(!scene.work().join("pwned").exists());
    let newer = scene.alone(&[], &["verify", "./new.dump"]);
    assert!(!newer.stdout.contains("DAMAGED") && newer.stdout.contains("says nothing about it"), "{newer:?}");
    let cut = scene.alone(&[], &["cat", "./cut.dump", "item"]);
    assert!(cut.code == 1 && cut.stdout.is_empty() && cut.stderr.contains("cut.dump"), "{cut:?}");
    assert_eq!(scene.alone(&[], &["show", "./link"]).code, 0, "a link leads to what it names");
}

#[test]
fn a_restore_of_a_file_is_as_careful_as_one_of_a_backup() {
    let scene = Scene::new();
    scene.cluster.psql("create database old encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    scene.cluster.psql_in("old", "create table item as select 1 as n");
    shell(&scene, "pg_dump -Fc -f shop.dump shop; pg_dump -Fc -f old.dump old; pg_dump -f old.sql old");
    assert_eq!(restore(&scene, "./old.dump", "new", &[]).code, 0);
    assert_eq!(scene.cluster.psql("select pg_encoding_to_char(encoding) || datcollate from pg_database where datname = 'new'"), "LATIN1C");
    let script = restore(&scene, "./old.sql", "script", &[]);
    assert!(script.code == 0 && script.stderr.contains("doesn't say its database's encoding"), "{script:?}");

    let refused = restore(&scene, "./shop.dump", "new", &[]);
    assert!(refused.code == 1 && refused.stderr.contains("is not empty: it holds a table or its like (public.item)"), "{refused:?}");
    let clean = restore(&scene, "./shop.dump", "new", &["--in-place"]);
    assert!(clean.code == 1 && clean.stderr.contains("--no-safety-backup"), "{clean:?}");
    assert_eq!(scene.cluster.psql_in("new", "select count(*) from item"), "1");
    let plan = restore(&scene, "./shop.dump", "new", &["--replace", "--dry-run"]);
    assert!(plan.code == 0 && plan.stdout.contains("would restore the file ./shop.dump of shop"), "{plan:?}");
    let replaced = restore(&scene, "./shop.dump", "new", &["--replace", "--json"]);
    assert_eq!((replaced.code, &replaced.json()["recordCount"]), (0, &20_500.into()), "{replaced:?}");
    assert_eq!(scene.contents("new"), scene.contents("shop"));
    assert_eq!(scene.cluster.psql("select count(*) from pg_database where datname like 'new_before_%'"), "1");

    // A part, several connections, and rows into a table that is there.
    assert_eq!(restore(&scene, "./shop.dump", "part", &["--table", "item"]).code, 0);
    assert_eq!(
        scene
            .cluster
            .psql_in("part", "select string_agg(relname, ',') from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"),
        "item"
    );
    scene.cluster.psql_in("part", "delete from item where n > 10");
    let merged = restore(&scene, "./shop.dump", "part", &["--table", "item", "--on-conflict", "skip", "--json"]);
    assert_eq!((merged.code, &merged.json()["inserted"]), (0, &490.into()), "{merged:?}");
    assert_eq!(restore(&scene, "./shop.dump", "jobs", &["--jobs", "3"]).code, 0);
    assert_eq!(scene.contents("jobs"), scene.contents("shop"));
}

#[test]
fn the_server_comes_from_the_command_line_or_the_environment() {
    let scene = Scene::new();
    shell(&scene, "pg_dump -Fc -f shop.dump shop");
    let (url, port) = (scene.cluster.url("shop"), scene.cluster.port.to_string());
    let to_url = scene.cluster.url("by_url");
    assert_eq!(scene.alone(&[], &["restore", "./shop.dump", "--to", &to_url]).code, 0);
    assert_eq!(scene.alone(&[("DATABASE_URL", &url)], &["restore", "shop.dump", "--to", "by_variable"]).code, 0);
    let parts = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "postgres")];
    assert_eq!(scene.alone(&parts, &["restore", "shop.dump", "--to", "by_parts"]).code, 0);
    for database in ["by_url", "by_variable", "by_parts"] {
        assert_eq!(scene.contents(database), scene.contents("shop"), "{database}");
    }
    for (arguments, words) in [
        (&["restore", "./shop.dump"][..], "where to restore it is not said"),
        (&["restore", "./shop.dump", "--to", "x"], "the server is not said"),
        (&["restore", "./shop.dump", "--to", &to_url, "--url", &url], "--to names a server, and so does --url"),
        (&["restore", "./shop.dump", "--to", "x", "--url", &url, "--globals"], "holds no roles"),
        (&["verify", "./shop.dump", "--level", "restore"], "restore ./shop.dump --to"),
    ] {
        let ended = scene.alone(&[], arguments);
        assert!(ended.code == 2 && ended.stderr.contains(words), "{arguments:?}: {ended:?}");
    }
    let nobody = scene.alone(&[], &["restore", "./shop.dump", "--to", "postgresql://postgres@127.0.0.1:1/x"]);
    assert_eq!(nobody.code, 75, "{nobody:?}");
}

/// A manifest that lies beside the file is used: the rows it tells of are compared, and a file that isn't the one it tells of is refused.
#[test]
fn a_manifest_beside_the_file_is_used() {
    let scene = Scene::new();
    let port = scene.cluster.port.to_string();
    let variables = [("DB_HOST", "127.0.0.1"), ("DB_PORT", port.as_str()), ("DB_NAME", "shop"), ("DB_USER", "postgres")];
    let made = scene.alone(&variables, &["backup", "--env", "prod", "--json"]);
    let path = made.json()["outputPath"].as_str().unwrap().to_owned();
    let shown = scene.alone(&[], &["show", &path, "--json"]).json();
    assert!(shown["manifest"].as_str().unwrap().ends_with(".metadata.json"), "{shown:#}");
    assert_eq!((&shown["environment"], &shown["total_rows"]), (&"prod".into(), &20_500.into()));
    let ended = restore(&scene, &path, "again", &[]);
    assert!(ended.code == 0 && !ended.stderr.contains("no manifest"), "{ended:?}");
    assert_eq!(scene.contents("again"), scene.contents("shop"));
    // So is that of an artifact which was copied out of a storage together with its manifest.
    scene.configure("");
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    let artifact = scene.rig.backups()[0]["file"].as_str().unwrap().to_owned();
    let storage = scene.rig.storage().join("shop");
    for name in [artifact.clone(), format!("{artifact}.json")] {
        std::fs::copy(storage.join(&name), scene.work().join(&name)).unwrap();
    }
    let shown = scene.alone(&[], &["show", &format!("./{artifact}"), "--json"]).json();
    assert_eq!((&shown["manifest"], &shown["total_rows"]), (&format!("./{artifact}.json").into(), &20_500.into()), "{shown:#}");
    let verified = scene.alone(&[], &["verify", &format!("./{artifact}")]);
    assert!(verified.code == 0 && verified.stdout.contains("checksum   ok"), "{verified:?}");
    // Renamed together, they no longer belong together; that is no damage.
    std::fs::copy(scene.work().join(&artifact), scene.work().join("other.dump.zst")).unwrap();
    std::fs::copy(scene.work().join(format!("{artifact}.json")), scene.work().join("other.metadata.json")).unwrap();
    let renamed = scene.alone(&[], &["verify", "./other.dump.zst"]);
    assert!(renamed.code == 1 && renamed.stdout.contains("whole, but") && !renamed.stdout.contains("DAMAGED"), "{renamed:?}");
    let rows = scene.alone(&[], &["cat", &format!("./{artifact}"), "item"]);
    assert_eq!(rows.stdout.lines().count(), 501, "{rows:?}");
    // Altered bytes of the same length, and another length.
    let file = std::path::PathBuf::from(&path);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let altered = restore(&scene, &path, "never", &[]);
    assert!(altered.code == 1, "{altered:?}");
    std::fs::write(&file, &bytes[..middle]).unwrap();
    for verb in [&["show", &path][..], &["cat", &path, "item"], &["restore", &path, "--to", "never", "--url", &scene.cluster.url("")]] {
        let cut = scene.alone(&[], verb);
        assert!(cut.code == 1 && cut.stderr.contains("bytes instead of the"), "{verb:?}: {cut:?}");
    }
    assert_eq!(scene.cluster.psql("select count(*) from pg_database where datname = 'never'"), "0");
}

#[test]
fn files_are_told_from_backups_and_compared_with_them() {
    let scene = Scene::new();
    scene.configure("");
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    shell(&scene, "pg_dump -Fc -f now.dump shop; pg_dump -Fd -f now.dir shop; tar -cf now.tar now.dir; pg_dump -Fc -f latest shop");
    scene.cluster.psql_in("shop", "insert into item values (777777, 'new'); create table fresh (x int)");
    shell(&scene, "pg_dump -f later.sql shop; pg_dump -Fc -f later.dump shop");
    let run = |arguments: &[&str]| {
        let mut command = scene.rig.command();
        let output = command.args(arguments).current_dir(scene.work()).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    };
    let same = run(&["diff", "shop@latest", "./now.dump", "--exit-code"]);
    assert!(same.code == 0 && same.stdout.contains("no difference"), "{same:?}");
    let packed = run(&["diff", "./now.dump", "./now.tar"]);
    assert!(packed.stdout.contains("no difference") && !packed.stdout.contains("could not be compared"), "{packed:?}");
    for later in ["./later.dump", "later.dump"] {
        let moved = run(&["diff", "shop/shop@latest", later, "--exit-code"]);
        assert_eq!(moved.code, 1, "{moved:?}");
        assert!(moved.stdout.contains("+ TABLE public.fresh") && moved.stdout.contains("501"), "{moved:?}");
    }
    let script = run(&["diff", "./now.dump", "./later.sql"]);
    assert!(script.stdout.contains("definitions are not compared") && script.stdout.contains("501"), "{script:?}");
    // A name without a slash is a file only where nothing else is called so, and it is said.
    let file = run(&["show", "now.dump"]);
    assert!(file.code == 0 && file.stderr.contains("now.dump is taken for the file"), "{file:?}");
    let id = scene.rig.backups()[0]["id"].as_str().unwrap().to_owned();
    std::fs::copy(scene.work().join("now.dump"), scene.work().join(&id)).unwrap();
    let backup = run(&["show", &id]);
    assert!(backup.stdout.starts_with("backup ") && backup.stderr.contains("is taken for the backup"), "{backup:?}");
    let file = run(&["show", &format!("./{id}")]);
    assert!(file.stdout.starts_with("file "), "{file:?}");
    let latest = run(&["show", "latest"]);
    assert!(latest.stdout.starts_with("backup ") && latest.stderr.contains("the file is ./latest"), "{latest:?}");
    let none = scene.alone(&[], &["show", "nothing.dump"]);
    assert!(none.code == 1 && none.stderr.contains("there is no file \"nothing.dump\" here, and no configuration"), "{none:?}");
    // With a configuration, what is done with files stands in its audit log.
    assert_eq!(run(&["restore", "./now.dump", "--to", "again", "--url", &scene.cluster.url("")]).code, 0);
    let told = run(&["restore", "./none.dump", "--to", "again", "--url", &scene.cluster.url("")]);
    assert_eq!(told.code, 1, "{told:?}");
    let catalog = rusqlite::Connection::open(scene.rig.state().join("catalog.db")).unwrap();
    let mut asked = catalog.prepare("select subject || ': ' || outcome from audit where action = 'restore' order by rowid").unwrap();
    let lines: Vec<String> = asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("the file ./now.dump to \"again\": 2 tables, 20500 rows"), "{lines:?}");
    assert!(lines[1].contains("none.dump") && lines[1].contains("No such file"), "{lines:?}");
}

/// A folder that only its owner may write, as on a read-only medium: what has to be unpacked goes elsewhere, and leaves nothing.
#[test]
fn a_directory_in_a_tar_is_unpacked_elsewhere() {
    let scene = Scene::new();
    shell(&scene, "pg_dump -Fd -f a.dir shop; mkdir medium; tar -czf medium/a.tgz a.dir; chmod 500 medium");
    let scratch = scene.rig.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    // What a killed restore has left there.
    let debris = scratch.join(".pgdumpd-tmp-given-999999999-1-abc");
    std::fs::create_dir(&debris).unwrap();
    let variables = [("TMPDIR", scratch.to_str().unwrap())];
    let url = scene.cluster.url("again");
    let ended = scene.alone(&variables, &["restore", "medium/a.tgz", "--to", &url, "--jobs", "2"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.contents("again"), scene.contents("shop"));
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "scratch was left");
    assert!(is_root() || std::fs::read_dir(scene.work().join("medium")).unwrap().count() == 1);
}

/// Made by `pg_dump` 17 with `--compress=lz4`, which Debian 12's own can't do.
#[test]
fn rows_that_pg_dump_compressed_with_lz4_are_read() {
    let scene = Scene::new();
    for name in ["lz4.dump", "lz4.dir.tar.gz"] {
        let made = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oneoff/made").join(name);
        std::fs::copy(made, scene.work().join(name)).unwrap();
        let cat = |table: &str| scene.alone(&[], &["cat", &format!("./{name}"), table, "--format", "copy"]);
        let expected = scene.cluster.psql_in("shop", "copy item to stdout");
        assert_eq!(cat("item").stdout.trim_end(), expected, "{name}");
        assert_eq!(cat("odd").stdout, "tab\\tline\\nback\\\\slash\n\\N\n\n", "{name}");
        let empty = cat("empty");
        assert_eq!((empty.code, empty.stdout.as_str()), (0, ""), "{name}: {empty:?}");
    }
    let bytes = std::fs::read(scene.work().join("lz4.dump")).unwrap();
    let start = bytes.windows(4).position(|window| window == [0x04, 0x22, 0x4d, 0x18]).unwrap();
    std::fs::write(scene.work().join("script.lz4"), &bytes[start..]).unwrap();
    let ended = scene.alone(&[], &["show", "./script.lz4"]);
    assert!(ended.code == 1 && ended.stderr.contains("compressed with LZ4 from outside"), "no word of damage: {ended:?}");
}

/// A client that was built without the library says so, and is no judge of the file: it is unpacked here. A stand-in, with the words of 16 to 18.
#[test]
fn a_file_whose_compression_the_client_lacks_is_read_without_it() {
    let scene = Scene::new();
    let made = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oneoff/made/lz4.dump");
    std::fs::copy(made, scene.work().join("lz4.dump")).unwrap();
    let lacking = "#!/bin/sh\ncat >/dev/null\necho 'pg_restore: error: cannot restore from compressed archive (this build does not support \
                   compression with lz4)' >&2\nexit 1\n";
    let scripts = [("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 17.10'\n"), ("pg_restore", lacking)];
    let pg_dump = scene.rig.clients(&scripts).join("pg_dump");
    let env = [("PG_DUMP_PATH", pg_dump.to_str().unwrap())];
    let told = scene.alone(&env, &["verify", "./lz4.dump"]);
    assert!(told.code == 0 && told.stdout.contains("rows") && told.stdout.contains("lz4.dump: good"), "{told:?}");
    let url = scene.cluster.url("fresh");
    let ended = scene.alone(&env, &["restore", "./lz4.dump", "--to", &url, "--keep-going"]);
    assert!(ended.code == 1 && ended.stderr.contains("client that is built with that library"), "{ended:?}");
}
