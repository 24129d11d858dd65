//! INT, TERM, HUP and QUIT while a command works: the work is cancelled in good order, and the exit code says which signal it was. USR1, which is
//! for the daemon, ends nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use crate::error::{Cause, Failure, Result};
use crate::process::{Cancel, CancelReason};

use super::exit::Exit;

/// Listens until it is dropped.
pub(super) struct Listening {
    handle: Handle,
    got: Arc<AtomicI32>,
}

/// Cancels `cancel` at the first signal.
pub(super) fn listen(cancel: &Cancel) -> Result<Listening> {
    // Whoever started this with HUP ignored, as nohup does, wants it to outlive its terminal.
    let heard = [SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1].into_iter().chain(heard))
        .map_err(|error| Failure::new(Cause::System, format!("signal handlers can't be installed: {error}")))?;
    let listening = Listening { handle: signals.handle(), got: Arc::default() };
    let (cancel, got) = (cancel.clone(), Arc::clone(&listening.got));
    std::thread::spawn(move || {
        // USR1 asks the daemon for its state. Unheard, it would end a command that it reaches, and leave its files behind.
        for signal in signals.forever().filter(|signal| *signal != SIGUSR1) {
            got.store(signal, Ordering::SeqCst);
            cancel.cancel(CancelReason::Signalled(named(signal)));
        }
    });
    Ok(listening)
}

fn named(signal: i32) -> &'static str {
    match signal {
        SIGINT => "Ctrl-C (SIGINT)",
        SIGHUP => "the end of its terminal (SIGHUP)",
        SIGQUIT => "Ctrl-\\ (SIGQUIT)",
        _ => "SIGTERM",
    }
}

/// Whether this process was started with a signal ignored; where that can't be known, it wasn't.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

impl Listening {
    /// The exit code for the signal that came, if one did.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.got.load(Ordering::SeqCst) {
            0 => None,
            SIGTERM => Some(Exit::Terminated),
            SIGHUP => Some(Exit::HungUp),
            SIGQUIT => Some(Exit::Quit),
            _ => Some(Exit::Interrupted),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
    }
}
