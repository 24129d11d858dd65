//! `pgdumpd backup --url`: no configuration, no state, one file.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::cluster::Setup;
use crate::rig::wait_until;
use crate::scene::{PATIENCE, Scene, clients};

/// What lies in the folder that is worked in.
fn left(scene: &Scene) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(scene.work()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_database_becomes_one_file_and_nothing_else() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let before = std::fs::read_dir(scene.rig.path()).unwrap().count();
    let ended = scene.alone(&[], &["backup", "--url", &url, "--output", "shop.dump", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let answer = ended.json();
    let path = scene.work().canonicalize().unwrap().join("shop.dump");
    assert_eq!((&answer["success"], &answer["error"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(answer["outputPath"], path.to_str().unwrap());
    assert_eq!(answer["size"], std::fs::metadata(&path).unwrap().len());
    assert!(answer["duration"].is_u64());
    assert_eq!(left(&scene), ["shop.dump"]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(scene.rig.path()).unwrap().count(), before + 1, "only the folder itself is new");
    assert!(std::fs::read_dir(scene.rig.path().join("home")).unwrap().next().is_none(), "something was left at home");
    // The name promises what pg_restore opens as it is.
    scene.restore(&scene.work(), "pg_restore --exit-on-error -d NEW_DATABASE shop.dump", "again");
    assert_eq!(scene.contents("again"), scene.contents("shop"));
    // Again, over the file of the same name.
    scene.cluster.psql_in("shop", "insert into item values (501, 'new')");
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", "shop.dump"]).code, 0);
    scene.restore(&scene.work(), "pg_restore --exit-on-error -d NEW_DATABASE shop.dump", "third");
    assert_eq!(scene.cluster.psql_in("third", "select count(*) from item"), "501");
}

#[test]
fn each_format_restores_by_the_line_that_is_told() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    for (number, arguments) in [
        &["--output", "a.sql"][..],
        &["--output", "a.sql.gz"],
        &["--output", "b b.dump.zst"],
        &["--format", "tar", "--output", "a.tar"],
        &["--format", "tar", "--compress", "bzip2:1", "--output", "."],
        &["--format", "directory", "--jobs", "2", "--output", "x.dir.tar.zst"],
        &["--compress", "zstd:1"],
        &["--format", "plain"],
    ]
    .iter()
    .enumerate()
    {
        let ended = scene.alone(&[], &[&["backup", "--url", &url, "--json"], *arguments].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let answer = ended.json();
        assert_eq!(answer["recordCount"], 20_500, "{answer:#}");
        drop(std::fs::remove_dir_all(scene.rig.path().join("unpacked")));
        let database = format!("again{number}");
        scene.restore(&scene.work(), answer["restoreCommand"].as_str().unwrap(), &database);
        assert_eq!(scene.contents(&database), scene.contents("shop"), "{arguments:?}");
        let file = answer["outputPath"].as_str().unwrap();
        let verified = scene.alone(&[], &["backup", "--verify", file, "--json"]);
        assert_eq!((verified.code, &verified.json()["valid"]), (0, &true.into()), "{arguments:?}: {verified:?}");
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(left(&scene), Vec::<String>::new());
}

#[test]
fn the_environment_names_the_database() {
    let scene = Scene::new();
    let (url, port) = (scene.cluster.url("shop"), scene.cluster.port.to_string());
    let socket = scene.cluster.dir().display().to_string();
    let service = scene.rig.path().join("services");
    std::fs::write(&service, format!("[shop]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=shop\n")).unwrap();
    let by_service = [("PGSERVICE", "shop"), ("PGSERVICEFILE", service.to_str().unwrap())];
    for (number, variables) in [
        &[("DATABASE_URL", url.as_str())][..],
        &[("PGHOST", "127.0.0.1"), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", "shop")],
        &[("PGHOST", &socket), ("PGPORT", &port), ("PGUSER", "postgres"), ("PGDATABASE", "shop")],
        &by_service,
    ]
    .iter()
    .enumerate()
    {
        let file = format!("{number}.dump");
        let ended = scene.alone(variables, &["backup", "-o", &file, "--json"]);
        assert_eq!((ended.code, &ended.json()["database"]), (0, &"shop".into()), "{variables:?}: {ended:?}");
    }
    let ended = scene.alone(&[], &["backup"]);
    assert!(ended.code == 2 && ended.stderr.contains("--url"), "{ended:?}");
}

/// Nothing but the dump goes to standard output, whatever is said beside it.
#[test]
fn standard_output_carries_the_dump_alone() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    for more in [&[][..], &["--json"], &["--verbose"], &["--format", "directory", "--compress", "gzip"]] {
        let file = scene.work().join("piped");
        let output = std::fs::File::create(&file).unwrap();
        let mut command = scene.alone_command(&[]);
        command.args(["backup", "--url", &url, "--output", "-"]).args(more);
        let ended = command.stdin(Stdio::null()).stdout(output).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        let verified = scene.alone(&[], &["backup", "--verify", "piped"]);
        assert_eq!(verified.code, 0, "{more:?}: {verified:?}");
        assert!(verified.stdout.contains("20500 rows"), "{verified:?}");
        assert_eq!(left(&scene), ["piped"]);
    }
    let refused = Command::new("script")
        .args(["-qec", &format!("{} backup --url {url} -o -", env!("CARGO_BIN_EXE_pgdumpd")), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .expect("apt-get install bsdutils");
    let words = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(refused.status.code() == Some(2) && words.contains("no text for a terminal"), "{refused:?}");
}

#[test]
fn selections_and_options_reach_pg_dump_by_the_same_rules() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let backup = |more: &[&str]| scene.alone(&[], &[&["backup", "--url", &url, "-o", "x.sql"], more].concat());
    let text = || std::fs::read_to_string(scene.work().join("x.sql")).unwrap();
    assert_eq!(backup(&["--tables", "item,\"Größe; x\""]).code, 0);
    assert!(text().contains("COPY public.item") && text().contains("COPY public.\"Größe; x\"") && !text().contains("VIEW"));
    assert_eq!(backup(&["--exclude-tables", "item,dear", "--schema-only"]).code, 0);
    assert!(!text().contains("COPY") && !text().contains("public.item") && text().contains("CREATE TABLE"));
    assert_eq!(backup(&["--exclude-table-data", "item,\"Größe; x\""]).code, 0);
    assert!(!text().contains("COPY") && text().contains("CREATE TABLE public.item") && text().contains("VIEW"));
    assert_eq!(backup(&["--data-only", "--schemas", "public", "--", "--inserts", "--no-comments"]).code, 0);
    assert!(text().contains("INSERT INTO public.item") && !text().contains("CREATE TABLE"));
    for (more, code, words) in [
        (&["--data-only", "--schema-only"][..], 2, "cannot be used with"),
        (&["--", "--file=/etc/x"], 2, "itself stores"),
        (&["--", "--enable-row-security"], 2, "BYPASSRLS"),
        (&["--", "-j", "4"], 2, "not a long option"),
        (&["--jobs", "4"], 2, "needs the directory format"),
        (&["--compress", "zip"], 2, "unknown compression"),
        (&["--format", "tarr"], 2, "possible values"),
        (&["--tables", "no_such_table"], 1, "so pg_dump made no dump"),
        (&["--tables", "a", "--schemas", "b"], 2, "no effect beside tables"),
        (&["shop"], 2, "for one without"),
    ] {
        let before = text();
        let ended = backup(more);
        assert_eq!(ended.code, code, "{more:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{more:?}: {ended:?}");
        assert_eq!((text(), left(&scene)), (before, vec![String::from("x.sql")]), "{more:?} harmed the file before");
    }
}

#[test]
fn outputs_that_lead_elsewhere_are_refused() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let work = scene.work();
    std::fs::create_dir(work.join("sub")).unwrap();
    symlink("/tmp", work.join("out")).unwrap();
    symlink("/tmp/pgdumpd-nobody", work.join("link.dump")).unwrap();
    let outside = scene.rig.path().join("x.dump").display().to_string();
    for arguments in [
        &["--output", "../x.dump"][..],
        &["--output", "sub/../../x.dump"],
        &["--output", "out/x.dump"],
        &["--output", "out"],
        &["--output", "link.dump"],
        &["--output", "/dev/null"],
        &["--output-dir", "sub", "--output", &outside],
        &["--output-dir", "sub", "--output", "../x.dump"],
    ] {
        let ended = scene.alone(&[], &[&["backup", "--url", &url], arguments].concat());
        assert_eq!(ended.code, 1, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("the output"), "{arguments:?}: {ended:?}");
    }
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", "none/x.dump"]).code, 1);
    assert_eq!(left(&scene), ["link.dump", "out", "sub"]);
    assert!(std::fs::read_dir(work.join("sub")).unwrap().next().is_none());
    // Named in full, a place is taken at its word.
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "--output", &outside]).code, 0);
}

/// Each cause has its sentence and its exit code; nothing is left, and what was there stays.
#[test]
fn failures_are_told_and_leave_nothing() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let empty = scene.rig.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(scene.work().join("x.dump"), "before").unwrap();
    scene.cluster.psql("create role plain login");
    let run = |variables: &[(&str, &str)], url: &str| scene.alone(variables, &["backup", "--url", url, "-o", "x.dump", "--json"]);
    for (url, code, words) in [
        ("postgresql://postgres@127.0.0.1:1/shop", 75, "refused"),
        (scene.cluster.url("nobody").as_str(), 1, "has no database of that name"),
        (scene.cluster.url_as("nobody", "shop").as_str(), 1, "has no role of that name"),
        (format!("{}?sslmode=require", scene.cluster.url("shop")).as_str(), 1, "does not support SSL"),
        ("service=nobody", 1, "nobody"),
        (format!("{}?schema=public", scene.cluster.url("shop")).as_str(), 2, "no keyword schema"),
        ("\"postgresql://me@db/shop\"", 2, "it stands in quotes"),
        ("postgresql://me@db/shop\n", 2, "a line break"),
        (
            scene.cluster.url_as("plain", "shop").as_str(),
            1,
            "and so on, or all schemas and tables at once: GRANT pg_read_all_data TO \"plain\";",
        ),
        ("postgresql://me:geheim@127.0.0.1:x/", 2, "not a port"),
        ("mysql://x", 2, "neither a URL nor"),
    ] {
        let ended = run(&[], url);
        let answer = ended.json();
        assert_eq!(ended.code, code, "{url}: {ended:?}");
        assert_eq!(answer["success"], false);
        let told = format!("{}\n{}", answer["error"].as_str().unwrap(), answer["hint"].as_str().unwrap_or_default());
        assert!(told.contains(words), "{url}: {answer:#}");
        assert!(!format!("{ended:?}").contains("geheim"));
    }
    // Too many connections pass by themselves.
    scene.cluster.psql("create role busy login connection limit 0; grant all on database shop to busy");
    let busy = run(&[], &scene.cluster.url_as("busy", "shop"));
    assert!(busy.code == 75 && busy.stdout.contains("too many connections"), "{busy:?}");
    // Where the connection leads is told as libpq's own variables say.
    let port = scene.cluster.port.to_string();
    let by_variables = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "postgres"), ("PGDATABASE", "nobody")];
    let told = scene.alone(&by_variables, &["backup", "-o", "x.dump"]);
    assert!(told.code == 1 && told.stderr.contains(&format!("no connection to 127.0.0.1 port {port}: ")), "{told:?}");
    let gone = scene
        .alone(&[("PG_DUMP_PATH", empty.join("pg_dump").to_str().unwrap()), ("PATH", empty.to_str().unwrap())], &["backup", "--url", &url]);
    assert!(gone.code == 1 && gone.stderr.contains("empty/pg_dump"), "{gone:?}");
    // A pg_dump that fails in its middle.
    let bin = clients();
    let script =
        format!("#!/bin/sh\ncase \"$*\" in *--version*) exec {bin}/pg_dump \"$@\";; esac\n{bin}/pg_dump \"$@\" | head -c 20000\nexit 1\n");
    let clients = scene.rig.clients(&[("pg_dump", &script)]);
    let path = format!("{}:/usr/bin:/bin", clients.display());
    let failed = run(&[("PG_DUMP_PATH", clients.join("pg_dump").to_str().unwrap()), ("PATH", &path)], &url);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(std::fs::read_to_string(scene.work().join("x.dump")).unwrap(), "before");
    assert_eq!(left(&scene), ["x.dump"]);
}

/// The password is in no argument, no message and no file.
#[test]
fn a_password_goes_its_own_way() {
    let cluster = Setup::default().hba("host all all all scram-sha-256").start();
    let mut scene = Scene::new();
    scene.cluster = cluster;
    scene.cluster.psql("create role me login superuser password 'pa ss/w@rd%:''x'");
    scene.cluster.psql("create database shop");
    let url = format!("postgresql://me:pa%20ss%2Fw%40rd%25%3A%27x@127.0.0.1:{}/shop", scene.cluster.port);
    let bare = scene.cluster.url_as("me", "shop");
    for (variables, url) in [(&[][..], url.as_str()), (&[("PGPASSWORD", "pa ss/w@rd%:'x")], bare.as_str())] {
        let dry = scene.alone(variables, &["backup", "--url", url, "--dry-run"]);
        assert_eq!(dry.code, 0, "{dry:?}");
        assert!(dry.stdout.contains("--format=custom") && dry.stdout.contains("pg_dump"), "{dry:?}");
        let ended = scene.alone(variables, &["backup", "--url", url, "-o", "x.dump", "--verbose", "--json"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(!format!("{dry:?}{ended:?}").contains("w@rd") && !format!("{dry:?}{ended:?}").contains("w%40rd"));
    }
    let wrong = scene.alone(&[("PGPASSWORD", "falsch1")], &["backup", "--url", &bare]);
    assert!(wrong.code == 1 && wrong.stderr.contains("password") && !wrong.stderr.contains("falsch1"), "{wrong:?}");
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let scene = Scene::new();
    let ended = scene.alone(&[], &["backup", "--url", &scene.cluster.url("shop"), "--dry-run", "--json", "--tables", "item"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let answer = ended.json();
    assert!(answer["command"].as_str().unwrap().contains("--table=item --strict-names"), "{answer:#}");
    assert!(answer["outputPath"].as_str().unwrap().contains("/here/shop_"), "{answer:#}");
    assert_eq!(left(&scene), Vec::<String>::new());
    let whole = scene.alone(&[], &["backup", "--url", &scene.cluster.url("shop"), "--dry-run", "--json"]).json();
    let (estimated, size) = (whole["estimatedSize"].as_u64().unwrap(), whole["databaseSize"].as_u64().unwrap());
    assert!(estimated > 500_000 && estimated <= size, "{whole:#}");
}

/// Variables that name nothing but a database ask no question a folder.
#[test]
fn a_question_makes_neither_state_nor_storage() {
    let scene = Scene::new();
    let (state, storage) = (scene.rig.path().join("nothing-kept"), std::path::Path::new("/var/backups/pgdumpd"));
    let before = storage.exists();
    let url = [("DATABASE_URL", scene.cluster.url("shop"))];
    let url: Vec<(&str, &str)> = url.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (arguments, code, words) in [
        (&["list"][..], 0, "no backups yet"),
        (&["status"], 0, "main"),
        (&["audit"], 0, ""),
        (&["show", "latest"], 1, "no backup"),
        (&["verify", "main"], 0, "no backups yet"),
        (&["cat", "latest", "item"], 1, "no backup"),
        (&["plan"], 0, "main"),
        (&["doctor"], 0, "isn't there yet"),
        (&["prune", "--dry-run"], 0, "main: keeps 0"),
        (&["accept"], 0, "no backup waits"),
        (&["delete", "latest", "--dry-run"], 1, "no backup"),
        // What would change something that isn't there.
        (&["pin", "latest"], 1, "nothing is kept here"),
        (&["unpin", "latest"], 1, "nothing is kept here"),
        (&["accept", "main"], 1, "nothing is kept here"),
        (&["delete", "latest"], 1, "nothing is kept here"),
        (&["prune"], 1, "nothing is kept here"),
        (&["pause", "main"], 1, "nothing is kept here"),
        (&["resume", "main"], 1, "nothing is kept here"),
        (&["restore", "latest", "--to", "again"], 1, "nothing is kept here"),
        (&["doctor", "--accept-storage", "main"], 1, "nothing is kept here"),
    ] {
        let ended = scene.alone(&url, arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(format!("{}{}", ended.stdout, ended.stderr).contains(words), "{arguments:?}: {ended:?}");
        assert!(!state.exists() && storage.exists() == before, "{arguments:?} has made a folder");
    }
}

#[test]
fn verbose_shows_what_pg_dump_says() {
    let scene = Scene::new();
    let ended = scene.alone(&[], &["backup", "--url", &scene.cluster.url("shop"), "-o", "x.dump", "-v"]);
    assert!(ended.code == 0 && ended.stderr.contains("dumping contents of table \"public.item\""), "{ended:?}");
    let quiet = scene.alone(&[], &["backup", "--url", &scene.cluster.url("shop"), "-o", "x.dump"]);
    assert!(!quiet.stderr.contains("dumping contents") && quiet.stderr.contains("before compression"), "{quiet:?}");
}

/// A second run for the same file is refused with 11, one for another file isn't; what a killed run left is removed by the next.
#[test]
fn a_second_run_is_refused_and_debris_is_removed() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let held = crate::directory::hold_lock(&scene);
    let start = |file: &str| {
        let mut command = scene.alone_command(&[]);
        command.args(["backup", "--url", &url, "--format", "directory", "-o", file]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let begun = |count: usize| {
        let dirs = || left(&scene).iter().filter(|name| name.contains("-tmp-") && scene.work().join(name).join("archive").exists()).count();
        wait_until(PATIENCE, || format!("{count} at work: {:?}", left(&scene)), || dirs() == count);
    };
    let mut one = start("one.tar");
    begun(1);
    let second = scene.alone(&[], &["backup", "--url", &url, "-o", "one.tar"]);
    assert!(second.code == 11 && second.stderr.contains("locked by run"), "{second:?}");
    let mut other = start("other.tar");
    begun(2);
    one.kill().unwrap();
    one.wait().unwrap();
    assert!(left(&scene).iter().any(|name| name.contains("-tmp-")));
    // The next run ends the orphan, clears up after it and leaves the living one alone.
    drop(held);
    let again = scene.alone(&[], &["backup", "--url", &url, "--format", "directory", "-o", "one.tar"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(other.wait().unwrap().success());
    assert_eq!(left(&scene), ["one.tar", "other.tar"]);
}
