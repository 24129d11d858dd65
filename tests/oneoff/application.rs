//! `--env dev|prod|auto`, `--list` and `--verify`: what people come from who had a script for it.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::rig::wait_until;
use crate::scene::{PATIENCE, Scene, clients};

/// A scene whose `.env` names the database for prod, and `.env.local` for dev.
fn scene() -> Scene {
    let scene = Scene::new();
    let port = scene.cluster.port;
    let text = |prefix: &str| format!("{prefix}HOST=127.0.0.1\n{prefix}PORT={port}\n{prefix}NAME=shop\n{prefix}USER=postgres\n");
    std::fs::write(scene.work().join(".env"), format!("{}DEV_DB_NAME=nobody\nENV_MODE=dev\n", text("DB_"))).unwrap();
    std::fs::write(scene.work().join(".env.local"), text("DEV_DB_")).unwrap();
    scene
}

fn stored(scene: &Scene) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(scene.work().join("backups"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn made(scene: &Scene, arguments: &[&str]) -> (PathBuf, Value) {
    let ended = scene.alone(&[], &[&["backup", "--json"], arguments].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    (PathBuf::from(ended.json()["outputPath"].as_str().unwrap()), ended.json())
}

#[test]
fn an_environments_backup_has_its_name_and_metadata() {
    let scene = scene();
    let (path, answer) = made(&scene, &["--env", "auto"]);
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let shape = regexless(&name);
    assert_eq!(shape, "shop_dev_0000-00-00T00-00-00-000Z.dump");
    assert_eq!((&answer["environment"], &answer["verified"], &answer["recordCount"]), (&"dev".into(), &true.into(), &20_500.into()));
    let beside = path.with_extension("metadata.json");
    let metadata: Value = serde_json::from_slice(&std::fs::read(&beside).unwrap()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(metadata["environment"], "dev");
    assert_eq!(metadata["database_name"], "shop");
    assert_eq!(metadata["backup_file"], name);
    assert_eq!(metadata["backup_size_bytes"], bytes.len());
    assert_eq!(metadata["table_counts"], serde_json::json!({ "public.Größe; x": 20_000, "public.item": 500 }));
    assert!(metadata["checksum_sha256"].as_str().is_some_and(|sum| sum.len() == 64));
    for field in ["backup_timestamp", "pg_dump_version", "postgresql_version"] {
        assert!(metadata[field].is_string(), "{field}: {metadata:#}");
    }
    assert_eq!(stored(&scene).len(), 2, "{:?}", stored(&scene));
    scene.restore(path.parent().unwrap(), &format!("pg_restore --exit-on-error -d NEW_DATABASE {name}"), "again");
    assert_eq!(scene.contents("again"), scene.contents("shop"));
}

#[test]
fn a_question_about_an_environment_leaves_no_folder() {
    let scene = scene();
    let dry = |folder: &str| scene.alone(&[], &["backup", "--env", "dev", "--dry-run", "--json", "--output-dir", folder]);
    let ended = dry("deep/er");
    assert!(ended.code == 0 && ended.json()["freeSpace"].is_u64(), "{ended:?}");
    assert!(ended.json()["outputPath"].as_str().unwrap().contains("/deep/er/shop_dev_"), "{ended:?}");
    assert!(!scene.work().join("deep").exists());
    // One that is there stays.
    std::fs::create_dir(scene.work().join("deep")).unwrap();
    assert_eq!(dry("deep/er").code, 0);
    assert!(scene.work().join("deep").exists() && !scene.work().join("deep/er").exists());
}

/// Every digit as a zero.
fn regexless(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
}

#[test]
fn prod_at_this_machine_is_warned_of_and_what_is_missing_is_named() {
    let scene = scene();
    let ended = scene.alone(&[], &["backup", "--env", "prod", "--output-dir", "else/where"]);
    assert!(ended.code == 0 && ended.stderr.contains("warning: the environment is prod, but DB_HOST is 127.0.0.1"), "{ended:?}");
    assert_eq!(std::fs::read_dir(scene.work().join("else/where")).unwrap().count(), 2);
    std::fs::write(scene.work().join(".env"), "DB_HOST=x\n").unwrap();
    let ended = scene.alone(&[], &["backup", "--env", "prod"]);
    assert!(ended.code == 2 && ended.stderr.contains("lacks DB_NAME, DB_USER"), "{ended:?}");
    std::fs::write(scene.work().join(".env"), "DB_HOST=x\nnonsense\n").unwrap();
    let ended = scene.alone(&[], &["backup", "--env", "prod"]);
    assert!(ended.code == 2 && ended.stderr.contains(".env:2"), "{ended:?}");
    std::fs::write(scene.work().join(".env"), "DB_HOST=x\nDB_NAME=x\nDB_USER=x\nDB_PASSWORD='open\n").unwrap();
    let ended = scene.alone(&[], &["backup", "--env", "prod"]);
    assert!(ended.code == 2 && ended.stderr.contains(".env:4: the value of DB_PASSWORD can't be read"), "{ended:?}");
    let ended = scene.alone(&[("ENV_MODE", "staging")], &["backup", "--env", "auto"]);
    assert!(ended.code == 2, "{ended:?}");
}

/// A list that is silent of a dump that somebody took away would pass for a whole one.
#[test]
fn metadata_without_its_dump_is_told() {
    let scene = scene();
    let (gone, _) = made(&scene, &["--env", "dev"]);
    let (kept, _) = made(&scene, &["--env", "prod"]);
    std::fs::remove_file(&gone).unwrap();
    let listed = scene.alone(&[], &["backup", "--list"]);
    let name = gone.file_name().unwrap().to_str().unwrap();
    assert!(listed.code == 0 && listed.stderr.contains(&format!("tells of {name}, which is gone")), "{listed:?}");
    assert!(!listed.stderr.contains(kept.file_name().unwrap().to_str().unwrap()), "{listed:?}");
}

/// Twice the database's size must be free, and both figures are told before anything is written.
#[test]
fn twice_the_size_must_be_free() {
    if !crate::cluster::is_root() {
        return crate::skip::skip("twice_the_size_must_be_free", "mounting needs root");
    }
    let scene = scene();
    let folder = scene.work().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=15m", "tmpfs"]).arg(&folder).status().unwrap();
    assert!(mounted.success());
    let ended = scene.alone(&[], &["backup", "--env", "dev"]);
    let left = stored(&scene);
    assert!(Command::new("umount").arg("-l").arg(&folder).status().unwrap().success());
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("twice the database's size is required") && ended.stderr.contains("15.0 MiB are available"), "{ended:?}");
    assert!(left.is_empty(), "{left:?}");
}

/// A backup whose archive can't be read again never counts: neither it nor metadata stay.
#[test]
fn what_does_not_verify_does_not_count() {
    let scene = scene();
    let bin = clients();
    let script = format!("#!/bin/sh\ncase \"$*\" in *--version*) exec {bin}/pg_restore \"$@\";; esac\necho no >&2\nexit 1\n");
    let clients = scene.rig.clients(&[("pg_restore", &script)]);
    let path = format!("{}:/usr/bin:/bin", clients.display());
    let ended = scene.alone(&[("PG_DUMP_PATH", clients.join("pg_dump").to_str().unwrap()), ("PATH", &path)], &["backup", "--env", "dev"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("is not whole"), "{ended:?}");
    assert!(stored(&scene).is_empty(), "{:?}", stored(&scene));
}

/// Killed while it is read again: it has no name yet, and goes with the next run.
#[test]
fn what_was_not_verified_yet_when_its_run_was_killed_has_no_name() {
    let scene = scene();
    let (bin, hold) = (clients(), scene.work().join("hold"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {bin}/pg_restore \"$@\";; esac\n>{0}\nwhile [ -e {0} ]; do sleep 0.1; done\n\
         exec {bin}/pg_restore \"$@\"\n",
        hold.display()
    );
    let clients = scene.rig.clients(&[("pg_restore", &script)]);
    let mut command = scene.alone_command(&[("PG_DUMP_PATH", clients.join("pg_dump").to_str().unwrap())]);
    command.args(["backup", "--env", "dev"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_until(PATIENCE, || format!("a dump to be read again: {:?}", stored(&scene)), || hold.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let left = stored(&scene);
    assert!(!left.is_empty() && left.iter().all(|name| name.starts_with('.')), "{left:?}");
    std::fs::remove_file(&hold).unwrap();
    made(&scene, &["--env", "dev"]);
    assert_eq!((stored(&scene).len(), in_order(&scene)), (2, 1), "{:?}", stored(&scene));
}

/// How many dumps there are; each has its metadata beside it, and nothing else is there.
fn in_order(scene: &Scene) -> usize {
    let names = stored(scene);
    let stems: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".dump")).collect();
    let lone = stems.iter().find(|stem| !names.contains(&format!("{stem}.metadata.json")));
    assert!(lone.is_none() && names.len() == 2 * stems.len(), "{names:?}");
    stems.len()
}

/// Killed at each of the three renames: what is left has either no name, or the next run of it gives its metadata one.
#[test]
fn f20_killed_before_its_metadata_has_its_name() {
    for (calls, when) in [("renameat2", 1), ("renameat2", 2), ("renameat", 1)] {
        let scene = scene();
        let plain = scene.alone_command(&[]);
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", &format!("-etrace={calls}")]);
        command.arg(format!("-einject={calls}:signal=KILL:when={when}")).arg(plain.get_program()).args(["backup", "--env", "dev"]);
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(scene.work());
        let ended = command.stdin(Stdio::null()).output().expect("apt-get install strace");
        assert_eq!(ended.status.signal(), Some(9), "{calls} {when}: {ended:?}");
        let named: Vec<String> = stored(&scene).into_iter().filter(|name| !name.starts_with('.')).collect();
        if calls == "renameat2" {
            assert!(named.is_empty() && !stored(&scene).is_empty(), "{calls} {when}: {:?}", stored(&scene));
            made(&scene, &["--env", "dev"]);
            assert_eq!(in_order(&scene), 1);
            continue;
        }
        assert!(named.len() == 1 && named[0].strip_suffix(".dump").is_some(), "{named:?}");
        let listed = |told: bool| {
            let listed = scene.alone(&[], &["backup", "--list"]);
            let line = listed.stdout.lines().find(|line| line.contains(&named[0])).unwrap();
            let words = format!("{} was verified, and its run was killed before it had its metadata", named[0]);
            assert_eq!((listed.stderr.contains(&words), line.contains(" no "), line.contains(" yes ")), (told, told, !told), "{listed:?}");
        };
        listed(true);
        // Another environment's run clears up, but not that.
        made(&scene, &["--env", "prod"]);
        listed(true);
        let ended = scene.alone(&[], &["backup", "--env", "dev"]);
        assert!(ended.code == 0 && ended.stderr.contains("it has its metadata now"), "{ended:?}");
        listed(false);
        assert_eq!(in_order(&scene), 3);
        assert_eq!(scene.alone(&[], &["backup", "--verify", &format!("backups/{}", named[0])]).code, 0);
    }
}

/// What was altered meanwhile is not called verified.
#[test]
fn metadata_of_a_killed_run_is_not_given_to_another_dump() {
    let scene = scene();
    let (path, _) = made(&scene, &["--env", "dev"]);
    let beside = path.with_extension("metadata.json");
    // A run that works tells what its files are called.
    let held = crate::directory::hold_lock(&scene);
    let mut child = scene.alone_command(&[]).args(["backup", "--env", "dev"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let lock = || stored(&scene).into_iter().find_map(|name| name.strip_prefix(".pgdumpd-lock-").map(str::to_owned));
    wait_until(PATIENCE, || format!("{:?}", stored(&scene)), || lock().is_some());
    let scope = lock().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    scene.cluster.wait_until("not exists (select from pg_stat_activity where application_name like 'pgdumpd/%')");
    std::fs::rename(&beside, path.with_file_name(format!(".pgdumpd-tmp-{scope}-proof-abcdefghij"))).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut last = scene.alone(&[], &["backup", "--env", "dev"]);
    // What the killed one has started may hold its lock for a moment.
    let until = std::time::Instant::now() + PATIENCE;
    while last.code == 11 && std::time::Instant::now() < until {
        last = scene.alone(&[], &["backup", "--env", "dev"]);
    }
    assert!(last.code == 0 && last.stderr.contains("is no longer what was verified"), "{last:?}");
    assert!(!beside.exists() && stored(&scene).iter().all(|name| !name.starts_with('.')), "{:?}", stored(&scene));
}

#[test]
fn backups_are_listed_newest_first() {
    let scene = scene();
    let (first, _) = made(&scene, &["--env", "dev"]);
    let (second, _) = made(&scene, &["--env", "prod"]);
    std::fs::write(scene.work().join("backups/stranger.dump"), b"x").unwrap();
    std::fs::write(scene.work().join("backups/notes.txt"), b"x").unwrap();
    let old = Command::new("touch").args(["-d", "2020-01-01"]).arg(scene.work().join("backups/stranger.dump")).status().unwrap();
    assert!(old.success());
    let listed = scene.alone(&[], &["backup", "--list", "--json"]).json();
    let told: Vec<(String, Value, Value)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let file = PathBuf::from(one["file"].as_str().unwrap());
            (file.file_name().unwrap().to_str().unwrap().to_owned(), one["environment"].clone(), one["verified"].clone())
        })
        .collect();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let expected = [
        (name(&second), Value::from("prod"), true.into()),
        (name(&first), "dev".into(), true.into()),
        (String::from("stranger.dump"), Value::Null, false.into()),
    ];
    assert_eq!(told, expected);
    let words = scene.alone(&[], &["backup", "--list"]);
    assert!(words.code == 0 && words.stdout.contains("VERIFIED") && words.stdout.lines().count() == 4, "{words:?}");
}

/// Each check tells its verdict, and damage of any kind is found.
#[test]
fn verify_finds_what_was_done_to_a_file() {
    let scene = scene();
    let (path, _) = made(&scene, &["--env", "dev"]);
    let file = path.to_str().unwrap();
    let verify = |file: &str| scene.alone(&[], &["backup", "--verify", file]);
    let good = verify(file);
    assert_eq!(good.code, 0, "{good:?}");
    for check in ["metadata", "file", "checksum", "structure", "rows"] {
        let line = good.stdout.lines().find(|line| line.starts_with(check)).unwrap();
        assert!(line.contains(" ok "), "{line}");
    }
    let bytes = std::fs::read(&path).unwrap();
    let mut flipped = bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    let ended = verify(file);
    assert!(ended.code == 1 && ended.stdout.contains("checksum   FAILED"), "{ended:?}");
    std::fs::write(&path, &bytes[..bytes.len() - 2000]).unwrap();
    let ended = verify(file);
    assert!(ended.code == 1 && ended.stdout.contains("structure  FAILED") && ended.stdout.contains("instead of"), "{ended:?}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(verify(file).code, 1);
    // Made by plain pg_dump, elsewhere: structure and rows are told, and cut ones are found.
    for (format, name) in [("-Fc", "a.dump"), ("-Fp", "a.sql"), ("-Ft", "a.tar")] {
        let path = scene.work().join(name);
        let dump =
            Command::new(format!("{}/pg_dump", clients())).args([format, "-d", &scene.cluster.url("shop"), "-f"]).arg(&path).status();
        assert!(dump.unwrap().success());
        let ended = verify(name);
        assert!(ended.code == 0 && ended.stdout.contains("20500 rows"), "{name}: {ended:?}");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let ended = verify(name);
        assert!(ended.code == 1 && ended.stdout.contains("structure  FAILED"), "{name}: {ended:?}");
    }
}
