//! Rows 14, 16, 18, 19 and 46: a destination that is full, broken, read-only, bounded, or not what it seems.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::{Cluster, is_root};
use crate::scene::{LONG, Scene};
use crate::skip::skip;

fn sh(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).status().unwrap().success()
}

/// A file system of 1 MB at a folder; gone when dropped.
struct Small(PathBuf);

impl Small {
    fn at(path: &Path) -> Option<Self> {
        (is_root() && sh(&format!("mount -t tmpfs -o size=1m,mode=700 tmpfs {}", path.display()))).then(|| Self(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        sh(&format!("umount -l {}", self.0.display()));
    }
}

fn on_a_small_disk(test: &str) -> Option<(Scene, Small)> {
    let scene = Scene::bare(Cluster::start(), "", "");
    let Some(small) = Small::at(&scene.rig.storage()) else {
        skip(test, "needs root and mount");
        return None;
    };
    scene.two_good_backups();
    Some((scene, small))
}

#[test]
fn f14_destination_full_before_the_dump() {
    let Some((scene, _small)) = on_a_small_disk("f14_destination_full_before_the_dump") else { return };
    let filler = scene.rig.storage().join("lost+found");
    // Another's file: a folder that every file system of its own has is no stranger in the storage.
    std::fs::create_dir(&filler).unwrap();
    let filler = filler.join("filler");
    drop(std::fs::write(&filler, vec![7; 2 << 20]));
    let before = scene.look();
    let ended = scene.backup();
    let told = scene.std(&before, &ended, "space", 1, || drop(std::fs::remove_file(&filler)));
    assert!(told.text.contains(" free ") && told.text.contains("expected to need"), "{told:?}");
    assert!(told.mail.contains("free"), "{told:?}");
}

#[test]
fn f14_destination_full_during_the_dump() {
    let Some((scene, _small)) = on_a_small_disk("f14_destination_full_during_the_dump") else { return };
    scene.grow(8);
    let before = scene.look();
    let ended = scene.backup();
    let told = scene.std(&before, &ended, "space", 1, || scene.shrink());
    for word in ["free now", "expected from the last backup", "in the database"] {
        assert!(told.text.contains(word), "{word:?} is not told: {told:?}");
    }
}

#[test]
fn f16_fsync_says_eio() {
    if !sh("strace -qq -o /dev/null true") {
        return skip("f16_fsync_says_eio", "needs strace and the right to trace");
    }
    let scene = Scene::new("", "");
    let trace = scene.rig.path().join("trace").display().to_string();
    let traced = ["strace", "-f", "-y", "-qq", "-o", &trace, "-e", "trace=fsync"];
    // SQLite syncs as well, so the artifact's place among the calls of its thread is looked up in a run that works.
    scene.configure(5);
    assert_eq!(scene.start(&traced).finish(LONG).code, 0);
    let calls = std::fs::read_to_string(&trace).unwrap();
    let of_artifact = |line: &&str| line.contains("/.pgdumpd-tmp-");
    let thread = calls.lines().find(of_artifact).and_then(|line| line.split(' ').next()).expect("the artifact was never synced");
    let place = calls.lines().filter(|line| line.starts_with(thread)).position(|line| of_artifact(&line)).unwrap() + 1;
    scene.configure(1);
    // The artifact's own sync, then that of its folder, which makes the name durable.
    for (place, what) in [(place, "/.pgdumpd-tmp-"), (place + 1, "/shop>")] {
        let before = scene.look();
        let inject = format!("inject=fsync:error=EIO:when={place}");
        let ended = scene.start(&[&traced[..], &["-e", &inject]].concat()).finish(LONG);
        let calls = std::fs::read_to_string(&trace).unwrap();
        let hit: Vec<&str> = calls.lines().filter(|line| line.contains("INJECTED")).collect();
        assert!(hit.iter().any(|line| line.contains(what)), "{what} was not hit: {calls}");
        let told = scene.std(&before, &ended, "storage", 1, || {});
        assert!(told.text.contains("Input/output error"), "{told:?}");
    }
}

#[test]
fn f18_destination_read_only() {
    if !is_root() || !sh("unshare -m true") {
        return skip("f18_destination_read_only", "needs root and mount namespaces");
    }
    let scene = Scene::new("", "");
    let before = scene.look();
    let folder = scene.rig.storage().display().to_string();
    let line = format!("mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && exec \"$@\"");
    let ended = scene.start(&["unshare", "-m", "--propagation", "private", "sh", "-c", &line, "sh"]).finish(LONG);
    let told = scene.std(&before, &ended, "storage", 1, || {});
    assert!(told.text.contains("mounted read-only"), "{told:?}");
}

#[test]
fn f18_destination_of_another_user() {
    if !is_root() {
        return skip("f18_destination_of_another_user", "needs root, to become another user");
    }
    let mut scene = Scene::new("", "");
    let before = scene.look();
    scene.rig.env.retain(|(name, _)| name != "LOGNAME");
    let ids = Command::new("id").args(["-u", "nobody"]).output().unwrap();
    let nobody: u32 = String::from_utf8_lossy(&ids.stdout).trim().parse().unwrap();
    let give = |path: &Path, user: u32| {
        chown(path, Some(user), None).unwrap();
        std::fs::read_dir(path).unwrap().flatten().for_each(|entry| chown(entry.path(), Some(user), None).unwrap());
    };
    give(&scene.rig.state(), nobody);
    chown(scene.rig.path().join("pgdumpd.toml"), Some(nobody), None).unwrap();
    // Readable, so that only writing can fail.
    let folders = [scene.rig.storage(), scene.rig.storage().join("shop")];
    let modes = |mode| folders.iter().for_each(|path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap());
    modes(0o755);
    for entry in [scene.rig.storage(), folders[1].clone()].iter().flat_map(|path| std::fs::read_dir(path).unwrap().flatten()) {
        let mode = if entry.path().is_dir() {
            0o755
        } else if entry.file_name() == ".pgdumpd-lock" {
            0o666
        } else {
            0o644
        };
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let ended = scene.start(&["setpriv", "--reuid=nobody", "--clear-groups"]).finish(LONG);
    give(&scene.rig.state(), 0);
    let told = scene.std(&before, &ended, "storage", 1, || {});
    assert!(told.text.contains("ermission") && told.text.contains("chown"), "{told:?}");
}

#[test]
fn f19_file_size_limit() {
    let scene = Scene::new("", "");
    scene.grow(8);
    let before = scene.look();
    let ended = scene.start(&["prlimit", "--fsize=1048576"]).finish(LONG);
    let told = scene.std(&before, &ended, "space", 1, || scene.shrink());
    assert!(told.text.contains("File too large"), "{told:?}");
}

#[test]
fn f46_destination_becomes_a_link() {
    for part in ["", "shop"] {
        let scene = Scene::new("", "");
        let before = scene.look();
        let elsewhere = scene.rig.path().join("elsewhere");
        let folder = if part.is_empty() { scene.rig.storage() } else { scene.rig.storage().join(part) };
        std::fs::rename(&folder, &elsewhere).unwrap();
        symlink(&elsewhere, &folder).unwrap();
        let ended = scene.backup();
        let back = || {
            std::fs::remove_file(&folder).unwrap();
            std::fs::rename(&elsewhere, &folder).unwrap();
        };
        assert_eq!(ended.code, 1, "{part:?}: {ended:?}");
        back();
        let told = scene.std(&before, &ended, "unsafe-path", 1, || {});
        assert!(told.text.contains("link"), "{told:?}");
    }
}

/// A link that stood there from the beginning is refused as well, and nothing is written behind it.
#[test]
fn f46_destination_is_a_link() {
    let scene = Scene::bare(Cluster::start(), "", "");
    let elsewhere = scene.rig.path().join("elsewhere");
    std::fs::rename(scene.rig.storage(), &elsewhere).unwrap();
    symlink(&elsewhere, scene.rig.storage()).unwrap();
    scene.configure(5);
    let ended = scene.backup();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("link"), "{ended:?}");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}
