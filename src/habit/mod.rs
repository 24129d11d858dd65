//! Whether a backup falls out of the habit of those before it: far fewer rows, far fewer bytes, or a large table that is suddenly empty.
//!
//! Pure: earlier backups and the new one in, a sentence with both figures out. What follows (the mark, the mail, pruning that waits) is
//! the verbs' work. A purge, a rotated partition or a small database must not cry wolf: hence the floors.

mod suspension;
mod tables;
mod words;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use suspension::{Suspension, suspension};
pub use tables::{Counted, Known, TableFall, missing, worst};

use std::time::Duration;

use crate::model::dump::Content;

/// How many normal backups make the habit, at most.
pub const MEMBERS: usize = 7;

/// Where fewer were made there is no habit yet, unless a person has accepted one of them.
pub const LEAST: usize = 3;

/// Fewer rows lost than this are nothing unusual, however large their share.
const FLOOR_ROWS: u64 = 1000;

/// Unless none at all are left of at least so many.
const FLOOR_ALL: u64 = 100;

/// Fewer bytes lost than this are nothing unusual where rows come and go.
const FLOOR_BYTES: u64 = 256 * 1024;

/// Definitions don't come and go.
const FLOOR_DEFINITIONS: u64 = 4 * 1024;

/// When a backup counts as suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Fewer rows than this share of the habit, percent; 0 switches it off.
    pub rows_below: u32,
    /// Fewer bytes before compression than this share of the habit, percent; 0 switches it off.
    pub size_below: u32,
    /// Whether single tables are looked at, too.
    pub tables: bool,
    /// So many alike in a row are the new habit.
    pub after: u32,
    /// But not before the first of them is so much older than the last; zero is by number alone.
    pub after_span: Duration,
}

/// What an earlier backup counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was never marked.
    Normal,
    /// It was marked, and a person (or a row of alike ones) made it the new habit.
    Accepted,
    /// It is marked.
    Suspicious,
}

/// The figures by which backups are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Rows, where they were counted.
    pub rows: Option<u64>,
    /// Bytes before compression; unknown where they can't be compared with the others'.
    pub bytes: Option<u64>,
}

/// An earlier backup of the same project, database and selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// Its figures.
    pub figures: Figures,
    /// What it counts for.
    pub standing: Standing,
}

/// Which of the earlier backups make the habit, and which stand in doubt since.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Habit {
    /// The normal ones, newest first, as places in the list that was handed in.
    pub members: Vec<usize>,
    /// The suspicious ones since the newest normal one, newest first.
    pub doubted: Vec<usize>,
    /// Whether they are enough to judge by, by their own number; with a shorter retention it is the number of those made that tells.
    pub is_known: bool,
}

impl Habit {
    /// Picks them from earlier backups, newest first. What was accepted begins a new habit: nothing before it counts any more, nor what was
    /// accepted earlier and is unlike it.
    #[must_use]
    pub fn of(rule: &Rule, content: Content, past: &[Past]) -> Self {
        let mut habit = Self::default();
        let mut accepted: Option<Figures> = None;
        for (place, one) in past.iter().enumerate() {
            match one.standing {
                Standing::Suspicious if habit.members.is_empty() => habit.doubted.push(place),
                Standing::Suspicious => {}
                Standing::Normal if accepted.is_some() => break,
                Standing::Normal => habit.members.push(place),
                Standing::Accepted if accepted.is_some_and(|newest| !are_like(rule, content, newest, one.figures)) => break,
                Standing::Accepted => {
                    accepted = accepted.or(Some(one.figures));
                    habit.members.push(place);
                }
            }
            if habit.members.len() == MEMBERS {
                break;
            }
        }
        habit.is_known = accepted.is_some() || habit.members.len() >= LEAST;
        habit
    }

    /// The usual figures.
    #[must_use]
    pub fn figures(&self, past: &[Past]) -> Figures {
        let of =
            |figure: fn(&Figures) -> Option<u64>| median(self.members.iter().filter_map(|place| figure(&past[*place].figures)).collect());
        Figures { rows: of(|figures| figures.rows), bytes: of(|figures| figures.bytes) }
    }
}

/// The middle one; of two in the middle the smaller, which doubts less.
fn median(mut numbers: Vec<u64>) -> Option<u64> {
    numbers.sort_unstable();
    numbers.get(numbers.len().checked_sub(1)? / 2).copied()
}

/// A new backup against the habit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fall {
    /// Rows from, to.
    pub rows: Option<(u64, u64)>,
    /// Bytes before compression from, to.
    pub bytes: Option<(u64, u64)>,
    /// Tables that lost all their rows, the largest first.
    pub tables: Vec<TableFall>,
}

/// Whether these figures fall far below the usual ones. Growing never does.
#[must_use]
pub fn fall(rule: &Rule, content: Content, usual: Figures, new: Figures) -> Fall {
    let below = |percent: u32, from: u64, to: u64| u128::from(to) * 100 < u128::from(from) * u128::from(percent.min(100));
    let rows = usual.rows.zip(new.rows).filter(|(from, to)| {
        let lost = from.saturating_sub(*to);
        below(rule.rows_below, *from, *to) && (lost >= FLOOR_ROWS || *to == 0 && lost >= FLOOR_ALL)
    });
    let floor = if matches!(content, Content::Schema | Content::Globals) { FLOOR_DEFINITIONS } else { FLOOR_BYTES };
    let bytes = usual.bytes.zip(new.bytes).filter(|(from, to)| below(rule.size_below, *from, *to) && from - to >= floor);
    Fall { rows, bytes, tables: Vec::new() }
}

impl Fall {
    /// Whether anything fell.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.rows.is_none() && self.bytes.is_none() && self.tables.is_empty()
    }
}

/// How many of the doubted ones, newest first, are like the new one, so that together they are a row: none of them falls out of a habit
/// that another of them would make.
#[must_use]
pub fn alike(rule: &Rule, content: Content, past: &[Past], habit: &Habit, new: Figures) -> usize {
    habit.doubted.iter().take_while(|place| are_like(rule, content, past[**place].figures, new)).count()
}

/// Whether neither falls out of a habit that the other would make.
fn are_like(rule: &Rule, content: Content, one: Figures, other: Figures) -> bool {
    fall(rule, content, one, other).is_none() && fall(rule, content, other, one).is_none()
}

/// Whether the new one and so many alike before it, the first of them so much older, are the new habit. The number alone would be reached
/// within one night of hourly backups, before anybody has read the mail.
#[must_use]
pub fn is_new_habit(rule: &Rule, alike: usize, over: Duration) -> bool {
    alike as u64 + 1 >= u64::from(rule.after) && over >= rule.after_span
}
