//! INT and TERM while a command works: the work is cancelled in good order, and the exit code says which signal it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
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
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::new(Cause::System, format!("signal handlers can't be installed: {error}")))?;
    let listening = Listening { handle: signals.handle(), got: Arc::default() };
    let (cancel, got) = (cancel.clone(), Arc::clone(&listening.got));
    std::thread::spawn(move || {
        for signal in signals.forever() {
            got.store(signal, Ordering::SeqCst);
            cancel.cancel(CancelReason::Signalled(if signal == SIGINT { "Ctrl-C (SIGINT)" } else { "SIGTERM" }));
        }
    });
    Ok(listening)
}

impl Listening {
    /// The exit code for the signal that came, if one did.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.got.load(Ordering::SeqCst) {
            0 => None,
            SIGTERM => Some(Exit::Terminated),
            _ => Some(Exit::Interrupted),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
    }
}
