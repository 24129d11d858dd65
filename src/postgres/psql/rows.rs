//! The rows that a merge gives to psql: COPY text that can't turn into statements.

use std::io::Write;
use std::process::ChildStdin;

use crate::error::{Cause, Failure};
use crate::process::Cancel;

/// The way of rows into psql. A line that is an end mark is refused: what follows it would be taken for statements. Values escape their
/// backslashes, so no row begins with `\.`.
pub(super) struct Rows {
    pub(super) stdin: ChildStdin,
    cancel: Cancel,
    line: Line,
    /// Whether psql took no more.
    pub(super) closed: bool,
}

impl Rows {
    pub(super) fn new(stdin: ChildStdin, cancel: Cancel) -> Self {
        Self { stdin, cancel, line: Line::Fresh, closed: false }
    }

    /// Whether what passed ends with a line.
    pub(super) fn is_whole(&self) -> bool {
        self.line == Line::Fresh
    }
}

/// Where in a line COPY text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Fresh,
    Backslash,
    Passed,
}

impl Line {
    /// Where it stands after these bytes; nothing where they hold an end mark.
    fn after(mut self, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            self = match (self, first) {
                (_, b'\n') => Self::Fresh,
                (Self::Fresh, b'\\') => Self::Backslash,
                (Self::Backslash, b'.') => return None,
                _ => Self::Passed,
            };
            rest = behind;
            if self == Self::Passed {
                rest = rest.get(memchr::memchr(b'\n', rest).unwrap_or(rest.len())..).unwrap_or_default();
            }
        }
        Some(self)
    }
}

impl Write for Rows {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(reason) = self.cancel.reason() {
            return Err(reason.failure().into());
        }
        let Some(line) = self.line.after(bytes) else {
            return Err(Failure::new(Cause::Damaged, "the backup's rows hold an end mark before their end")
                .hint("the stored file is no longer what was dumped; verify it, or take another backup")
                .into());
        };
        self.stdin.write_all(bytes).inspect_err(|_| self.closed = true)?;
        self.line = line;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stdin.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_mark_is_found_however_the_rows_are_cut() {
        let rows = b"1\ta\\.b\n\\N\t2\n\n\\\\.\n3\n";
        let marked = b"1\t2\n\\.\ndrop table x;\n";
        for size in 1..=rows.len() {
            let walk = |text: &[u8]| text.chunks(size).try_fold(Line::Fresh, Line::after);
            assert_eq!((walk(rows), walk(marked)), (Some(Line::Fresh), None), "pieces of {size}");
        }
    }
}
