//! A manifest whose name was given although its commit failed: the folder's sync had the error. Undoing it must never leave a manifest
//! without its artifact. The disk that lies so is a storage around the real one, in this process.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pgdumpd::clock::Clock;
use pgdumpd::error::{Cause, Failure, Result};
use pgdumpd::jobs::scheduled::{self, Order, Setting};
use pgdumpd::jobs::{Board, Open};
use pgdumpd::model::backup::Trigger;
use pgdumpd::ops::World;
use pgdumpd::process::Cancel;
use pgdumpd::storage::names::{self, Kind};
use pgdumpd::storage::{Entry, InUse, Key, Pending, Scratch, Storage, Use};

use crate::scene::Scene;

/// Commits manifests and says that it hasn't; notes what is deleted, and refuses to delete manifests where told.
#[derive(Debug)]
struct Lying {
    real: Arc<dyn Storage>,
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

impl Storage for Lying {
    fn name(&self) -> &str {
        self.real.name()
    }
    fn id(&self) -> Result<Option<String>> {
        self.real.id()
    }
    fn initialize(&self) -> Result<String> {
        self.real.initialize()
    }
    fn begin(&self, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        let pending = self.real.begin(key, run)?;
        Ok(if is_manifest(key) { Box::new(Denied(pending)) } else { pending })
    }
    fn get(&self, key: &Key) -> Result<Box<dyn Read + Send>> {
        self.real.get(key)
    }
    fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        self.real.get_range(key, range)
    }
    fn size(&self, key: &Key) -> Result<Option<u64>> {
        self.real.size(key)
    }
    fn put(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        self.real.put(key, bytes)
    }
    fn list(&self, project: &str) -> Result<Vec<Entry>> {
        self.real.list(project)
    }
    fn projects(&self) -> Result<Vec<String>> {
        self.real.projects()
    }
    fn mark(&self, key: &Key, wanted: Use) -> Result<Option<InUse>> {
        self.real.mark(key, wanted)
    }
    fn delete(&self, key: &Key) -> Result<()> {
        if is_manifest(key) && self.keeps_manifests {
            return Err(error());
        }
        self.deleted.lock().unwrap().push(key.file.clone());
        self.real.delete(key)
    }
    fn scratch(&self, project: &str, run: &str) -> Result<Scratch> {
        self.real.scratch(project, run)
    }
    fn sweep(&self, project: &str, run: Option<&str>) -> Result<Vec<String>> {
        self.real.sweep(project, run)
    }
    fn free_space(&self) -> Result<Option<u64>> {
        self.real.free_space()
    }
    fn place(&self) -> String {
        self.real.place()
    }
    fn lock_file(&self, project: &str) -> Result<PathBuf> {
        self.real.lock_file(project)
    }
}

/// Backs up over such a storage; what was deleted in which order, and what is left.
fn back_up(keeps_manifests: bool) -> (Vec<String>, HashSet<String>) {
    let scene = Scene::new("", "");
    let settings = pgdumpd::config::load(&scene.rig.path().join("pgdumpd.toml"), &|_| None).unwrap();
    let mut world = World::open(&settings, Clock::system()).unwrap();
    let project = Arc::clone(&settings.projects[0]);
    let real = Arc::clone(world.storage(&project).unwrap());
    let lying = Arc::new(Lying { real: Arc::clone(&real), deleted: Mutex::default(), keeps_manifests });
    let around: Arc<dyn Storage> = Arc::<Lying>::clone(&lying);
    world.storages = Arc::new(BTreeMap::from([(project.storage.clone(), around)]));
    let before = real.names(&project.name).unwrap();
    let order = Order {
        shape: project.shape.clone(),
        project: Arc::clone(&project),
        trigger: Trigger::Manual,
        schedule: None,
        slot: None,
        only: Vec::new(),
    };
    let (cancel, board) = (Cancel::new(), Board::default());
    let report = scheduled::run(&world, &order, &Setting { cancel: &cancel, board: &board, gate: &Open, said: None });
    let (run, manifest) = &report.runs[0];
    assert!(manifest.is_none(), "no backup is claimed: {run:?}");
    assert_eq!(run.failure.as_ref().map(|failure| failure.message.as_str()), Some("syncing the folder: Input/output error"));
    let left = real.names(&project.name).unwrap().difference(&before).cloned().collect();
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
