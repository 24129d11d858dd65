//! Exit codes, fit for cron and for scripts.

use std::process::ExitCode;

use crate::error::Cause;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    Partly,
    Locked,
    Unreachable,
    HungUp,
    Interrupted,
    Quit,
    Terminated,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::Locked => 11,
            Self::Unreachable => 75,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Quit => 131,
            Self::Terminated => 143,
        }
    }

    /// The code for a command that failed with this cause.
    pub(super) fn of(cause: Cause) -> Self {
        match cause {
            Cause::Configuration | Cause::Secret => Self::Usage,
            Cause::Locked => Self::Locked,
            Cause::Connection => Self::Unreachable,
            Cause::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
