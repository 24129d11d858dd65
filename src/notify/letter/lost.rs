//! Backups that are gone from their storage, though pgdumpd didn't remove them.

use chrono::{DateTime, Utc};

use super::failing::{place, restore};
use super::page::{self, Page, command, count, time};
use super::{About, LastGood};

/// What is missing of one project.
#[derive(Debug, Clone)]
pub struct Lost {
    /// The project.
    pub about: About,
    /// By database and selection; at least one.
    pub missing: Vec<Missing>,
}

/// What is missing of one database.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Its name.
    pub database: String,
    /// What was backed up: `full`, `schema`.
    pub selection: String,
    /// How many.
    pub count: usize,
    /// When the oldest and the newest of them were taken.
    pub range: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The newest good one that is left.
    pub left: Option<LastGood>,
    /// Stored dumps of those that are still there, below the storage's root, though without a manifest they are no backups.
    pub bare: Vec<String>,
}

/// As many bare dumps as are named.
const NAMED: usize = 5;

impl Lost {
    pub(super) fn headline(&self) -> String {
        let all: usize = self.missing.iter().map(|missing| missing.count).sum();
        let what = if self.bare().count() < all {
            count(all, "backup") + if all == 1 { " is" } else { " are" }
        } else if all == 1 {
            String::from("a backup's manifest is")
        } else {
            format!("the manifests of {all} backups are")
        };
        format!("LOST {}: {what} gone from the storage", self.about.project)
    }

    fn bare(&self) -> impl Iterator<Item = &String> {
        self.missing.iter().flat_map(|missing| &missing.bare)
    }

    /// What there is to be had of dumps whose manifests alone are gone.
    fn without_manifests(&self, page: &mut Page) {
        let bare: Vec<&String> = self.bare().collect();
        if bare.is_empty() {
            return;
        }
        let all: usize = self.missing.iter().map(|missing| missing.count).sum();
        let of = if bare.len() == all { "Only".to_owned() } else { format!("Of {} of them only", bare.len()) };
        page.prose(&format!(
            "{of} the manifest (the .json beside the dump) is gone; the dump itself is there. Put the manifest back from a copy, and it is a \
             backup again. Without one the dump can still be read and restored, by its path."
        ));
        let path = |file: &&String| self.about.root.as_ref().map_or_else(|| (*file).clone(), |root| format!("{root}/{file}"));
        let mut shown: Vec<String> = bare.iter().take(NAMED).map(|file| command(&self.about, &["show", &path(file)])).collect();
        if bare.len() > NAMED {
            shown.push(format!("… and {} more", bare.len() - NAMED));
        }
        page.block("To look into them", &shown);
    }

    pub(super) fn body(&self) -> String {
        let About { project, zone, storage, .. } = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Backups of project {project} are no longer where they were stored ({storage}), and pgdumpd did not remove them."
        ));
        let rows: Vec<(&str, String)> = self
            .missing
            .iter()
            .map(|missing| {
                let times = missing.range.map_or_else(String::new, |(oldest, newest)| {
                    let until = if oldest == newest { String::new() } else { format!(" to {}", time(newest, *zone)) };
                    format!(", taken {}{until}", time(oldest, *zone))
                });
                (missing.database.as_str(), format!("{} ({}){times}", count(missing.count, "backup"), missing.selection))
            })
            .collect();
        page.table("What is gone", &rows);
        self.without_manifests(&mut page);
        for missing in &self.missing {
            match &missing.left {
                Some(left) => {
                    page.table(&format!("The newest good backup of {} that is left", missing.database), &page::fallback(left, &self.about))
                }
                None => page.prose(&format!("No good backup of {} is left. Make one now.", missing.database)),
            };
        }
        page.prose(
            "Something else removes files below that folder: a clean-up job that goes by age, a copy that deletes what its source lacks, \
             another pgdumpd that keeps and prunes its backups of the same project there, a hand. Keep it out; what the retention no longer keeps, pgdumpd removes itself. If there is a copy of the storage, put the files \
             back: they count again within an hour.",
        );
        page.commands(&[
            ("see what is left", command(&self.about, &["list", project])),
            ("check it", command(&self.about, &["verify", project])),
            ("back up now", command(&self.about, &["backup", project])),
        ]);
        restore(&mut page, &self.about, self.missing.iter().filter_map(|missing| missing.left.as_ref()));
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}
