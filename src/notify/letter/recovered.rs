//! The letter that ends an incident: backups work again, of the whole project or of a part of it.

use chrono::{DateTime, Utc};

use super::failing::place;
use super::page::{self, Page, command, count, stopped, time};
use super::{About, LastGood, Next};
use crate::model::run::ANY_DATABASE;
use crate::notify::redact::Redactor;

/// Of so many databases that still have no new backup, each is named in the subject.
const NAMED: usize = 3;

/// The first good backup after a failure.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// The project.
    pub about: About,
    /// When the trouble began.
    pub since: DateTime<Utc>,
    /// How many runs failed in between; zero after mere staleness.
    pub failures: u32,
    /// The sentence of the last failure.
    pub was: String,
    /// The new backups, one a database.
    pub backups: Vec<LastGood>,
    /// What of the project is still not backed up as it should be.
    pub open: Vec<Open>,
    /// What happens next by itself.
    pub next: Next,
}

/// What of a project that works again in part still doesn't.
#[derive(Debug, Clone)]
pub struct Open {
    /// Database name; `*` where the databases are not known yet.
    pub database: String,
    /// What was to be dumped, where that isn't all of it: `schema`.
    pub selection: Option<String>,
    /// Since when it is so.
    pub since: DateTime<Utc>,
    /// The sentence of its last failure; without it, its backup is too old.
    pub was: Option<String>,
    /// Its newest good backup.
    pub last_good: Option<LastGood>,
}

impl Recovered {
    pub(super) fn headline(&self) -> String {
        let project = &self.about.project;
        let after = if self.failures > 0 { format!(" after {}", count(self.failures as usize, "failure")) } else { String::new() };
        match self.open.as_slice() {
            [] => format!("OK {project}: backups work again{after}"),
            open if open.len() <= NAMED => {
                let open: Vec<String> = open.iter().map(|open| open.stands(&self.about)).collect();
                format!("PARTLY OK {project}: backups{} work again{after}; {}", self.whose(), open.join(", "))
            }
            open => format!("PARTLY OK {project}: backups{} work again{after}, those of {} databases don't", self.whose(), open.len()),
        }
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let About { project, zone, now, .. } = &self.about;
        let mut page = Page::default();
        let lasted = format!("The trouble began at {} and lasted {}.", time(self.since, *zone), page::age(self.since, *now));
        page.prose(&if self.open.is_empty() {
            format!("Project {project} has a good backup again. {lasted}")
        } else {
            format!("Part of project {project} has a good backup again{}. {lasted}", self.whose().replacen(" of ", ": ", 1))
        });
        page.prose(&format!("It was: {}", stopped(&redactor.clean(&self.was))));
        for open in &self.open {
            page.prose(&format!("Not so {}", open.sentence(&self.about, redactor)));
        }
        for backup in &self.backups {
            page.table(&format!("New backup of {}", backup.database), &page::fallback(backup, &self.about));
        }
        let next = page::next(&self.next, &self.about).replace("next try", "next backup");
        if self.open.is_empty() {
            page.prose(&format!("{next} There is nothing for you to do."));
        } else {
            page.prose(&next);
            page.commands(&[
                ("see how it stands", command(&self.about, &["status", project])),
                ("back up now", command(&self.about, &["backup", project])),
            ]);
        }
        page.table("Facts", &place(&self.about));
        page.finish()
    }

    /// What a mail about many projects says of it.
    pub(super) fn lines(&self, redactor: &Redactor) -> Vec<String> {
        let about = &self.about;
        let new =
            |backup: &LastGood| format!("{}: {}, {}", backup.database, page::time(backup.taken_at, about.zone), page::size(backup.size));
        let open = self.open.iter().map(|open| format!("not so {}", open.sentence(about, redactor)));
        self.backups.iter().map(new).chain(open).collect()
    }

    /// ` of shop, billing`, those that work again.
    fn whose(&self) -> String {
        let mut names: Vec<&str> = self.backups.iter().map(|backup| backup.database.as_str()).collect();
        names.dedup();
        if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) }
    }
}

impl Open {
    fn name(&self, about: &About) -> String {
        let database = if self.database == ANY_DATABASE { &about.project } else { &self.database };
        self.selection.as_ref().map_or_else(|| database.clone(), |selection| format!("{database} ({selection})"))
    }

    /// For the subject.
    fn stands(&self, about: &About) -> String {
        format!("{} {}", self.name(about), if self.was.is_some() { "still fails" } else { "is still too old" })
    }

    /// `billing: failing since 2026-11-19 02:15 UTC: connection refused. Its last good backup …`
    fn sentence(&self, about: &About, redactor: &Redactor) -> String {
        let since = time(self.since, about.zone);
        let how = match &self.was {
            Some(was) => format!("failing since {since}: {}", stopped(&redactor.clean(was))),
            None => {
                let full = if self.selection.is_none() { "full " } else { "" };
                format!("without a good {full}backup within max_backup_age since {since}.")
            }
        };
        let last = match &self.last_good {
            Some(backup) => {
                let taken = backup.taken_at;
                format!("Its last good backup was taken {}, {} ago.", time(taken, about.zone), page::age(taken, about.now))
            }
            None => String::from("There is no good backup of it to fall back on."),
        };
        format!("{}, {how} {last}", self.name(about))
    }
}
