//! The archive on its way into `pg_restore` or psql, watched on both sides.
//!
//! The last piece is held back until all of the stored bytes have been read and have the recorded SHA-256: a tool that works in one
//! transaction commits nothing before that, because it is still waiting for the end of its input.

use std::io::{ErrorKind, Write};
use std::process::ChildStdin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Cause, Failure, Result};
use crate::postgres::archive::Tap;
use crate::postgres::connection::said;
use crate::postgres::session::Session;
use crate::process::{self, Cancel, CancelReason, Child, Exit, Identity, LineHook, Signal, Spec};
use crate::stream::Observe;

use super::source::Source;
use super::tables::{self, Tables};
use super::{GRACE, Means};

/// Bytes handed on at once: few enough that the tool finds them in the processor's cache still.
const PIECE: usize = 32 * 1024;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// How often the server is asked how far it is.
const ASK: Duration = Duration::from_secs(1);
/// Errors kept in full.
const FIRST: usize = 20;

/// What a tool said, and how it ended.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) exit: Exit,
    /// Errors counted, and the first few.
    pub(super) errors: u64,
    pub(super) first: Vec<String>,
    /// Its last words.
    pub(super) tail: String,
    /// Why nothing is known of a script's tables, where it was seen to pass.
    pub(super) unread: Option<String>,
}

/// Runs a tool that reads the whole archive from its input. `tap` looks at what passes, and must find it whole.
pub(super) fn piped(means: Means<'_>, spec: &Spec, mut tap: Option<Tap>, tables: &Tables) -> Result<Said> {
    let mut source = Source::open(means)?;
    let (mut child, heard) = start(spec, |_| {})?;
    let Some(stdin) = child.take_stdin() else {
        return Err(Failure::new(Cause::System, format!("{} was started without an input", child.name())));
    };
    let fed = watched(means.cancel, &child, || feed(means, &mut source, stdin, tap.as_mut(), tables));
    let mut unread = None;
    let end = match fed {
        Ok(Fed::Everything(last)) => {
            let whole = source.check().and_then(|()| tap.map_or(Ok(None), |tap| tap.finish().map(|seen| seen.unchecked)));
            whole.and_then(|why| cancelled(means.cancel).map(|()| unread = why)).map(|()| Some(last))
        }
        // It has ended by itself: it failed, or needed no more.
        Ok(Fed::Less) => Ok(None),
        Err(failure) => Err(failure),
    };
    match end {
        Ok(Some((mut stdin, last))) => {
            // A tool that ends here tells why itself.
            let _broken_is_told = stdin.write_all(&last);
            drop(stdin);
            means.gauge.begin("making the indexes and constraints of");
            ended(means, child, &heard).map(|said| Said { unread, ..said })
        }
        Ok(None) => {
            let said = ended(means, child, &heard)?;
            // Rows alone or a part of the tables: it stopped reading where it had what it wanted.
            if said.exit.is_success() {
                source.check()?;
            }
            Ok(said)
        }
        Err(failure) => {
            child.terminate(GRACE);
            Err(failure)
        }
    }
}

/// Runs a tool that reads this text from its input.
pub(super) fn text(means: Means<'_>, spec: &Spec, text: &[u8]) -> Result<Said> {
    let (mut child, heard) = start(spec, |_| {})?;
    let stdin = child.take_stdin();
    watched(means.cancel, &child, || {
        // A tool that ends before it has read everything tells why itself.
        stdin.map(|mut stdin| stdin.write_all(text))
    });
    ended(means, child, &heard)
}

/// Runs a `pg_restore` that needs no input, and says with each table that it is at it. How much of it the server has taken is asked of
/// `session`, where it tells.
pub(super) fn alone(means: Means<'_>, session: &mut Session, spec: &Spec, tables: Tables) -> Result<Said> {
    let (gauge, tables) = (means.gauge.clone(), Arc::new(Mutex::new(tables)));
    let heard_of = Arc::clone(&tables);
    gauge.begin("restoring");
    let (child, heard) = start(spec, move |line| heard_of.lock().said(line, &gauge))?;
    let over = Cancel::new();
    let mut said = std::thread::scope(|scope| {
        scope.spawn(|| counted(means, session, &tables, &over));
        let said = ended(means, child, &heard);
        over.cancel(CancelReason::Cancelled);
        said
    })?;
    said.tail = said.tail.lines().filter(|line| !tables::is_chatter(line)).fold(String::new(), |tail, line| tail + line + "\n");
    Ok(said)
}

/// Shows what the server has taken, until `over`. Where it can't be asked, a table counts when it is finished.
fn counted(means: Means<'_>, session: &mut Session, tables: &Mutex<Tables>, over: &Cancel) {
    while over.wait_timeout(ASK).is_none() {
        let finished = tables.lock().finished_bytes();
        let Ok(Some(copied)) = session.copied(means.run) else { return };
        tables.lock().under_way(finished, copied, means.gauge);
    }
}

enum Fed {
    /// All but the last piece.
    Everything((ChildStdin, Vec<u8>)),
    /// The tool took no more.
    Less,
}

fn feed(means: Means<'_>, source: &mut Source<'_>, mut stdin: ChildStdin, mut tap: Option<&mut Tap>, tables: &Tables) -> Result<Fed> {
    means.gauge.begin("restoring");
    let (mut next, mut held) = (vec![0; PIECE], Vec::with_capacity(PIECE));
    let mut cuts = Vec::new();
    loop {
        let count = source.fill(&mut next)?;
        cancelled(means.cancel)?;
        if count == 0 {
            break;
        }
        if let Some(tap) = &mut tap {
            tap.observe(&next[..count], &mut cuts)?;
            cuts.clear();
        }
        match stdin.write_all(&held) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Fed::Less),
            Err(error) => return Err(Failure::new(Cause::System, format!("handing the archive on: {error}"))),
        }
        means.gauge.passed(held.len());
        match tap.as_ref().and_then(|tap| tap.table()) {
            Some((number, table)) => tables.seen(number, table, means.gauge),
            None => tables.passed(means.gauge),
        }
        held.clear();
        held.extend_from_slice(&next[..count]);
    }
    means.gauge.passed(held.len());
    Ok(Fed::Everything((stdin, held)))
}

type Heard = Arc<Mutex<(u64, Vec<String>)>>;

fn start(spec: &Spec, mut also: impl FnMut(&str) + Send + 'static) -> Result<(Child, Heard)> {
    let heard = Heard::default();
    let mine = Arc::clone(&heard);
    let hook: LineHook = Box::new(move |line| {
        also(line);
        if let Some(error) = error_in(line) {
            let mut heard = mine.lock();
            heard.0 += 1;
            if heard.1.len() < FIRST {
                heard.1.push(error.to_owned());
            }
        }
    });
    Ok((process::spawn_watched(spec, Some(hook))?, heard))
}

/// What a line of a tool calls an error; for people and for counting what was passed over, never for deciding whether it failed.
fn error_in(line: &str) -> Option<&str> {
    line.strip_prefix("pg_restore: error: ").or_else(|| {
        let (place, error) = line.strip_prefix("psql:")?.split_once(": ")?;
        (place.starts_with("<stdin>:") && error.starts_with("ERROR:")).then_some(error)
    })
}

/// Waits for the tool's own end, or ends it where that is wished.
fn ended(means: Means<'_>, mut child: Child, heard: &Heard) -> Result<Said> {
    let exit = loop {
        if let Some(exit) = child.wait_timeout(LOOK) {
            break exit;
        }
        if means.cancel.is_cancelled() {
            break child.terminate(GRACE);
        }
    };
    cancelled(means.cancel)?;
    let tail = said(&child.stderr_tail());
    let (errors, first) = heard.lock().clone();
    Ok(Said { exit, errors, first, tail, unread: None })
}

pub(super) fn cancelled(cancel: &Cancel) -> Result<()> {
    match cancel.reason() {
        None => Ok(()),
        Some(reason) => Err(Failure::new(Cause::Interrupted, format!("the restore was ended: {reason}")).hint("the target is as it was")),
    }
}

/// Does `work`, which may hang in writing to the child, and ends the child where that is wished.
fn watched<T: Send>(cancel: &Cancel, child: &Child, work: impl FnOnce() -> T + Send) -> T {
    let over = Cancel::new();
    let target = child.identity();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while over.wait_timeout(LOOK).is_none() {
                if cancel.is_cancelled() {
                    end(&target, &over);
                    return;
                }
            }
        });
        let done = work();
        over.cancel(CancelReason::Cancelled);
        done
    })
}

fn end(target: &Identity, over: &Cancel) {
    for (signal, wait) in [(Signal::TERM, GRACE), (Signal::KILL, Duration::ZERO)] {
        // CONT after it: a stopped process takes its end only when it goes on. One that is gone needs none.
        for signal in [signal, Signal::CONT] {
            let _gone_is_fine = target.kill_group(signal);
        }
        if over.wait_timeout(wait).is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_what_else_is_said() {
        assert_eq!(error_in("pg_restore: error: could not execute query: ERROR:  x"), Some("could not execute query: ERROR:  x"));
        assert_eq!(error_in("psql:<stdin>:12: ERROR:  42P07: relation exists"), Some("ERROR:  42P07: relation exists"));
        assert_eq!(error_in("psql:<stdin>:12: NOTICE:  00000: x"), None);
        assert_eq!(error_in("Command was: pg_restore: error: x"), None);
    }
}
