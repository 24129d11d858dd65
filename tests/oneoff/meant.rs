//! What was said is what is backed up: no other database, and nothing by a variable that is not set. What is said of it holds no password.

use std::process::{Command, Stdio};

use crate::cluster::is_root;
use crate::elsewhere::shell;
use crate::scene::Scene;
use crate::skip::skip;

#[test]
fn the_database_that_is_named_is_the_one_that_is_backed_up() {
    let scene = Scene::new();
    scene.cluster.psql("create database bare");
    scene.cluster.psql_in("bare", "create table only_here as select 1");
    let (shop, none) = (scene.cluster.url("shop"), scene.cluster.url(""));
    let port = scene.cluster.port.to_string();
    let env = [("DB_HOST", "127.0.0.1"), ("DB_PORT", port.as_str()), ("DB_NAME", "shop"), ("DB_USER", "postgres")];
    let by_parts = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "postgres"), ("POSTGRES_DB", "shop")];
    for (variables, arguments) in [
        (&[][..], &["--url", &shop, "-d", "bare", "-o", "bare.dump"][..]),
        (&[], &["--url", &none, "--database", "bare", "-o", "bare.sql"]),
        (&[], &["--url", &format!("host=127.0.0.1 port={port} user=postgres dbname=shop"), "-d", "bare"]),
        (&env, &["--env", "prod", "-d", "bare"]),
        (&[("DATABASE_URL", shop.as_str())], &["-d", "bare"]),
        (&by_parts, &["-d", "bare", "-o", "."]),
    ] {
        let ended = scene.alone(variables, &[&["backup", "--json"], arguments].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
        let answer = ended.json();
        assert_eq!(answer["database"], "bare", "{arguments:?}: {answer:#}");
        let file = answer["outputPath"].as_str().unwrap();
        assert!(file.contains("/bare"), "{answer:#}");
        assert!(scene.alone(&[], &["show", file, "--tables"]).stdout.contains("only_here"), "{arguments:?}");
    }
    std::fs::write(scene.work().join("x.dump"), "before").unwrap();
    for (more, words) in [
        (&["-d", "bare", "-d", "shop"][..], "one file holds one database, and 2 are named"),
        (&["--schedule", "nightly"], "--schedule names a schedule of a project"),
        (&["-d", "nobody"], "does not exist"),
    ] {
        let refused = scene.alone(&[], &[&["backup", "--url", &shop, "-o", "x.dump"], more].concat());
        let code = if more == ["-d", "nobody"] { 1 } else { 2 };
        assert!(refused.code == code && refused.stderr.contains(words), "{more:?}: {refused:?}");
    }
    let listed = scene.alone(&[], &["backup", "--list", "-d", "bare"]);
    assert!(listed.code == 2 && listed.stderr.contains("--list makes none"), "{listed:?}");
    assert_eq!(std::fs::read_to_string(scene.work().join("x.dump")).unwrap(), "before");
}

#[test]
fn an_option_with_nothing_in_it_is_refused() {
    let scene = Scene::new();
    let (url, port) = (scene.cluster.url("shop"), scene.cluster.port.to_string());
    std::fs::write(scene.work().join("prod.dump"), "before").unwrap();
    let by_host = [("PGHOST", "127.0.0.1"), ("PGPORT", port.as_str()), ("PGUSER", "postgres"), ("DATABASE_URL", url.as_str())];
    for (option, value) in [
        ("--url", ""),
        ("--url", " "),
        ("--database", ""),
        ("--output", ""),
        ("--output-dir", ""),
        ("--compress", ""),
        ("--verify", ""),
        ("--tables", ""),
        ("--tables", " , "),
        ("--schemas", ""),
        ("--exclude-tables", ""),
        ("--exclude-schemas", ""),
        ("--exclude-table-data", ""),
    ] {
        let output = if matches!(option, "--output" | "--output-dir" | "--verify") { &[][..] } else { &["-o", "prod.dump"] };
        let ended = scene.alone(&by_host, &[&["backup", option, value], output].concat());
        let words = [format!("{option} is empty"), format!("a value is required for '{option} ")];
        assert!(ended.code == 2 && words.iter().any(|words| ended.stderr.contains(words)), "{option}: {ended:?}");
    }
    shell(&scene, "pg_dump -Fc -f a.dump shop");
    let restored = scene.alone(&by_host, &["restore", "./a.dump", "--to", "again", "--url", ""]);
    assert!(restored.code == 2 && restored.stderr.contains("--url is empty"), "{restored:?}");
    assert_eq!(std::fs::read_to_string(scene.work().join("prod.dump")).unwrap(), "before");
    assert_eq!(std::fs::read_dir(scene.work()).unwrap().count(), 2);
}

/// Where nothing can be written down, that is said, and no line that holds the password or that another user could not type.
#[test]
fn a_restore_that_stands_in_no_audit_log_tells_no_password() {
    if !is_root() {
        return skip("a_restore_that_stands_in_no_audit_log_tells_no_password", "needs root, to meet another user's state");
    }
    let scene = Scene::new();
    scene.configure("");
    shell(&scene, "pg_dump -Fc -f a.dump shop");
    std::os::unix::fs::chown(scene.rig.state(), Some(65534), None).unwrap();
    let url = format!("postgresql://postgres:geheim@127.0.0.1:{}/", scene.cluster.port);
    let restore = |more: &[&str]| {
        let mut command: Command = scene.rig.command();
        command.args(["restore", "./a.dump", "--to", "again", "--url", &url]).args(more).current_dir(scene.work());
        let ended = command.stdin(Stdio::null()).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    assert!(!restore(&["--dry-run"]).contains("warning"), "nothing is done that could be written down");
    let told = restore(&[]);
    assert!(told.contains("no audit log is kept of this restore: ") && told.contains("belongs to user nobody"), "{told}");
    assert!(!told.contains("geheim") && !told.contains("sudo"), "{told}");
}
