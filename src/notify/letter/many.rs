//! One mail about many projects: what they share first, then a few lines each.
//!
//! Their own letters would have said more; the commands to learn it are given.

use std::collections::{BTreeMap, BTreeSet};

use super::page::{self, Page, command, count};
use super::{About, Ill, LastGood, Letter};
use crate::model::run::ANY_DATABASE;
use crate::notify::redact::Redactor;

/// Of one failure so many databases' last good backups are told.
const MOST: usize = 5;

pub(super) fn subject(letters: &[Letter]) -> String {
    let number = |wanted: fn(&Letter) -> bool| {
        letters.iter().filter(|letter| wanted(letter)).flat_map(Letter::projects).collect::<BTreeSet<String>>().len()
    };
    let failed = number(|letter| matches!(letter, Letter::Failing(_)));
    let stale = number(|letter| matches!(letter, Letter::Stale(_)));
    let doubted = number(|letter| matches!(letter, Letter::Suspicious(_)));
    let slow = number(|letter| matches!(letter, Letter::Overrun(_)));
    let in_part = number(|letter| matches!(letter, Letter::Recovered(facts) if !facts.open.is_empty()));
    let well = number(|letter| match letter {
        Letter::Recovered(facts) => facts.open.is_empty(),
        other => matches!(other, Letter::NormalAgain(_) | Letter::OnTime(_)),
    });
    let closed = number(|letter| matches!(letter, Letter::Closed(_)));
    let bad = [("FAILED", failed), ("STALE", stale), ("SUSPICIOUS", doubted), ("OVERRUN", slow)];
    let kinds = bad.into_iter().chain([("PARTLY OK", in_part), ("OK", well), ("CLOSED", closed)]);
    let ill =
        |wanted: &[Ill]| letters.iter().filter(|letter| matches!(letter, Letter::Damaged(facts) if wanted.contains(&facts.ill))).count();
    let stored = [("DAMAGED", ill(&[Ill::Damaged])), ("UNREADABLE", ill(&[Ill::Unread])), ("LOST", ill(&[Ill::Gone]))];
    let mended = letters.iter().filter(|letter| matches!(letter, Letter::Mended(_))).count();
    let stored = stored
        .into_iter()
        .chain([("OK", mended)])
        .filter(|(_, number)| *number > 0)
        .map(|(word, number)| format!("{word} {}", count(number, "backup")));
    let parts: Vec<String> = kinds
        .filter(|(_, number)| *number > 0)
        .map(|(word, number)| format!("{word} {}", count(number, "project")))
        .chain(stored)
        .collect();
    format!("{}: {}", parts.join(", "), projects(letters).join(", "))
}

/// Each project once, in the order of the letters.
pub(super) fn projects(letters: &[Letter]) -> Vec<String> {
    let mut known = BTreeSet::new();
    letters.iter().flat_map(Letter::projects).filter(|project| known.insert(project.clone())).collect()
}

pub(super) fn body(letters: &[Letter], redactor: &Redactor) -> String {
    let mut page = Page::default();
    match projects(letters).as_slice() {
        [only] => page.prose(&format!("There are {} things to tell of project {only}.", letters.len())),
        all => page.prose(&format!("{} had something to tell in the same minute and share this mail.", count(all.len(), "project"))),
    };
    if let Some(shared) = shared_server(letters) {
        page.prose(&shared);
    }
    for letter in letters {
        let headline = page::cut(&letter.headline(redactor), 200);
        match lines(letter, redactor).as_slice() {
            [] => page.prose(&headline),
            lines => page.block(&headline, lines),
        };
    }
    if letters.iter().any(|letter| matches!(letter, Letter::Failing(_) | Letter::Stale(_))) {
        page.prose("The backups made before are untouched, and those of a database are pruned only after a new one of it succeeds.");
    }
    page.finish()
}

/// Many projects on one server most likely share one cause.
fn shared_server(letters: &[Letter]) -> Option<String> {
    let mut servers: BTreeMap<&str, usize> = BTreeMap::new();
    let failing = letters.iter().filter_map(|letter| if let Letter::Failing(facts) = letter { Some(facts) } else { None });
    for facts in failing {
        *servers.entry(facts.about.server.as_str()).or_default() += 1;
    }
    let (server, failed) = servers.into_iter().max_by_key(|(_, failed)| *failed)?;
    (failed > 1).then(|| format!("{failed} of those that failed are on {server}: look there first."))
}

/// `shop: last good 2026-11-18 02:15 UTC, 3 days ago`.
fn last_good(about: &About, backup: &LastGood) -> String {
    let taken = backup.taken_at;
    format!("{}: last good {}, {} ago", backup.database, page::time(taken, about.zone), page::age(taken, about.now))
}

fn lines(letter: &Letter, redactor: &Redactor) -> Vec<String> {
    match letter {
        Letter::Failing(facts) => {
            let about = &facts.about;
            let mut lines = Vec::new();
            for database in &facts.databases {
                let name = if database.database == ANY_DATABASE { &about.project } else { &database.database };
                if database.last_good.is_empty() {
                    lines.push(format!("{name}: no good backup to fall back on"));
                }
                lines.extend(database.last_good.iter().take(MOST).map(|backup| last_good(about, backup)));
                if database.last_good.len() > MOST {
                    lines.push(format!("and {} databases more", database.last_good.len() - MOST));
                }
                lines.push(command(about, &["show", &database.run]));
            }
            lines.push(page::next(&facts.next, about));
            lines
        }
        Letter::Stale(facts) => vec![page::next(&facts.next, &facts.about), command(&facts.about, &["status", &facts.about.project])],
        Letter::Suspicious(facts) => vec![
            String::from("It is kept, and nothing of the project is pruned meanwhile."),
            command(&facts.about, &["show", &facts.id, "--tables"]),
            command(&facts.about, &["accept", &facts.id]),
        ],
        Letter::Damaged(facts) => facts.lines(),
        Letter::Mended(facts) => vec![facts.backup.file.clone()],
        Letter::Overrun(facts) => vec![command(&facts.about, &["plan", &facts.about.project])],
        Letter::Closed(facts) => facts.lines(),
        Letter::Recovered(facts) => facts.lines(redactor),
        _ => Vec::new(),
    }
}
