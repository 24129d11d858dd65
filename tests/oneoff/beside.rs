//! What lies beside a dump file: it tells what the last verification has shown, and never of another dump than the one it lies beside.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::scene::{Scene, clients};

/// A scene whose `.env` names the database for prod.
fn scene() -> Scene {
    let scene = Scene::new();
    let port = scene.cluster.port;
    // Somebody else's key goes on over several lines, and one line is nobody's.
    let text = format!(
        "KEY=\"-----BEGIN\nDB_NAME=nobody\n-----END\"\nnonsense\nDB_HOST=127.0.0.1\nDB_PORT={port}\nDB_NAME=shop\nDB_USER=postgres\n"
    );
    std::fs::write(scene.work().join(".env"), text).unwrap();
    scene
}

fn made(scene: &Scene, arguments: &[&str]) -> PathBuf {
    let ended = scene.alone(&[], &[&["backup", "--json", "--env", "prod"], arguments].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("warning: .env:4: no NAME=value"), "{ended:?}");
    PathBuf::from(ended.json()["outputPath"].as_str().unwrap())
}

fn listed(scene: &Scene) -> Vec<Value> {
    scene.alone(&[], &["backup", "--list", "--json"]).json().as_array().cloned().unwrap()
}

fn metadata(path: &std::path::Path) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned();
    path.with_file_name(format!("{name}.metadata.json"))
}

#[test]
fn everything_that_was_made_is_listed_with_what_it_holds() {
    let scene = scene();
    let expected = [
        (made(&scene, &[]), "full"),
        (made(&scene, &["--format", "plain"]), "full"),
        (made(&scene, &["--format", "directory", "--compress", "zstd"]), "full"),
        (made(&scene, &["--format", "tar"]), "full"),
        (made(&scene, &["--schema-only"]), "schema"),
        (made(&scene, &["--tables", "item"]), "full table=\"item\""),
    ];
    std::fs::write(scene.work().join("backups/holiday.tar"), b"x").unwrap();
    let listed = listed(&scene);
    let told: Vec<(PathBuf, &str)> =
        listed.iter().rev().map(|one| (PathBuf::from(one["file"].as_str().unwrap()), one["selection"].as_str().unwrap())).collect();
    let names = |path: &PathBuf| path.file_name().unwrap().to_owned();
    let told: Vec<_> = told.iter().map(|(path, content)| (names(path), *content)).collect();
    assert_eq!(told, expected.iter().map(|(path, content)| (names(path), *content)).collect::<Vec<_>>());
    assert!(listed.iter().all(|one| one["verified"] == true), "{listed:#?}");
    let words = scene.alone(&[], &["backup", "--list"]);
    assert!(words.stdout.contains("CONTENT") && words.stdout.contains("full table=\"item\""), "{words:?}");
}

/// A list calls good what was last found good, and nothing else.
#[test]
fn a_file_that_was_found_damaged_is_listed_so_until_it_is_found_good() {
    let scene = scene();
    let path = made(&scene, &[]);
    let beside = metadata(&path);
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o640)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    std::fs::write(&path, &altered).unwrap();
    let verify = || scene.alone(&[], &["backup", "--verify", path.to_str().unwrap()]);
    assert_eq!((listed(&scene)[0]["verified"].clone(), verify().code), (true.into(), 1));
    let after = listed(&scene);
    assert_eq!((&after[0]["verified"], after.len()), (&false.into(), 1));
    assert!(after[0]["damage"].as_str().unwrap().starts_with("checksum: it is "), "{after:#?}");
    assert!(scene.alone(&[], &["backup", "--list"]).stdout.contains("DAMAGED"));
    let whole: Value = serde_json::from_slice(&std::fs::read(&beside).unwrap()).unwrap();
    assert_eq!((&whole["verified"], &whole["backup_file"]), (&false.into(), &path.file_name().unwrap().to_str().unwrap().into()));
    assert_eq!(std::fs::metadata(&beside).unwrap().permissions().mode() & 0o777, 0o640);
    // Fetched from a copy.
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(verify().code, 0);
    assert_eq!((&listed(&scene)[0]["verified"], &listed(&scene)[0]["damage"]), (&true.into(), &Value::Null));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "something was left beside");
}

/// At no moment does the metadata of the dump before lie beside the new one; a dump that fails costs neither.
#[test]
fn metadata_goes_with_the_dump_that_it_is_about() {
    let scene = scene();
    let url = scene.cluster.url("shop");
    let path = made(&scene, &[]);
    let (file, beside) = (path.to_str().unwrap(), metadata(&path));
    let neighbour = path.with_extension("sql");
    let bin = clients();
    let script =
        format!("#!/bin/sh\ncase \"$*\" in *--version*) exec {bin}/pg_dump \"$@\";; esac\n{bin}/pg_dump \"$@\" | head -c 20000\nexit 1\n");
    let fake = scene.rig.clients(&[("pg_dump", &script)]).join("pg_dump");
    let failed = scene.alone(&[("PG_DUMP_PATH", fake.to_str().unwrap())], &["backup", "--url", &url, "-o", file]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert_eq!(scene.alone(&[], &["verify", file]).code, 0, "the dump before is whole, and its metadata is there");
    // It is about this file, and of no other one that would be called so.
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", neighbour.to_str().unwrap()]).code, 0);
    assert!(beside.exists());
    scene.cluster.psql_in("shop", "insert into item values (501, 'new')");
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", file]).code, 0);
    assert!(!beside.exists(), "it tells of the dump before");
    let verified = scene.alone(&[], &["verify", file]);
    assert!(verified.code == 0 && verified.stdout.contains("20501 rows"), "{verified:?}");
    // A manifest that was copied out of a storage goes the same way.
    scene.configure("compression = \"none\"");
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    let name = scene.rig.backups()[0]["file"].as_str().unwrap().to_owned();
    for copied in [name.clone(), format!("{name}.json")] {
        std::fs::copy(scene.rig.storage().join("shop").join(&copied), scene.work().join(&copied)).unwrap();
    }
    assert_eq!(scene.alone(&[], &["backup", "--url", &url, "-o", &name]).code, 0);
    assert!(scene.work().join(&name).exists() && !scene.work().join(format!("{name}.json")).exists());
}

/// The rows of a raw archive without checksums of their own are compared as a whole with the manifest that was copied beside it.
#[test]
fn rows_of_a_moved_artifact_are_compared_with_its_manifest() {
    let scene = Scene::new();
    scene.configure("compression = \"none\"");
    assert_eq!(scene.rig.run(&["backup", "shop"]).code, 0);
    let name = scene.rig.backups()[0]["file"].as_str().unwrap().to_owned();
    let (from, to) = (scene.rig.storage().join("shop"), scene.work());
    let mut bytes = std::fs::read(from.join(&name)).unwrap();
    let beside = to.join(format!("{name}.json"));
    let manifest = std::fs::read_to_string(from.join(format!("{name}.json"))).unwrap();
    // As an older pgdumpd wrote it: no table has a checksum of its own.
    let mut older: Value = serde_json::from_str(&manifest).unwrap();
    older["tables"].as_array_mut().unwrap().iter_mut().for_each(|table| drop(table.as_object_mut().unwrap().remove("crc32")));
    let cat = || scene.alone(&[], &["cat", &format!("./{name}"), "item"]);
    for (text, altered) in [(manifest, true), (older.to_string(), true), (older.to_string(), false)] {
        std::fs::write(&beside, text).unwrap();
        let at = bytes.windows(8).position(|window| window == b"item 400").unwrap();
        bytes[at] = if altered { b'I' } else { b'i' };
        std::fs::write(to.join(&name), &bytes).unwrap();
        let ended = cat();
        bytes[at] = b'i';
        assert_eq!(ended.code, i32::from(altered), "{ended:?}");
    }
}
