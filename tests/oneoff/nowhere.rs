//! Backups that would end where nobody keeps them, or under a name that lies, are refused before anything is dumped.

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
