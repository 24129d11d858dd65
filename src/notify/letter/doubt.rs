//! A backup that holds far less than the ones before it, and that the newest is normal again.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::failing::{place, restore};
use super::page::{self, Page, command, count, span, stopped, time};
use super::{About, LastGood, Next};
use crate::notify::redact::Redactor;

/// The newest backup fell out of the habit. It is kept, and nothing is pruned.
#[derive(Debug, Clone)]
pub struct Suspicious {
    /// The project.
    pub about: About,
    /// What fell, from what to what.
    pub why: String,
    /// Its id, for the lines to type.
    pub id: String,
    /// When the first of them was told.
    pub since: DateTime<Utc>,
    /// How many in a row, this one included.
    pub in_row: u32,
    /// The suspicious backup.
    pub backup: LastGood,
    /// The id of the newest normal one.
    pub normal_id: Option<String>,
    /// The newest normal one.
    pub normal: Option<LastGood>,
    /// So many alike in a row are the new habit.
    pub after: Option<u32>,
    /// What happens next by itself.
    pub next: Next,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// The newest backup is normal, or was accepted.
#[derive(Debug, Clone)]
pub struct NormalAgain {
    /// The project.
    pub about: About,
    /// When the doubt began.
    pub since: DateTime<Utc>,
    /// What had fallen.
    pub was: String,
    /// The newest backup.
    pub backup: LastGood,
    /// What happens next by itself.
    pub next: Next,
}

impl Suspicious {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        format!("SUSPICIOUS {}: {}", self.about.project, redactor.clean(&self.why))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let project = &about.project;
        let mut page = Page::default();
        page.prose(&format!(
            "The newest backup{} in project {project} holds far less than the ones before it: {}",
            page::of(&self.backup.database, about),
            stopped(&redactor.clean(&self.why))
        ));
        if self.in_row > 1 {
            page.prose(&format!(
                "It is so with {} in a row, for {}.",
                count(self.in_row as usize, "backup"),
                page::age(self.since, about.now)
            ));
        }
        page.prose(&format!(
            "It is whole, and it is kept. But if these rows were lost on the server, the older backups are all that is left of them: they stay, \
             nothing of project {project} is pruned from now on. Watch the space."
        ));
        page.table("The suspicious backup", &page::fallback(&self.backup, about));
        if let Some(normal) = &self.normal {
            page.table("The newest normal one", &page::fallback(normal, about));
        }
        page.commands(&self.commands());
        let by_itself = self.after.map(|after| format!(", or with {after} alike in a row, which are the new habit")).unwrap_or_default();
        page.prose(&format!(
            "Without a word from you it ends with the next normal backup{by_itself}; then you get one more mail. Until then this one repeats every \
             {}. {}",
            span(self.reminder),
            page::next(&self.next, about).replace("next try", "next backup")
        ));
        restore(&mut page, &self.about, self.normal.iter());
        page.table("Facts", &place(about));
        page.finish()
    }

    fn commands(&self) -> Vec<(&'static str, String)> {
        let about = &self.about;
        let mut commands = vec![("see its tables", command(about, &["show", &self.id, "--tables"]))];
        if let Some(normal) = &self.normal_id {
            commands.push(("see what changed", command(about, &["diff", normal, &self.id])));
        }
        if let (Some(id), Some(normal)) = (&self.normal_id, &self.normal) {
            let words = ["restore", id, "--to", &normal.database, "--table", "TABLE", "--on-conflict", "skip"];
            commands.push(("put lost rows back", command(about, &words)));
        }
        commands.push(("it is meant to be so", command(about, &["accept", &self.id])));
        commands
    }
}

impl NormalAgain {
    pub(super) fn headline(&self) -> String {
        format!("OK {}: the newest backup{} is no longer suspicious", self.about.project, page::of(&self.backup.database, &self.about))
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "The newest backup{} in project {} is as the ones before it, or what it holds has been accepted as the new habit. Pruning goes on.",
            page::of(&self.backup.database, about),
            about.project
        ));
        page.prose(&format!(
            "It had been suspicious since {}, for {}: {}",
            time(self.since, about.zone),
            page::age(self.since, about.now),
            stopped(&redactor.clean(&self.was))
        ));
        page.table("The newest backup", &page::fallback(&self.backup, about));
        page.prose(&format!("{} There is nothing for you to do.", page::next(&self.next, about).replace("next try", "next backup")));
        page.table("Facts", &place(about));
        page.finish()
    }
}
