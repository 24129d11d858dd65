//! Waiting out a transient failure: as often and after such waits as the limits say, the place at the gate given back meanwhile.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Board, Gate, Retry};
use crate::clock::Clock;
use crate::error::Failure;
use crate::process::Cancel;

/// How patient a job is.
pub(super) struct Patience<'a> {
    pub(super) clock: &'a Clock,
    pub(super) project: &'a str,
    /// What is tried, for the log: `backup`, `drill`.
    pub(super) what: &'static str,
    /// How long to wait before each further attempt.
    pub(super) waits: &'a [Duration],
    pub(super) cancel: &'a Cancel,
    pub(super) board: &'a Board,
    pub(super) gate: &'a dyn Gate,
}

impl Patience<'_> {
    /// Waits after this attempt, counted from 1, failed so that it may pass; `false` where there are no more, or nobody waits for it any
    /// more. The failure's words must be free of secrets.
    pub(super) fn again(&self, attempt: u32, failure: &Failure) -> bool {
        let wait = self.waits.get(attempt as usize - 1).filter(|_| self.cancel.reason().is_none());
        let Some(wait) = wait else { return false };
        tracing::warn!(project = self.project, attempt, wait = ?wait, "trying the {} again later: {failure}", self.what);
        let until = self.clock.now() + TimeDelta::from_std(*wait).unwrap_or_default();
        let retry = Retry { project: self.project.to_owned(), attempt, until, why: failure.message.clone() };
        self.board.wait(retry.clone());
        self.gate.leave();
        let ended = self.cancel.wait_timeout(*wait).is_some();
        self.board.go_on(&retry);
        self.gate.enter() && !ended
    }
}
