//! The letters about what looks at backups found: that it can't be written down beside them, and that it can again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::damaged::{NOTHING_TO_DO, good_again, since};
use super::failing::place;
use super::page::{self, Page, command, sentence, span, stopped};
use super::{About, LastGood};
use crate::error::Failure;
use crate::notify::redact::Redactor;

/// What was found of a backup lies nowhere.
#[derive(Debug, Clone)]
pub struct Unwritten {
    /// The project.
    pub about: About,
    /// When it was so for the first time.
    pub since: DateTime<Utc>,
    /// Whether it has been told before.
    pub is_reminder: bool,
    /// The backup's id.
    pub id: String,
    /// That backup.
    pub backup: LastGood,
    /// Why it could not be written.
    pub failure: Failure,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// It is written down again.
#[derive(Debug, Clone)]
pub struct Written {
    /// The project.
    pub about: About,
    /// When the trouble began.
    pub since: DateTime<Utc>,
    /// What it was.
    pub was: String,
    /// The backup that was looked at.
    pub backup: LastGood,
}

impl Unwritten {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        format!(
            "UNPROVEN {}: what was found of a backup can't be written down: {}",
            self.about.project,
            redactor.clean(&self.failure.message)
        )
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "A backup{} of project {} was verified or restored for trial, and what came of it can't be written down beside it. So nothing counts \
             it: not the retention, not status, and whoever restores has to look anew.",
            page::of(&self.backup.database, about),
            about.project
        ));
        let hint = self.failure.hint.as_ref().map(|hint| format!(" {}", sentence(&redactor.clean(hint)))).unwrap_or_default();
        page.prose(&format!("{}{hint}", stopped(&sentence(&redactor.clean(&self.failure.message)))));
        if self.is_reminder {
            page.prose(&format!("This is a reminder: it has been so since {}.", since(about, self.since)));
        }
        page.table("The backup that was looked at", &page::fallback(&self.backup, about));
        page.prose(&format!(
            "A disk that takes no proof, as it is full or read-only, takes no backup either. This mail repeats every {} until the next look at a \
             backup of the project is written down; then you get one more.",
            span(self.reminder)
        ));
        page.commands(&[("look again", command(about, &["verify", &self.id])), ("see what is wrong here", command(about, &["doctor"]))]);
        page.table("Facts", &place(about));
        page.finish()
    }
}

impl Written {
    pub(super) fn headline(&self) -> String {
        format!("OK {}: what is found of backups is written down again", self.about.project)
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let good = format!("What a look at a backup of project {} found lies beside it again.", self.about.project);
        let was = stopped(&redactor.clean(&self.was));
        let before = format!("It could not be written down since {}. It was: {was}", since(&self.about, self.since));
        good_again(&self.about, &self.backup, &good, &before, NOTHING_TO_DO)
    }
}
