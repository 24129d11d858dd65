//! Printing: answers to standard output, everything else to standard error. A closed pipe ends the printing, not the work.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::{Failure, Result};

use super::Common;
use super::exit::Exit;

/// One line of the answer.
pub(super) fn say(line: impl std::fmt::Display) {
    // `pgdumpd list | head` closes the pipe; that is no failure of ours.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// One line beside the answer.
pub(super) fn note(line: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The answer as JSON, on several lines.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(crate::error::Cause::System, format!("the answer can't be written as JSON: {error}")))?;
    say(text);
    Ok(())
}

/// A failure: its sentence, what to do, the last words; as JSON where asked. Returns the exit code for it.
pub(super) fn failure(common: &Common, failure: &Failure) -> Exit {
    if common.json {
        drop(json(&serde_json::json!({ "success": false, "error": failure })));
    } else {
        note(format!("pgdumpd: {failure}"));
        if let Some(hint) = &failure.hint {
            note(format!("  {hint}"));
        }
        for line in failure.detail.iter().flat_map(|detail| detail.lines()) {
            note(format!("  | {line}"));
        }
    }
    Exit::of(failure.cause)
}

/// A table with a line of headings and no frame.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}

/// Prints a table without the blanks at the ends of its lines.
pub(super) fn show(table: &Table) {
    for line in table.lines() {
        say(line.trim_end());
    }
}

/// Where backups in a table lie in time: `2026-11-21 02:15`.
pub(super) fn when(at: chrono::DateTime<chrono::Utc>, zone: chrono_tz::Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string()
}
