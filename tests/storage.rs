//! What befalls a storage in a folder: links, vanished disks, full and read-only ones, failing syncs, and the order of its steps.

#![cfg(test)]

#[path = "support/skip.rs"]
mod skip;

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgdumpd::clock::Clock;
use pgdumpd::error::{Cause, Failure, Result};
use pgdumpd::process::{self, Finished, Spec};
use pgdumpd::storage::{Key, Local, Storage};
use tempfile::TempDir;

fn local(root: &Path) -> Local {
    Local::new("main", root, 0, &Clock::system())
}

/// A storage in a folder below another, so that the root itself can be replaced.
fn made() -> (TempDir, PathBuf, Local) {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("backups");
    let storage = local(&root);
    storage.initialize().unwrap();
    (parent, root, storage)
}

fn key(file: &str) -> Key {
    Key { project: "shop".into(), file: file.into() }
}

fn store(storage: &Local, file: &str, bytes: &[u8]) -> Result<()> {
    let mut pending = storage.begin(&key(file), "run1")?;
    pending.write_all(bytes).map_err(|error| Failure::storage(format!("writing {file}"), &error))?;
    pending.commit()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Takes the root out of the way, as an unmount does. Where one was moved before, that one is gone.
fn rename_away(root: &Path) -> PathBuf {
    let away = root.with_file_name("away");
    if away.exists() {
        std::fs::remove_dir_all(&away).unwrap();
    }
    rustix::fs::rename(root, &away).unwrap();
    away
}

fn refused(outcome: Result<impl Sized>, cause: Cause) -> Failure {
    match outcome {
        Ok(_) => panic!("it went ahead"),
        Err(failure) => {
            assert_eq!(failure.cause, cause, "{failure}");
            failure
        }
    }
}

#[test]
fn files_and_folders_are_their_owners_alone() {
    let (_parent, root, storage) = made();
    store(&storage, "a.dump", b"x").unwrap();
    storage.put(&key("a.dump.pin"), b"").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&root), mode(&root.join("shop"))), (0o700, 0o700));
    for file in [".pgdumpd-storage", "shop/a.dump", "shop/a.dump.pin"] {
        assert_eq!(mode(&root.join(file)), 0o600, "{file}");
    }
    let marker: serde_json::Value = serde_json::from_slice(&std::fs::read(root.join(".pgdumpd-storage")).unwrap()).unwrap();
    assert_eq!((marker["format"].as_u64(), marker["id"].as_str()), (Some(1), storage.id().unwrap().as_deref()));
    assert!(marker["created"].is_string());
}

#[test]
fn a_folder_in_use_is_not_made_a_storage() {
    let parent = tempfile::tempdir().unwrap();
    std::fs::write(parent.path().join("thesis.txt"), "mine").unwrap();
    let failure = refused(local(parent.path()).initialize(), Cause::Storage);
    assert!(failure.message.contains("isn't empty: it holds \"thesis.txt\""), "{failure}");
    assert_eq!(names(parent.path()), ["thesis.txt"]);
}

#[test]
fn f29a_without_its_marker_nothing_is_read_written_or_missed() {
    let (_parent, root, storage) = made();
    store(&storage, "a.dump", b"x").unwrap();
    rename_away(&root);
    for storage in [&storage, &local(&root.join("never"))] {
        let failure = refused(storage.list("shop"), Cause::NotMounted);
        assert!(failure.message.ends_with("not mounted?") && failure.hint.is_some(), "{failure}");
    }
    // The mount point without its disk.
    std::fs::create_dir(&root).unwrap();
    let failure = refused(storage.begin(&key("b.dump"), "run1"), Cause::NotMounted);
    assert!(failure.message.contains("has no marker file .pgdumpd-storage: not mounted?"), "{failure}");
    assert!(names(&root).is_empty(), "something was written below the mount point");
}

#[test]
fn f29a_a_disk_that_vanishes_during_a_dump_leaves_no_backup_behind() {
    let (_parent, root, storage) = made();
    let mut pending = storage.begin(&key("a.dump"), "run1").unwrap();
    pending.write_all(b"half").unwrap();
    let away = rename_away(&root);
    std::fs::create_dir(&root).unwrap();
    refused(pending.commit(), Cause::NotMounted);
    assert!(names(&root).is_empty() && names(&away.join("shop")).is_empty());
    // Another storage is mounted in its place.
    std::fs::remove_dir(&root).unwrap();
    rustix::fs::rename(&away, &root).unwrap();
    let pending = storage.begin(&key("a.dump"), "run1").unwrap();
    rename_away(&root);
    local(&root).initialize().unwrap();
    storage.put(&key("other"), b"").unwrap();
    let failure = refused(pending.commit(), Cause::NotMounted);
    assert!(failure.message.contains("is no longer the folder"), "{failure}");
}

#[test]
fn f46_no_link_is_followed_at_or_below_the_root() {
    let (parent, root, storage) = made();
    let elsewhere = parent.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("secret"), "secret").unwrap();

    let link = parent.path().join("link");
    symlink(&root, &link).unwrap();
    for path in [link.clone(), PathBuf::from(format!("{}/", link.display()))] {
        let failure = refused(local(&path).list("shop"), Cause::UnsafePath);
        assert!(failure.hint.is_some());
    }
    symlink(&elsewhere, root.join("shop")).unwrap();
    for outcome in [storage.begin(&key("a.dump"), "run1").map(drop), storage.list("shop").map(drop), storage.put(&key("secret"), b"x")] {
        refused(outcome, Cause::UnsafePath);
    }
    refused(storage.lock_file("shop"), Cause::UnsafePath);
    refused(storage.delete(&key("secret")), Cause::UnsafePath);
    std::fs::remove_file(root.join("shop")).unwrap();

    store(&storage, "a.dump", b"x").unwrap();
    symlink(elsewhere.join("secret"), root.join("shop/b.dump")).unwrap();
    refused(storage.get(&key("b.dump")), Cause::UnsafePath);
    refused(storage.size(&key("b.dump")), Cause::UnsafePath);
    refused(store(&storage, "b.dump", b"x"), Cause::Storage);
    storage.put(&key("b.dump"), b"proof").unwrap();
    assert!(!root.join("shop/b.dump").is_symlink());
    assert_eq!(std::fs::read(elsewhere.join("secret")).unwrap(), b"secret", "written through a link");
}

#[test]
fn f46_a_root_that_becomes_a_link_during_a_dump_is_refused() {
    let (parent, root, storage) = made();
    let pending = storage.begin(&key("a.dump"), "run1").unwrap();
    let away = rename_away(&root);
    symlink(&away, &root).unwrap();
    refused(pending.commit(), Cause::UnsafePath);
    assert!(names(&away.join("shop")).is_empty());
    drop(parent);
}

#[test]
fn a_pipe_in_place_of_an_artifact_holds_nobody() {
    let (_parent, root, storage) = made();
    store(&storage, "a.dump", b"x").unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("shop/b.dump"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let begun = Instant::now();
    refused(storage.get(&key("b.dump")), Cause::UnsafePath);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(storage.list("shop").unwrap().len(), 2, "it is told as a file that nobody knows");
}

#[test]
fn strangers_folders_are_no_projects() {
    let (_parent, root, storage) = made();
    for folder in ["lost+found", "with space", ".hidden", "%2f", "shop"] {
        std::fs::create_dir(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("file"), "").unwrap();
    assert_eq!(storage.projects().unwrap(), ["shop"]);
}

#[test]
fn free_space_spares_the_reserve() {
    let (_parent, root, storage) = made();
    let free = storage.free_space().unwrap().unwrap();
    assert!(free > 0);
    assert_eq!(Local::new("main", &root, u64::MAX, &Clock::system()).free_space().unwrap(), Some(0));
}

#[test]
fn a_long_file_is_synced_while_it_is_written() {
    let (_parent, root, storage) = made();
    let mut pending = storage.begin(&key("a.dump"), "run1").unwrap();
    let chunk = vec![7; 1 << 20];
    for _ in 0..160 {
        pending.write_all(&chunk).unwrap();
    }
    let begun = Instant::now();
    pending.commit().unwrap();
    println!("committing 160 MiB took {:?} after the last byte", begun.elapsed());
    assert_eq!(std::fs::metadata(root.join("shop/a.dump")).unwrap().len(), 160 << 20);
}

/// This program once more, to play a part in surroundings of its own: `wrapper` is the command that makes them.
fn part(part: &str, root: &Path, wrapper: &[&str]) -> Option<Finished> {
    let own = std::env::current_exe().unwrap().into_os_string();
    let mut words: Vec<_> = wrapper.iter().map(Into::into).collect();
    words.push(own);
    words.extend(["--exact", "part_played_elsewhere", "--nocapture", "--test-threads=1"].map(Into::into));
    let mut spec = Spec::new(words.remove(0));
    spec.args = words;
    spec.env = vec![("PART".into(), part.into()), ("ROOT".into(), root.into()), ("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into())];
    let finished = match process::run(&spec, b"", Duration::from_secs(120), 1 << 20) {
        Ok(finished) => finished,
        Err(failure) if failure.cause == Cause::ClientMissing => return skipped(part, &failure.message),
        Err(failure) => panic!("{failure}: {:?}", failure.detail),
    };
    let tool = wrapper.first().copied().unwrap_or_default();
    if finished.stderr.starts_with(&format!("{tool}:")) || finished.stderr.starts_with("mount:") {
        return skipped(part, &finished.stderr);
    }
    assert!(finished.exit.is_success(), "{part}: {}{}", String::from_utf8_lossy(&finished.stdout), finished.stderr);
    Some(finished)
}

fn skipped(part: &str, why: &str) -> Option<Finished> {
    skip::skip(&format!("tests/storage.rs, {part}"), why);
    None
}

/// Does nothing by itself; see [`part`].
#[test]
fn part_played_elsewhere() {
    let Some(root) = std::env::var_os("ROOT").map(PathBuf::from) else { return };
    match std::env::var("PART").unwrap().as_str() {
        "full disk" => runs_full(&root),
        "read-only" => refuses_to_begin(&root, Cause::Storage, "read-only"),
        "size limit" => runs_into_limit(&root),
        "failing sync" => {
            let failure = refused(store(&local(&root), "a.dump", b"x"), Cause::Storage);
            assert!(failure.hint.unwrap().contains("the disk reports errors"));
        }
        "failing early sync" => {
            let failure = refused(store(&local(&root), "a.dump", &vec![1; 96 << 20]), Cause::Storage);
            assert!(failure.message.contains("a.dump"), "{failure}");
        }
        "plain steps" => store(&local(&root), "a.dump", b"the whole archive").unwrap(),
        "not the owner" => refuses_to_begin(&root, Cause::Storage, "must own the storage"),
        other => panic!("no such part: {other}"),
    }
}

const PRIVATE: [&str; 8] = ["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c"];

#[test]
fn f14_a_full_disk_is_told_and_leaves_older_backups_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=3m,mode=700 tmpfs '{}' && exec \"$@\"", folder.path().display());
    part("full disk", folder.path(), &[&PRIVATE[..], &[&mount, "sh"]].concat());
}

fn runs_full(root: &Path) {
    let storage = local(root);
    storage.initialize().unwrap();
    store(&storage, "old.dump", b"whole").unwrap();
    let failure = refused(store(&storage, "new.dump", &vec![1; 4 << 20]), Cause::Space);
    assert!(failure.message.contains("new.dump"), "{failure}");
    assert_eq!(names(&root.join("shop")), ["old.dump"], "debris was left");
    assert!(storage.free_space().unwrap().unwrap() > 2 << 20, "its space was not given back");
    store(&storage, "next.dump", b"fits").unwrap();
}

#[test]
fn f18_a_read_only_file_system_is_told() {
    let (_parent, root, _storage) = made();
    let path = root.display();
    let mount = format!("mount --bind '{path}' '{path}' && mount -o remount,bind,ro '{path}' && exec \"$@\"");
    part("read-only", &root, &[&PRIVATE[..], &[&mount, "sh"]].concat());
}

fn refuses_to_begin(root: &Path, cause: Cause, hint: &str) {
    let failure = refused(store(&local(root), "a.dump", b"x"), cause);
    assert!(failure.hint.as_deref().is_some_and(|text| text.contains(hint)), "{failure:?}");
    assert!(failure.message.contains("shop"), "{failure}");
}

#[test]
fn f19_a_file_size_limit_is_a_lack_of_space() {
    let (_parent, root, _storage) = made();
    part("size limit", &root, &["sh", "-c", "trap '' XFSZ; exec prlimit --fsize=1048576 \"$@\"", "sh"]);
}

fn runs_into_limit(root: &Path) {
    let storage = local(root);
    refused(store(&storage, "a.dump", &vec![1; 2 << 20]), Cause::Space);
    assert!(names(&root.join("shop")).is_empty(), "debris was left");
}

/// Fault 16, once for the file's own sync and once for its folder's.
#[test]
fn f16_an_artifact_whose_sync_failed_is_not_trusted() {
    for which in ["1", "2"] {
        let (_parent, root, storage) = made();
        storage.lock_file("shop").unwrap();
        let inject = format!("--inject=fsync:error=EIO:when={which}");
        let trace = root.parent().unwrap().join("trace");
        part("failing sync", &root, &["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=fsync", &inject]);
        assert!(names(&root.join("shop")).is_empty(), "sync {which} failed, and yet: {:?}", names(&root.join("shop")));
    }
}

/// Linux tells a failed sync once: that of the early one must not be lost before the last one, which then succeeds.
#[test]
fn f16_an_early_sync_that_failed_is_not_forgotten() {
    let (_parent, root, storage) = made();
    storage.lock_file("shop").unwrap();
    let trace = root.parent().unwrap().join("trace");
    let inject = "--inject=fdatasync:error=EIO:when=1";
    part("failing early sync", &root, &["strace", "-f", "-o", trace.to_str().unwrap(), "-e", "trace=fdatasync", inject]);
    assert!(names(&root.join("shop")).is_empty(), "a part of it may be lost, and yet: {:?}", names(&root.join("shop")));
}

#[test]
fn f17_the_bytes_are_durable_before_the_name_and_the_name_before_the_answer() {
    let (_parent, root, storage) = made();
    storage.lock_file("shop").unwrap();
    let trace = root.parent().unwrap().join("trace");
    let calls = "trace=write,fsync,renameat2,openat";
    if part("plain steps", &root, &["strace", "-f", "-y", "-o", trace.to_str().unwrap(), "-e", calls]).is_none() {
        return;
    }
    let trace = std::fs::read_to_string(&trace).unwrap();
    let steps: Vec<&str> = trace
        .lines()
        .filter_map(|line| {
            let of_archive = line.contains("/shop/.pgdumpd-tmp-run1-");
            match line {
                _ if line.contains("write(") && line.contains("the whole archive") => Some("write"),
                _ if line.contains(" fsync(") && of_archive => Some("sync file"),
                _ if line.contains(" renameat2(") && line.contains("RENAME_NOREPLACE") => Some("rename"),
                _ if line.contains(" fsync(") && line.contains("/shop>") => Some("sync folder"),
                _ => None,
            }
        })
        .collect();
    assert_eq!(steps, ["write", "sync file", "rename", "sync folder"], "{trace}");
}

#[test]
fn somebody_elses_storage_is_told_as_such() {
    let (parent, root, storage) = made();
    store(&storage, "old.dump", b"x").unwrap();
    std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for path in [&root, &root.join("shop")] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    }
    std::fs::set_permissions(root.join(".pgdumpd-storage"), PermissionsExt::from_mode(0o444)).unwrap();
    let plain_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let wrapper = if rustix::process::geteuid().is_root() { &plain_user[..] } else { &["env"] };
    part("not the owner", &root, wrapper);
    assert_eq!(storage.list("shop").unwrap().len(), 1);
    let mut text = String::new();
    storage.get(&key("old.dump")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "x");
}
