//! As PID 1 of a container: a small parent that passes signals on and reaps whatever ends below it; the daemon is its child.
//!
//! `waitpid(-1)` in the daemon itself would race the runtime's waits for its own children.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::error::{Cause, Failure, Result};
use crate::process;

/// Whether this process is the first of its PID namespace and has to be the reaper.
#[must_use]
pub fn is_needed() -> bool {
    std::process::id() == 1
}

/// Runs this program again as a child with the same arguments, until it ends; returns its exit code.
pub fn run(arguments: Vec<std::ffi::OsString>) -> Result<u8> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT, SIGCHLD])
        .map_err(|error| Failure::new(Cause::System, format!("signal handlers can't be installed: {error}")))?;
    let daemon = process::spawn_self(arguments)?;
    let daemon =
        i32::try_from(daemon).ok().and_then(Pid::from_raw).ok_or_else(|| Failure::new(Cause::System, "the daemon has no number"))?;
    for signal in signals.forever() {
        if signal == SIGCHLD {
            if let Some(code) = reap(daemon) {
                return Ok(code);
            }
        } else if let Some(signal) = Signal::from_named_raw(signal) {
            // The daemon may have ended a moment ago; its SIGCHLD is then on its way.
            let _gone = kill_process(daemon, signal);
        }
    }
    Ok(1)
}

/// Reaps everything that has ended; the daemon's exit code where it is among them.
fn reap(daemon: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == daemon {
            let ended = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
            code = Some(ended.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
    }
    code
}
