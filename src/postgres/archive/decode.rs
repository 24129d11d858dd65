//! The archive's integers and strings, read from a slice that may end too early.
//!
//! Sizes and signs as in PostgreSQL's `pg_backup_archiver.c`: an integer is a sign byte and little-endian bytes of the header's width,
//! a string its length and its bytes, where a negative length means "none".

use super::charset::Charset;

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// The slice ends inside it.
    Bytes,
    /// It can't be what it should be; what is wrong, and where in the slice.
    Sense(String, usize),
}

pub(super) type Got<T> = Result<T, Lack>;

/// Widest integer that archives are known to use, bytes without the sign.
pub(super) const WIDEST: usize = 8;

/// An integer of `bytes`: the sign, then the value, little-endian. A value beyond `i64` is cut to its limits.
pub(super) fn int(bytes: &[u8]) -> i64 {
    let Some((&sign, digits)) = bytes.split_first() else { return 0 };
    let value = digits.iter().rev().fold(0_u64, |value, &digit| value.checked_mul(256).map_or(u64::MAX, |value| value | u64::from(digit)));
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    if sign == 0 { value } else { -value }
}

/// What `pg_dump` writes of a known offset: the state "set", then the value in `width` bytes, little-endian.
pub(super) fn place(offset: u64, width: usize) -> Vec<u8> {
    let digits = offset.to_le_bytes().into_iter().chain(std::iter::repeat(0)).take(width);
    std::iter::once(2).chain(digits).collect()
}

/// A place in a slice, with the header's widths.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    int_size: usize,
    offset_size: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, int_size: 4, offset_size: 8 }
    }

    pub(super) fn with_sizes(mut self, int_size: usize, offset_size: usize) -> Self {
        (self.int_size, self.offset_size) = (int_size, offset_size);
        self
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn nonsense<T>(&self, what: impl Into<String>) -> Got<T> {
        Err(Lack::Sense(what.into(), self.at))
    }

    pub(super) fn take(&mut self, count: usize) -> Got<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(Lack::Bytes)?;
        let taken = self.bytes.get(self.at..end).ok_or(Lack::Bytes)?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Got<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    pub(super) fn int(&mut self) -> Got<i64> {
        Ok(int(self.take(1 + self.int_size)?))
    }

    /// A string of letters that need no encoding, or have none that is known yet.
    pub(super) fn text(&mut self) -> Got<Option<String>> {
        Ok(self.text_in(&Charset::default())?.map(|(text, _)| text))
    }

    /// A string in an encoding, and whether all of it could be read; what could not is replaced.
    pub(super) fn text_in(&mut self, charset: &Charset) -> Got<Option<(String, bool)>> {
        let length = self.int()?;
        if length < 0 {
            return Ok(None);
        }
        let bytes = self.take(usize::try_from(length).map_err(|_| Lack::Bytes)?)?;
        Ok(Some(charset.decode(bytes)))
    }

    /// A string whose content doesn't matter.
    pub(super) fn skip_text(&mut self) -> Got<()> {
        let length = self.int()?;
        if length > 0 {
            self.take(usize::try_from(length).map_err(|_| Lack::Bytes)?)?;
        }
        Ok(())
    }

    /// An offset: its state and its value.
    pub(super) fn offset(&mut self) -> Got<(u8, u64)> {
        let state = self.byte()?;
        let digits = self.take(self.offset_size)?;
        Ok((state, digits.iter().rev().fold(0_u64, |value, &digit| (value << 8) | u64::from(digit))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_a_sign_byte_and_never_overflow() {
        assert_eq!(int(&[0, 1, 2, 0, 0]), 513);
        assert_eq!(int(&[1, 1, 0, 0, 0]), -1);
        assert_eq!(int(&[0, 255, 255, 255, 255, 255, 255, 255, 255]), i64::MAX);
        assert_eq!(int(&[]), 0);
    }

    #[test]
    fn a_string_that_claims_more_than_there_is_lacks_bytes() {
        let mut cursor = Cursor::new(&[0, 255, 255, 255, 127, b'x']);
        assert_eq!(cursor.text(), Err(Lack::Bytes));
        assert_eq!(Cursor::new(&[1, 1, 0, 0, 0]).text(), Ok(None));
    }
}
