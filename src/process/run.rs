//! A short program from start to end: input in, output out, both bounded, and so is the time.

use std::io::{ErrorKind, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::cancel::{Cancel, CancelReason};
use super::child::Child;
use super::exit::Exit;
use super::{Input, Output, Spec, spawn};
use crate::error::{Cause, Failure, Result};

/// How long a program that took too long has to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Everything it wrote.
    pub stdout: Vec<u8>,
    /// The last 8 KiB of what it said on stderr.
    pub stderr: String,
}

/// Runs a program with `input` and takes its output. Fails if it is not done within `limit` or writes more than `cap` bytes;
/// its exit status is for the caller to judge.
pub fn run(spec: &Spec, input: &[u8], limit: Duration, cap: usize) -> Result<Finished> {
    run_unless(spec, input, limit, cap, &Cancel::new())
}

/// The same until somebody wants it to end: it gets INT then, as from Ctrl-C, and is ended by force where that is not enough.
pub fn run_unless(spec: &Spec, input: &[u8], limit: Duration, cap: usize, cancel: &Cancel) -> Result<Finished> {
    let deadline = Instant::now() + limit;
    let stdin = if input.is_empty() { Input::Null } else { Input::Piped };
    let mut child = spawn(&Spec { stdin, stdout: Output::Piped, ..spec.clone() })?;
    feed(&mut child, input)?;
    let output = collect(&mut child, cap)?;
    let left = || deadline.saturating_duration_since(Instant::now());
    let stdout = loop {
        match output.recv_timeout(left().min(LOOK)) {
            Ok(stdout) => break stdout,
            Err(RecvTimeoutError::Timeout) if !left().is_zero() => {}
            Err(_) => return Err(too_late(&mut child, limit)),
        }
        if let Some(reason) = cancel.reason() {
            return Err(interrupted(&mut child, &reason));
        }
    };
    if stdout.len() > cap {
        child.terminate(GRACE);
        let message = format!("{} wrote more than {cap} bytes and was ended", child.name());
        return Err(Failure::new(Cause::System, message).detail(child.stderr_tail()));
    }
    match child.wait_timeout(deadline.saturating_duration_since(Instant::now())) {
        Some(exit) => Ok(Finished { exit, stdout, stderr: child.stderr_tail() }),
        None => Err(too_late(&mut child, limit)),
    }
}

/// Runs a program that reads everything from `source` and whose output is not wanted. Fails if it is not done within `limit`, also where it
/// reads nothing more, and ends like [`run_unless`].
pub fn run_fed(spec: &Spec, source: &mut dyn Read, limit: Duration, cancel: &Cancel) -> Result<Finished> {
    let deadline = Instant::now() + limit;
    let mut child = spawn(&Spec { stdin: Input::Piped, stdout: Output::Null, ..spec.clone() })?;
    let (name, stdin) = (child.name().to_owned(), child.take_stdin());
    let cut = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Whoever writes into a pipe can't look at the time; what ends the program breaks its pipe as well.
        let watcher = std::thread::Builder::new().name(String::from("pipe")).stack_size(128 * 1024);
        let ended =
            watcher.spawn_scoped(scope, || ended(&mut child, (limit, deadline), cancel, &cut)).map_err(|error| no_thread(&name, &error))?;
        let fed = stdin.map_or(Ok(0), |mut stdin| std::io::copy(source, &mut stdin));
        let broken = fed.err().filter(|error| error.kind() != ErrorKind::BrokenPipe);
        cut.store(broken.is_some(), Ordering::Release);
        let ended = ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        broken.map_or(ended, |error| Err(Failure::new(Cause::Storage, format!("feeding {name}: {error}"))))
    })
}

/// Waits for the end of a program that is being fed, or ends it: when its time is over, when its input was `cut`, or when that is wanted.
fn ended(child: &mut Child, (limit, deadline): (Duration, Instant), cancel: &Cancel, cut: &AtomicBool) -> Result<Finished> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(exit) = child.wait_timeout(left.min(LOOK)) {
            return Ok(Finished { exit, stdout: Vec::new(), stderr: child.stderr_tail() });
        }
        if left.is_zero() || cut.load(Ordering::Acquire) {
            return Err(too_late(child, limit));
        }
        if let Some(reason) = cancel.reason() {
            return Err(interrupted(child, &reason));
        }
    }
}

fn interrupted(child: &mut Child, reason: &CancelReason) -> Failure {
    child.interrupt();
    if child.wait_timeout(GRACE).is_none() {
        child.terminate(GRACE);
    }
    reason.failure()
}

fn too_late(child: &mut Child, limit: Duration) -> Failure {
    child.terminate(GRACE);
    let message = format!("{} was not done within {} and was ended", child.name(), format_duration(limit));
    Failure::new(Cause::TimeLimit, message).detail(child.stderr_tail())
}

/// Writes the input from a thread: a program may write before it has read everything. The thread ends with the pipe.
fn feed(child: &mut Child, input: &[u8]) -> Result<()> {
    let Some(stdin) = child.take_stdin() else { return Ok(()) };
    let input = input.to_vec();
    let write = move |mut stdin: ChildStdin| {
        // A program may end without reading all of its input; its exit status says whether that was right.
        drop(stdin.write_all(&input));
    };
    thread(child.name(), move || write(stdin))
}

/// Reads the output, up to one byte more than `cap`, from a thread that ends with the pipe.
fn collect(child: &mut Child, cap: usize) -> Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = sync_channel(1);
    if let Some(stdout) = child.take_stdout() {
        // Nobody listens any more once the time is over.
        thread(child.name(), move || drop(sender.send(read_capped(stdout, cap))))?;
    }
    Ok(receiver)
}

fn read_capped(stdout: ChildStdout, cap: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stream = stdout.take(cap as u64 + 1);
    while let Err(error) = stream.read_to_end(&mut bytes) {
        if error.kind() != ErrorKind::Interrupted {
            break;
        }
    }
    bytes
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    match std::thread::Builder::new().name(String::from("pipe")).stack_size(128 * 1024).spawn(work) {
        Ok(_) => Ok(()),
        Err(error) => Err(no_thread(name, &error)),
    }
}

fn no_thread(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Cause::System, format!("{name} can't be run: no thread could be started: {error}"))
}
