//! The weekly summary: that pgdumpd is alive, what it made, and what deserves a look.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::page::{self, Page, count, size, span, time};
use crate::notify::redact::Redactor;

/// More projects than this are not listed one by one: ten thousand make no mail.
const MOST: usize = 50;

/// All projects over a week.
#[derive(Debug, Clone)]
pub struct Weekly {
    /// The zone its times are told in.
    pub zone: Tz,
    /// The first moment of the week.
    pub from: DateTime<Utc>,
    /// The moment after it; when the letter is written.
    pub until: DateTime<Utc>,
    /// Machine name.
    pub machine: String,
    /// Every configured project.
    pub projects: Vec<ProjectWeek>,
    /// Free bytes by storage name.
    pub free: Vec<(String, u64)>,
}

/// One project's week.
#[derive(Debug, Clone)]
pub struct ProjectWeek {
    /// Project name.
    pub project: String,
    /// Runs that made a backup.
    pub good: usize,
    /// Runs that failed.
    pub failed: usize,
    /// Slots that were missed or skipped.
    pub missed: usize,
    /// Backups stored now.
    pub backups: usize,
    /// Bytes they hold.
    pub bytes: u64,
    /// Age of the newest good full backup.
    pub newest: Option<Duration>,
    /// When a backup of it was last restored as a proof; of several databases, of the one that waited longest.
    pub drilled: Option<DateTime<Utc>>,
    /// What is wrong now, as a sentence; `None` where all is well.
    pub trouble: Option<String>,
}

impl Weekly {
    pub(super) fn headline(&self) -> String {
        let troubled = self.projects.iter().filter(|project| project.trouble.is_some()).count();
        let good: usize = self.projects.iter().map(|project| project.good).sum();
        let look = if troubled == 0 { String::from("all well") } else { format!("{troubled} to look at") };
        format!("WEEK on {}: {}, {}, {look}", self.machine, count(self.projects.len(), "project"), count(good, "backup"))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let mut page = Page::default();
        let sum = |of: fn(&ProjectWeek) -> usize| self.projects.iter().map(of).sum::<usize>();
        page.prose(&format!(
            "From {} to {} pgdumpd on {} made {}; failed runs: {}, slots missed or skipped: {}.",
            time(self.from, self.zone),
            time(self.until, self.zone),
            self.machine,
            count(sum(|project| project.good), "backup"),
            sum(|project| project.failed),
            sum(|project| project.missed),
        ));
        let trouble: Vec<String> = self
            .projects
            .iter()
            .filter_map(|project| project.trouble.as_ref().map(|why| format!("{}: {}", project.project, redactor.clean(why))))
            .collect();
        let more = trouble.len().saturating_sub(MOST);
        let trouble: Vec<String> = trouble.into_iter().take(MOST).collect();
        if trouble.is_empty() {
            page.prose("No project is failing or stale.");
        } else {
            page.block("To look at", &trouble);
            if more > 0 {
                page.prose(&format!("And {more} more: pgdumpd status"));
            }
        }
        page.block(
            "By project: good, failed, missed; stored; newest good and last proven restore (of the database that waited longest)",
            &self.rows(),
        );
        let free: Vec<String> = self.free.iter().map(|(name, bytes)| format!("{name}: {} free", size(*bytes))).collect();
        page.block("Storage", &free);
        page.prose("If this letter ever fails to come, pgdumpd or its mail is not working: look at `pgdumpd status`.");
        page.finish()
    }

    /// The troubled ones first, then by name; [`MOST`] of them.
    fn rows(&self) -> Vec<String> {
        let mut projects: Vec<&ProjectWeek> = self.projects.iter().collect();
        projects.sort_by(|a, b| (a.trouble.is_none(), &a.project).cmp(&(b.trouble.is_none(), &b.project)));
        let column = projects.iter().take(MOST).map(|project| project.project.chars().count()).max().unwrap_or(0).min(24);
        let mut rows: Vec<String> = projects
            .iter()
            .take(MOST)
            .map(|project| {
                let newest = project.newest.map_or_else(|| String::from("none"), |age| format!("{} ago", span(age)));
                let drilled = project.drilled.map_or_else(|| String::from("never"), |at| format!("{} ago", page::age(at, self.until)));
                format!(
                    "{:column$}  {}, {}, {}; {} in {}; {newest}; {drilled}",
                    project.project,
                    project.good,
                    project.failed,
                    project.missed,
                    size(project.bytes),
                    project.backups,
                )
            })
            .collect();
        if projects.len() > MOST {
            rows.push(format!("and {} more: pgdumpd list", projects.len() - MOST));
        }
        rows
    }
}
