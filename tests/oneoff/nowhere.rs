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
