//! A destination that takes no byte any more, in the middle of a write: the run ends all the same, and what it wrote is gone.
//!
//! A disk that hangs takes the whole machine along, so the write hangs in a storage around the real one, in this process.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pgdumpd::error::{Cause, Result};
use pgdumpd::process::{Cancel, CancelReason};
use pgdumpd::storage::{Key, Pending, Storage};

use crate::around::{Twist, Twisted};
use crate::scene::{LONG, Scene};

/// While it is set, writes hang.
type Hangs = Arc<AtomicBool>;

#[derive(Debug, Default)]
struct Hanging {
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

impl Twist for Hanging {
    fn begin(&self, real: &dyn Storage, key: &Key, run: &str) -> Result<Box<dyn Pending>> {
        Ok(Box::new(Slow(real.begin(key, run)?, Arc::clone(&self.hangs), Arc::clone(&self.held))))
    }
}

#[test]
fn a_stuck_write_holds_neither_the_run_nor_its_file() {
    let scene = Scene::bare(crate::cluster::Cluster::start(), "", "no_progress = \"2s\"");
    scene.configure(5);
    let hanging = Arc::<Hanging>::default();
    let (hangs, held) = (&hanging.hangs, &hanging.held);
    hangs.store(true, Ordering::SeqCst);
    let twisted = Twisted::new(&scene.rig.path().join("pgdumpd.toml"), &hanging);
    let began = Instant::now();
    let report = twisted.back_up(&Cancel::new());
    assert!(began.elapsed() < LONG);
    let failure = report.runs[0].0.failure.as_ref().unwrap();
    assert_eq!((failure.cause, failure.message.contains("took no byte")), (Cause::Storage, true), "{failure:?}");
    assert_eq!(*held.lock().unwrap(), 1, "the write has to hang still, or this shows nothing");
    assert!(scene.files().is_empty(), "{:?}", scene.files().keys());

    // A person's wish to end is heard as well.
    let cancel = Cancel::new();
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| twisted.back_up(&cancel));
        crate::rig::wait_until(LONG, || String::from("the second write to hang"), || *held.lock().unwrap() == 2);
        cancel.cancel(CancelReason::Cancelled);
        running.join().unwrap()
    });
    assert_eq!(ended.runs[0].0.failure.as_ref().unwrap().cause, Cause::Interrupted);
    assert!(scene.files().is_empty(), "{:?}", scene.files().keys());

    // When the disk comes back, the late ends of those writes harm nobody.
    hangs.store(false, Ordering::SeqCst);
    let report = twisted.back_up(&Cancel::new());
    assert!(report.runs[0].1.is_some(), "{report:?}");
    crate::rig::wait_until(LONG, || String::from("the stuck writes to end"), || *held.lock().unwrap() == 0);
    assert_eq!(scene.files().len(), 2);
}
