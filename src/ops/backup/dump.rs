//! The dump itself: `pg_dump` on one end, the pending artifact on the other, and someone watching both.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::model::dump::{Content, Format};
use crate::model::options;
use crate::model::project::Limits;
use crate::notify::redact::Redactor;
use crate::postgres::archive::{Observed, Tap};
use crate::postgres::connection;
use crate::postgres::dump::Dump;
use crate::postgres::rights::mend;
use crate::postgres::session::Session;
use crate::process::{self, Cancel, CancelReason, Child, Exit, Identity, LineHook, Output, Spec};
use crate::storage::{Pending, Scratch};
use crate::stream::{self, Done, PumpError, Pumped, Side};
use crate::units::{show_duration, show_size};

use super::before::Asked;
use super::watch::{self, Seen};
use super::{Means, Request, directory};

/// How long `pg_dump` may take to end after its output has ended.
const AFTER_EOF: Duration = Duration::from_secs(60);

/// The number of the lock's descriptor in `pg_dump`; it never uses it.
const LOCK_FD: i32 = 8;
const _: () = assert!(LOCK_FD != connection::PASSFILE_FD, "both are open in pg_dump");

/// How long a new connection may take that only ends a backend.
const QUICK: Duration = Duration::from_secs(5);

/// What passed through, all of it accounted for.
pub(super) struct Dumped {
    pub(super) observed: Observed,
    pub(super) pumped: Pumped,
}

/// How `pg_dump` ended.
#[derive(Clone, Copy)]
pub(super) struct Ended<'a> {
    pub(super) exit: Exit,
    /// Its last words.
    pub(super) tail: &'a str,
    pub(super) began: Instant,
}

/// Runs `pg_dump` into `sink` and gives that back, whole but not committed. On success it exited 0 and the archive was whole; on failure its process group and its backend are gone.
pub(super) fn stream(means: Means<'_>, request: &Request, asked: &mut Asked, sink: Box<dyn Pending>) -> Result<(Dumped, Box<dyn Pending>)> {
    let scratch = match request.shape.format {
        Format::Directory if request.shape.content != Content::Globals => {
            Some(means.storage.scratch(&means.project.name, request.run.as_str())?)
        }
        _ => None,
    };
    let mut spec = command(means, request, asked, scratch.as_ref().map(Scratch::path));
    // It changes nothing of what is dumped, and so is no option of the backup.
    if means.said.is_some() {
        spec.args.push("--verbose".into());
    }
    let began = Instant::now();
    let mut child = process::spawn_watched(&spec, forwarded(means))?;
    means.lock.note(Some(child.identity()))?;
    let result = match &scratch {
        None => run(means, request, asked, sink, &mut child, began),
        Some(scratch) => directory::run(means, request, asked, sink, &mut child, began, scratch.path()),
    };
    if result.is_err() {
        child.terminate(means.grace);
        end_backend(means, request, asked);
    }
    if let Some(scratch) = scratch {
        directory::remove(scratch);
    }
    result
}

/// Its lines go to whoever wants them without secrets: nobody knows what a server's notices hold.
fn forwarded(means: Means<'_>) -> Option<LineHook> {
    let said = means.said?;
    let redactor = Redactor::new(means.access.secret());
    Some(Box::new(move |line: &str| said(&redactor.clean(line))))
}

fn command(means: Means<'_>, request: &Request, asked: &Asked, scratch: Option<&Path>) -> Spec {
    let dump = Dump {
        client: &asked.client,
        access: means.access,
        server: Some(&asked.server),
        database: &request.connect_to,
        shape: &request.shape,
        limits: &means.project.limits,
        run: &request.run,
        scratch,
    };
    let mut spec = if request.shape.content == Content::Globals { dump.globals_command(asked.role_passwords) } else { dump.command() };
    if let Some(encoding) = asked.encoding.filter(|_| request.shape.content != Content::Globals) {
        spec.args.push(format!("--encoding={encoding}").into());
    }
    spec.stdout = if scratch.is_some() { Output::Null } else { Output::Piped };
    // The child keeps the project's lock for as long as it lives, even where this process is gone.
    spec.inherit.push((means.lock.fd(), LOCK_FD));
    spec
}

fn run(
    means: Means<'_>,
    request: &Request,
    asked: &mut Asked,
    sink: Box<dyn Pending>,
    child: &mut Child,
    began: Instant,
) -> Result<(Dumped, Box<dyn Pending>)> {
    let source = child.take_stdout().ok_or_else(|| Failure::new(Cause::System, "pg_dump was started without an output to read"))?;
    stream::enlarge_pipe(&source);
    let mut tap = tap_for(request);
    let target = child.identity();
    let (pumped, seen) = through(means, request, asked, Box::new(source), &mut tap, sink, Some(&target));
    let exit = if pumped.is_ok() { child.wait_timeout(AFTER_EOF) } else { None };
    let exit = exit.unwrap_or_else(|| child.terminate(means.grace));
    let Done { pumped, sink } =
        judge(means, request, asked, pumped, &seen, &Ended { exit, tail: &connection::said(&child.stderr_tail()), began })?;
    Ok((Dumped { observed: observed(request, tap)?, pumped }, sink))
}

/// Everything from `source` through the tap into `sink`, watched. With a `target` the source is fed by that process.
pub(super) fn through(
    means: Means<'_>,
    request: &Request,
    asked: &mut Asked,
    source: Box<dyn Read + Send>,
    tap: &mut Tap,
    sink: Box<dyn Pending>,
    target: Option<&Identity>,
) -> (Result<Done<Box<dyn Pending>>, PumpError>, Seen) {
    let (over, give_up) = (Cancel::new(), means.cancel.child());
    let workers = means.project.compression_workers;
    let (pumped, seen) = std::thread::scope(|scope| {
        let session = asked.session.as_mut();
        let watcher = scope.spawn(|| watch::watch(means, request, session, target, &over, &give_up));
        let stop = || give_up.is_cancelled();
        let pumped = stream::pump(source, tap, request.shape.compression, workers, sink, means.gauge, &stop);
        over.cancel(CancelReason::Cancelled);
        (pumped, watcher.join().unwrap_or_default())
    });
    asked.warnings.extend(seen.warnings.iter().cloned());
    (pumped, seen)
}

/// What the tap saw; rows that an option made uncountable are unknown.
pub(super) fn observed(request: &Request, tap: Tap) -> Result<Observed> {
    let mut observed = tap.finish()?;
    if options::breaks_row_counting(&request.shape.options) {
        observed.tables.iter_mut().for_each(|table| table.rows = None);
    }
    Ok(observed)
}

pub(super) fn tap_for(request: &Request) -> Tap {
    match (request.shape.content, request.shape.format) {
        (Content::Globals, _) => Tap::globals(),
        (_, Format::Custom) => Tap::custom(),
        (_, Format::Plain) => Tap::plain(),
        (_, Format::Tar | Format::Directory) => Tap::tar(),
    }
}

/// Which of the things that went wrong is the cause: a wish to end, then a limit, then the destination, then `pg_dump`, then the archive.
///
/// The exit status is looked at before the archive: a `pg_dump` that failed has told why, and its archive is short because of that.
pub(super) fn judge<T>(
    means: Means<'_>,
    request: &Request,
    asked: &mut Asked,
    pumped: Result<T, PumpError>,
    seen: &Seen,
    ended: &Ended<'_>,
) -> Result<T> {
    let Ended { exit, tail, .. } = *ended;
    if let Some(reason) = means.cancel.reason() {
        return Err(Failure::new(Cause::Interrupted, format!("the dump was ended: {reason}")));
    }
    if let Some(verdict) = &seen.verdict {
        return Err(verdict.clone().detail(unended(tail)));
    }
    let pumped = match pumped {
        Ok(pumped) => Ok(pumped),
        Err(PumpError { side: Side::Sink, failure }) => return Err(room_told(means, asked, failure).detail(unended(tail))),
        Err(PumpError { failure, .. }) => Err(failure),
    };
    match exit {
        // The pump gave up first and pg_dump was ended for it: the pump's reason is the cause.
        Exit::Signal(_) if pumped.is_err() => pumped.map_err(|failure| failure.detail(tail)),
        Exit::Code(0) => pumped.map_err(|failure| failure.detail(tail)),
        Exit::Signal(_) => Err(Failure::new(Cause::DumpKilled, format!("pg_dump was ended by {exit}"))
            .hint("something on this machine ended it: look for the out-of-memory killer in the kernel's log (`journalctl -k`)")
            .detail(tail)),
        Exit::Code(_) => Err(failed(means, request, asked, seen, ended).detail(tail)),
    }
}

/// What `pg_dump` said, but for its good-bye where it was ended for another reason, which would only mislead.
fn unended(tail: &str) -> String {
    let lines = tail.lines().filter(|line| !line.ends_with("terminated by user"));
    lines.collect::<Vec<_>>().join("\n")
}

/// `pg_dump` said no. Its words are for people; the class comes from what was seen: a blocker until the lock limit, a session that is gone too.
fn failed(means: Means<'_>, request: &Request, asked: &mut Asked, seen: &Seen, ended: &Ended<'_>) -> Failure {
    let Ended { exit, began, .. } = *ended;
    let limit = means.project.limits.lock_wait;
    if let Some(blocker) = seen.blocker.as_ref().filter(|_| began.elapsed() >= limit) {
        return Failure::new(Cause::LockTimeout, format!("pg_dump waited {} for a lock held by {blocker}", show_duration(limit)))
            .hint("end or wait for that session, or raise limits.lock_wait");
    }
    if asked.session.as_mut().is_none_or(Session::is_alive) {
        if let Some(failure) = asked.session.as_mut().and_then(|session| lacking(request, session)) {
            return failure;
        }
        Failure::new(Cause::DumpFailed, format!("pg_dump ended with {exit}"))
    } else {
        Failure::new(Cause::ConnectionLost, format!("the connection to the server ended during the dump (pg_dump ended with {exit})")).hint(
            "look into the server's log for a restart, a crash or an ended session; where it says nothing, the network between was cut",
        )
    }
}

/// What was to be dumped and isn't there: `pg_dump` refuses that at once (`--strict-names`), and will until a person mends it. Asked only
/// afterwards: what matches is `pg_dump`'s to say.
fn lacking(request: &Request, session: &mut Session) -> Option<Failure> {
    if request.shape.content == Content::Globals {
        return None;
    }
    let missing = session.unmatched(&request.shape).unwrap_or_default();
    let (key, pattern) = missing.first()?;
    let more = if missing.len() > 1 { format!(", nor {} more", missing.len() - 1) } else { String::new() };
    let words = format!("nothing in the database {:?} matches {pattern:?} in {key}{more}, so pg_dump made no dump", request.database);
    Some(Failure::new(Cause::NotFound, words).hint(mend(key)))
}

/// A destination that filled up meanwhile: how much is free, and how much it would have taken, as far as anyone knows.
fn room_told(means: Means<'_>, asked: &Asked, failure: Failure) -> Failure {
    if failure.cause != Cause::Space {
        return failure;
    }
    let free = means.storage.free_space().ok().flatten().map(|free| format!("{} free now", show_size(free)));
    let needed = asked.estimate.map(|needed| format!("about {} expected from the last backup", show_size(needed)));
    let size = asked.database_size.map(|size| format!("{} in the database, uncompressed", show_size(size)));
    let facts: Vec<String> = [free, needed, size].into_iter().flatten().collect();
    failure.hint(format!("free some space, or let the retention keep less: {}", facts.join("; ")))
}

/// A dump that was ended by force must not leave its backend waiting with its locks.
fn end_backend(means: Means<'_>, request: &Request, asked: &mut Asked) {
    let at_hand = asked.session.as_mut().and_then(|session| session.terminate(&request.run).ok());
    let ended = at_hand.map_or_else(
        || {
            let quick = Limits { connect: QUICK, ..means.project.limits.clone() };
            Session::open(&asked.client, means.access, Some(&request.connect_to), "pgdumpd", &quick, &Cancel::new())
                .and_then(|mut session| session.terminate(&request.run))
        },
        Ok,
    );
    match ended {
        Ok(0) => {}
        Ok(count) => tracing::info!(run = %request.run, count, "ended the backend that the dump left behind"),
        Err(failure) => tracing::warn!(run = %request.run, "could not ask the server to end the dump's backend: {failure}"),
    }
}
