//! Printing: answers to standard output, everything else to standard error. A closed pipe ends the printing, not the work.

use std::borrow::Cow;
use std::io::Write;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::{Failure, Result};
pub(super) use crate::shell::word as shell;

use super::Common;
use super::exit::Exit;

/// One line of the answer.
pub(super) fn say(line: impl std::fmt::Display) {
    // `pgdumpd list | head` closes the pipe; that is no failure of ours.
    drop(writeln!(std::io::stdout(), "{}", printable(&line.to_string())));
}

/// The answer as bytes that another program reads.
pub(super) fn bytes(text: &[u8]) {
    drop(std::io::stdout().write_all(text));
}

/// One line beside the answer.
pub(super) fn note(line: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{}", printable(&line.to_string())));
}

/// Takes the lines of the tools at work, where somebody wants to see them.
pub(super) fn forwarded(common: &Common) -> Option<fn(&str)> {
    let show: fn(&str) = |line| note(line);
    (common.verbose > 0).then_some(show)
}

/// A server's words must not draw on the reader's terminal.
fn printable(text: &str) -> Cow<'_, str> {
    let drawing = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(drawing) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if drawing(c) { '?' } else { c }).collect()
}

/// The answer as JSON, on several lines.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(crate::error::Cause::System, format!("the answer can't be written as JSON: {error}")))?;
    drop(writeln!(std::io::stdout(), "{}", printable(&text)));
    Ok(())
}

/// A failure that is the whole answer: its sentence, what to do, the last words; as JSON where asked. Returns the exit code for it.
pub(super) fn failure(common: &Common, failure: &Failure) -> Exit {
    if common.json {
        drop(json(&serde_json::json!({ "success": false, "error": failure })));
    } else {
        tell(failure);
    }
    Exit::of(failure.cause)
}

/// A failure in words, on standard error.
pub(super) fn tell(failure: &Failure) {
    note(format!("pgdumpd: {failure}"));
    for line in failure.hint.iter().flat_map(|hint| hint.lines()) {
        note(format!("  {}", line.trim_start()));
    }
    for line in failure.detail.iter().flat_map(|detail| detail.lines()) {
        if !says(&failure.message, line) {
            note(format!("  | {line}"));
        }
    }
}

/// Whether the sentence already holds what a program's line says.
fn says(message: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = words(line);
    let line = line.strip_prefix("psql: error: ").or_else(|| line.strip_prefix("psql: ")).unwrap_or(&line);
    let reason =
        line.split_once(" failed: ").filter(|(doing, _)| doing.starts_with("connection to server ")).map_or(line, |(_, reason)| reason);
    words(message).contains(reason)
}

/// A table with a line of headings and no frame.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}

/// Prints a table without the blanks at the beginnings and ends of its lines.
pub(super) fn show(table: &Table) {
    for line in table.lines() {
        say(line.strip_prefix(' ').unwrap_or(&line).trim_end());
    }
}

/// A time in tables, whose headings name the zone: `2026-11-21 02:15:00`.
pub(super) fn when(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time that stands alone: `2026-11-21 02:15:00 CET`.
pub(super) fn moment(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `1 table`, `2 tables`.
pub(super) fn count(number: impl Into<u64>, what: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_printed_once() {
        let message = "shop/shop: no connection to db port 5432: FATAL: database \"x\" does not exist";
        assert!(says(message, "psql: error: connection to server at \"db\", port 5432 failed: FATAL:  database \"x\" does not exist"));
        assert!(!says(message, "\tIs the server running on that host and accepting TCP/IP connections?"));
        assert!(says("anything", ""), "a blank line says nothing");
    }

    #[test]
    fn a_pasted_line_means_what_it_says() {
        assert_eq!([shell("shop"), shell("a b"), shell("it's"), shell("")], ["shop", "'a b'", "'it'\\''s'", "''"]);
    }
}
