//! Many projects, one mail: what happens within a minute and goes to the same people shares an envelope.
//!
//! Pure; the daemon's outbox chore holds the waiting letters and calls [`gather`] with the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::letter::Letter;
use crate::alert::AlertKey;

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
    /// The alerts whose incident begins with this letter: later mails answer the one it goes out in.
    pub begins: Vec<AlertKey>,
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
    /// The first mails of the incidents in it that have one already, each once.
    pub threads: Vec<String>,
    /// The alerts that take this mail's id as their incident's first.
    pub begins: Vec<AlertKey>,
}

/// Splits what waits into mails that are due and letters that wait on.
///
/// A recipient set is due once its oldest letter has waited for [`WINDOW`], or at once where the clock went back behind it. Only letters of
/// an incident share a mail, and those of stored backups; a summary or a held prune go alone.
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
    let about_backups = matches!(letter, Letter::Failing(_) | Letter::Stale(_) | Letter::Recovered(_) | Letter::Suspicious(_));
    let stored = matches!(letter, Letter::Damaged(_) | Letter::Mended(_));
    about_backups || stored || matches!(letter, Letter::NormalAgain(_) | Letter::Overrun(_) | Letter::OnTime(_) | Letter::Closed(_))
}

fn alone(waiting: Waiting) -> Ready {
    Ready { to: waiting.to, letter: waiting.letter, threads: waiting.thread.into_iter().collect(), begins: waiting.begins }
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
    let begins = letters.iter_mut().flat_map(|letter| std::mem::take(&mut letter.begins)).collect();
    Some(Ready { to, letter: Letter::Grouped(letters.into_iter().map(|letter| letter.letter).collect()), threads, begins })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::letter::Rebuilt;
    use crate::notify::letter::tests::{failing, recovered, stale};
    use chrono::{TimeDelta, TimeZone, Utc};

    fn at(second: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 21, 1, 22, 0).unwrap() + TimeDelta::seconds(second)
    }

    fn waiting(to: &[&str], second: i64, thread: Option<&str>, letter: Letter) -> Waiting {
        let to = to.iter().map(|address| String::from(*address)).collect();
        Waiting { to, since: at(second), thread: thread.map(String::from), begins: Vec::new(), letter }
    }

    fn fails(project: &str) -> Letter {
        Letter::Failing(failing(project))
    }

    #[test]
    fn five_hundred_projects_in_one_minute_are_one_mail() {
        let all = (0..500).map(|number| waiting(&["a@b.org"], number % 50, None, fails(&format!("p{number}")))).collect();
        let (ready, rest) = gather(all, at(60));
        assert_eq!((ready.len(), rest.len()), (1, 0));
        assert_eq!(ready[0].letter.projects().len(), 500);
        assert_eq!(ready[0].letter.event(), "grouped");
    }

    #[test]
    fn nothing_goes_out_before_its_minute_is_over() {
        let all = vec![waiting(&["a@b.org"], 0, None, fails("shop")), waiting(&["a@b.org"], 58, None, fails("crm"))];
        let (ready, rest) = gather(all, at(59));
        assert_eq!((ready.len(), rest.len()), (0, 2));
        let (ready, rest) = gather(rest, at(60));
        assert_eq!((ready.len(), rest.len()), (1, 0));
    }

    #[test]
    fn a_clock_set_back_holds_no_mail() {
        let (ready, _) = gather(vec![waiting(&["a@b.org"], 7200, None, fails("shop"))], at(0));
        assert_eq!(ready.len(), 1);
    }

    #[test]
    fn each_set_of_recipients_gets_its_own_mail_whatever_their_order() {
        let all = vec![
            waiting(&["a@b.org", "c@d.org"], 0, None, fails("shop")),
            waiting(&["c@d.org", "a@b.org"], 1, None, fails("crm")),
            waiting(&["a@b.org"], 2, None, fails("wiki")),
        ];
        let (ready, rest) = gather(all, at(70));
        assert!(rest.is_empty());
        let projects: Vec<_> = ready.iter().map(|mail| mail.letter.projects()).collect();
        assert_eq!(projects, [vec![String::from("wiki")], vec![String::from("shop"), String::from("crm")]]);
    }

    #[test]
    fn one_letter_goes_as_it_is_in_its_incident() {
        let (ready, _) = gather(vec![waiting(&["a@b.org"], 0, Some("<1@h>"), Letter::Recovered(recovered("shop")))], at(60));
        assert_eq!(ready[0].letter.event(), "recovered");
        assert_eq!(ready[0].threads, ["<1@h>"]);
    }

    #[test]
    fn a_shared_mail_answers_each_incident_once() {
        let all = vec![
            waiting(&["a@b.org"], 0, Some("<1@h>"), fails("shop")),
            waiting(&["a@b.org"], 1, Some("<1@h>"), fails("crm")),
            waiting(&["a@b.org"], 2, None, Letter::Stale(stale())),
            waiting(&["a@b.org"], 3, Some("<2@h>"), fails("wiki")),
        ];
        let (ready, _) = gather(all, at(60));
        assert_eq!(ready[0].threads, ["<1@h>", "<2@h>"]);
    }

    #[test]
    fn what_is_no_incident_goes_alone_and_at_once() {
        let note = Letter::Rebuilt(Rebuilt {
            machine: String::from("backup1"),
            reason: String::from("the file was not there"),
            backups: 1,
            projects: 1,
            aside: None,
            config: None,
        });
        let (ready, rest) = gather(vec![waiting(&["a@b.org"], 0, None, note), waiting(&["a@b.org"], 0, None, fails("shop"))], at(1));
        assert_eq!((ready.len(), rest.len()), (1, 1));
        assert_eq!(ready[0].letter.event(), "rebuilt-catalog");
    }
}
