//! Letters that no run brought: a prune that waits for a yes, a rebuilt catalog.

use chrono::{DateTime, Utc};

use super::About;
use super::failing::place;
use super::page::{Page, command, count, size, stopped, time, with_config};
use crate::notify::redact::Redactor;

/// A changed policy, or one that nobody is known to have agreed to, would remove more than half of a project's backups.
#[derive(Debug, Clone)]
pub struct HeldPrune {
    /// The project.
    pub about: About,
    /// The old policy in words: `keep_daily 14, keep_monthly 12`; unknown to a catalog that was made anew.
    pub before: Option<String>,
    /// The new one.
    pub after: String,
    /// How many backups it would remove.
    pub remove: usize,
    /// How many would stay.
    pub keep: usize,
    /// How many bytes the removed ones hold.
    pub bytes: u64,
    /// When the oldest and the newest of them were taken.
    pub range: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// The catalog was lost, or unreadable, and has been made anew.
#[derive(Debug, Clone)]
pub struct Rebuilt {
    /// Machine name.
    pub machine: String,
    /// Why: `the file was not there`, `the database disk image is malformed`.
    pub reason: String,
    /// Backups found in the storages.
    pub backups: usize,
    /// Projects they belong to.
    pub projects: usize,
    /// Where the unreadable one was put aside.
    pub aside: Option<String>,
    /// The configuration file, where it isn't at its usual place.
    pub config: Option<String>,
}

impl HeldPrune {
    pub(super) fn headline(&self) -> String {
        format!("HELD {}: pruning would remove {} of {} backups", self.about.project, self.remove, self.remove + self.keep)
    }

    pub(super) fn body(&self) -> String {
        let About { project, zone, .. } = &self.about;
        let mut page = Page::default();
        let (remove, all) = (self.remove, count(self.remove + self.keep, "backup"));
        page.prose(&match self.before {
            Some(_) => format!(
                "The retention of project {project} was changed and would now remove {remove} of {all}. Nothing was removed: a change that \
                 takes more than half waits for a yes."
            ),
            None => format!(
                "The retention of project {project} would remove {remove} of {all}, and the catalog doesn't know that anybody agreed to it: it \
                 was made anew, or nothing was pruned before. Nothing was removed: what takes more than half waits for a yes."
            ),
        });
        let mut rows: Vec<(&str, String)> = self.before.iter().map(|before| ("was", before.clone())).collect();
        rows.extend([("now", self.after.clone()), ("would free", size(self.bytes))]);
        if let Some((oldest, newest)) = self.range {
            rows.push(("would remove", format!("{} taken between {} and {}", self.remove, time(oldest, *zone), time(newest, *zone))));
        }
        rows.push(("would keep", count(self.keep, "backup")));
        page.table(if self.before.is_some() { "What the new policy does" } else { "What the policy does" }, &rows);
        page.prose("Until then backups go on being made and none of this project is pruned, so watch the space.");
        page.commands(&[
            ("see each one", command(&self.about, &["prune", project, "--dry-run"])),
            ("say yes", command(&self.about, &["prune", project, "--confirm"])),
        ]);
        page.prose(if self.before.is_some() {
            "If the change was a mistake, put the old values back into the configuration; that is all."
        } else {
            "If that is more than is meant to go, let the retention keep more, in the configuration; that is all."
        });
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}

impl Rebuilt {
    pub(super) fn headline(&self) -> String {
        format!("REBUILT the catalog on {} from {}", self.machine, count(self.backups, "backup"))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let mut page = Page::default();
        page.prose(&format!("pgdumpd on {} had to make its catalog anew: {}", self.machine, stopped(&redactor.clean(&self.reason))));
        page.prose(&format!(
            "All backups are safe: the storages themselves say what they hold, and {} of {} were found there, with their proofs and pins. \
             Schedules, retention and restores go on as before.",
            count(self.backups, "backup"),
            count(self.projects, "project"),
        ));
        page.prose(
            "What only the catalog knew is lost: the diary of runs and slots, how often a project had failed in a row, mails that had not \
             gone out yet, and what was agreed to with `prune --confirm`. A project that still fails is told anew, and a pruning that must be \
             agreed to waits for it again.",
        );
        page.block("What to type", &["list", "status"].map(|verb| with_config(self.config.as_deref(), &[verb])));
        if let Some(aside) = &self.aside {
            page.prose(&format!("The old file was put aside as {aside}. If the disk may be failing, look at the kernel's log."));
        }
        page.finish()
    }
}
