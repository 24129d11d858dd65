//! The rows behind a COPY statement in a plain dump, up to their end mark: counted, and compared with the statement's columns where asked.
//!
//! Keeps nothing of them. The watch over a script and its reader use it.

/// A COPY section.
#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    line: Line,
    /// How many columns each row must have, where that is asked for.
    columns: Option<u64>,
    /// The tabs in the row so far; values escape theirs.
    tabs: u64,
    /// The first row with another number of columns, counted from one, and that number.
    odd: Option<(u64, u64)>,
}

/// How much of a line has been seen, as far as its end mark is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    /// The rest of the COPY statement's own line.
    #[default]
    Statement,
    Begin,
    Backslash,
    Dot,
    DotReturn,
    Row,
}

impl Data {
    /// One whose rows must have so many columns.
    pub(super) fn comparing(columns: Option<u64>) -> Self {
        Self { columns, ..Self::default() }
    }

    /// The first row with another number of columns, in words.
    pub(super) fn odd(&self) -> Option<String> {
        let ((row, found), columns) = (self.odd?, self.columns?);
        Some(format!("row {row} has {found} of {columns} columns"))
    }

    /// Reads data; returns how many bytes it took, and whether the end mark was the last of them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && let Some(&byte) = rest.first()
        {
            match (self.line, byte) {
                (Line::Begin, b'\\') => (self.line, at) = (Line::Backslash, at + 1),
                (Line::Backslash, b'.') => (self.line, at) = (Line::Dot, at + 1),
                (Line::Dot | Line::DotReturn, b'\n') => return (at + 1, true),
                // A script whose line ends were changed on the way; rows escape theirs.
                (Line::Dot, b'\r') => (self.line, at) = (Line::DotReturn, at + 1),
                (line, _) => {
                    let newline = memchr::memchr(b'\n', rest);
                    let used = newline.map_or(rest.len(), |newline| newline + 1);
                    at += used;
                    if line != Line::Statement {
                        // The bytes of a line's beginning that was held back count as well.
                        self.bytes += used as u64
                            + match line {
                                Line::Backslash => 1,
                                Line::Dot => 2,
                                Line::DotReturn => 3,
                                _ => 0,
                            };
                        self.rows += u64::from(newline.is_some());
                        self.compare(rest.get(..used).unwrap_or_default(), newline.is_some());
                    }
                    self.line = match (newline, line) {
                        (Some(_), _) => Line::Begin,
                        (None, Line::Statement) => Line::Statement,
                        (None, _) => Line::Row,
                    };
                }
            }
        }
        (at, false)
    }

    /// Counts the columns in a piece of a row.
    fn compare(&mut self, piece: &[u8], is_last: bool) {
        let Some(columns) = self.columns else { return };
        self.tabs += memchr::memchr_iter(b'\t', piece).count() as u64;
        if is_last {
            let found = std::mem::take(&mut self.tabs) + 1;
            if found != columns && self.odd.is_none() {
                self.odd = Some((self.rows, found));
            }
        }
    }
}
