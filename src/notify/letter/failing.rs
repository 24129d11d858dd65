//! The letters of an incident that goes on: it failed, it is too old.
//!
//! Their reader was woken by them: the cause first, then what is safe, what comes by itself, what to type, and the facts last.

use super::page::{self, Page, command, count, ordinal, sentence, span, stopped, time};
use super::{About, FailedDatabase, Failing, LastGood, Occasion, Stale, Told};
use crate::error::Failure;
use crate::model::run::ANY_DATABASE;
use crate::notify::redact::Redactor;

/// How much of `pg_dump`'s stderr a mail carries.
const TAIL: usize = 12;

/// Where a failure struck all databases at once, so many last good backups are told.
const MOST: usize = 20;

impl Failing {
    pub(super) fn headline(&self, redactor: &Redactor) -> String {
        let project = &self.about.project;
        let row = if self.in_row > 1 { format!(" ({} in a row)", ordinal(self.in_row)) } else { String::new() };
        let cause = self.databases.first().map(|first| redactor.clean(&first.failure.message)).unwrap_or_default();
        let more = match self.databases.len() {
            0 | 1 => String::new(),
            failed => format!("{failed} of {} databases: ", failed + self.fine.len()),
        };
        format!("FAILED {project}{row}: {more}{cause}")
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let mut page = Page::default();
        self.opening(&mut page, redactor);
        for database in &self.databases {
            database.last_good.iter().take(MOST).for_each(|good| fall_back(&mut page, &self.about, &database.database, Some(good)));
            match database.last_good.len() {
                0 => fall_back(&mut page, &self.about, &database.database, None),
                all if all > MOST => drop(page.prose(&format!("And those of {} more databases: pgdumpd list", all - MOST))),
                _ => {}
            }
        }
        page.prose(&self.safe());
        page.prose(&format!(
            "{} {} until a backup succeeds; then you get one more.",
            page::next(&self.next, &self.about),
            page::repeats(self.reminder, &self.about)
        ));
        page.commands(&self.commands());
        restore(&mut page, &self.about, self.databases.iter().flat_map(|database| database.last_good.iter().take(MOST)));
        page.table("Facts", &self.facts());
        for (failure, names) in self.alike(|failure| failure.detail.clone()) {
            if let Some(detail) = &failure.detail {
                let whose = if self.databases.len() > 1 { format!(" for {names}") } else { String::new() };
                page.quote(&format!("The last words of the program that failed{whose}"), &redactor.clean(detail), TAIL);
            }
        }
        page.finish()
    }

    /// Each failure once, with the databases that share it: a server that is down tells all of them the same.
    fn alike<K: PartialEq>(&self, by: impl Fn(&Failure) -> K) -> Vec<(&Failure, String)> {
        let mut found: Vec<(&Failure, Vec<&str>)> = Vec::new();
        for one in &self.databases {
            match found.iter_mut().find(|(known, _)| by(known) == by(&one.failure)) {
                Some((_, names)) => names.push(&one.database),
                None => found.push((&one.failure, vec![&one.database])),
            }
        }
        found.into_iter().map(|(failure, names)| (failure, names.join(", "))).collect()
    }

    fn opening(&self, page: &mut Page, redactor: &Redactor) {
        let About { project, zone, now, .. } = &self.about;
        let row = if self.in_row > 1 {
            format!(", for the {} time in a row since {}", ordinal(self.in_row), time(self.since, *zone))
        } else {
            String::new()
        };
        let what = match self.databases.as_slice() {
            [one] => {
                let kind = if one.selection == "full" { String::new() } else { format!("{} ", one.selection) };
                let name = if one.database == *project || one.database == ANY_DATABASE {
                    project.clone()
                } else {
                    format!("{} in project {project}", one.database)
                };
                format!("No {kind}backup of {name} was made{row}.")
            }
            several => {
                let all = count(several.len() + self.fine.len(), "database");
                format!("{} of {all} in project {project} got no backup{row}.", several.len())
            }
        };
        page.prose(&what);
        for (failure, names) in self.alike(|failure| (failure.message.clone(), failure.hint.clone())) {
            let name = if self.databases.len() > 1 { format!("{names}: ") } else { String::new() };
            let hint = failure.hint.as_ref().map(|hint| format!(" {}", sentence(&redactor.clean(hint)))).unwrap_or_default();
            let message = redactor.clean(&failure.message);
            let message = if name.is_empty() { sentence(&message) } else { stopped(&message) };
            page.prose(&format!("{name}{message}{hint}"));
        }
        match &self.told {
            Told::First => {}
            Told::CauseChanged(before) => {
                page.prose(&format!("The cause is a new one; before, it was: {}", stopped(&redactor.clean(before))));
            }
            Told::Reminder => {
                page.prose(&format!("This is a reminder: it has been so for {}.", page::age(self.since, *now)));
            }
        }
    }

    fn safe(&self) -> String {
        let fine = if self.fine.is_empty() { String::new() } else { format!(" Backed up in the same job: {}.", self.fine.join(", ")) };
        let older = if self.databases.iter().any(|database| !database.last_good.is_empty()) {
            "The backups made before are untouched, and those of what failed are pruned only after a new one of it succeeds."
        } else {
            "Nothing was deleted."
        };
        format!("{older} Nothing of the failed run was left under a backup's name.{fine}")
    }

    fn commands(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        for database in &self.databases {
            rows.push(("see more", command(&self.about, &["show", &database.run])));
        }
        rows.push(("try again now", command(&self.about, &["backup", &self.about.project])));
        rows.push(("check the set-up", command(&self.about, &["doctor", &self.about.project])));
        rows
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let zone = self.about.zone;
        let version = self.server_version.as_ref().map(|version| format!(", PostgreSQL {version}")).unwrap_or_default();
        let mut rows = vec![("server", format!("{}{version}", self.about.server))];
        for FailedDatabase { database, selection, run, started_at, ended_at, attempts, .. } in &self.databases {
            let database = if database == ANY_DATABASE { "not asked for yet" } else { database };
            rows.push(("database", format!("{database}, {selection}, run {run}")));
            let took = page::age(*started_at, *ended_at);
            rows.push((
                "started",
                format!("{}, given up after {took} and {}", time(*started_at, zone), count(*attempts as usize, "attempt")),
            ));
        }
        let slot = match &self.occasion {
            Occasion::Slot { at, schedule } => format!("{}, schedule {schedule}", time(*at, zone)),
            Occasion::Hand => String::from("none; it was started by hand"),
            Occasion::Start => String::from("none; the daemon was starting"),
        };
        rows.push(("slot", slot));
        rows.push(("storage", self.about.storage.clone()));
        let client = self.client.as_ref().map(|version| format!(", pg_dump {version}")).unwrap_or_default();
        rows.push(("versions", format!("pgdumpd {}{client}", env!("CARGO_PKG_VERSION"))));
        rows.push(("machine", self.about.machine.clone()));
        rows
    }
}

impl Stale {
    pub(super) fn headline(&self) -> String {
        match &self.last_good {
            Some(backup) if backup.taken_at > self.about.now => format!(
                "STALE {}: the last good backup{} is dated in the future, by a clock that was or is wrong",
                self.about.project,
                page::of(&self.database, &self.about)
            ),
            Some(backup) => format!(
                "STALE {}: the last good backup{} is {} old, {} allowed",
                self.about.project,
                page::of(&self.database, &self.about),
                page::age(backup.taken_at, self.about.now),
                span(self.allowed)
            ),
            None => format!("STALE {}: there is no good backup{}", self.about.project, page::of(&self.database, &self.about)),
        }
    }

    pub(super) fn body(&self, redactor: &Redactor) -> String {
        let About { project, .. } = &self.about;
        let mut page = Page::default();
        page.prose(&format!(
            "Project {project} should always have a {}{} that is younger than {}, and has none.",
            self.selection.as_ref().map_or_else(|| String::from("full backup"), |selection| format!("backup ({selection})")),
            page::of(&self.database, &self.about),
            span(self.allowed)
        ));
        if let Some(reason) = &self.reason {
            page.prose(&sentence(&redactor.clean(reason)));
        }
        fall_back(&mut page, &self.about, &self.database, self.last_good.as_ref());
        page.prose(&match &self.selection {
            None => String::from("What is stored is untouched. Schema-only and partial backups don't count here, however new they are."),
            Some(selection) => {
                format!("What is stored is untouched. The project makes no full backups; here only these count: {selection}.")
            }
        });
        let repeats = page::repeats(self.reminder, &self.about);
        page.prose(&format!("{} {}.", page::next(&self.next, &self.about), repeats.trim_end_matches(',')));
        page.commands(&[
            ("see what ran", command(&self.about, &["status", project])),
            ("back up now", command(&self.about, &["backup", project])),
            ("see what is due", command(&self.about, &["plan", project])),
        ]);
        restore(&mut page, &self.about, self.last_good.iter());
        page.table("Facts", &place(&self.about));
        page.finish()
    }
}

/// Where everything is, for letters without a run.
pub(super) fn place(about: &About) -> Vec<(&'static str, String)> {
    vec![
        ("server", about.server.clone()),
        ("storage", about.storage.clone()),
        ("versions", format!("pgdumpd {}", env!("CARGO_PKG_VERSION"))),
        ("machine", about.machine.clone()),
    ]
}

fn fall_back(page: &mut Page, about: &About, database: &str, backup: Option<&LastGood>) {
    let database = if database == ANY_DATABASE { about.project.as_str() } else { database };
    match backup {
        Some(backup) => page.table(&format!("The last good backup of {}", backup.database), &page::fallback(backup, about)),
        None => page.prose(&format!("There is no good backup of {database} to fall back on.")),
    };
}

/// The lines that bring data back, with pgdumpd and without.
pub(super) fn restore<'a>(page: &mut Page, about: &About, backups: impl Iterator<Item = &'a LastGood>) {
    let backups: Vec<&LastGood> = backups.collect();
    let beside = |backup: &&LastGood| {
        let to = format!("{}_restored", backup.database);
        backup.id.as_ref().map(|id| command(about, &["restore", id, "--to", &to]))
    };
    let typed: Vec<String> = backups.iter().filter_map(beside).collect();
    page.block("To restore it, into a database of its own (as a role that may create databases: --user ROLE)", &typed);
    let mut lines: Vec<String> = Vec::new();
    for backup in backups {
        // The lines name the file alone, so that they hold wherever the folder is copied to.
        let folder = backup.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let enter = about.root.as_ref().map(|root| format!("cd {}", page::shell(&format!("{root}/{folder}"))));
        lines.extend(enter.filter(|enter| !lines.contains(enter)));
        lines.push(backup.restore.clone());
    }
    page.block("To restore it with standard tools, into a database that is there and empty", &lines);
}
