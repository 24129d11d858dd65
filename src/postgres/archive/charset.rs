//! The letters that an archive's names are written with: `pg_dump` writes them in the dump's encoding, which is the database's own.
//!
//! Knows UTF-8 and every encoding of one byte a letter that a server can have; their letters stand in `charsets.txt`, as PostgreSQL's own
//! conversion to UTF-8 gives them. Of the others (EUC, `MULE_INTERNAL`) it reads the ASCII letters.

/// The letters of each encoding's bytes from 0x80 on, in hexadecimal; `fffd` where a byte is none.
const LETTERS: &str = include_str!("charsets.txt");

/// How a script says its encoding, in its first lines.
const SAID: &[u8] = b"SET client_encoding = '";

/// What stands in the place of a byte that is no letter.
const NONE: char = char::REPLACEMENT_CHARACTER;

/// An encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Charset {
    name: String,
    /// The letters of the bytes from 0x80 on; none in UTF-8, and where they aren't known.
    letters: Option<Vec<char>>,
}

impl Charset {
    /// By PostgreSQL's name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let line = LETTERS.lines().find_map(|line| line.split_once(' ').filter(|(known, _)| *known == name));
        let letter = |code: &str| u32::from_str_radix(code, 16).ok().and_then(char::from_u32).unwrap_or(NONE);
        Self { name: name.to_owned(), letters: line.map(|(_, codes)| codes.split(' ').map(letter).collect()) }
    }

    /// By an archive's entry `ENCODING`: `SET client_encoding = 'LATIN1';`
    #[must_use]
    pub fn of_entry(defn: &str) -> Self {
        Self::named(defn.split('\'').nth(1).unwrap_or_default())
    }

    /// By the first lines of a script, once they have come.
    pub(super) fn of_script(head: &[u8]) -> Option<Self> {
        let at = head.windows(SAID.len()).position(|bytes| bytes == SAID)? + SAID.len();
        let rest = head.get(at..)?;
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        std::str::from_utf8(rest.get(..end)?).ok().map(Self::named)
    }

    /// PostgreSQL's name; empty where it wasn't said.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether text in it has to be turned into UTF-8, and can be.
    #[must_use]
    pub fn is_of_one_byte(&self) -> bool {
        self.letters.is_some()
    }

    /// The text, and whether all of it could be read; what could not is replaced.
    pub(super) fn decode(&self, bytes: &[u8]) -> (String, bool) {
        if let Ok(text) = std::str::from_utf8(bytes)
            && (self.letters.is_none() || text.is_ascii())
        {
            // Where the encoding isn't known, bytes beyond ASCII may be letters of UTF-8 by chance alone.
            return (text.to_owned(), text.is_ascii() || matches!(self.name.as_str(), "" | "UTF8" | "SQL_ASCII"));
        }
        let Some(letters) = &self.letters else { return (String::from_utf8_lossy(bytes).into_owned(), false) };
        let text: String = bytes.iter().map(|byte| letter(letters, *byte)).collect();
        let whole = !text.contains(NONE);
        (text, whole)
    }

    /// The text, as far as it can be read.
    pub(super) fn text(&self, bytes: &[u8]) -> String {
        self.decode(bytes).0
    }

    /// The bytes as UTF-8, in `room` where they aren't that already; those of an encoding that isn't known stay as they are.
    pub fn recode<'a>(&self, bytes: &'a [u8], room: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(letters) = self.letters.as_ref().filter(|_| !bytes.is_ascii()) else { return bytes };
        room.clear();
        let mut four = [0; 4];
        for byte in bytes {
            room.extend_from_slice(letter(letters, *byte).encode_utf8(&mut four).as_bytes());
        }
        room
    }
}

fn letter(letters: &[char], byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { letters.get(usize::from(byte & 0x7f)).copied().unwrap_or(NONE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_has_a_letter_or_none_for_each_byte() {
        let lines: Vec<_> = LETTERS.lines().collect();
        assert_eq!(lines.len(), 27);
        for line in lines {
            let (name, _) = line.split_once(' ').unwrap();
            assert_eq!(Charset::named(name).letters.unwrap().len(), 128, "{name}");
        }
    }

    #[test]
    fn names_are_read_in_the_archives_own_encoding() {
        let decode = |name: &str, bytes: &[u8]| Charset::named(name).decode(bytes);
        assert_eq!(decode("LATIN1", b"Spalte \xfc"), (String::from("Spalte ü"), true));
        // These bytes are a letter of UTF-8 as well; in LATIN1 they are two.
        assert_eq!(decode("LATIN1", b"\xc3\x9c"), (String::from("Ã\u{9c}"), true));
        assert_eq!(decode("WIN1251", b"\xcf\xf0"), (String::from("Пр"), true));
        assert_eq!(decode("WIN1252", b"\x81"), (String::from("\u{fffd}"), false));
        assert_eq!(decode("UTF8", "ü".as_bytes()), (String::from("ü"), true));
        assert_eq!(decode("EUC_JP", b"plain"), (String::from("plain"), true));
        assert!(!decode("EUC_JP", b"\xc6\xfc\xcb\xdc").1);
        assert!(!decode("SQL_ASCII", b"\xfc").1);
        // A name may hold the mark itself.
        assert_eq!(decode("UTF8", "\u{fffd}".as_bytes()), (String::from("\u{fffd}"), true));
    }

    #[test]
    fn a_script_says_its_encoding() {
        let head = b"--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\nSET client_encoding = 'LATIN1';\nSET x";
        assert_eq!(Charset::of_script(head).unwrap().name(), "LATIN1");
        assert_eq!(Charset::of_script(b"-- nothing"), None);
    }
}
