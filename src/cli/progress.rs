//! Progress of a run: a bar on a terminal, a plain line now and then elsewhere; a retry is told as soon as it is waited for.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Clock;
use crate::jobs::{Board, Current, Retry};
use crate::model::backup::RunId;
use crate::process::{Cancel, CancelReason};
use crate::storage::Given;
use crate::stream::gauge::{Gauge, Step};
use crate::units::{show_age, show_size};

use super::out;

/// How often a plain line is printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// How often the board is looked at, and the bar drawn.
const LOOK: Duration = Duration::from_millis(200);

/// Shows what is on the board until `over`; runs on its own thread.
pub(super) fn follow(board: &Board, over: &Cancel) {
    if std::io::stderr().is_terminal() { bar(board, over) } else { lines(board, over) }
}

/// Does something with a file that may be large, and shows how far it has been read.
pub(super) fn of_file<T>(path: &Path, given: Given, work: impl FnOnce(&Given) -> T) -> T {
    let (gauge, over) = (Gauge::new(), Cancel::new());
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let given = given.shown_by(&gauge);
    given.begin_reading("reading");
    let board = Board::showing(Current {
        run: RunId::random(),
        project: name.clone(),
        database: name,
        since: Clock::system().now(),
        expected: given.length().ok(),
        gauge,
    });
    std::thread::scope(|scope| {
        scope.spawn(|| follow(&board, &over));
        let done = work(&given);
        over.cancel(CancelReason::Cancelled);
        done
    })
}

/// Clears the line that a bar has drawn on the terminal, before something else is told there; it is drawn again.
pub(super) fn make_room() {
    if std::io::stderr().is_terminal() {
        drop(write!(std::io::stderr(), "\r\x1b[2K"));
    }
}

fn bar(board: &Board, over: &Cancel) {
    let known = style("{prefix} {wide_bar} {bytes} of about {total_bytes}, {bytes_per_sec}, {eta} left");
    let unknown = style("{prefix} {spinner} {bytes}, {bytes_per_sec}");
    let words = style("{msg}");
    // With a style from the start: what it is told below is drawn at once.
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(unknown.clone());
    let mut told = Told::default();
    let mut shown: Option<RunId> = None;
    while over.wait_timeout(LOOK).is_none() {
        told.news(board).iter().for_each(|words| bar.suspend(|| out::note(words)));
        let Some(current) = board.current().into_iter().next() else { continue };
        if shown.as_ref() != Some(&current.run) {
            // The rate of one database says nothing of the next.
            bar.reset();
            shown = Some(current.run.clone());
        }
        let moved = current.gauge.snapshot().archive_bytes;
        if let Some(step) = current.gauge.step() {
            bar.set_style(words.clone());
            bar.set_message(stepped(&name(&current), &step, moved, current.expected, step.since.elapsed()));
            continue;
        }
        bar.set_prefix(name(&current));
        match current.expected.filter(|expected| *expected >= moved) {
            Some(expected) => {
                bar.set_style(known.clone());
                bar.set_length(expected);
            }
            None => bar.set_style(unknown.clone()),
        }
        bar.set_position(moved);
    }
    bar.finish_and_clear();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn lines(board: &Board, over: &Cancel) {
    let mut told = Told::default();
    let mut before: HashMap<RunId, u64> = HashMap::new();
    let mut next = Instant::now() + PLAIN_EVERY;
    while over.wait_timeout(LOOK).is_none() {
        told.news(board).iter().for_each(out::note);
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + PLAIN_EVERY;
        // What waits for another try moves nothing, and has said so.
        let current = board.current().into_iter().filter(|_| board.retries().is_empty());
        before = current
            .map(|current| {
                let moved = current.gauge.snapshot().archive_bytes;
                let line = line(&name(&current), moved, before.get(&current.run).copied().unwrap_or(0), current.expected);
                let table = current.gauge.step().and_then(|step| step.table).map(|table| format!(", {}", of_tables(&table)));
                out::note(format!("{line}{}", table.unwrap_or_default()));
                (current.run, moved)
            })
            .collect();
    }
}

/// `shop/shop: 120.0 MiB of about 278.3 MiB, 13.6 MiB/s, 12 s left`.
fn line(name: &str, moved: u64, before: u64, expected: Option<u64>) -> String {
    let rate = moved.saturating_sub(before) / PLAIN_EVERY.as_secs();
    let (of, left) = match expected.filter(|expected| *expected >= moved) {
        None => (String::new(), String::new()),
        Some(expected) => {
            let left = (expected - moved).checked_div(rate).map(|left| format!(", {} left", show_age(Duration::from_secs(left))));
            (format!(" of about {}", show_size(expected)), left.unwrap_or_default())
        }
    };
    format!("{name}: {}{of}, {}/s{left}", show_size(moved), show_size(rate))
}

/// `restoring shop 43 % · 12 of 31 tables (orders) · 180.0 MiB of 420.0 MiB · 55.0 MiB/s · 4 s left`.
fn stepped(name: &str, step: &Step, moved: u64, expected: Option<u64>, passed: Duration) -> String {
    let mut parts = vec![format!("{} {name}", step.doing)];
    parts.extend(step.table.as_ref().map(of_tables));
    let rate = (moved as f64 / passed.as_secs_f64().max(0.2)) as u64;
    match expected.filter(|expected| moved > 0 && *expected >= moved) {
        Some(expected) => {
            parts[0].push_str(&format!(" {} %", moved * 100 / expected.max(1)));
            parts.push(format!("{} of {}", show_size(moved), show_size(expected)));
            parts.push(format!("{}/s", show_size(rate)));
            // No second is left only when it is over. Where the server doesn't tell how far a table is, nothing counts before one is done, and
            // little of a thousand says nothing of the rest.
            let left = (expected - moved).checked_div(rate).filter(|left| *left > 0 && moved >= expected / 100);
            parts.extend(left.map(|left| format!("{} left", show_age(Duration::from_secs(left)))));
        }
        None if moved > 0 => parts.extend([show_size(moved), format!("{}/s", show_size(rate))]),
        // Nobody knows how long the server takes for an index.
        None => {}
    }
    parts.join(" · ")
}

fn of_tables((number, of, name): &(u64, u64, String)) -> String {
    format!("{number} of {} ({name})", out::count(*of, "table"))
}

/// The retries that have been told, and who holds something up.
#[derive(Default)]
struct Told(Vec<Retry>, Vec<String>);

impl Told {
    fn news(&mut self, board: &Board) -> Vec<String> {
        let waiting = board.retries();
        let now = Clock::system().now();
        let new = waiting.iter().filter(|retry| !self.0.contains(retry)).map(|retry| {
            let wait = show_age((retry.until - now).to_std().unwrap_or_default() + Duration::from_millis(500));
            format!("{}: {}\n  trying again in {wait}", retry.project, retry.why)
        });
        let mut words: Vec<String> = new.collect();
        self.0 = waiting;
        let held = board.current().into_iter().filter_map(|current| {
            let who = current.gauge.held_up()?;
            Some(format!("{} waits for a lock held by {who}", name(&current)))
        });
        let held: Vec<String> = held.collect();
        words.extend(held.iter().filter(|held| !self.1.contains(held)).cloned());
        self.1 = held;
        words
    }
}

fn name(current: &Current) -> String {
    if current.project == current.database { current.project.clone() } else { format!("{}/{}", current.project, current.database) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Step, line, stepped};

    #[test]
    fn a_step_says_where_it_is_and_when_it_ends() {
        const MIB: u64 = 1 << 20;
        let mut step = Step { doing: "restoring", since: Instant::now(), table: Some((12, 31, "orders".into())) };
        let words = stepped("shop", &step, 180 * MIB, Some(420 * MIB), Duration::from_secs(4));
        assert_eq!(words, "restoring shop 42 % · 12 of 31 tables (orders) · 180.0 MiB of 420.0 MiB · 45.0 MiB/s · 5 s left");
        let early = stepped("shop", &step, MIB, Some(420 * MIB), Duration::from_secs(4));
        assert!(early.contains(" 0 % ") && !early.contains("left"), "{early}");
        step.table = None;
        assert_eq!(stepped("shop", &step, MIB, None, Duration::from_secs(1)), "restoring shop · 1.0 MiB · 1.0 MiB/s");
        step.doing = "comparing";
        assert_eq!(stepped("shop", &step, 0, Some(MIB), Duration::from_secs(1)), "comparing shop");
    }

    #[test]
    fn a_line_says_rate_and_end_where_they_are_known() {
        const MIB: u64 = 1 << 20;
        assert_eq!(line("shop", 300 * MIB, 0, Some(600 * MIB)), "shop: 300.0 MiB of about 600.0 MiB, 10.0 MiB/s, 30 s left");
        assert_eq!(line("shop", 700 * MIB, 700 * MIB, Some(600 * MIB)), "shop: 700.0 MiB, 0 B/s");
        assert_eq!(line("shop", 300 * MIB, 300 * MIB, Some(600 * MIB)), "shop: 300.0 MiB of about 600.0 MiB, 0 B/s");
    }
}
