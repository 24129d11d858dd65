//! The directory format: `pg_dump` with several connections into scratch beside the backups, then all of it as one tar through the stream.
//!
//! Each file leaves the scratch as soon as it is being packed, so that the storage never holds the dump twice.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::model::backup::Structure;
use crate::postgres::archive;
use crate::postgres::connection::said;
use crate::process::{self, Cancel, CancelReason, Child, Exit, Spec};
use crate::storage::{Pending, Scratch};
use crate::stream::{Done, PumpError, Side, Tar};
use crate::units::show_size;

use super::before::Asked;
use super::dump::{self, Dumped, Ended};
use super::{Means, Request, SWEEP, watch};

/// How often the growing files are measured; less often where that itself takes long.
const LOOK: Duration = Duration::from_millis(500);

/// With less room than this left after it failed, `pg_dump` failed for that.
const FULL: u64 = 1 << 20;

/// The archive's table of contents, whatever else it holds.
const CONTENTS: &str = "toc.dat";

/// Longest time for `pg_restore` to read an archive to its end.
const READ_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Waits for `pg_dump` to fill the scratch, then packs it into `sink`. On success it exited 0 and every file it announced was there.
pub(super) fn run(
    means: Means<'_>,
    request: &Request,
    asked: &mut Asked,
    sink: Box<dyn Pending>,
    child: &mut Child,
    began: Instant,
    scratch: &Path,
) -> Result<(Dumped, Box<dyn Pending>)> {
    let folder = scratch.join("archive");
    gather(means, request, asked, child, began, &folder)?;
    let known = is_known(&folder)?;
    if !known {
        read_whole(means, asked, &folder)?;
    }
    let source = Tar::of(&folder, CONTENTS).map_err(|error| unpackable(&error))?;
    means.gauge.show(0);
    let mut tap = dump::tap_for(request);
    let (pumped, seen) = dump::through(means, request, asked, Box::new(source), &mut tap, sink, None);
    let Done { pumped, sink } = dump::judge(means, request, asked, pumped, &seen, &Ended { exit: Exit::Code(0), tail: "", began })?;
    let observed = dump::observed(request, tap)?;
    if known && observed.structure == Structure::Unchecked {
        let why = observed.unchecked.unwrap_or_default();
        return Err(Failure::new(Cause::ArchiveIncomplete, format!("nobody can say whether the dump's files are all there: {why}"))
            .hint("use format = \"custom\" for this database"));
    }
    Ok((Dumped { observed, pumped }, sink))
}

/// Waits for the end of `pg_dump`, watching it, its files and the room they take.
fn gather(means: Means<'_>, request: &Request, asked: &mut Asked, child: &mut Child, began: Instant, folder: &Path) -> Result<()> {
    let (over, give_up) = (Cancel::new(), means.cancel.child());
    let target = child.identity();
    let ((full, exit), seen) = std::thread::scope(|scope| {
        let session = asked.session.as_mut();
        let watcher = scope.spawn(|| watch::watch(means, request, session, Some(&target), &over, &give_up));
        let ended = follow(means, child, folder);
        over.cancel(CancelReason::Cancelled);
        (ended, watcher.join().unwrap_or_default())
    });
    asked.warnings.extend(seen.warnings.iter().cloned());
    let gathered = match full {
        Some(failure) => Err(PumpError { side: Side::Sink, failure }),
        None => Ok(()),
    };
    dump::judge(means, request, asked, gathered, &seen, &Ended { exit, tail: &said(&child.stderr_tail()), began })
}

/// How `pg_dump` ended, and whether the storage was full then. One that would go on beyond the storage's room is ended.
fn follow(means: Means<'_>, child: &mut Child, folder: &Path) -> (Option<Failure>, Exit) {
    let mut wait = LOOK;
    loop {
        let ended = child.wait_timeout(wait);
        let looked = Instant::now();
        let size = size(folder);
        means.gauge.show(size);
        // A storage that can't say how much is free says so when it is written to.
        let free = means.storage.free_space().ok().flatten();
        let full = |least: u64| free.filter(|free| *free < least).map(|_| no_room(means, size));
        match ended {
            Some(Exit::Code(0)) => return (None, Exit::Code(0)),
            Some(exit @ Exit::Code(_)) => return (full(FULL), exit),
            Some(exit @ Exit::Signal(_)) => return (None, exit),
            None => {}
        }
        if let Some(full) = full(1) {
            return (Some(full), child.terminate(means.grace));
        }
        wait = LOOK.max(looked.elapsed() * 20);
    }
}

fn no_room(means: Means<'_>, size: u64) -> Failure {
    let storage = means.storage.name();
    let words = format!("storage {storage:?} has no room left beyond its reserve; pg_dump's files had {} by then", show_size(size));
    Failure::new(Cause::Space, words)
}

/// Bytes in the files so far.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
}

/// Whether the tap knows archives of this version.
fn is_known(folder: &Path) -> Result<bool> {
    let mut beginning = Vec::new();
    let read = File::open(folder.join(CONTENTS)).and_then(|file| file.take(64 * 1024).read_to_end(&mut beginning));
    read.map_err(|error| unpackable(&std::io::Error::new(error.kind(), format!("{CONTENTS}: {error}"))))?;
    Ok(archive::is_known(&beginning))
}

fn unpackable(error: &std::io::Error) -> Failure {
    Failure::new(Cause::ArchiveIncomplete, format!("what pg_dump left in its folder is no archive: {error}"))
        .hint("the dump is not kept; run the backup again, and if it repeats, look at the disk and at the server's log")
}

/// An archive of a version the tap doesn't know counts only after `pg_restore` has read it to its end.
fn read_whole(means: Means<'_>, asked: &Asked, folder: &Path) -> Result<()> {
    let mut spec = Spec::new(asked.client.pg_restore());
    spec.args = vec!["-f".into(), "/dev/null".into(), folder.into()];
    let finished = process::run_unless(&spec, &[], READ_LIMIT, 64 * 1024, means.cancel)?;
    if finished.exit == Exit::Code(0) {
        return Ok(());
    }
    Err(Failure::new(Cause::ArchiveIncomplete, format!("pg_restore could not read the archive to its end ({})", finished.exit))
        .hint("the archive's version is newer than this pgdumpd knows; upgrade pgdumpd, or look at what pg_restore says below")
        .detail(finished.stderr))
}

/// Removes the scratch. A disk that hangs doesn't hold the run; what stays there is swept by repair.
pub(super) fn remove(scratch: Scratch) {
    let (done, ended) = crossbeam_channel::bounded(1);
    let work = move || {
        drop(scratch);
        done.send(())
    };
    if let Ok(_thread) = std::thread::Builder::new().name(String::from("scratch")).spawn(work) {
        let _hangs = ended.recv_timeout(SWEEP);
    }
}
