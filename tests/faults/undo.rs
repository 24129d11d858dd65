//! A manifest whose name was given although its commit failed: the folder's sync had the error. Undoing it must never leave a manifest
//! without its artifact. The disk that lies so is a storage around the real one, in this process.

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use pgdumpd::error::{Cause, Failure, Result};
use pgdumpd::process::Cancel;
use pgdumpd::storage::names::{self, Kind};
use pgdumpd::storage::{Key, Pending, Storage};

use crate::around::{Twist, Twisted};
use crate::scene::Scene;

/// Commits manifests and says that it hasn't; notes what is deleted, and refuses to delete manifests where told.
#[derive(Debug)]
struct Lying {
    deleted: Mutex<Vec<String>>,
    keeps_manifests: bool,
}

struct Denied(Box<dyn Pending>);

impl Write for Denied {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn error() -> Failure {
    Failure::new(Cause::Storage, "syncing the folder: Input/output error")
}

fn is_manifest(key: &Key) -> bool {
    matches!(names::kind(&key.file), Kind::Manifest(_))
}

impl Pending for Denied {
    fn commit(self: Box<Self>) -> Result<()> {
        self.0.commit()?;
        Err(error())
    }
    fn abort(self: Box<Self>) -> Result<()> {
        self.0.abort()
    }
}

impl Twist for Lying {
    fn begin(&self, real: &dyn Storage, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        let pending = real.begin(key, run)?;
        Ok(if is_manifest(key) { Box::new(Denied(pending)) } else { pending })
    }

    fn delete(&self, real: &dyn Storage, key: &Key) -> Result<()> {
        if is_manifest(key) && self.keeps_manifests {
            return Err(error());
        }
        self.deleted.lock().unwrap().push(key.file.clone());
        real.delete(key)
    }
}

/// Backs up over such a storage; what was deleted in which order, and what is left.
fn back_up(keeps_manifests: bool) -> (Vec<String>, HashSet<String>) {
    let scene = Scene::new("", "");
    let lying = Arc::new(Lying { deleted: Mutex::default(), keeps_manifests });
    let twisted = Twisted::new(&scene.rig.path().join("pgdumpd.toml"), &lying);
    let names = || twisted.real.names(&twisted.project.name).unwrap();
    let before = names();
    let report = twisted.back_up(&Cancel::new());
    let (run, manifest) = &report.runs[0];
    assert!(manifest.is_none(), "no backup is claimed: {run:?}");
    assert_eq!(run.failure.as_ref().map(|failure| failure.message.as_str()), Some("syncing the folder: Input/output error"));
    let left = names().difference(&before).cloned().collect();
    let deleted = lying.deleted.lock().unwrap().clone();
    (deleted, left)
}

#[test]
fn f16_a_manifest_that_is_there_after_all_goes_before_its_artifact() {
    let (deleted, left) = back_up(false);
    let place = |ending: &str| deleted.iter().position(|file| file.ends_with(ending)).unwrap_or(usize::MAX);
    assert!(place(".zst.json") < place(".dump.zst"), "{deleted:?}");
    assert_eq!(left, HashSet::new());
}

#[test]
fn f16_an_artifact_whose_manifest_stays_is_not_deleted() {
    let (deleted, left) = back_up(true);
    assert_eq!(deleted, Vec::<String>::new());
    assert!(left.iter().any(|file| file.ends_with(".dump.zst")) && left.iter().any(|file| file.ends_with(".zst.json")), "{left:?}");
}
