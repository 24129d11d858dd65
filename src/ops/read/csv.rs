//! Rows as CSV, byte by byte what `psql`'s `\copy … csv header` writes.
//!
//! NULL is nothing, an empty text is `""`; quotes stand only where they are needed. A value longer than [`LONGEST_HELD`] is quoted in any
//! case, because it is never held as a whole.

use std::io;

use super::{Out, Rows};
use crate::postgres::archive::copy_rows::Cells;

/// Values up to this length are looked through before they are written, bytes.
const LONGEST_HELD: usize = 1 << 20;

/// A writer of CSV.
pub(super) struct Csv<'a> {
    out: Out<'a>,
    columns: usize,
    /// Values of the present row so far.
    values: usize,
    rows: u64,
    /// The beginning of a value that came in pieces.
    held: Vec<u8>,
    /// Whether the present value is written already, in quotes, as far as it has come.
    streaming: bool,
}

impl<'a> Csv<'a> {
    /// Writes the header.
    pub(super) fn begin(out: Out<'a>, columns: &[String]) -> io::Result<Self> {
        let mut csv = Self { out, columns: columns.len(), values: 0, rows: 0, held: Vec::new(), streaming: false };
        for column in columns {
            csv.part(column.as_bytes(), true)?;
        }
        csv.end_row()?;
        csv.rows = 0;
        Ok(csv)
    }

    fn separate(&mut self) -> io::Result<()> {
        self.values += 1;
        if self.values > 1 { self.out.write_all(b",") } else { Ok(()) }
    }

    fn needs_quotes(&self, value: &[u8]) -> bool {
        let special = || memchr::memchr3(b',', b'"', b'\n', value).or_else(|| memchr::memchr(b'\r', value)).is_some();
        value.is_empty() || special() || (self.columns == 1 && value == b"\\.")
    }

    /// Writes what stands in quotes.
    fn escaped(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some(at) = memchr::memchr(b'"', rest) {
            let (before, after) = rest.split_at(at + 1);
            self.out.write_all(before)?;
            self.out.write_all(b"\"")?;
            rest = after;
        }
        self.out.write_all(rest)
    }

    fn value(&mut self, value: &[u8]) -> io::Result<()> {
        self.separate()?;
        if !self.needs_quotes(value) {
            return self.out.write_all(value);
        }
        self.out.write_all(b"\"")?;
        self.escaped(value)?;
        self.out.write_all(b"\"")
    }
}

impl Cells for Csv<'_> {
    fn part(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        if self.columns == 0 {
            return Ok(());
        }
        if self.streaming {
            self.escaped(bytes)?;
            self.streaming = !last;
            return if last { self.out.write_all(b"\"") } else { Ok(()) };
        }
        if last && self.held.is_empty() {
            return self.value(bytes);
        }
        self.held.extend_from_slice(bytes);
        if last {
            let held = std::mem::take(&mut self.held);
            self.value(&held)?;
            self.held = held;
            self.held.clear();
        } else if self.held.len() > LONGEST_HELD {
            let held = std::mem::take(&mut self.held);
            self.separate()?;
            self.out.write_all(b"\"")?;
            self.escaped(&held)?;
            self.streaming = true;
        }
        Ok(())
    }

    fn null(&mut self) -> io::Result<()> {
        self.separate()
    }

    fn end_row(&mut self) -> io::Result<()> {
        if self.values != self.columns {
            return Err(super::wrong_width(self.rows, self.values, self.columns));
        }
        self.values = 0;
        self.rows += 1;
        self.out.write_all(b"\n")
    }
}

impl Rows for Csv<'_> {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::copy_rows::rows;

    fn csv(columns: &[&str], text: &[u8]) -> String {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let mut out = Vec::new();
        let mut csv = Csv::begin(Out::new(&mut out), &columns).unwrap();
        rows(&mut &text[..], &mut csv).unwrap();
        csv.finish().unwrap();
        drop(csv);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quotes_stand_where_they_are_needed() {
        let text = b"1\t\\N\n\tx,\"y\"\\n\n\\\\.\ta\\\\\n\\.\n";
        assert_eq!(csv(&["a", "b, c"], text), "a,\"b, c\"\n1,\n\"\",\"x,\"\"y\"\"\n\"\n\\.,a\\\n");
        assert_eq!(csv(&["a"], b"\\\\.\n\\N\n\\.\n"), "a\n\"\\.\"\n\n");
        assert_eq!(csv(&[], b"\n\n\\.\n"), "\n\n\n");
    }

    #[test]
    fn a_long_value_is_quoted_and_not_held() {
        let long = "é\"".repeat(LONGEST_HELD);
        let text = format!("{long}\tx\n\\.\n");
        let expected = format!("a,b\n\"{}\",x\n", long.replace('"', "\"\""));
        assert!(csv(&["a", "b"], text.as_bytes()) == expected);
    }

    #[test]
    fn a_row_of_another_width_ends_the_reading() {
        let mut out = Vec::new();
        let mut csv = Csv::begin(Out::new(&mut out), &[String::from("a")]).unwrap();
        assert!(rows(&mut &b"1\n1\t2\n\\.\n"[..], &mut csv).is_err());
    }
}
