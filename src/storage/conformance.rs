//! What every storage must do, whatever it is made of.

use std::io::{Read, Write};

use super::{Key, Local, Memory, Storage, Use, names};
use crate::clock::Clock;
use crate::error::{Cause, Result};

fn key(project: &str, file: &str) -> Key {
    Key { project: project.into(), file: file.into() }
}

fn store(storage: &dyn Storage, key: &Key, bytes: &[u8]) -> Result<()> {
    let mut pending = storage.begin(key, "run1")?;
    pending.write_all(bytes).unwrap();
    pending.commit()
}

fn read(storage: &dyn Storage, key: &Key) -> Vec<u8> {
    let mut bytes = Vec::new();
    storage.get(key).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn files(storage: &dyn Storage, project: &str) -> Vec<String> {
    let listed: Vec<String> = storage.list(project).unwrap().into_iter().map(|entry| entry.key.file).collect();
    assert_eq!(storage.names(project).unwrap(), listed.iter().cloned().collect(), "names and list agree");
    listed
}

/// A new storage refuses everything until it is made, and is made once.
fn begins_only_when_made(storage: &dyn Storage) {
    assert_eq!(storage.id().unwrap(), None);
    let a = key("shop", "a.dump");
    let refusals = [
        storage.begin(&a, "run1").map(drop),
        storage.get(&a).map(drop),
        storage.size(&a).map(drop),
        storage.put(&a, b"x"),
        storage.list("shop").map(drop),
        storage.projects().map(drop),
        storage.delete(&a),
        storage.mark(&a, Use::Reading).map(drop),
        storage.scratch("shop", "run1").map(drop),
        storage.sweep("shop", None).map(drop),
        storage.unfinished("shop").map(drop),
        storage.lock_file("shop").map(drop),
    ];
    for (number, refusal) in refusals.into_iter().enumerate() {
        assert_eq!(refusal.expect_err(&format!("operation {number} went ahead")).cause, Cause::NotMounted);
    }
    let id = storage.initialize().unwrap();
    assert_eq!(storage.id().unwrap(), Some(id));
    assert_eq!(storage.initialize().unwrap_err().cause, Cause::Storage);
    assert!(storage.projects().unwrap().is_empty() && storage.list("shop").unwrap().is_empty());
}

/// Nothing is there before the commit; all of it is after.
fn a_file_is_whole_or_absent(storage: &dyn Storage) {
    let a = key("whole", "a.dump");
    let mut pending = storage.begin(&a, "run1").unwrap();
    pending.write_all(b"first ").unwrap();
    assert_eq!(storage.size(&a).unwrap(), None);
    assert!(files(storage, "whole").is_empty(), "an unfinished file is listed");
    pending.write_all(b"second").unwrap();
    pending.commit().unwrap();
    assert_eq!(read(storage, &a), b"first second");
    assert_eq!(storage.size(&a).unwrap(), Some(12));
    assert_eq!(storage.list("whole").unwrap()[0].size, 12);
    for (range, expected) in [(6..9, &b"sec"[..]), (6..u64::MAX, b"second"), (12..20, b""), (99..100, b"")] {
        let mut part = Vec::new();
        storage.get_range(&a, range).unwrap().read_to_end(&mut part).unwrap();
        assert_eq!(part, expected);
    }
}

/// A final name is given once.
fn a_taken_name_is_refused(storage: &dyn Storage) {
    let a = key("taken", "a.dump");
    let mut late = storage.begin(&a, "run2").unwrap();
    late.write_all(b"late").unwrap();
    store(storage, &a, b"early").unwrap();
    assert_eq!(late.commit().unwrap_err().cause, Cause::Storage);
    assert_eq!(read(storage, &a), b"early");
    assert!(storage.sweep("taken", None).unwrap().is_empty(), "the refused file is still there");
}

/// What isn't committed goes away, by itself or swept.
fn unfinished_files_go_away(storage: &dyn Storage) {
    let a = key("debris", "a.dump");
    storage.begin(&a, "run1").unwrap().abort().unwrap();
    drop(storage.begin(&a, "run1").unwrap());
    assert!(storage.sweep("debris", None).unwrap().is_empty());
    let one = storage.begin(&a, "run1").unwrap();
    let other = storage.begin(&a, "run12").unwrap();
    assert_eq!((storage.unfinished("debris").unwrap().len(), storage.unfinished("other").unwrap()), (2, vec![]));
    assert_eq!(storage.sweep("debris", Some("run1")).unwrap().len(), 1, "of run1, not of run12");
    assert!(one.commit().is_err(), "what was swept can't be committed");
    other.commit().unwrap();
    assert_eq!(storage.unfinished("debris").unwrap(), Vec::<String>::new());
    assert_eq!(files(storage, "debris"), ["a.dump"]);
    for run in ["../x", "", "a-b", "a/b"] {
        assert_eq!(storage.begin(&a, run).err().unwrap().cause, Cause::UnsafePath);
    }
}

/// A scratch folder goes away like an unfinished file, by itself or swept, with what is in it and not with what its links lead to.
fn scratch_goes_away(storage: &dyn Storage) {
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("mine"), b"x").unwrap();
    let fill = |run: &str| {
        let scratch = storage.scratch("scratch", run).unwrap();
        assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none());
        std::fs::create_dir_all(scratch.path().join("a/b")).unwrap();
        std::fs::write(scratch.path().join("a/b/c"), b"x").unwrap();
        std::os::unix::fs::symlink(other.path(), scratch.path().join("a/link")).unwrap();
        scratch
    };
    let gone = fill("run1");
    let path = gone.path().to_path_buf();
    drop(gone);
    assert!(!path.exists());
    let (at_work, sibling) = (fill("run1"), fill("run2"));
    // What a killed process leaves: nobody's any more.
    let left = |run: &str| {
        let path = at_work.path().with_file_name(format!("{}tmp-{run}-left", names::OWN));
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::os::unix::fs::symlink(other.path(), path.join("a/link")).unwrap();
        path
    };
    let (one, two) = (left("run1"), left("run12"));
    assert!(files(storage, "scratch").is_empty(), "scratch is listed");
    storage.sweep("scratch", Some("run1")).unwrap();
    assert!(!one.exists() && two.exists(), "of run1, not of run12");
    storage.sweep("scratch", None).unwrap();
    assert!(!two.exists() && other.path().join("mine").exists());
    assert!(at_work.path().join("a/b/c").exists() && sibling.path().exists(), "what somebody works in is swept");
    assert_eq!(storage.scratch("scratch", "a/b").err().unwrap().cause, Cause::UnsafePath);
}

/// Small files are replaced, any file is deleted, and both can be said twice.
fn small_files_are_replaced_and_deleted(storage: &dyn Storage) {
    let proof = key("small", "a.dump.proof.json");
    storage.put(&proof, b"one, and longer").unwrap();
    storage.put(&proof, b"two").unwrap();
    assert_eq!(read(storage, &proof), b"two");
    storage.delete(&proof).unwrap();
    storage.delete(&proof).unwrap();
    storage.delete(&key("nobody", "a.dump")).unwrap();
    assert_eq!(storage.size(&proof).unwrap(), None);
    assert!(storage.get(&proof).err().unwrap().message.contains("no such file"));
    assert!(files(storage, "small").is_empty());
}

/// Many may read a file, and nobody takes it away meanwhile.
fn what_is_being_read_is_not_removed(storage: &dyn Storage) {
    let (a, b) = (key("used", "a.dump"), key("used", "b.dump"));
    store(storage, &a, b"x").unwrap();
    store(storage, &b, b"x").unwrap();
    let mark = |key: &Key, wanted| storage.mark(key, wanted).unwrap();
    let (one, other) = (mark(&a, Use::Reading).unwrap(), mark(&a, Use::Reading).unwrap());
    drop(one);
    assert!(mark(&a, Use::Removing).is_none(), "somebody reads it");
    let going = mark(&b, Use::Removing).expect("another file's reader is no reader of it");
    assert!(mark(&b, Use::Reading).is_none() && mark(&b, Use::Removing).is_none(), "it is going away");
    drop(going);
    drop(other);
    assert!(mark(&a, Use::Removing).is_some() && mark(&key("used", "c.dump"), Use::Removing).is_some());
    assert_eq!(files(storage, "used"), ["a.dump", "b.dump"]);
}

/// Fault 45: whatever a project is called, its files are its own.
fn projects_keep_apart(storage: &dyn Storage) {
    let long = "x".repeat(255);
    let hostile = ["app", "app-staging", "../../etc", "a\nb", "-Fp", "'; drop", "\u{202e}gpj", "..", "a/b", "%2e", &long];
    for project in hostile {
        store(storage, &key(project, "a.dump"), project.as_bytes()).unwrap();
    }
    for project in hostile {
        assert_eq!(read(storage, &key(project, "a.dump")), project.as_bytes());
        assert_eq!(files(storage, project), ["a.dump"]);
        assert!(storage.projects().unwrap().iter().any(|known| known == project), "{project:?} isn't listed");
    }
    storage.delete(&key("app", "a.dump")).unwrap();
    assert_eq!(files(storage, "app-staging"), ["a.dump"]);
}

/// A file name is one that pgdumpd makes, or refused.
fn strange_file_names_are_refused(storage: &dyn Storage) {
    for file in ["../a", "a/b", "", ".", "..", ".pgdumpd-lock", "-x", "a b", "a\n", "\u{e4}", &"x".repeat(256)] {
        let strange = key("shop", file);
        for refusal in [
            storage.begin(&strange, "run1").map(drop),
            storage.get(&strange).map(drop),
            storage.size(&strange).map(drop),
            storage.put(&strange, b"x"),
            storage.delete(&strange),
            storage.mark(&strange, Use::Reading).map(drop),
        ] {
            assert_eq!(refusal.unwrap_err().cause, Cause::UnsafePath, "{file:?}");
        }
    }
}

/// Each project has a lock file of its own, and it is no backup.
fn lock_files_are_apart(storage: &dyn Storage) {
    let (one, other) = (storage.lock_file("lock1").unwrap(), storage.lock_file("lock2").unwrap());
    assert_ne!(one, other);
    assert_eq!(storage.lock_file("lock1").unwrap(), one);
    std::fs::write(&one, b"held").unwrap();
    assert!(files(storage, "lock1").is_empty());
    assert!(storage.sweep("lock1", None).unwrap().is_empty() && one.exists(), "the lock was swept");
}

fn conforms(storage: &dyn Storage) {
    begins_only_when_made(storage);
    a_file_is_whole_or_absent(storage);
    a_taken_name_is_refused(storage);
    unfinished_files_go_away(storage);
    scratch_goes_away(storage);
    small_files_are_replaced_and_deleted(storage);
    what_is_being_read_is_not_removed(storage);
    projects_keep_apart(storage);
    strange_file_names_are_refused(storage);
    lock_files_are_apart(storage);
}

#[test]
fn memory_conforms() {
    conforms(&Memory::new("memory"));
}

#[test]
fn local_conforms() {
    let parent = tempfile::tempdir().unwrap();
    conforms(&Local::new("main", &parent.path().join("backups"), 0, &Clock::system()));
}
