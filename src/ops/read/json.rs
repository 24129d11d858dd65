//! Rows as JSON, one object a line, as `row_to_json` writes numbers and booleans; everything else is a string.
//!
//! Strings are written as they come, so that a value of any length takes no memory.

use std::io;

use super::{Out, Rows};
use crate::error::{Cause, Failure};
use crate::postgres::archive::copy_rows::Cells;
use crate::postgres::archive::statement::Shape;

/// Longer texts are no number.
const LONGEST_NUMBER: usize = 4096;

/// A writer of JSON lines.
pub(super) struct Json<'a> {
    out: Out<'a>,
    columns: Vec<Column>,
    values: usize,
    rows: u64,
    /// A value that may be a number or a boolean, or the beginning of a character whose end has not come.
    held: Vec<u8>,
    /// Whether the present value is written already, as a string, as far as it has come.
    streaming: bool,
}

struct Column {
    /// `{"id":` or `,"name":`.
    key: Vec<u8>,
    shape: Shape,
}

impl<'a> Json<'a> {
    pub(super) fn begin(out: Out<'a>, columns: &[(String, Shape)]) -> io::Result<Self> {
        let key = |at: usize, name: &str| {
            let mut key = vec![if at == 0 { b'{' } else { b',' }];
            serde_json::to_writer(&mut key, name)?;
            key.push(b':');
            Ok::<_, io::Error>(key)
        };
        let column = |(at, (name, shape)): (usize, &(String, Shape))| Ok(Column { key: key(at, name)?, shape: *shape });
        let columns = columns.iter().enumerate().map(column).collect::<io::Result<_>>()?;
        Ok(Self { out, columns, values: 0, rows: 0, held: Vec::new(), streaming: false })
    }

    /// Writes the present column's key and gives its shape; the values of a row too long are told at its end.
    fn key(&mut self) -> io::Result<Shape> {
        let Some(column) = self.columns.get(self.values) else { return Ok(Shape::Text) };
        self.values += 1;
        self.out.write_all(&column.key)?;
        Ok(column.shape)
    }

    fn shape(&self) -> Option<Shape> {
        self.columns.get(self.values).map(|column| column.shape)
    }

    /// A value that is no string, if its text is one of JSON's.
    fn bare(&mut self, text: &[u8]) -> io::Result<bool> {
        let word: &[u8] = match (self.shape(), text) {
            (Some(Shape::Boolean), b"t") => b"true",
            (Some(Shape::Boolean), b"f") => b"false",
            (Some(Shape::Number), _) if is_number(text) => text,
            _ => return Ok(false),
        };
        self.key()?;
        self.out.write_all(word)?;
        Ok(true)
    }

    /// The next bytes of a string; a character that is cut stays behind until its rest comes.
    fn string(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        if !self.streaming {
            self.key()?;
            self.out.write_all(b"\"")?;
            self.streaming = true;
        }
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
            &joined
        };
        let valid = match std::str::from_utf8(bytes) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
            Err(_) => return Err(self.not_utf8()),
        };
        let (text, cut) = bytes.split_at(valid);
        escaped(&mut self.out, text)?;
        self.held.extend_from_slice(cut);
        if last {
            self.streaming = false;
            self.out.write_all(b"\"")?;
        }
        Ok(())
    }

    fn not_utf8(&self) -> io::Error {
        let words = format!("row {} holds bytes that are no UTF-8, which JSON can't carry", self.rows + 1);
        Failure::new(Cause::NotFound, words).hint("use --format csv or copy, which write the bytes as they are").into()
    }
}

impl Cells for Json<'_> {
    fn part(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        if self.columns.is_empty() {
            return Ok(());
        }
        if !self.streaming && self.values >= self.columns.len() {
            return Err(super::wrong_width(self.rows, self.values + 1, self.columns.len()));
        }
        if self.streaming || self.shape() == Some(Shape::Text) {
            return self.string(bytes, last);
        }
        self.held.extend_from_slice(bytes);
        if !last && self.held.len() <= LONGEST_NUMBER {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        if last && self.bare(&held)? { Ok(()) } else { self.string(&held, last) }
    }

    fn null(&mut self) -> io::Result<()> {
        if self.values >= self.columns.len() {
            return Err(super::wrong_width(self.rows, self.values + 1, self.columns.len()));
        }
        self.key()?;
        self.out.write_all(b"null")
    }

    fn end_row(&mut self) -> io::Result<()> {
        if self.values != self.columns.len() {
            return Err(super::wrong_width(self.rows, self.values, self.columns.len()));
        }
        self.values = 0;
        self.rows += 1;
        self.out.write_all(if self.columns.is_empty() { b"{}\n" } else { b"}\n" })
    }
}

impl Rows for Json<'_> {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes what stands in a string.
fn escaped(out: &mut Out<'_>, text: &[u8]) -> io::Result<()> {
    let mut from = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.write_all(text.get(from..at).unwrap_or_default())?;
        from = at + 1;
        match byte {
            b'"' => out.write_all(b"\\\"")?,
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            b'\t' => out.write_all(b"\\t")?,
            _ => out.write_all(format!("\\u{byte:04x}").as_bytes())?,
        }
    }
    out.write_all(text.get(from..).unwrap_or_default())
}

/// Whether a text is a number by JSON's grammar (RFC 8259, section 6).
fn is_number(text: &[u8]) -> bool {
    let (whole, mut rest) = digits(text.strip_prefix(b"-").unwrap_or(text));
    if whole.is_empty() || (whole.len() > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    if let Some(point) = rest.strip_prefix(b".") {
        let (fraction, after) = digits(point);
        if fraction.is_empty() {
            return false;
        }
        rest = after;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let (power, after) = digits(exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent));
        return !power.is_empty() && after.is_empty();
    }
    rest.is_empty()
}

/// Digits at the beginning, and what follows them.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::archive::copy_rows::{Ended, rows};

    fn json(columns: &[(&str, Shape)], text: &[u8]) -> Result<String, Ended> {
        let columns: Vec<(String, Shape)> = columns.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect();
        let mut out = Vec::new();
        let mut json = Json::begin(Out::new(&mut out), &columns).unwrap();
        rows(&mut &text[..], &mut json)?;
        json.finish().unwrap();
        drop(json);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_and_booleans_are_bare_where_json_has_them() {
        let columns = [("n", Shape::Number), ("b", Shape::Boolean), ("a \"t\"", Shape::Text)];
        let text = b"-1.50e+20\tt\t7\nNaN\tf\ta\\tb\\\\\"\\x01\n\\N\t\\N\t\\N\n9007199254740993\t\t\n\\.\n";
        let expected = concat!(
            "{\"n\":-1.50e+20,\"b\":true,\"a \\\"t\\\"\":\"7\"}\n",
            "{\"n\":\"NaN\",\"b\":false,\"a \\\"t\\\"\":\"a\\tb\\\\\\\"\\u0001\"}\n",
            "{\"n\":null,\"b\":null,\"a \\\"t\\\"\":null}\n",
            "{\"n\":9007199254740993,\"b\":\"\",\"a \\\"t\\\"\":\"\"}\n",
        );
        assert_eq!(json(&columns, text).unwrap(), expected);
        assert_eq!(json(&[], b"\n\\.\n").unwrap(), "{}\n");
    }

    #[test]
    fn what_is_no_utf8_or_of_another_width_ends_the_reading() {
        for text in [&b"\xff\n\\.\n"[..], b"a\xc3\n\\.\n", b"1\t2\n\\.\n"] {
            assert!(matches!(json(&[("a", Shape::Text)], text), Err(Ended::Taker(_))));
        }
        assert!(json(&[("a", Shape::Text), ("b", Shape::Text)], b"1\n\\.\n").is_err());
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in ".*", number in "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?") {
            let escape = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
            let copy = format!("{}\t{number}\n\\.\n", escape(&text));
            let line = json(&[("a", Shape::Text), ("n", Shape::Number)], copy.as_bytes()).unwrap();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["a"].as_str(), Some(text.as_str()));
            prop_assert_eq!(value["n"].is_number(), serde_json::from_str::<serde_json::Number>(&number).is_ok());
        }
    }
}
