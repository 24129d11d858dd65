//! Waiting out a transient failure: as often and after such waits as the limits say, the place at the gate given back meanwhile.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Board, Gate, Retry};
use crate::catalog::Wait;
use crate::error::{Failure, Result};
use crate::ops::World;
use crate::process::{Cancel, own_identity};

/// How patient a job is.
pub(super) struct Patience<'a> {
    pub(super) world: &'a World,
    pub(super) project: &'a str,
    /// Of which database; `None` where they aren't known yet.
    pub(super) database: Option<&'a str>,
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
        let until = self.world.clock.now() + TimeDelta::from_std(*wait).unwrap_or_default();
        let retry = Retry { project: self.project.to_owned(), attempt, until, why: failure.message.clone() };
        self.note(&retry);
        self.board.wait(retry.clone());
        self.gate.leave();
        let ended = self.cancel.wait_timeout(*wait).is_some();
        self.board.go_on(&retry);
        let goes_on = self.gate.enter() && !ended;
        self.forget();
        goes_on
    }

    /// For whoever asks how things stand; a catalog that can't be written costs only this.
    fn note(&self, retry: &Retry) {
        let wait = Wait {
            project: retry.project.clone(),
            what: self.what.to_owned(),
            database: self.database.map(str::to_owned),
            attempt: retry.attempt + 1,
            attempts: self.waits.len() as u32 + 1,
            until: retry.until,
            why: retry.why.clone(),
            owner: own_identity(),
        };
        self.told(self.world.catalog.write(|writer| writer.put_wait(&wait)));
    }

    fn forget(&self) {
        self.told(self.world.catalog.write(|writer| writer.end_wait(self.project, self.what)));
    }

    fn told(&self, noted: Result<()>) {
        if let Err(failure) = noted {
            tracing::warn!(project = self.project, "status can't be told of this wait: {failure}");
        }
    }
}
