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
    /// So many alike in a row over such a time are the new habit.
    pub after: Option<(u32, Duration)>,
    /// What happens next by itself.
    pub next: Next,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// What ended a doubt.
#[derive(Debug, Clone)]
pub enum DoubtEnded {
    /// A normal backup came.
    Normal,
    /// A person accepted a suspicious one: whoever that was.
    Accepted(String),
    /// A row of alike ones is taken for the new habit, and nobody has said a word.
    NewHabit {
        /// How many, the newest included.
        alike: usize,
        /// When the first of them was started.
        first: DateTime<Utc>,
        /// When the newest was.
        last: DateTime<Utc>,
        /// The last normal backup from before, and its id.
        before: Option<(String, LastGood)>,
    },
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
    /// The newest backup's id.
    pub id: String,
    /// The newest backup.
    pub backup: LastGood,
    /// Why it is no longer in doubt.
    pub ended: DoubtEnded,
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
        let by_itself = self.after.map(|(after, over)| by_itself(after, over)).unwrap_or_default();
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

/// When nobody says a word.
fn by_itself(after: u32, over: Duration) -> String {
    let over = if over.is_zero() { String::new() } else { format!(" over {}", span(over)) };
    format!(", or with {after} alike in a row{over}, which are taken for the new habit")
}

impl NormalAgain {
    pub(super) fn headline(&self) -> String {
        let (project, of) = (&self.about.project, page::of(&self.backup.database, &self.about));
        match &self.ended {
            DoubtEnded::NewHabit { alike, .. } => {
                format!("NEW HABIT {project}: {alike} suspicious backups{of} were alike; older ones will be pruned")
            }
            _ => format!("OK {project}: the newest backup{of} is no longer suspicious"),
        }
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let about = &self.about;
        let mut page = Page::default();
        page.prose(&self.why());
        page.prose(&format!(
            "It had been suspicious since {}, for {}: {}",
            time(self.since, about.zone),
            page::age(self.since, about.now),
            stopped(&redactor.clean(&self.was))
        ));
        page.table("The newest backup", &page::fallback(&self.backup, about));
        let next = page::next(&self.next, about).replace("next try", "next backup");
        if let DoubtEnded::NewHabit { before: Some((id, before)), .. } = &self.ended {
            page.table("The last one from before", &page::fallback(before, about));
            let rows = ["restore", id, "--to", &before.database, "--table", "TABLE", "--on-conflict", "skip"];
            page.commands(&[
                ("keep that one", command(about, &["pin", id])),
                ("see what changed", command(about, &["diff", id, &self.id])),
                ("put lost rows back", command(about, &rows)),
            ]);
            page.prose(&next);
        } else {
            page.prose(&format!("{next} There is nothing for you to do."));
        }
        page.table("Facts", &place(about));
        page.finish()
    }

    fn why(&self) -> String {
        let newest = format!("The newest backup{} in project {}", page::of(&self.backup.database, &self.about), self.about.project);
        match &self.ended {
            DoubtEnded::Normal => format!("{newest} is as the ones before the doubt. Pruning goes on."),
            DoubtEnded::Accepted(who) => {
                format!("{newest} is as the one that {who} has accepted: what it holds is the habit now. Pruning goes on.")
            }
            DoubtEnded::NewHabit { alike, first, last, .. } => format!(
                "{newest} holds as little as those before it. {alike} alike in a row over {} are taken for the new habit, although nobody has \
                 accepted them. Nothing was pruned with this backup, but from the next one on the older ones go, as the retention says. If these \
                 rows were lost on the server, keep the last backup from before, now.",
                page::age(*first, *last)
            ),
        }
    }
}
