//! Telling work to stop, and why.
//!
//! A [`Cancel`] is handed down to everything that waits. Cancelling one also cancels those made from it; the first reason given stays.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use humantime::format_duration;
use parking_lot::{Condvar, Mutex};

use crate::error::{Cause, Failure};

/// Which side of the stream stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    /// The program gave no bytes.
    Program,
    /// The destination took no bytes.
    Destination,
}

/// Why work is to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelReason {
    /// The daemon shuts down.
    Interrupted,
    /// A signal ended the command at work: `Ctrl-C` and its like.
    Signalled(&'static str),
    /// A person asked for it.
    Cancelled,
    /// Nothing moved for longer than the limit.
    NoProgress {
        /// The limit that passed.
        limit: Duration,
        /// Who stood still.
        on: Stalled,
    },
    /// The total time limit passed.
    TimeLimit {
        /// The limit that passed.
        limit: Duration,
    },
    /// The lock that kept others away is gone.
    LockLost,
    /// Something else failed that makes the work pointless.
    Failed(Failure),
}

impl CancelReason {
    /// The failure that a run ends with when it is stopped for this reason.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let cause = match self {
            Self::Interrupted | Self::Signalled(_) | Self::Cancelled => Cause::Interrupted,
            Self::NoProgress { on: Stalled::Program, .. } => Cause::NoProgress,
            Self::NoProgress { on: Stalled::Destination, .. } => Cause::Storage,
            Self::TimeLimit { .. } => Cause::TimeLimit,
            Self::LockLost => Cause::Locked,
            Self::Failed(failure) => return failure.clone(),
        };
        Failure::new(cause, self.to_string())
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted by a shutdown"),
            Self::Signalled(name) => write!(f, "interrupted by {name}"),
            Self::Cancelled => f.write_str("cancelled on request"),
            Self::NoProgress { limit, on: Stalled::Program } => write!(f, "no progress for {}", format_duration(*limit)),
            Self::NoProgress { limit, on: Stalled::Destination } => {
                write!(f, "the destination took no bytes for {}", format_duration(*limit))
            }
            Self::TimeLimit { limit } => write!(f, "not done within the time limit of {}", format_duration(*limit)),
            Self::LockLost => f.write_str("the lock that kept other runs away was lost"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// A token that says whether to stop, and why. Clones are the same token.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Token>);

#[derive(Debug, Default)]
struct Token {
    state: Mutex<State>,
    cancelled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reason: Option<CancelReason>,
    children: Vec<Weak<Token>>,
}

impl Cancel {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Self::new();
        let mut state = self.0.state.lock();
        if let Some(reason) = &state.reason {
            child.cancel(reason.clone());
        } else {
            state.children.retain(|child| child.strong_count() > 0);
            state.children.push(Arc::downgrade(&child.0));
        }
        child
    }

    /// Does work that is to be finished also where this token is cancelled, but not for ever: its own is cancelled `span` after this one.
    pub fn outlasted<T>(&self, span: Duration, work: impl FnOnce(&Self) -> T) -> T {
        let (early, late) = (self.child(), Self::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(reason) = early.wait_timeout(Duration::MAX)
                    && late.wait_timeout(span).is_none()
                {
                    late.cancel(reason);
                }
            });
            let done = work(&late);
            late.cancel(CancelReason::Cancelled);
            early.cancel(CancelReason::Cancelled);
            done
        })
    }

    /// Cancels this token and those made from it. A reason that was given before stays.
    pub fn cancel(&self, reason: CancelReason) {
        let (reason, children) = {
            let mut state = self.0.state.lock();
            if state.reason.is_some() {
                return;
            }
            self.0.cancelled.notify_all();
            (state.reason.insert(reason).clone(), std::mem::take(&mut state.children))
        };
        for child in children.iter().filter_map(Weak::upgrade) {
            Self(child).cancel(reason.clone());
        }
    }

    /// Why to stop, if so.
    #[must_use]
    pub fn reason(&self) -> Option<CancelReason> {
        self.0.state.lock().reason.clone()
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.state.lock().reason.is_some()
    }

    /// Sleeps for `span`, or less if the token is cancelled meanwhile: then the reason is returned.
    #[must_use]
    pub fn wait_timeout(&self, span: Duration) -> Option<CancelReason> {
        let deadline = Instant::now().checked_add(span);
        let mut state = self.0.state.lock();
        while state.reason.is_none() {
            match deadline {
                Some(deadline) if self.0.cancelled.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
                None => self.0.cancelled.wait(&mut state),
            }
        }
        state.reason.clone()
    }
}
