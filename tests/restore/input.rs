//! Stored files that aren't what their manifests say, manifests that can't be believed, disks without room: refused, with the target as it was.

use std::path::PathBuf;

use crate::scene::{SHOP, Scene};

fn file(scene: &Scene, ending: &str) -> PathBuf {
    let name = scene.rig.stored().into_iter().find(|name| name.ends_with(ending) && !name.ends_with(".proof.json")).unwrap();
    scene.rig.storage().join(name)
}

fn fails(scene: &Scene, words: &str) {
    for (to, more) in
        [("copy", &[][..]), ("empty", &[]), ("copy", &["--jobs", "2"]), ("shop", &["--replace"]), ("empty", &["--schema-only"])]
    {
        let ended = scene.restore(to, more);
        assert_eq!(ended.code, 1, "{to} {more:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{to} {more:?}: {words:?} in {ended:?}");
        assert_eq!(scene.databases(), ["empty", "shop"], "{to} {more:?}");
        assert_eq!(scene.cluster.psql_in("empty", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
        assert!(ended.stderr.contains("it counts as damaged from now on"), "{to} {more:?}: {ended:?}");
        forget(scene);
    }
    assert_eq!(scene.audit().len(), 5);
}

/// Takes back that the damage is known, so that the next restore finds it by itself.
fn forget(scene: &Scene) {
    for proof in scene.rig.stored().into_iter().filter(|name| name.ends_with(".proof.json")) {
        std::fs::remove_file(scene.rig.storage().join(proof)).unwrap();
    }
    let catalog = rusqlite::Connection::open(scene.rig.state().join("catalog.db")).unwrap();
    assert_eq!(catalog.execute("UPDATE backups SET damaged = NULL WHERE damaged IS NOT NULL", []).unwrap(), 1);
}

fn scene() -> Scene {
    let scene = Scene::new(SHOP);
    scene.cluster.psql("create database empty");
    scene
}

#[test]
fn a_missing_artifact_is_refused() {
    let scene = scene();
    std::fs::remove_file(file(&scene, ".dump.zst")).unwrap();
    fails(&scene, "is missing");
}

#[test]
fn a_truncated_artifact_is_refused() {
    let scene = scene();
    let path = file(&scene, ".dump.zst");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    fails(&scene, "bytes instead of");
}

#[test]
fn an_altered_artifact_restores_nothing() {
    let scene = scene();
    let path = file(&scene, ".dump.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x10;
    std::fs::write(&path, &bytes).unwrap();
    fails(&scene, "damaged");
}

#[test]
fn bytes_altered_where_only_the_checksum_notices_restore_nothing() {
    let scene = scene();
    scene.configure("compression = \"none\"");
    scene.backup();
    let path = file(&scene, ".dump");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(11).position(|window| window == b"customer 17").unwrap();
    bytes[at + 10] = b'8';
    std::fs::write(&path, &bytes).unwrap();
    fails(&scene, "SHA-256");
}

#[test]
fn a_manifest_of_another_file_or_a_later_format_is_refused() {
    let scene = scene();
    let path = file(&scene, ".json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (altered, words) in [
        (text.replace("\"format\": 1", "\"format\": 2"), "later pgdumpd"),
        (text.replace("\"project\": \"shop\"", "\"project\": \"other\""), "another project"),
        (text.replace("\"backup_file\": \"", "\"backup_file\": \"../"), "can't be believed"),
        (text[..text.len() / 2].to_owned(), "can't be believed"),
        (String::new(), "can't be believed"),
    ] {
        assert_ne!(altered, text);
        std::fs::write(&path, altered).unwrap();
        let ended = scene.restore("copy", &[]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        assert_eq!(scene.databases(), ["empty", "shop"]);
        assert!(scene.audit()[0].contains("bad-manifest"), "{:?}", scene.audit());
    }
}

#[test]
fn a_foreign_file_under_a_backups_name_is_refused() {
    let scene = scene();
    let path = file(&scene, ".dump.zst");
    let length = std::fs::metadata(&path).unwrap().len() as usize;
    std::fs::write(&path, vec![b'x'; length]).unwrap();
    fails(&scene, "damaged");
}

#[test]
fn a_plain_dump_without_its_end_commits_nothing() {
    let scene = scene();
    scene.configure("format = \"plain\"\ncompression = \"none\"");
    scene.backup();
    // Cut and signed again: only the missing trailer tells.
    let (sql, json) = (file(&scene, ".sql"), file(&scene, ".sql.json"));
    let bytes = std::fs::read(&sql).unwrap();
    let cut = bytes.windows(9).rposition(|window| window == b"ADD CONST").unwrap();
    let end = bytes[..cut].iter().rposition(|byte| *byte == b';').unwrap() + 1;
    std::fs::write(&sql, &bytes[..end]).unwrap();
    let sum = std::process::Command::new("sha256sum").arg(&sql).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    manifest["backup_size_bytes"] = end.into();
    manifest["uncompressed_size_bytes"] = end.into();
    manifest["checksum_sha256"] = sum.into();
    manifest["frames"] = serde_json::json!([]);
    std::fs::write(&json, serde_json::to_vec(&manifest).unwrap()).unwrap();
    for to in ["copy", "empty"] {
        let ended = scene.restore(to, &[]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(scene.databases(), ["empty", "shop"]);
        assert_eq!(scene.cluster.psql_in("empty", "select count(*) from pg_class where relnamespace = 'public'::regnamespace"), "0");
    }
}

#[test]
fn a_full_disk_for_scratch_is_told_before_and_during() {
    let scene = Scene::new("create table big as select i, repeat(md5(i::text), 20) as t from generate_series(1, 20000) i");
    scene.configure("");
    let limited = |jobs: &str| {
        let mut command = std::process::Command::new("prlimit");
        command.args(["--fsize=1000000", env!("CARGO_BIN_EXE_pgdumpd"), "restore", "shop@latest", "--to", "copy", "--jobs", jobs]);
        command.env_clear().envs(scene.rig.env.iter().map(|(key, value)| (key, value)));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = limited("2");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("unpacking") && said.contains("--jobs 1"), "{said}");
    assert_eq!(scene.databases(), ["shop"]);
    assert_eq!(scene.rig.stored().len(), 2, "{:?}", scene.rig.stored());
    assert_eq!(limited("1").0, Some(0), "without scratch it needs no room");
}
