//! Watches a dump from beside it: stalls, limits, the wish to end, who blocks it and whom it blocks.
//!
//! It ends `pg_dump`'s process group when a bound is passed; the dump then sees the end of its input and asks here why.

use std::time::{Duration, Instant};

use crate::error::{Cause, Failure};
use crate::postgres::session::Session;
use crate::process::{Cancel, CancelReason, Identity, Signal};
use crate::stream::gauge::Waiting;
use crate::units::show_duration;

use super::{Means, Request};

/// How often the gauge is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How often the server is asked who blocks whom; the first time after [`FIRST_ASK`].
const ASK: Duration = Duration::from_secs(10);

/// Most waits for a lock show within the first second.
const FIRST_ASK: Duration = Duration::from_secs(1);

/// What the watcher saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The bound that was passed, if one was.
    pub(super) verdict: Option<Failure>,
    /// Who blocked the dump when the server was last asked.
    pub(super) blocker: Option<String>,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
}

/// Watches until `over` is cancelled or a bound is passed; then `give_up` is cancelled, so that a stalled destination can't hold the dump
/// either. Without a target nothing but the storage is at work. Without a session nobody is asked who blocks whom.
pub(super) fn watch(
    means: Means<'_>,
    request: &Request,
    mut session: Option<&mut Session>,
    target: Option<&Identity>,
    over: &Cancel,
    give_up: &Cancel,
) -> Seen {
    let began = Instant::now();
    let mut seen = Seen::default();
    let mut next_ask = began + FIRST_ASK;
    while over.wait_timeout(LOOK).is_none() {
        if means.cancel.reason().is_some() {
            end(target, means.grace, over);
            break;
        }
        if let Some(verdict) = bound_passed(means, began, &seen, target.is_some()) {
            give_up.cancel(CancelReason::Failed(verdict.clone()));
            seen.verdict = Some(verdict);
            end(target, means.grace, over);
            break;
        }
        if Instant::now() >= next_ask {
            next_ask = Instant::now() + ASK;
            if let Some(session) = session.as_deref_mut() {
                ask(request, session, &mut seen);
            }
        }
    }
    seen
}

fn bound_passed(means: Means<'_>, began: Instant, seen: &Seen, dumping: bool) -> Option<Failure> {
    let limits = &means.project.limits;
    if let Some(total) = limits.total.filter(|total| began.elapsed() >= *total) {
        return Some(
            Failure::new(Cause::TimeLimit, format!("the dump took longer than its limit of {}", show_duration(total)))
                .hint("raise limits.total, or find out what slowed it down"),
        );
    }
    let reading = means.gauge.snapshot();
    // The gauge may stand still since an earlier attempt of the run; only this one counts.
    if reading.still_for.min(began.elapsed()) < limits.no_progress {
        return None;
    }
    let span = show_duration(limits.no_progress);
    Some(match reading.waiting {
        Waiting::OnSink => Failure::new(Cause::Storage, format!("storage {:?} took no byte for {span}", means.storage.name()))
            .hint("the destination is stalled: look at the disk or the network file system"),
        _ if !dumping => Failure::new(Cause::Storage, format!("storage {:?} gave no byte for {span}", means.storage.name()))
            .hint("it stalled while the dump's files were packed: look at the disk or the network file system"),
        _ => {
            let blocked = seen.blocker.as_ref().map(|who| format!("; it waits for {who}")).unwrap_or_default();
            Failure::new(Cause::NoProgress, format!("pg_dump wrote no byte for {span}{blocked}"))
                .hint("look at the server's load and at pg_stat_activity; limits.no_progress sets this bound")
        }
    })
}

fn ask(request: &Request, session: &mut Session, seen: &mut Seen) {
    let Ok(watch) = session.watch(&request.run) else {
        // The session may have gone with the server; the dump itself will tell.
        return;
    };
    let blocker = watch.blocked_by.first().map(ToString::to_string);
    if blocker.is_some() && blocker != seen.blocker {
        tracing::warn!(run = %request.run, "pg_dump waits for a lock held by {}", blocker.as_deref().unwrap_or_default());
    }
    seen.blocker = blocker;
    for blocked in &watch.blocking {
        let words = format!("the dump held up {blocked}");
        tracing::warn!(run = %request.run, "{words}");
        if seen.warnings.len() < 20 && !seen.warnings.contains(&words) {
            seen.warnings.push(words);
        }
    }
}

fn end(target: Option<&Identity>, grace: Duration, over: &Cancel) {
    let Some(target) = target else { return };
    signal(target, Signal::TERM);
    if over.wait_timeout(grace).is_none() {
        signal(target, Signal::KILL);
    }
}

fn signal(target: &Identity, signal: Signal) {
    // CONT after TERM: a stopped process takes its end only when it goes on.
    for signal in [signal, Signal::CONT] {
        if let Err(error) = target.kill_group(signal) {
            tracing::warn!(pid = target.pid, "pg_dump could not be signalled: {error}");
        }
    }
}
