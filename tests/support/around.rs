//! A storage around the real one that does some things otherwise, and backups over it in this process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgdumpd::clock::Clock;
use pgdumpd::error::Result;
use pgdumpd::jobs::scheduled::{self, Order, Report, Setting};
use pgdumpd::jobs::{Board, Open};
use pgdumpd::model::backup::Trigger;
use pgdumpd::model::project::Project;
use pgdumpd::ops::World;
use pgdumpd::process::Cancel;
use pgdumpd::storage::{Entry, InUse, Key, Pending, Scratch, Storage, Use};

/// What is done otherwise.
pub(crate) trait Twist: Debug + Send + Sync {
    /// Begins a file.
    fn begin(&self, real: &dyn Storage, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        real.begin(key, run)
    }

    /// Deletes a file.
    fn delete(&self, real: &dyn Storage, key: &Key) -> Result<()> {
        real.delete(key)
    }
}

#[derive(Debug)]
struct Around<T> {
    real: Arc<dyn Storage>,
    twist: Arc<T>,
}

impl<T: Twist> Storage for Around<T> {
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
        self.twist.begin(self.real.as_ref(), key, run)
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
        self.twist.delete(self.real.as_ref(), key)
    }
    fn scratch(&self, project: &str, run: &str) -> Result<Scratch> {
        self.real.scratch(project, run)
    }
    fn unfinished(&self, project: &str) -> Result<Vec<String>> {
        self.real.unfinished(project)
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

/// A configured world whose only storage is twisted.
pub(crate) struct Twisted {
    pub(crate) world: World,
    /// The first project of the file.
    pub(crate) project: Arc<Project>,
    /// The storage as it is.
    pub(crate) real: Arc<dyn Storage>,
}

impl Twisted {
    /// Over the configuration in this file.
    pub(crate) fn new<T: Twist + 'static>(file: &Path, twist: &Arc<T>) -> Self {
        let settings = pgdumpd::config::load(file, &|_| None).unwrap();
        let mut world = World::open(&settings, Clock::system()).unwrap();
        let project = Arc::clone(&settings.projects[0]);
        let real = Arc::clone(world.storage(&project).unwrap());
        let around: Arc<dyn Storage> = Arc::new(Around { real: Arc::clone(&real), twist: Arc::clone(twist) });
        world.storages = Arc::new(BTreeMap::from([(project.storage.clone(), around)]));
        Self { world, project, real }
    }

    /// Backs up as by hand.
    pub(crate) fn back_up(&self, cancel: &Cancel) -> Report {
        let order = Order {
            project: Arc::clone(&self.project),
            shape: self.project.shape.clone(),
            trigger: Trigger::Manual,
            schedule: None,
            slot: None,
            only: Vec::new(),
        };
        scheduled::run(&self.world, &order, &Setting { cancel, board: &Board::default(), gate: &Open, said: None, ended: None })
    }
}
