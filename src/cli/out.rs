//! Printing: answers to standard output, everything else to standard error. A closed pipe ends the printing, not the work.

use std::borrow::Cow;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::{Failure, Result};
use crate::shell::turns;
pub(super) use crate::shell::word as shell;
use crate::units;

use super::Common;
use super::exit::Exit;

/// What belongs into every command that is printed, and the verbs by which a command is known.
static NAMED: OnceLock<(String, Vec<String>)> = OnceLock::new();

/// From now on the commands that are printed name this configuration file: they are to work as they are pasted.
pub(super) fn name_config(file: &Path, verbs: Vec<String>) {
    drop(NAMED.set((format!("--config {}", shell(&file.display().to_string())), verbs)));
}

/// Why a part of the answer could not be written, the first time.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// One line of the answer.
pub(super) fn say(line: impl std::fmt::Display) {
    written(writeln!(std::io::stdout(), "{}", printable(&typed(line.to_string()))));
}

/// The answer as bytes that another program reads.
pub(super) fn bytes(text: &[u8]) {
    written(std::io::stdout().write_all(text));
}

/// Notes what went wrong. `pgdumpd list | head` closes the pipe; that is no failure of ours.
fn written(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        drop(UNWRITTEN.set(error.to_string()));
    }
}

/// Whether all of the answer went out, as far as somebody took it; says so where it didn't.
pub(super) fn went_out() -> bool {
    written(std::io::stdout().flush());
    let lost = UNWRITTEN.get();
    if let Some(why) = lost {
        note(format!("pgdumpd: not all of the answer could be written to standard output: {why}"));
    }
    lost.is_none()
}

/// One line beside the answer.
pub(super) fn note(line: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{}", printable(&typed(line.to_string()))));
}

/// The text with its commands as they have to be typed here.
fn typed(text: String) -> String {
    match NAMED.get() {
        Some((option, verbs)) if text.contains(COMMAND) && !text.contains("--config") => with_option(&text, option, verbs),
        _ => text,
    }
}

/// What a command begins with.
const COMMAND: &str = "pgdumpd ";

/// Puts the option into each command of a text: the program's name as a word of its own, with a verb behind it.
fn with_option(text: &str, option: &str, verbs: &[String]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(COMMAND) {
        let (before, after) = rest.split_at(at + COMMAND.len());
        let stands_alone = !rest[..at].ends_with(|letter: char| letter.is_alphanumeric() || "/_-.".contains(letter));
        let verb = after.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
        out.push_str(before);
        if stands_alone && verbs.iter().any(|known| known == verb) {
            out.push_str(option);
            out.push(' ');
        }
        rest = after;
    }
    out + rest
}

/// Takes the lines of the tools at work, where somebody wants to see them.
pub(super) fn forwarded(common: &Common) -> Option<fn(&str)> {
    let show: fn(&str) = |line| note(line);
    (common.verbose > 0).then_some(show)
}

/// A server's words must not draw on the reader's terminal, nor turn what stands beside them.
fn printable(text: &str) -> Cow<'_, str> {
    without(text, |c| draws(c) || turns(c))
}

/// The same for programs, to which a name is what it is.
fn printable_to_programs(text: &str) -> Cow<'_, str> {
    without(text, draws)
}

fn without(text: &str, hurts: fn(char) -> bool) -> Cow<'_, str> {
    if is_plain(text.as_bytes()) || !text.contains(hurts) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if hurts(c) { '?' } else { c }).collect()
}

fn draws(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Whether it is ASCII that draws nothing. Most of what is printed is, and the processor looks at many bytes at once where no branch ends the loop.
fn is_plain(text: &[u8]) -> bool {
    !text.iter().fold(false, |found, byte| found | !matches!(byte, b' '..=b'~' | b'\n' | b'\t'))
}

/// The answer as JSON, on several lines. It goes out as it is made: ten thousand backups are ten megabytes.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, Printable { out: std::io::stdout().lock(), cut: Vec::new() });
    match serde_json::to_writer_pretty(&mut out, value) {
        Err(error) if !error.is_io() => {
            Err(Failure::new(crate::error::Cause::System, format!("the answer can't be written as JSON: {error}")))
        }
        done => {
            written(done.map_err(std::io::Error::from).and_then(|()| writeln!(out)).and_then(|()| out.flush()));
            Ok(())
        }
    }
}

/// Lets through what [`printable_to_programs`] leaves of each piece.
struct Printable<W> {
    out: W,
    /// The beginning of a character whose end comes with the next piece.
    cut: Vec<u8>,
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.cut.is_empty() && is_plain(piece) {
            self.out.write_all(piece)?;
            return Ok(piece.len());
        }
        self.cut.extend_from_slice(piece);
        let whole = std::str::from_utf8(&self.cut).map_or_else(|error| error.valid_up_to(), str::len);
        let rest = self.cut.split_off(whole);
        let text = std::mem::replace(&mut self.cut, rest);
        self.out.write_all(printable_to_programs(&String::from_utf8_lossy(&text)).as_bytes())?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
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
    units::show_count(number.into(), what)
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

    #[test]
    fn a_command_names_the_file_and_prose_does_not() {
        let verbs = ["list", "prune"].map(String::from);
        let told = |text: &str| with_option(text, "--config /x", &verbs);
        assert_eq!(
            told("look at `pgdumpd prune a --dry-run`, or: pgdumpd list"),
            "look at `pgdumpd --config /x prune a --dry-run`, or: pgdumpd --config /x list"
        );
        for prose in ["pgdumpd: there is none", "where pgdumpd is started", "/usr/bin/pgdumpd list", "pgdumpd", "pgdumpd lists it"] {
            assert_eq!(told(prose), prose);
        }
    }

    #[test]
    fn nothing_that_draws_passes_wherever_the_pieces_are_cut() {
        let text = "tab\tline\nbell \u{7}, \u{9b}31m, ü, 漢, 🐘\u{85}";
        let expected = "tab\tline\nbell ?, ?31m, ü, 漢, 🐘?";
        assert_eq!(printable(text), expected);
        assert_eq!(printable("evil\u{202e}gpj.exe, \u{2067}שלום\u{2069}"), "evil?gpj.exe, ?שלום?");
        assert_eq!(printable_to_programs("evil\u{202e}gpj"), "evil\u{202e}gpj");
        for length in 1..=text.len() {
            let mut out = Printable { out: Vec::new(), cut: Vec::new() };
            for piece in text.as_bytes().chunks(length) {
                out.write_all(piece).unwrap();
            }
            assert_eq!(String::from_utf8(out.out).unwrap(), expected, "in pieces of {length}");
        }
    }
}
