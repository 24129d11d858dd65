//! The letters about backups that retention lets go and that can't be removed, and that they could be.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::About;
use super::damaged::{NOTHING_TO_DO, since};
use super::failing::place;
use super::page::{Page, command, sentence, span, stopped};
use crate::error::Failure;
use crate::notify::redact::Redactor;

/// Pruning failed after a good backup.
#[derive(Debug, Clone)]
pub struct Unpruned {
    /// The project.
    pub about: About,
    /// When it was so for the first time.
    pub since: DateTime<Utc>,
    /// Whether it has been told before.
    pub is_reminder: bool,
    /// Why, the first of them.
    pub failure: Failure,
    /// So many other backups could not be removed either.
    pub more: usize,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// Everything is removed that is to be.
#[derive(Debug, Clone)]
pub struct Prunes {
    /// The project.
    pub about: About,
    /// When the trouble began.
    pub since: DateTime<Utc>,
    /// What it was.
    pub was: String,
}

impl Unpruned {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        format!("PRUNE FAILED {}: {}", self.about.project, redactor.clean(&self.failure.message))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Backups of project {} are made, and what its retention lets go could not be removed. Until it is, the storage fills.",
            about.project
        ));
        let hint = self.failure.hint.as_ref().map(|hint| format!(" {}", sentence(&redactor.clean(hint)))).unwrap_or_default();
        let more = match self.more {
            0 => String::new(),
            1 => String::from(" So it is with one more."),
            more => format!(" So it is with {more} more."),
        };
        page.prose(&format!("{}{more}{hint}", stopped(&sentence(&redactor.clean(&self.failure.message)))));
        if self.is_reminder {
            page.prose(&format!("This is a reminder: it has been so since {}.", since(about, self.since)));
        }
        page.prose(&format!(
            "No backup that is to be kept was touched. Each further backup tries again. This mail repeats every {} until all is removed; then you \
             get one more.",
            span(self.reminder)
        ));
        page.commands(&[
            ("try again now", command(about, &["prune", &about.project])),
            ("see what is to go", command(about, &["prune", &about.project, "--dry-run"])),
            ("see what is wrong here", command(about, &["doctor"])),
        ]);
        page.table("Facts", &place(about));
        page.finish()
    }
}

impl Prunes {
    pub(super) fn headline(&self) -> String {
        format!("OK {}: old backups are removed again", self.about.project)
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let mut page = Page::default();
        page.prose(&format!("What the retention of project {} lets go is removed again.", self.about.project));
        let was = stopped(&redactor.clean(&self.was));
        page.prose(&format!("It was not since {}. It was: {was}", since(&self.about, self.since)));
        page.prose(NOTHING_TO_DO);
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}
