//! What nobody backs up any more: taken out of the configuration, or gone from its server. Said once, with what is kept of it.

use chrono::{DateTime, Utc};

use super::failing::{place, restore};
use super::page::{self, Page, command, count, size, stopped, time};
use super::{About, LastGood};
use crate::notify::redact::Redactor;

/// What of one project is no longer backed up.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The project; its server and storage are empty where it is no longer configured.
    pub about: About,
    /// At least one.
    pub ended: Vec<Ended>,
}

/// One thing that is no longer backed up.
#[derive(Debug, Clone)]
pub struct Ended {
    /// `database billing`, `schedule hourly`; the project itself without it.
    pub what: Option<String>,
    /// Why: `is no longer configured`.
    pub why: String,
    /// What brings it back, if it was a mistake.
    pub undo: Undo,
    /// What was open about it: since when, and what it was.
    pub stood: Vec<(DateTime<Utc>, String)>,
    /// Its backups.
    pub kept: Option<Kept>,
}

/// What to do where something is no longer backed up by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// Put it back into the configuration.
    Configure,
    /// Restore it: the server lacks it.
    Restore,
    /// Let the role in again.
    Open,
}

/// The backups of what is no longer backed up.
#[derive(Debug, Clone)]
pub struct Kept {
    /// How many.
    pub count: usize,
    /// Their stored length, bytes.
    pub bytes: u64,
    /// The newest good one.
    pub newest: Option<LastGood>,
    /// The words after `pgdumpd` that list them.
    pub list: Vec<String>,
}

impl Closed {
    pub(super) fn headline(&self) -> String {
        let word = match self.ended.as_slice() {
            ended if ended.iter().any(|ended| !ended.stood.is_empty()) => "CLOSED",
            ended if ended.iter().all(|ended| ended.undo == Undo::Open) => "LEFT OUT",
            _ => "GONE",
        };
        let what = match self.ended.as_slice() {
            [one] => format!("{} {}", one.what.as_deref().unwrap_or("it"), one.why),
            several => format!("{} are no longer backed up", several.iter().map(Ended::name).collect::<Vec<_>>().join(", ")),
        };
        format!("{word} {}: {what}", self.about.project)
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let About { project, zone, now, .. } = &self.about;
        let mut page = Page::default();
        for ended in &self.ended {
            let name = match &ended.what {
                Some(what) => format!("{} of project {project}", capital(what)),
                None => format!("Project {project}"),
            };
            page.prose(&format!("{name} {}: it is not backed up any more, and no more mail comes about it.", ended.why));
            for (since, was) in &ended.stood {
                let was = stopped(&redactor.clean(was));
                page.prose(&format!("What was open since {}, for {}: {was}", time(*since, *zone), page::age(*since, *now)));
            }
            self.kept(&mut page, ended);
        }
        let any = |undo| self.ended.iter().any(|ended| ended.undo == undo);
        page.prose(if any(Undo::Restore) {
            "If it was dropped on purpose, there is nothing for you to do. If not, bring it back from its newest backup."
        } else if any(Undo::Configure) {
            "If this was meant, there is nothing for you to do. If not, put it back into the configuration and reload it."
        } else {
            "If this was meant, there is nothing for you to do. If not, let connections in again: ALTER DATABASE … ALLOW_CONNECTIONS true."
        });
        let list = self.ended.iter().filter_map(|ended| ended.kept.as_ref()).map(|kept| {
            let words: Vec<&str> = kept.list.iter().map(String::as_str).collect();
            ("see what is kept", command(&self.about, &words))
        });
        let list: Vec<(&str, String)> = list.collect();
        if !list.is_empty() {
            page.commands(&list);
        }
        let dropped = self.ended.iter().filter(|ended| ended.undo == Undo::Restore);
        restore(&mut page, &self.about, dropped.filter_map(|ended| ended.kept.as_ref()?.newest.as_ref()));
        let mut facts = place(&self.about);
        facts.retain(|(_, value)| !value.is_empty());
        page.table("Facts", &facts);
        page.finish()
    }

    fn kept(&self, page: &mut Page, ended: &Ended) {
        let Some(kept) = &ended.kept else { return };
        let backups = count(kept.count, "backup");
        if kept.count == 0 {
            page.prose("No backup of it is kept.");
            return;
        }
        page.prose(&format!("{backups} of it, {}, stay: nothing is pruned of what isn't backed up.", size(kept.bytes)));
        if let Some(newest) = &kept.newest {
            page.table(&format!("The newest good backup of {}", newest.database), &page::fallback(newest, &self.about));
        }
    }

    /// What a mail about many projects says of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let kept = self.ended.iter().filter_map(|ended| ended.kept.as_ref().map(|kept| (ended, kept)));
        kept.map(|(ended, kept)| format!("{}: {} kept", ended.name(), count(kept.count, "backup"))).collect()
    }
}

impl Ended {
    fn name(&self) -> &str {
        self.what.as_deref().unwrap_or("the project")
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| format!("{}{}", first.to_uppercase(), characters.as_str())).unwrap_or_default()
}
