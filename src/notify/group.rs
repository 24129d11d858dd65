//! Many projects, one mail: what happens within a minute and goes to the same people shares an envelope.
//!
//! Pure; the daemon's outbox chore holds the waiting letters and calls [`gather`] with the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::letter::Letter;

/// How long a letter waits for company.
pub const WINDOW: Duration = Duration::from_secs(60);

/// A letter that is due and has not been written yet.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Whom it goes to.
    pub to: BTreeSet<String>,
    /// When it became due.
    pub since: DateTime<Utc>,
    /// The incident's first mail, by its Message-ID; `None` where this is the first.
    pub thread: Option<String>,
    /// What it says.
    pub letter: Letter,
}

/// A mail to be written now.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Whom it goes to.
    pub to: BTreeSet<String>,
    /// One letter as it is, several as [`Letter::Grouped`].
    pub letter: Letter,
    /// The first mails of the incidents in it, each once. A project whose incident has none yet takes this mail's id as its first.
    pub threads: Vec<String>,
}

/// Splits what waits into mails that are due and letters that wait on.
///
/// A recipient set is due once its oldest letter has waited for [`WINDOW`], or at once where the clock went back behind it. Only letters of
/// an incident share a mail; a summary, a held prune or a damaged backup go alone.
#[must_use]
pub fn gather(waiting: Vec<Waiting>, now: DateTime<Utc>) -> (Vec<Ready>, Vec<Waiting>) {
    let mut sets: BTreeMap<BTreeSet<String>, Vec<Waiting>> = BTreeMap::new();
    let mut ready = Vec::new();
    for letter in waiting {
        if joins(&letter.letter) {
            sets.entry(letter.to.clone()).or_default().push(letter);
        } else {
            ready.push(alone(letter));
        }
    }
    let mut rest = Vec::new();
    for (to, mut letters) in sets {
        letters.sort_by_key(|letter| letter.since);
        if letters.iter().any(|letter| is_due(letter.since, now)) {
            ready.extend(together(to, letters));
        } else {
            rest.extend(letters);
        }
    }
    (ready, rest)
}

fn is_due(since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - since).to_std().map_or(true, |waited| waited >= WINDOW)
}

fn joins(letter: &Letter) -> bool {
    matches!(letter, Letter::Failing(_) | Letter::Stale(_) | Letter::Recovered(_))
}

fn alone(waiting: Waiting) -> Ready {
    Ready { to: waiting.to, letter: waiting.letter, threads: waiting.thread.into_iter().collect() }
}

fn together(to: BTreeSet<String>, mut letters: Vec<Waiting>) -> Option<Ready> {
    if letters.len() < 2 {
        return letters.pop().map(alone);
    }
    let mut threads: Vec<String> = Vec::new();
    for thread in letters.iter().filter_map(|letter| letter.thread.as_ref()) {
        if !threads.contains(thread) {
            threads.push(thread.clone());
        }
    }
    Some(Ready { to, letter: Letter::Grouped(letters.into_iter().map(|letter| letter.letter).collect()), threads })
}
