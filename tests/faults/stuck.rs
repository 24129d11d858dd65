//! A destination that takes no byte any more, in the middle of a write: the run ends all the same, and what it wrote is gone.
//!
//! A disk that hangs takes the whole machine along, so the write hangs in a storage around the real one, in this process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgdumpd::clock::Clock;
use pgdumpd::error::{Cause, Result};
use pgdumpd::jobs::scheduled::{self, Order, Report, Setting};
use pgdumpd::jobs::{Board, Open};
use pgdumpd::model::backup::Trigger;
use pgdumpd::model::settings::Settings;
use pgdumpd::ops::World;
use pgdumpd::process::{Cancel, CancelReason};
use pgdumpd::storage::{Entry, InUse, Key, Pending, Scratch, Storage, Use};

use crate::scene::{LONG, Scene};

/// While it is set, writes hang.
type Hangs = Arc<AtomicBool>;

#[derive(Debug)]
struct Hanging {
    real: Arc<dyn Storage>,
    hangs: Hangs,
    /// Writes that hang now.
    held: Arc<Mutex<u32>>,
}

struct Slow(Box<dyn Pending>, Hangs, Arc<Mutex<u32>>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.0.write(bytes)?;
        *self.2.lock().unwrap() += 1;
        while self.1.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        *self.2.lock().unwrap() -= 1;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Pending for Slow {
    fn commit(self: Box<Self>) -> Result<()> {
        self.0.commit()
    }

    fn abort(self: Box<Self>) -> Result<()> {
        self.0.abort()
    }
}

impl Storage for Hanging {
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
        Ok(Box::new(Slow(self.real.begin(key, run)?, Arc::clone(&self.hangs), Arc::clone(&self.held))))
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

/// A world whose only storage hangs while the switch is set.
fn world(scene: &Scene) -> (World, Settings, Hangs, Arc<Mutex<u32>>) {
    let file = scene.rig.path().join("pgdumpd.toml");
    let settings = pgdumpd::config::load(&file, &|_| None).unwrap();
    let mut world = World::open(&settings, Clock::system()).unwrap();
    let hangs = Hangs::new(AtomicBool::new(true));
    let held = Arc::<Mutex<u32>>::default();
    let around = |real: &Arc<dyn Storage>| -> Arc<dyn Storage> {
        Arc::new(Hanging { real: Arc::clone(real), hangs: Arc::clone(&hangs), held: Arc::clone(&held) })
    };
    let storages: BTreeMap<String, Arc<dyn Storage>> = world.storages.iter().map(|(name, real)| (name.clone(), around(real))).collect();
    world.storages = Arc::new(storages);
    (world, settings, hangs, held)
}

fn run(world: &World, settings: &Settings, cancel: &Cancel) -> Report {
    let project = Arc::clone(&settings.projects[0]);
    let shape = project.shape.clone();
    let order = Order { project, shape, trigger: Trigger::Manual, schedule: None, slot: None, only: Vec::new() };
    scheduled::run(world, &order, &Setting { cancel, board: &Board::default(), gate: &Open, said: None })
}

#[test]
fn a_stuck_write_holds_neither_the_run_nor_its_file() {
    let scene = Scene::bare(crate::cluster::Cluster::start(), "", "no_progress = \"2s\"");
    scene.configure(5);
    let (world, settings, hangs, held) = world(&scene);
    let began = Instant::now();
    let report = run(&world, &settings, &Cancel::new());
    assert!(began.elapsed() < LONG);
    let failure = report.runs[0].0.failure.as_ref().unwrap();
    assert_eq!((failure.cause, failure.message.contains("took no byte")), (Cause::Storage, true), "{failure:?}");
    assert_eq!(*held.lock().unwrap(), 1, "the write has to hang still, or this shows nothing");
    assert!(scene.files().is_empty(), "{:?}", scene.files().keys());

    // A person's wish to end is heard as well.
    let cancel = Cancel::new();
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&world, &settings, &cancel));
        crate::rig::wait_until(LONG, || String::from("the second write to hang"), || *held.lock().unwrap() == 2);
        cancel.cancel(CancelReason::Cancelled);
        running.join().unwrap()
    });
    assert_eq!(ended.runs[0].0.failure.as_ref().unwrap().cause, Cause::Interrupted);
    assert!(scene.files().is_empty(), "{:?}", scene.files().keys());

    // When the disk comes back, the late ends of those writes harm nobody.
    hangs.store(false, Ordering::SeqCst);
    let report = run(&world, &settings, &Cancel::new());
    assert!(report.runs[0].1.is_some(), "{report:?}");
    crate::rig::wait_until(LONG, || String::from("the stuck writes to end"), || *held.lock().unwrap() == 0);
    assert_eq!(scene.files().len(), 2);
}
