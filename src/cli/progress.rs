//! Progress of a run: a bar on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::jobs::{Board, Current};
use crate::process::Cancel;
use crate::units::show_size;

use super::out;

/// How often a plain line is printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// How often the bar is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Shows what is on the board until `over`; runs on its own thread.
pub(super) fn follow(board: &Board, over: &Cancel) {
    if std::io::stderr().is_terminal() { bar(board, over) } else { lines(board, over) }
}

fn bar(board: &Board, over: &Cancel) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let known = style("{prefix} {bar:30} {bytes} of about {total_bytes}, {bytes_per_sec}, {eta} left");
    let unknown = style("{prefix} {spinner} {bytes}, {bytes_per_sec}");
    while over.wait_timeout(DRAW).is_none() {
        let Some(current) = board.current().into_iter().next() else { continue };
        let moved = current.gauge.snapshot().archive_bytes;
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
    let mut before = 0;
    while over.wait_timeout(PLAIN_EVERY).is_none() {
        for current in board.current() {
            let moved = current.gauge.snapshot().archive_bytes;
            let rate = moved.saturating_sub(before) / PLAIN_EVERY.as_secs();
            let of = current.expected.map(|expected| format!(" of about {}", show_size(expected))).unwrap_or_default();
            out::note(format!("{}: {}{of}, {}/s", name(&current), show_size(moved), show_size(rate)));
            before = moved;
        }
    }
}

fn name(current: &Current) -> String {
    format!("{}/{}", current.project, current.database)
}
