//! COPY text taken apart into values, in flat memory however long a row is.
//!
//! The rules are COPY's (manual: COPY, Text Format): tabs part values, backslashes escape, `\N` is NULL, a line `\.` ends the data. What
//! becomes of the values is decided by whoever implements [`Cells`].

use std::io::{self, Read};

use super::{altered, unread};
use crate::error::{Failure, Result};

/// Bytes read at once.
const BUFFER: usize = 128 * 1024;
/// No escape or end mark is longer; with so many bytes at hand each is decided.
const LOOKAHEAD: usize = 4;

/// Who takes the values. Its errors end the reading as they are.
pub trait Cells {
    /// The next bytes of a value, decoded; whether they are its last.
    fn part(&mut self, bytes: &[u8], last: bool) -> io::Result<()>;
    /// A value that is NULL.
    fn null(&mut self) -> io::Result<()>;
    /// The row is complete.
    fn end_row(&mut self) -> io::Result<()>;
}

/// Why the rows ended early.
#[derive(Debug)]
pub enum Ended {
    /// What is read is at fault.
    Source(Failure),
    /// Who takes the values has had enough.
    Taker(io::Error),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Source(failure)
    }
}

/// Reads rows up to their end mark, decoded. Returns the CRC-32 of their text.
pub fn rows<C: Cells>(source: &mut dyn Read, cells: &mut C) -> Result<u32, Ended> {
    let mut state = State::Row;
    through(source, |bytes, ended| state.take(bytes, ended, cells).map_err(Ended::Taker))
}

/// Hands rows on as they are, up to their end mark. Returns how many there were, and the CRC-32 of their text.
pub fn raw_rows(source: &mut dyn Read, mut out: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(u64, u32), Ended> {
    let (mut count, mut inside) = (0, false);
    let crc32 = through(source, |bytes, ended| {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if !inside && rest.len() < LOOKAHEAD && !ended && rest.first() == Some(&b'\\') {
                break;
            }
            if !inside && is_end(rest) {
                out(bytes.get(..at).unwrap_or_default()).map_err(Ended::Taker)?;
                return Ok((at, true));
            }
            let newline = memchr::memchr(b'\n', rest);
            inside = newline.is_none();
            count += u64::from(!inside);
            at += newline.map_or(rest.len(), |newline| newline + 1);
        }
        out(bytes.get(..at).unwrap_or_default()).map_err(Ended::Taker)?;
        Ok((at, false))
    })?;
    Ok((count, crc32))
}

/// Shows the source's bytes to `take`, which says how many of them it used and whether the end mark has come. What it leaves is shown
/// again with what follows. Returns the CRC-32 of what was used.
/// Reads on behind the rows to the end of what they are packed in: only there does its own checksum stand.
pub fn to_its_end(source: &mut dyn Read) -> Result<()> {
    io::copy(source, &mut io::sink()).map(drop).map_err(super::unread)
}

fn through(source: &mut dyn Read, mut take: impl FnMut(&[u8], bool) -> Result<(usize, bool), Ended>) -> Result<u32, Ended> {
    let (mut buffer, mut sum) = (vec![0; BUFFER], crc32fast::Hasher::new());
    let (mut filled, mut passed) = (0, 0_u64);
    loop {
        let count = match source.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error).into()),
        };
        filled += count;
        let (used, ended) = take(buffer.get(..filled).unwrap_or_default(), count == 0)?;
        sum.update(buffer.get(..used).unwrap_or_default());
        if ended {
            return Ok(sum.finalize());
        }
        if count == 0 {
            let bytes = passed + filled as u64;
            return Err(altered(format!("the rows end after {bytes} bytes without their end mark")).into());
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        passed += used as u64;
    }
}

/// Whether a line is the end mark.
fn is_end(line: &[u8]) -> bool {
    line.starts_with(b"\\.") && matches!(line.get(2), None | Some(b'\n' | b'\r'))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a row's beginning.
    Row,
    /// At a value's beginning.
    Value,
    /// Inside a value.
    Inside,
}

impl State {
    fn take<C: Cells>(&mut self, bytes: &[u8], ended: bool, cells: &mut C) -> io::Result<(usize, bool)> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if *self != Self::Inside && rest.first() == Some(&b'\\') {
                if rest.len() < LOOKAHEAD && !ended {
                    break;
                }
                if *self == Self::Row && is_end(rest) {
                    return Ok((at, true));
                }
                if rest.starts_with(b"\\N") && matches!(rest.get(2), None | Some(b'\t' | b'\n')) {
                    cells.null()?;
                    at += 2 + self.part_ended(rest.get(2), cells)?;
                    continue;
                }
            }
            let special = memchr::memchr3(b'\t', b'\n', b'\\', rest);
            let (value, mark) = match special {
                Some(special) => (rest.get(..special).unwrap_or_default(), rest.get(special)),
                None => (rest, None),
            };
            at += value.len();
            match mark {
                Some(b'\\') => {
                    *self = Self::Inside;
                    cells.part(value, false)?;
                    let escape = bytes.get(at..).unwrap_or_default();
                    if escape.len() < LOOKAHEAD && !ended {
                        break;
                    }
                    let (letter, used) = unescaped(escape);
                    cells.part(&[letter], false)?;
                    at += used;
                }
                Some(_) => {
                    cells.part(value, true)?;
                    at += self.part_ended(mark, cells)?;
                }
                None => {
                    *self = Self::Inside;
                    cells.part(value, false)?;
                }
            }
        }
        Ok((at, false))
    }

    /// A value was complete at this mark; returns how long that is.
    fn part_ended<C: Cells>(&mut self, mark: Option<&u8>, cells: &mut C) -> io::Result<usize> {
        if mark == Some(&b'\t') {
            *self = Self::Value;
        } else {
            *self = Self::Row;
            cells.end_row()?;
        }
        Ok(usize::from(mark.is_some()))
    }
}

/// What an escape at the beginning of these bytes means, and how long it is.
fn unescaped(escape: &[u8]) -> (u8, usize) {
    let digits = |from: usize, most: usize, radix: u32| {
        let text = escape.get(from..).unwrap_or_default();
        let count = text.iter().take(most).take_while(|letter| char::from(**letter).is_digit(radix)).count();
        let value = text.iter().take(count).fold(0, |value, letter| value * radix + char::from(*letter).to_digit(radix).unwrap_or(0));
        (value as u8, count)
    };
    match escape.get(1) {
        Some(b'b') => (8, 2),
        Some(b'f') => (12, 2),
        Some(b'n') => (b'\n', 2),
        Some(b'r') => (b'\r', 2),
        Some(b't') => (b'\t', 2),
        Some(b'v') => (11, 2),
        Some(b'0'..=b'7') => {
            let (value, count) = digits(1, 3, 8);
            (value, 1 + count)
        }
        Some(b'x') if escape.get(2).is_some_and(u8::is_ascii_hexdigit) => {
            let (value, count) = digits(2, 2, 16);
            (value, 2 + count)
        }
        Some(&letter) => (letter, 2),
        None => (b'\\', 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen {
        rows: Vec<Vec<Option<Vec<u8>>>>,
        row: Vec<Option<Vec<u8>>>,
        value: Vec<u8>,
    }

    impl Cells for Seen {
        fn part(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
            self.value.extend_from_slice(bytes);
            if last {
                self.row.push(Some(std::mem::take(&mut self.value)));
            }
            Ok(())
        }

        fn null(&mut self) -> io::Result<()> {
            self.row.push(None);
            Ok(())
        }

        fn end_row(&mut self) -> io::Result<()> {
            self.rows.push(std::mem::take(&mut self.row));
            Ok(())
        }
    }

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    const TEXT: &[u8] = b"1\t\\N\ta\\tb\\\\N\\n\\x41\\101\\7\\b\\f\\r\\v\\q\n\\\\.\t\t\\\\N\n\t\\N\t\\Nx\n\n\\.\n\n\n";

    #[test]
    fn values_are_decoded_however_they_come() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        let expected = vec![
            vec![some("1"), None, some("a\tb\\N\nAA\u{7}\u{8}\u{c}\r\u{b}q")],
            vec![some("\\."), some(""), some("\\N")],
            vec![some(""), None, some("Nx")],
            vec![some("")],
        ];
        for size in 1..=TEXT.len() {
            let mut seen = Seen::default();
            rows(&mut Slow(TEXT, size), &mut seen).unwrap();
            assert_eq!(seen.rows, expected, "pieces of {size}");
            let mut out = Vec::new();
            assert_eq!(raw_rows(&mut Slow(TEXT, size), |bytes| io::Write::write_all(&mut out, bytes)).unwrap().0, 4);
            assert_eq!(out, TEXT[..TEXT.len() - 5], "pieces of {size}");
        }
    }

    #[test]
    fn rows_without_their_end_mark_are_broken() {
        for text in [&b""[..], b"1\n", b"1\n\\", b"1\n\\.x\n", b"\\\\.\n", b"1\\"] {
            assert!(matches!(rows(&mut Slow(text, 2), &mut Seen::default()), Err(Ended::Source(_))), "{text:?}");
            assert!(matches!(raw_rows(&mut Slow(text, 2), |_| Ok(())), Err(Ended::Source(_))), "{text:?}");
        }
    }
}
