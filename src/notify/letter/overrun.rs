//! Runs that outlast their schedule's interval, and that they no longer do.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::failing::place;
use super::page::{self, Page, command, count, span, time};
use super::{About, Next};

/// Slots in a row were skipped, because the run before them was not over.
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
    /// What happens next by itself.
    pub next: Next,
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
        format!("OVERRUN {}: schedule {} skipped {slots}, its runs outlast its interval", self.about.project, self.schedule)
    }

    pub(super) fn body(&self) -> String {
        let About { project, zone, now, .. } = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Schedule {} of project {project} is due more often than its runs end: {} skipped, two or more in a row, because the run before \
             them was not over.",
            self.schedule,
            count(self.skipped as usize, "slot") + if self.skipped == 1 { " was" } else { " were" },
        ));
        if self.is_reminder {
            page.prose(&format!("This is a reminder: it has been so for {}.", page::age(self.since, *now)));
        }
        if self.running.is_empty() {
            page.prose("That run still waits for a place: max_parallel and max_parallel_per_server say how many dumps may go on at once.");
        } else {
            let rows: Vec<(&str, String)> = self
                .running
                .iter()
                .map(|(database, started)| {
                    ("database", format!("{database}, since {}, {}", time(*started, *zone), page::age(*started, *now)))
                })
                .collect();
            page.table("The run in the way", &rows);
        }
        page.prose(
            "Backups are still made, only fewer than the schedule says, and each is as good as ever. If that is enough, give the schedule a \
             longer interval; if not, find what makes its dumps slow.",
        );
        page.prose(&format!(
            "{} This mail repeats every {} until two slots in a row have run; then you get one more.",
            page::next(&self.next, &self.about).replace("next try", "next slot"),
            span(self.reminder)
        ));
        page.commands(&[
            ("see what runs", command(&self.about, &["status", project])),
            ("see what is due", command(&self.about, &["plan", project])),
        ]);
        page.table("Facts", &place(&self.about));
        page.finish()
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
