//! Every form of a backup restores with exactly the line that its manifest carries, with standard tools alone, and compares equal.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::scene::Scene;

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// Restores a backup into a new database by typing its manifest's line in its folder.
pub(crate) fn restore(scene: &Scene, folder: &Path, file: &str, target: &str) {
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{file}.json"))).unwrap()).unwrap();
    let line = manifest["restore_command"].as_str().unwrap().replace("NEW_DATABASE", target);
    scene.cluster.psql(&format!("create database {target} template template0"));
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &line])
        .env("PATH", format!("{BIN}:/usr/bin:/bin"))
        .env("PGHOST", scene.cluster.dir())
        .env("PGPORT", scene.cluster.port.to_string())
        .env("PGUSER", "postgres")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A database as SQL, without what differs from dump to dump.
pub(crate) fn contents(cluster: &Cluster, database: &str) -> String {
    let conninfo = format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
    let output = Command::new(format!("{BIN}/pg_dump"))
        .args(["-h", &cluster.dir().display().to_string(), "-p", &cluster.port.to_string(), "-U", "postgres", "-d", &conninfo])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_form_restores_with_its_manifests_line() {
    let mut scene = Scene::bare(Cluster::start(), "", "");
    scene.cluster.psql_in(
        "shop",
        "create view few as select * from item where n < 10; create sequence s start 7; select nextval('s'), lo_from_bytea(0, 'large');
         create table odd (\"A b\" text, b bytea); insert into odd values (E'tab\\there\\\\n', '\\x00ff'), (null, null)",
    );
    let want = contents(&scene.cluster, "shop");
    let mut number = 0;
    for format in ["custom", "plain", "tar"] {
        for compression in ["zstd", "gzip", "bzip2", "none", "native"] {
            if compression == "native" && format != "custom" {
                continue;
            }
            number += 1;
            scene.set(&format!("format = \"{format}\"\ncompression = \"{compression}\""));
            scene.configure(50);
            let ended = scene.backup();
            assert_eq!(ended.code, 0, "{format}, {compression}: {ended:?}");
            let newest = &scene.rig.backups()[0];
            let target = format!("restored{number}");
            restore(&scene, &scene.rig.storage().join("shop"), newest["file"].as_str().unwrap(), &target);
            assert_eq!(contents(&scene.cluster, &target), want, "{format}, {compression}");
        }
    }
    assert_eq!(number, 13);
}

#[test]
fn the_globals_restore_with_their_line() {
    let scene = Scene::bare(Cluster::start(), "globals = true", "");
    scene.cluster.psql("create role clerk login password 'x' connection limit 3");
    scene.configure(5);
    assert_eq!(scene.backup().code, 0);
    let backups = scene.rig.backups();
    let globals = backups.iter().find(|backup| backup["database"] == "globals").unwrap();
    let hash = scene.cluster.psql("select rolpassword from pg_authid where rolname = 'clerk'");
    scene.cluster.psql("drop role clerk");
    restore(&scene, &scene.rig.storage().join("shop"), globals["file"].as_str().unwrap(), "unused");
    assert_eq!(scene.cluster.psql("select rolpassword from pg_authid where rolname = 'clerk' and rolconnlimit = 3"), hash);
}

/// What can't be made is refused when the file is read: by the daemon, by hand and by `check`, before a server is touched.
#[test]
fn what_cannot_be_dumped_is_refused_when_the_file_is_read() {
    for (line, words) in [
        ("jobs = 4", "needs the directory format"),
        ("options = [\"--file=/etc/x\"]", "pgdumpd itself stores"),
        ("options = [\"--enable-row-security\"]", "BYPASSRLS"),
        ("options = [\"--no-such-thing\"]", "isn't known"),
    ] {
        let scene = Scene::bare(Cluster::start(), line, "");
        scene.configure(5);
        for verb in [&["check"][..], &["backup", "shop"], &["serve"]] {
            let ended = scene.start_verb(&[], verb).finish(crate::scene::LONG);
            assert_eq!(ended.code, 2, "{line}, {verb:?}: {ended:?}");
            assert!(ended.stderr.contains(words), "{line}, {verb:?}: {ended:?}");
        }
        assert!(scene.files().is_empty());
    }
}

/// A password from its file reaches both the session and the dump.
#[test]
fn a_role_with_a_password_is_backed_up() {
    let cluster = crate::cluster::Setup::default().hba("host all all all scram-sha-256").start();
    cluster.psql("create role backup login superuser password 'geheim: \\ x'");
    let mut scene = Scene::bare(cluster, "", "");
    scene.connect(&scene.cluster.url_as("backup", "shop"));
    let secret = scene.rig.path().join("secret");
    std::fs::write(&secret, "geheim: \\ x\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    scene.extend(&format!("globals = true\npassword = {{ file = {secret:?} }}"));
    scene.configure(5);
    let ended = scene.backup();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(scene.rig.backups().len(), 2);
}
