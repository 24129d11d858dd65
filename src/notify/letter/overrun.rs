//! Runs that outlast their schedule's interval or find the project locked, and that they no longer do.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::failing::place;
use super::page::{self, Page, command, count, span, time};
use super::{About, Next};
use crate::shell;

/// Slots in a row were skipped, because the run before them was not over, or somebody else held the project.
#[derive(Debug, Clone)]
pub struct Overrun {
    /// The project.
    pub about: About,
    /// The schedule's name.
    pub schedule: String,
    /// How often this mail repeats.
    pub reminder: Duration,
    /// Whether it has been told before.
    pub is_reminder: bool,
    /// Slots skipped since the schedule was last on time.
    pub skipped: u32,
    /// When that was told first.
    pub since: DateTime<Utc>,
    /// The runs in the way: database and start; none where they wait for a place.
    pub running: Vec<(String, DateTime<Utc>)>,
    /// The lock, where somebody else holds the project.
    pub locked: Option<Locked>,
    /// What happens next by itself.
    pub next: Next,
}

/// A project's lock that somebody else holds.
#[derive(Debug, Clone)]
pub struct Locked {
    /// Who, as far as the lock itself says: `the project "shop" is locked by run …`.
    pub held: String,
    /// The lock's file.
    pub file: Option<String>,
    /// Number and name of each process that can be seen to hold it.
    pub processes: Vec<String>,
}

/// The schedule's slots are run again.
#[derive(Debug, Clone)]
pub struct OnTime {
    /// The project.
    pub about: About,
    /// The schedule's name.
    pub schedule: String,
    /// When the trouble was told.
    pub since: DateTime<Utc>,
    /// Slots that were skipped.
    pub skipped: u32,
    /// What happens next by itself.
    pub next: Next,
}

impl Overrun {
    pub(super) fn headline(&self) -> String {
        let slots = count(self.skipped as usize, "slot");
        let why = if self.locked.is_some() {
            "somebody else holds the project"
        } else if self.running.is_empty() {
            "its runs wait too long for a place"
        } else {
            "its runs outlast its interval"
        };
        format!("OVERRUN {}: schedule {} skipped {slots}, {why}", self.about.project, self.schedule)
    }

    fn skipped(&self) -> String {
        count(self.skipped as usize, "slot") + if self.skipped == 1 { " was" } else { " were" }
    }

    pub(super) fn body(&self) -> String {
        let About { project, now, .. } = &self.about;
        let mut page = Page::default();
        match &self.locked {
            Some(locked) => self.begin_locked(locked, &mut page),
            None => drop(page.prose(&format!(
                "Schedule {} of project {project} is due more often than its runs end: {} skipped, two or more in a row, because the run \
                 before them was not over.",
                self.schedule,
                self.skipped(),
            ))),
        }
        if self.is_reminder {
            page.prose(&format!("This is a reminder: it has been so for {}.", page::age(self.since, *now)));
        }
        if self.locked.is_none() {
            self.in_the_way(&mut page);
        }
        page.prose(&format!(
            "{} This mail repeats every {} until two slots in a row have run; then you get one more.",
            page::next(&self.next, &self.about).replace("next try", "next slot"),
            span(self.reminder)
        ));
        let mut typed = vec![
            ("see what runs", command(&self.about, &["status", project])),
            ("see what is due", command(&self.about, &["plan", project])),
        ];
        if let Some(file) = self.locked.as_ref().and_then(|locked| locked.file.as_ref()) {
            typed.push(("see who holds the lock", format!("fuser -v {}", shell::word(file))));
        }
        page.commands(&typed);
        page.table("Facts", &place(&self.about));
        page.finish()
    }

    /// What stands first where somebody else holds the project.
    fn begin_locked(&self, locked: &Locked, page: &mut Page) {
        let project = &self.about.project;
        page.prose(&format!(
            "Schedule {} of project {project} could not begin: {} skipped, two or more in a row, because somebody else held the project's lock.",
            self.schedule,
            self.skipped(),
        ));
        let mut rows: Vec<(&str, String)> = vec![("held", locked.held.clone())];
        rows.extend(locked.file.iter().map(|file| ("file", file.clone())));
        rows.extend(locked.processes.iter().map(|process| ("process", process.clone())));
        page.table("The lock", &rows);
        page.prose(
            "This schedule makes no backup as long as that is so. A backup or a prune by hand, or another pgdumpd with the same storage, lets \
             go when it has ended; a process that hangs, or that locks the file for itself, is to be ended by you.",
        );
    }

    /// The run that is not over, and what that means.
    fn in_the_way(&self, page: &mut Page) {
        let About { zone, now, .. } = &self.about;
        let mend = if self.running.is_empty() {
            page.prose("That run still waits for a place: max_parallel and max_parallel_per_server say how many dumps may go on at once.");
            "let more go on at once, or let the schedules of the others begin at other times (spread does so by itself)"
        } else {
            let row = |(database, started): &(String, DateTime<Utc>)| {
                ("database", format!("{database}, since {}, {}", time(*started, *zone), page::age(*started, *now)))
            };
            page.table("The run in the way", &self.running.iter().map(row).collect::<Vec<_>>());
            "find what makes its dumps slow"
        };
        page.prose(&format!(
            "Backups are still made, only fewer than the schedule says, and each is as good as ever. If that is enough, give the schedule a \
             longer interval; if not, {mend}."
        ));
    }
}

impl OnTime {
    pub(super) fn headline(&self) -> String {
        format!(
            "OK {}: schedule {} is on time again after {}",
            self.about.project,
            self.schedule,
            count(self.skipped as usize, "skipped slot")
        )
    }

    pub(super) fn body(&self) -> String {
        let About { project, zone, now, .. } = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Schedule {} of project {project} has run two slots in a row again. Slots were skipped since {}, for {}.",
            self.schedule,
            time(self.since, *zone),
            page::age(self.since, *now)
        ));
        page.prose(&format!("{} There is nothing for you to do.", page::next(&self.next, &self.about).replace("next try", "next backup")));
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}
