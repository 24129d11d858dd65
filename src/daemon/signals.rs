//! Signals become values: a thread of signal-hook's turns TERM, INT, QUIT, HUP and USR1 into messages for the owner.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::error::{Cause, Failure, Result};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// TERM, INT, QUIT: end, interrupting or draining.
    Stop {
        /// The signal's number, for the exit code.
        signal: i32,
    },
    /// HUP: read the configuration again.
    Reload,
    /// USR1: log the state.
    Tell,
}

/// Listens until dropped.
pub(super) struct Listening {
    handle: Handle,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(super) asked: UnboundedReceiver<Asked>,
}

impl Listening {
    pub(super) fn start() -> Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1])
            .map_err(|error| Failure::new(Cause::System, format!("signal handlers can't be installed: {error}")))?;
        let handle = signals.handle();
        let (sender, asked) = unbounded_channel();
        let thread = std::thread::spawn(move || {
            for signal in signals.forever() {
                let ask = match signal {
                    SIGHUP => Asked::Reload,
                    SIGUSR1 => Asked::Tell,
                    signal => Asked::Stop { signal },
                };
                if sender.send(ask).is_err() {
                    break;
                }
            }
        });
        Ok(Self { handle, thread: Some(thread), asked })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // The thread ends with the handle; a panic in it has been printed already.
            drop(thread.join());
        }
    }
}
