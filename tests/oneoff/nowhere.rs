//! Backups that would end where nobody keeps them, or under a name that lies, are refused before anything is dumped.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::scene::Scene;

#[test]
fn a_closed_standard_output_is_refused() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let line = |end: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("exec {} backup --url '{url}' -o - {end}", env!("CARGO_BIN_EXE_pgdumpd"))]);
        shell.current_dir(scene.work()).stdin(Stdio::null()).output().unwrap()
    };
    let closed = line(">&-");
    let words = String::from_utf8_lossy(&closed.stderr).into_owned();
    assert!(closed.status.code() == Some(2) && words.contains("standard output is closed") && !words.contains("sha256"), "{closed:?}");
    // Who throws it away on purpose may.
    let thrown = line(">/dev/null");
    assert!(thrown.status.success() && String::from_utf8_lossy(&thrown.stderr).contains("sha256"), "{thrown:?}");
    assert!(line(">&- --dry-run").status.success());
}

/// `pgdumpd backup --url … > shop.dump` would leave a few words under that name.
#[test]
fn a_summary_is_not_written_in_the_place_of_a_dump() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let line = |arguments: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("exec {} backup --url '{url}' {arguments}", env!("CARGO_BIN_EXE_pgdumpd"))]);
        shell.current_dir(scene.work()).stdin(Stdio::null()).output().unwrap()
    };
    let refused = line(">shop.dump");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    let lines = words.contains("backup … --output FILE") && words.contains("backup … --output - >FILE");
    assert!(refused.status.code() == Some(2) && lines, "{refused:?}");
    let names = || std::fs::read_dir(scene.work()).unwrap().count();
    assert_eq!((names(), std::fs::metadata(scene.work().join("shop.dump")).unwrap().len()), (1, 0));
    for said in ["-o - >shop.dump", "--json >answer", "-o . >log", "--output-dir . >log", "--dry-run >log", "| cat >log"] {
        let ended = line(said);
        assert!(ended.status.success(), "{said}: {ended:?}");
    }
    assert_eq!(scene.alone(&[], &["verify", "./shop.dump"]).code, 0);
}

/// A folder below one that only others may write to.
#[test]
fn a_folder_is_written_to_from_one_that_is_not() {
    let scene = Scene::new();
    let (url, work) = (scene.cluster.url("shop"), scene.work());
    std::fs::create_dir(work.join("wo")).unwrap();
    std::fs::set_permissions(work.join("wo"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o555)).unwrap();
    let run = |output: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        if crate::cluster::is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(env!("CARGO_BIN_EXE_pgdumpd")).args(["backup", "--url", &url]).args(output).current_dir(&work);
        command.env_clear().envs(scene.rig.env.iter().filter(|(name, _)| name != "PGDUMPD_CONFIG").cloned());
        command.stdin(Stdio::null()).output().unwrap()
    };
    for output in [&["-o", "wo/a.dump"][..], &["-o", "wo"], &["--output-dir", ".", "-o", "wo/b.dump"]] {
        let ended = run(output);
        assert!(ended.status.success(), "{output:?}: {ended:?}");
    }
    for output in [&["-o", "a.dump"][..], &[], &["-o", "."]] {
        let ended = run(output);
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(1) && words.contains("writing into") && words.contains("Permission denied"), "{ended:?}");
    }
    assert_eq!(std::fs::read_dir(work.join("wo")).unwrap().count(), 3);
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_name_that_promises_what_is_not_written_is_refused() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    for name in ["a.sql.xz", "a.zip", "a.TGZ", "a.dump.lz4"] {
        let ended = scene.alone(&[], &["backup", "--url", &url, "-o", name]);
        assert!(ended.code == 2 && ended.stderr.contains("which pgdumpd doesn't write"), "{name}: {ended:?}");
        assert!(!scene.work().join(name).exists(), "{name}");
    }
    let said = ["backup", "--url", &url, "-o", "a.tgz", "--format", "directory", "--compress", "gzip"];
    assert_eq!(scene.alone(&[], &said).code, 0);
    assert_eq!(scene.alone(&[], &["verify", "./a.tgz"]).code, 0);
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", "shop.2026"]).code, 0);
}

/// Before the dump: after it, the file system would refuse the name, or the name would lie.
#[test]
fn a_name_that_lies_or_is_too_long_is_refused() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let long = format!("{}.dump", "x".repeat(251));
    for (arguments, words) in [
        (&["-o", "x.sql.gz", "--compress", "none"][..], "the name \"x.sql.gz\" promises another file"),
        (&["-o", "x.sql.zst", "--compress", "gzip"], "end the name in .sql.gz"),
        (&["-o", "x.sql", "--format", "tar"], "end the name in .tar"),
        (&["-o", "x.dump.gz", "--compress", "zstd"], "end the name in .dump.zst"),
        (&["-o", &long], "the output's name has 256 bytes"),
    ] {
        let ended = scene.alone(&[], &[&["backup", "--url", &url], arguments].concat());
        assert!(ended.code == 2 && ended.stderr.contains(words), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("before compression"), "{ended:?}");
    }
    assert_eq!(std::fs::read_dir(scene.work()).unwrap().count(), 0);
    let longest = scene.alone(&[], &["backup", "--url", &url, "-o", &long[1..]]);
    assert_eq!(longest.code, 0, "{longest:?}");
}

/// What is told to be typed, or to be done, is for the file at hand.
#[test]
fn what_is_told_is_about_the_file_at_hand() {
    let scene = Scene::new();
    let url = scene.cluster.url("shop");
    let odd = scene.alone(&[], &["backup", "--url", &url, "--output=-z2.dump", "--json"]);
    assert_eq!(odd.json()["restoreCommand"], "pg_restore --exit-on-error -d NEW_DATABASE ./-z2.dump");
    scene.restore(&scene.work(), odd.json()["restoreCommand"].as_str().unwrap(), "again");
    let line = |line: &str| {
        let mut shell = std::process::Command::new("bash");
        let line = line.replace("PGDUMPD", env!("CARGO_BIN_EXE_pgdumpd")).replace("URL", &url);
        let ended = shell.args(["-c", &line]).current_dir(scene.work()).stdin(Stdio::null()).output().unwrap();
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout))
    };
    let (code, piped) = line("PGDUMPD backup --url URL -o - --json >piped");
    assert!(code == Some(0) && piped.contains("\"restoreCommand\": null"), "{piped}");
    // No retention and no storage: there is but a file.
    let (code, full) = line("ulimit -f 200; PGDUMPD backup --url URL -o full.sql");
    assert!(code == Some(1) && full.contains("or write elsewhere") && !full.contains("retention"), "{full}");
    for (read, words) in [
        ("cat piped | PGDUMPD verify /dev/stdin", "neither a file nor a folder"),
        ("PGDUMPD show <(cat piped)", "neither a file nor a folder"),
        ("cat piped | PGDUMPD verify -", "can't be read from standard input"),
    ] {
        let (code, told) = line(read);
        assert!(code.is_some_and(|code| code > 0) && told.contains(words) && !told.contains("sudo"), "{read}: {told}");
    }
    crate::elsewhere::shell(&scene, "pg_dump -Fd -f d shop; rm d/[0-9]*.dat.gz");
    let (code, folder) = line("PGDUMPD verify ./d");
    assert!(code == Some(1) && folder.contains("the folder lacks its member") && !folder.contains("tar archive"), "{folder}");
}

#[test]
fn variables_that_would_not_be_used_are_named() {
    let scene = Scene::new();
    let url = scene.rig.path().join("url");
    std::fs::write(&url, scene.cluster.url("shop")).unwrap();
    let port = scene.cluster.port.to_string();
    let file = ("DATABASE_URL_FILE", url.to_str().unwrap());
    let parts = [("POSTGRES_HOST", "127.0.0.1"), ("POSTGRES_DB", "shop"), ("POSTGRES_USER", "postgres"), ("PGPORT", port.as_str())];
    for (variables, named) in [(&[file][..], "DATABASE_URL_FILE would"), (&parts, "POSTGRES_HOST, POSTGRES_DB would")] {
        let ended = scene.alone(variables, &["backup", "-o", "x.dump"]);
        assert!(ended.code == 2 && ended.stderr.contains(named), "{variables:?}: {ended:?}");
        assert!(!scene.work().join("x.dump").exists());
    }
    let both = [("POSTGRES_DB", "other"), ("DATABASE_URL", &scene.cluster.url("shop"))];
    assert_eq!(scene.alone(&both, &["backup", "-o", "x.dump"]).code, 0, "what is said wins");
}

/// libpq would take the one that is called like the user, here `postgres`: there, empty, and not what anybody means.
#[test]
fn a_connection_without_a_database_is_refused() {
    let scene = Scene::new();
    let url = scene.cluster.url("");
    let port = scene.cluster.port.to_string();
    let keywords = format!("host=127.0.0.1 port={port} user=postgres password=hush");
    let parts = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "postgres")];
    let pasted = "type: PGDATABASE=DATABASE pgdumpd backup -o 'x y.dump'";
    let behind = format!("--url {}", url.trim_end_matches('/').to_owned() + "/DATABASE");
    for (variables, more, line) in [
        (&[("DATABASE_URL", url.as_str())][..], &[][..], pasted),
        (&[("DATABASE_URL", keywords.as_str())], &[], pasted),
        (&parts, &[], pasted),
        (&[], &["--url", &url], &behind),
        (&[("PGDATABASE", "")], &["--url", &keywords], "dbname=DATABASE"),
        (&[], &["--url", &url, "--dry-run"], &behind),
    ] {
        let said = [&["backup", "-o", "x y.dump"], more].concat();
        let ended = scene.alone(variables, &said);
        assert!(ended.code == 2 && ended.stderr.contains("no database is named"), "{variables:?} {more:?}: {ended:?}");
        assert!(ended.stderr.contains(line) && !ended.stderr.contains("hush"), "{line}: {ended:?}");
        assert!(!scene.work().join("x y.dump").exists());
    }
    let service = scene.rig.path().join("services");
    std::fs::write(&service, format!("[shop]\nhost=127.0.0.1\nport={port}\nuser=postgres\ndbname=shop\n")).unwrap();
    let by_service = [("PGSERVICE", "shop"), ("PGSERVICEFILE", service.to_str().unwrap())];
    let database = ("PGDATABASE", "shop");
    for (variables, more) in
        [(&[("DATABASE_URL", url.as_str()), database][..], &[][..]), (&[database], &["--url", &url]), (&by_service, &[])]
    {
        let ended = scene.alone(variables, &[&["backup", "-o", "x.dump", "--json"], more].concat());
        assert_eq!((ended.code, &ended.json()["database"]), (0, &"shop".into()), "{variables:?}: {ended:?}");
    }
}
