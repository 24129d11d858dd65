//! The letters about one stored backup: it is damaged, it can't be read, it is whole again.

use chrono::{DateTime, Utc};

use super::failing::{place, restore};
use super::page::{self, Page, command, stopped, time};
use super::{About, LastGood};
use crate::notify::redact::Redactor;

/// What is wrong with a stored backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ill {
    /// It is not what was written.
    Damaged,
    /// A file of it is no longer there.
    Gone,
    /// It could not be read, which says nothing about its bytes.
    Unread,
}

/// A stored backup that is not what its manifest says, or that can't be looked at.
#[derive(Debug, Clone)]
pub struct Damaged {
    /// The project.
    pub about: About,
    /// What is wrong with it.
    pub ill: Ill,
    /// Its id, for the lines to type.
    pub id: String,
    /// Which, and what it was proven to be before.
    pub backup: LastGood,
    /// What is wrong: `its SHA-256 is … instead of …`.
    pub problem: String,
    /// The newest backup of the same selection that is good.
    pub last_good: Option<LastGood>,
}

/// A stored backup that was damaged, or unreadable, and is good again.
#[derive(Debug, Clone)]
pub struct Mended {
    /// The project.
    pub about: About,
    /// Which, and what it is proven to be now.
    pub backup: LastGood,
    /// When the trouble was told.
    pub since: DateTime<Utc>,
    /// What it was.
    pub was: String,
}

impl Damaged {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        let word = match self.ill {
            Ill::Damaged => "DAMAGED",
            Ill::Gone => "LOST",
            Ill::Unread => "UNREADABLE",
        };
        let of = page::of(&self.backup.database, &self.about);
        format!("{word} {}: a backup{of}: {}", self.about.project, redactor.clean(&self.problem))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let mut page = Page::default();
        let of = page::of(&self.backup.database, about);
        let problem = stopped(&redactor.clean(&self.problem));
        match self.ill {
            Ill::Damaged => {
                page.prose(&format!("A stored backup{of} in project {} is damaged: {problem}", about.project));
                page.table("The damaged backup", &page::fallback(&self.backup, about));
                page.prose(
                    "It stays where it is, counts as no backup from now on, and is never deleted by itself: parts of it may still be readable.",
                );
            }
            Ill::Gone => {
                page.prose(&format!("A file of a stored backup{of} in project {} is gone: {problem}", about.project));
                page.table("The backup", &page::fallback(&self.backup, about));
                page.prose(
                    "pgdumpd did not remove it. What is left stays listed as damaged, and counts as no backup, until the file is back or `pgdumpd delete` \
                     gives it up.",
                );
            }
            Ill::Unread => {
                page.prose(&format!("A stored backup{of} in project {} could not be read, twice in a row: {problem}", about.project));
                page.table("The backup", &page::fallback(&self.backup, about));
                page.prose(
                    "That says nothing about its bytes, and it counts as before; but as long as it is so, nobody can restore from it.",
                );
            }
        }
        match &self.last_good {
            Some(good) => page.table(&format!("The newest good backup of {}", good.database), &page::fallback(good, about)),
            None => page.prose("There is no other good backup of it. Make one now."),
        };
        let mut typed = vec![
            ("look again", command(about, &["verify", &self.id, "--level", "read"])),
            ("check the others", command(about, &["verify", &about.project])),
            ("back up now", command(about, &["backup", &about.project])),
        ];
        if self.ill != Ill::Unread {
            typed.push(("or give it up", command(about, &["delete", &self.id])));
        }
        page.commands(&typed);
        restore(&mut page, &self.about, self.last_good.iter());
        page.prose(match self.ill {
            Ill::Damaged => {
                "If there is a copy of the storage, put the file back from it: the next look takes the mark away. Bytes that change by \
                 themselves mean a failing disk, a failing controller, or a hand in the folder: check that machine."
            }
            Ill::Gone => {
                "If there is a copy of the storage, put the file back from it: the next look takes the mark away. Something else removes files \
                 below that folder (a clean-up job that goes by age, a copy that deletes what its source lacks, a hand): keep it out."
            }
            Ill::Unread => "Look at the disk or the network file system, and into the kernel's log.",
        });
        page.table("Facts", &place(about));
        page.finish()
    }
}

impl Damaged {
    /// What a mail about several of them says of this one.
    pub(super) fn lines(&self) -> Vec<String> {
        let about = &self.about;
        let good = self.last_good.as_ref().map_or_else(
            || String::from("there is no other good backup of it"),
            |good| {
                format!(
                    "newest good one of {}: {}, {} ago",
                    good.database,
                    time(good.taken_at, about.zone),
                    page::age(good.taken_at, about.now)
                )
            },
        );
        let mut lines = vec![self.backup.file.clone(), good, command(about, &["verify", &self.id, "--level", "read"])];
        if self.ill == Ill::Gone {
            lines.push(format!("{}    where there is no copy of it", command(about, &["delete", &self.id])));
        }
        lines
    }
}

impl Mended {
    pub(super) fn headline(&self) -> String {
        format!("OK {}: a backup{} is good again", self.about.project, page::of(&self.backup.database, &self.about))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let (project, of) = (&self.about.project, page::of(&self.backup.database, &self.about));
        let good =
            format!("A stored backup{of} in project {project} was looked at again, and is what was written. It counts as a backup again.");
        let was = stopped(&redactor.clean(&self.was));
        good_again(&self.about, &self.backup, &good, &format!("Since {}, it was: {was}", since(&self.about, self.since)), NOTHING_TO_DO)
    }
}

/// How such a letter ends.
pub(super) const NOTHING_TO_DO: &str = "There is nothing for you to do.";

/// A letter that says what is good now, what was wrong before, which backup showed it, and what that leaves to do.
pub(super) fn good_again(about: &About, backup: &LastGood, good: &str, before: &str, end: &str) -> String {
    let mut page = Page::default();
    page.prose(good);
    page.prose(before);
    page.table("The backup", &page::fallback(backup, about));
    page.prose(end);
    page.table("Facts", &place(about));
    page.finish()
}

/// `Sat 21 Nov 2026 02:15 UTC, for 3 hours`.
pub(super) fn since(about: &About, since: DateTime<Utc>) -> String {
    format!("{}, for {}", time(since, about.zone), page::age(since, about.now))
}
