//! Two holders, stale files, and real children that inherit.

use std::time::Instant;

use super::*;
use crate::process::{Exit, Signal, Spec, spawn};
use crate::storage::Memory;

fn storage() -> Memory {
    let storage = Memory::new("main");
    storage.initialize().unwrap();
    storage
}

fn holder(run: &str) -> Holder {
    Holder::own(&RunId(run.into()), DateTime::from_timestamp(1_795_223_700, 0).unwrap())
}

fn acquire(storage: &Memory, run: &str) -> Result<ProjectLock, Refused> {
    ProjectLock::acquire(storage, "shop", holder(run))
}

fn sleeper(lock: &ProjectLock) -> crate::process::Child {
    let mut spec = Spec::new("/bin/sleep");
    spec.args = vec!["600".into()];
    spec.env = vec![("PGAPPNAME".into(), "pgdumpd/one".into())];
    spec.inherit = vec![(lock.fd(), 9)];
    spawn(&spec).unwrap()
}

#[test]
fn f24_one_holds_it_and_the_other_is_told_who() {
    let storage = storage();
    let lock = acquire(&storage, "one").unwrap();
    let refused = acquire(&storage, "two").unwrap_err();
    assert_eq!(refused, Refused::Held(Some(holder("one"))));
    let failure = refused.failure("shop");
    assert_eq!(failure.cause, Cause::Locked);
    let own = std::process::id();
    assert!(failure.message.starts_with(&format!("the project \"shop\" is locked by run one (process {own} on ")), "{failure}");
    assert!(failure.message.ends_with("since 2026-11-21 01:15:00 UTC)"), "{failure}");
    assert_eq!(inspect(&storage, "shop").unwrap(), Some(Refused::Held(Some(holder("one")))));
    ProjectLock::acquire(&storage, "shop-staging", holder("two")).unwrap();
    drop(lock);
    assert_eq!(inspect(&storage, "shop").unwrap(), None);
    acquire(&storage, "two").unwrap();
}

#[test]
fn f25_a_stale_file_whose_number_belongs_to_another_blocks_nobody() {
    let storage = storage();
    let path = storage.lock_file("shop").unwrap();
    let stale = Holder { pid: 1, start_ticks: 1, ..holder("longer-than-the-next-one") };
    for content in [serde_json::to_vec(&stale).unwrap(), b"\xff garbage".to_vec(), Vec::new()] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(inspect(&storage, "shop").unwrap(), None);
        let _lock = acquire(&storage, "new").unwrap();
        assert_eq!(acquire(&storage, "other").unwrap_err(), Refused::Held(Some(holder("new"))));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"), "the old content shines through");
    }
}

#[test]
fn f21_an_orphan_that_inherited_it_keeps_it_until_it_ends() {
    let storage = storage();
    let lock = acquire(&storage, "one").unwrap();
    let mut child = sleeper(&lock);
    lock.note(Some(child.identity())).unwrap();
    drop(lock);
    let Err(Refused::Held(Some(held))) = acquire(&storage, "two") else { panic!("a second dump would have begun") };
    assert_eq!(held.child, Some(child.identity()));
    assert_eq!(keepers(&storage, "shop").unwrap(), [child.identity()]);

    assert!(held.child.unwrap().kill(Signal::KILL).unwrap());
    assert_eq!(child.wait(), Exit::Signal(9));
    let begun = Instant::now();
    acquire(&storage, "two").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn f25_a_stranger_who_took_it_for_himself_is_no_orphan() {
    let storage = storage();
    let file = std::fs::File::options().write(true).create(true).truncate(false).open(storage.lock_file("shop").unwrap()).unwrap();
    rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
    let mut spec = Spec::new("/bin/sleep");
    spec.args = vec!["600".into()];
    spec.inherit = vec![(Arc::new(file.into()), 9)];
    let mut stranger = spawn(&spec).unwrap();
    drop(spec);
    assert!(matches!(acquire(&storage, "two"), Err(Refused::Held(_))));
    assert_eq!(keepers(&storage, "shop").unwrap(), []);
    stranger.terminate(Duration::from_secs(5));
}

#[test]
fn a_child_that_did_not_inherit_it_does_not_keep_it() {
    let storage = storage();
    let lock = acquire(&storage, "one").unwrap();
    let mut spec = Spec::new("/bin/sleep");
    spec.args = vec!["600".into()];
    let _bystander = spawn(&spec).unwrap();
    drop(lock);
    acquire(&storage, "two").unwrap();
}

#[test]
fn a_file_removed_by_hand_is_noticed() {
    let storage = storage();
    let lock = acquire(&storage, "one").unwrap();
    assert!(lock.is_intact());
    std::fs::remove_file(storage.lock_file("shop").unwrap()).unwrap();
    assert!(!lock.is_intact());
}

#[test]
fn f46_a_link_in_its_place_is_refused() {
    let storage = storage();
    let target = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(target.path(), storage.lock_file("shop").unwrap()).unwrap();
    let Err(Refused::Failed(failure)) = acquire(&storage, "one") else { panic!("went through a link") };
    assert_eq!(failure.cause, Cause::UnsafePath);
    assert_eq!(std::fs::metadata(target.path()).unwrap().len(), 0);
}

#[test]
fn those_who_only_look_never_make_a_run_skip() {
    let storage = storage();
    acquire(&storage, "first").unwrap();
    let looking = std::thread::spawn({
        let storage = storage.clone();
        move || (0..2000).for_each(|_| drop(inspect(&storage, "shop").unwrap()))
    });
    for _ in 0..200 {
        acquire(&storage, "one").unwrap();
    }
    looking.join().unwrap();
}

#[test]
fn one_that_only_has_the_file_open_keeps_nothing() {
    let storage = storage();
    let lock = acquire(&storage, "one").unwrap();
    let mut holding = sleeper(&lock);
    let asking = std::fs::File::open(storage.lock_file("shop").unwrap()).unwrap();
    let mut spec = Spec::new("/bin/sleep");
    spec.args = vec!["600".into()];
    spec.inherit = vec![(Arc::new(asking.into()), 9)];
    let mut bystander = spawn(&spec).unwrap();
    assert_eq!(keepers(&storage, "shop").unwrap(), [holding.identity()]);
    holding.terminate(Duration::from_secs(5));
    bystander.terminate(Duration::from_secs(5));
}
