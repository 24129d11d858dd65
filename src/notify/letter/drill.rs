//! The letters about drills: a backup was restored for trial and did not come back as it was, or does so again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::damaged::{NOTHING_TO_DO, good_again, since};
use super::failing::{place, restore};
use super::page::{self, Page, command, ordinal, sentence, span, stopped};
use super::{About, LastGood};
use crate::error::Failure;
use crate::model::backup::ProofLevel;
use crate::notify::redact::Redactor;

/// A drill that failed.
#[derive(Debug, Clone)]
pub struct DrillFailed {
    /// The project.
    pub about: About,
    /// Failed drills in a row, this one included.
    pub in_row: u32,
    /// When the first of them was.
    pub since: DateTime<Utc>,
    /// Whether it has been told before.
    pub is_reminder: bool,
    /// The id of the backup that was tried.
    pub id: String,
    /// That backup.
    pub backup: LastGood,
    /// Why it failed.
    pub failure: Failure,
    /// Where it was tried.
    pub on: String,
    /// The server's URL where it was named for this drill alone.
    pub typed: Option<String>,
    /// The scratch database that could not be dropped.
    pub left: Option<String>,
    /// The newest backup that was restored with success.
    pub proven: Option<LastGood>,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// Drills work again.
#[derive(Debug, Clone)]
pub struct DrillWorks {
    /// The project.
    pub about: About,
    /// When the trouble began.
    pub since: DateTime<Utc>,
    /// What it was.
    pub was: String,
    /// The backup that was restored.
    pub backup: LastGood,
    /// How long that took.
    pub took: Option<Duration>,
    /// The project's databases whose drills go on failing.
    pub still: Vec<String>,
}

impl DrillFailed {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        let row = if self.in_row > 1 { format!(" ({} in a row)", ordinal(self.in_row)) } else { String::new() };
        let project = &self.about.project;
        let database = if self.backup.database == *project { String::new() } else { format!("/{}", self.backup.database) };
        format!("DRILL FAILED {project}{database}{row}: {}", redactor.clean(&self.failure.message))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let project = &self.about.project;
        let mut page = Page::default();
        let of = page::of(&self.backup.database, &self.about);
        page.prose(&format!(
            "A drill tried to restore a backup{of} of project {project}, and it failed. Backups go on being made as before."
        ));
        let hint = self.failure.hint.as_ref().map(|hint| format!(" {}", sentence(&redactor.clean(hint)))).unwrap_or_default();
        page.prose(&format!("{}{hint}", stopped(&sentence(&redactor.clean(&self.failure.message)))));
        if self.is_reminder {
            page.prose(&format!("This is a reminder: drills have failed since {}.", since(&self.about, self.since)));
        }
        page.table("The backup that was tried", &page::fallback(&self.backup, &self.about));
        let itself = (self.backup.proof == ProofLevel::Restored).then_some(&self.backup);
        match &self.proven {
            Some(good) => page.table(
                &format!("The newest backup of {} that was restored with success", good.database),
                &page::fallback(good, &self.about),
            ),
            None if itself.is_some() => {
                page.prose("No other backup of it was ever restored with success; this one was, at an earlier time.")
            }
            None => page.prose("No backup of it was ever restored with success."),
        };
        let left = match &self.left {
            None => String::from("Nothing is left of the scratch database."),
            Some(name) => {
                format!("The scratch database {name} could not be dropped; the next drill or restore of this project there does so.")
            }
        };
        page.prose(&format!("{left} This mail repeats every {} while drills fail; then you get one more.", span(self.reminder)));
        let mut again = vec!["drill", &self.id];
        again.extend(self.typed.iter().flat_map(|url| ["--on", url.as_str()]));
        page.commands(&[
            ("try again now", command(&self.about, &again)),
            ("see what it holds", command(&self.about, &["show", &self.id, "--tables"])),
            ("check its bytes", command(&self.about, &["verify", &self.id, "--level", "read"])),
        ]);
        restore(&mut page, &self.about, self.proven.as_ref().or(itself).into_iter());
        let mut facts = vec![("tried on", self.on.clone())];
        facts.extend(place(&self.about));
        page.table("Facts", &facts);
        if let Some(detail) = &self.failure.detail {
            page.quote("The last words of what failed", &redactor.clean(detail), 12);
        }
        page.finish()
    }
}

impl DrillWorks {
    pub(super) fn headline(&self) -> String {
        format!("OK {}: drills{} work again", self.about.project, page::of(&self.backup.database, &self.about))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let took = self.took.map(|took| format!(", in {}", span(took))).unwrap_or_default();
        let of = page::of(&self.backup.database, &self.about);
        let good = format!(
            "A drill restored a backup{of} of project {} and compared it with what was backed up{took}: they are equal.",
            self.about.project
        );
        let was = stopped(&redactor.clean(&self.was));
        let before = format!("Drills{of} had failed since {}. It was: {was}", since(&self.about, self.since));
        let still = format!("Drills of {} still fail, as mails of their own have told.", self.still.join(", "));
        let end = if self.still.is_empty() { NOTHING_TO_DO } else { &still };
        good_again(&self.about, &self.backup, &good, &before, end)
    }
}
