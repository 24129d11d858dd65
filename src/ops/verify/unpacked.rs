//! Reading a directory dump, which `pg_restore` takes only as a folder: it is laid out in scratch beside the backups while its bytes are summed
//! up, then read. Where there is no room for that, its bytes are all that is proven, and that is said.

use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{BackupRow, Manifest, ProofLevel, RunId};
use crate::postgres::archive::members::lay_out;
use crate::process;
use crate::storage::Scratch;
use crate::units::show_size;

use super::Means;
use super::look::{SILENCE, Seen, damaged, inside, into_nothing, verdict_of};

/// The slowest disk that `pg_restore` is waited for reads so many bytes a second.
const SLOWEST: u64 = 1 << 20;

pub(super) fn read(means: Means<'_>, row: &BackupRow, manifest: &Manifest, source: Box<dyn Read + Send>) -> Result<Seen> {
    let held = AtomicBool::new(false);
    let mut spec = into_nothing(means, manifest)?;
    let scratch = match room(means, manifest) {
        Ok(scratch) => scratch,
        Err(failure) => return Ok(inside(means, row, manifest, source, None, &held)?.unwrap_or_else(|| only_bytes(&failure))),
    };
    let (mut taken, given) = io::pipe().map_err(|error| Failure::new(Cause::System, format!("making a pipe: {error}")))?;
    let (wrong, laid) = std::thread::scope(|scope| {
        let laying = scope.spawn(|| {
            let laid = lay_out(&mut taken, scratch.path());
            // The rest is for the tap alone; who gives must not wait for a reader that has enough.
            drop(io::copy(&mut taken, &mut io::sink()));
            laid
        });
        let wrong = inside(means, row, manifest, source, Some(Box::new(given)), &held);
        let broken = |_| Err(Failure::new(Cause::System, "unpacking broke off by an error in pgdumpd itself"));
        (wrong, laying.join().unwrap_or_else(broken))
    });
    if let Some(seen) = wrong? {
        return Ok(seen);
    }
    match laid {
        Ok(()) => {}
        Err(failure) if failure.cause == Cause::Damaged => return Ok(damaged(ProofLevel::Read, failure.message)),
        Err(failure) => return Ok(only_bytes(&failure)),
    }
    spec.args.push(scratch.path().into());
    let seen = verdict_of(means.cancel, process::spawn(&spec)?, SILENCE + Duration::from_secs(manifest.uncompressed_size_bytes / SLOWEST));
    drop(scratch);
    seen
}

fn only_bytes(failure: &Failure) -> Seen {
    Seen::OnlyBytes(format!("pg_restore could not be asked: {}", failure.message))
}

/// A folder for it, where it will fit.
fn room(means: Means<'_>, manifest: &Manifest) -> Result<Scratch> {
    let (storage, needed) = (means.storage, manifest.uncompressed_size_bytes);
    if let Some(free) = storage.free_space()?.filter(|free| *free < needed) {
        let words = format!(
            "unpacking the directory dump for it takes {}, and storage {:?} has {} free beyond its reserve",
            show_size(needed),
            storage.name(),
            show_size(free)
        );
        return Err(Failure::new(Cause::Space, words));
    }
    storage.scratch(&manifest.project, RunId::random().as_str())
}
