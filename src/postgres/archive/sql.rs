//! Just enough of SQL's lexical rules to know, byte by byte, whether a dump script is between statements.
//!
//! Follows quotes, dollar quotes, line comments and psql's backslash lines (manual: SQL Syntax, Lexical Structure), so that a function
//! whose body contains `COPY … FROM stdin;` is not taken for data. `pg_dump` writes no block comments. Used by the plain dump's watch.

/// Statements other than COPY matter only by their first bytes.
const COPY: &[u8] = b"COPY ";
/// A COPY statement longer than this is not recognised; 1600 columns of 63 bytes fit twice.
const LONGEST: usize = 256 * 1024;
/// Comments and dollar tags are kept up to this length.
const LONGEST_WORD: usize = 4096;

/// What the lexer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A `--` comment, without its dashes.
    Comment(Vec<u8>),
    /// A COPY statement without its semicolon; if it reads from stdin, data begins after the next newline.
    Copy(Vec<u8>),
    /// A command to psql, from its backslash to the end of its line.
    Command(Vec<u8>),
    /// Another statement that was asked for, without its semicolon and what its strings hold.
    Other(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Top,
    Comment,
    /// A string; whether backslashes escape in it, and whether one has just done so.
    String {
        escapes: bool,
        escaped: bool,
    },
    Identifier,
    /// After a dollar sign: the tag may still turn out to be something else.
    DollarTag,
    /// Inside a dollar quote; so many bytes of what closes it have matched.
    Dollar(usize),
    /// A psql command, until the end of its line.
    Backslash,
}

/// The lexer. It keeps a COPY statement, a comment or a dollar tag while it lasts, nothing else.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    /// What other statements that are told begin with.
    told: &'static [&'static [u8]],
    state: State,
    /// The statement so far: all of a COPY, the first bytes of any other.
    statement: Vec<u8>,
    /// The comment or dollar tag so far.
    word: Vec<u8>,
    /// The last two bytes, the newer one last.
    last: [u8; 2],
    /// Whether the string that ended last had escapes; a quote that follows at once continues it.
    had_escapes: bool,
}

impl Lexer {
    /// One that also tells statements with these beginnings.
    pub(super) fn telling(told: &'static [&'static [u8]]) -> Self {
        Self { told, ..Self::default() }
    }

    /// Whether the script is not within a quote.
    pub(super) fn is_outside_quotes(&self) -> bool {
        matches!(self.state, State::Top | State::Backslash | State::Comment)
    }

    /// Whether a statement has ended and none has begun since.
    pub(super) fn is_between_statements(&self) -> bool {
        self.state == State::Top && self.statement.is_empty()
    }

    /// Reads until something is to be told or the bytes end; returns how many bytes it took, and what.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Option<Event>) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && let Some(&byte) = rest.first()
        {
            let skipped = self.meaningless(rest);
            if skipped > 0 {
                at += skipped;
                self.last = [0; 2];
                continue;
            }
            at += 1;
            let event = self.step(byte);
            self.last = [self.last[1], byte];
            if event.is_some() {
                return (at, event);
            }
        }
        (at, None)
    }

    /// How many of the next bytes mean nothing because they are inside a quote.
    fn meaningless(&self, rest: &[u8]) -> usize {
        let end = match self.state {
            State::String { escapes: false, .. } => memchr::memchr(b'\'', rest),
            State::String { escapes: true, escaped: false } => memchr::memchr2(b'\'', b'\\', rest),
            State::Dollar(0) => memchr::memchr(b'$', rest),
            _ => return 0,
        };
        end.unwrap_or(rest.len())
    }

    fn step(&mut self, byte: u8) -> Option<Event> {
        match (self.state, byte) {
            (State::Top, _) => return self.top(byte),
            (State::Comment, b'\n') => {
                self.state = State::Top;
                return Some(Event::Comment(std::mem::take(&mut self.word)));
            }
            (State::String { escapes, escaped: true }, _) => self.state = State::String { escapes, escaped: false },
            (State::String { escapes: true, .. }, b'\\') => self.state = State::String { escapes: true, escaped: true },
            (State::String { escapes, .. }, b'\'') => {
                self.extend(byte);
                (self.state, self.had_escapes) = (State::Top, escapes);
            }
            (State::Identifier, _) => {
                self.extend(byte);
                if byte == b'"' {
                    self.state = State::Top;
                }
            }
            (State::DollarTag, b'$') => self.state = State::Dollar(0),
            (State::DollarTag, _) if is_word(byte) => self.remember(byte),
            (State::DollarTag, _) => {
                self.state = State::Top;
                return self.top(byte);
            }
            (State::Dollar(matched), _) => self.state = self.dollar(byte, matched),
            (State::Backslash, b'\n') => {
                self.state = State::Top;
                return Some(Event::Command(std::mem::take(&mut self.word)));
            }
            (State::Comment | State::Backslash, _) => self.remember(byte),
            (State::String { .. }, _) => {}
        }
        None
    }

    fn top(&mut self, byte: u8) -> Option<Event> {
        let [before, previous] = self.last;
        match byte {
            b'-' if previous == b'-' => {
                if self.statement == b"-" {
                    self.statement.clear();
                }
                self.word.clear();
                self.state = State::Comment;
            }
            // psql takes commands in the middle of a statement, too.
            b'\\' => {
                self.word.clear();
                self.word.push(byte);
                self.state = State::Backslash;
            }
            b'\'' => {
                let escapes = if previous == b'\'' { self.had_escapes } else { previous.eq_ignore_ascii_case(&b'e') && !is_word(before) };
                self.extend(byte);
                self.state = State::String { escapes, escaped: false };
            }
            b'"' => {
                self.extend(byte);
                self.state = State::Identifier;
            }
            b'$' if !is_word(previous) => {
                self.extend(byte);
                self.word.clear();
                self.state = State::DollarTag;
            }
            b';' => {
                let statement = std::mem::take(&mut self.statement);
                if statement.starts_with(COPY) {
                    return Some(Event::Copy(statement));
                }
                return self.told.iter().any(|word| statement.starts_with(word)).then_some(Event::Other(statement));
            }
            _ if byte.is_ascii_whitespace() && self.statement.is_empty() => {}
            _ => self.extend(byte),
        }
        None
    }

    /// Matches the closing `$tag$`. No tag contains a dollar sign, so a mismatch can only begin anew at one.
    fn dollar(&self, byte: u8, matched: usize) -> State {
        let wanted = if matched == 0 || matched > self.word.len() { b'$' } else { self.word.get(matched - 1).copied().unwrap_or(b'$') };
        match (byte == wanted, byte) {
            (true, _) if matched > self.word.len() => State::Top,
            (true, _) => State::Dollar(matched + 1),
            (false, b'$') => State::Dollar(1),
            (false, _) => State::Dollar(0),
        }
    }

    fn extend(&mut self, byte: u8) {
        let kept = |word: &&[u8]| self.statement.starts_with(word.get(..self.statement.len()).unwrap_or(word));
        if self.statement.len() < COPY.len() || (self.statement.len() < LONGEST && std::iter::once(&COPY).chain(self.told).any(kept)) {
            self.statement.push(byte);
        }
    }

    fn remember(&mut self, byte: u8) {
        if self.word.len() < LONGEST_WORD {
            self.word.push(byte);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(script: &str, size: usize) -> (Vec<String>, bool) {
        let mut lexer = Lexer::default();
        let mut told = Vec::new();
        for mut piece in script.as_bytes().chunks(size) {
            while !piece.is_empty() {
                let (used, event) = lexer.read(piece);
                piece = &piece[used..];
                if let Some(Event::Copy(text)) = event {
                    told.push(String::from_utf8(text).unwrap());
                }
            }
        }
        (told, lexer.is_outside_quotes())
    }

    #[test]
    fn only_statements_outside_quotes_count_however_they_are_cut() {
        let script = concat!(
            "-- COPY a FROM stdin;\n\\connect \"COPY\nSELECT 'it''s\nCOPY b FROM stdin;\n';\n",
            "CREATE FUNCTION f() AS $_$ x $1 $__$ \nCOPY c FROM stdin;\n$_$;\nSELECT E'\\'; COPY d;''\\';', $1, a$b$c;\n",
            "COPY public.\"we;ird\" (id) FROM stdin;\nSELECT $$COPY e;$$;COPY f FROM stdin;"
        );
        for size in 1..60 {
            let (told, outside) = events(script, size);
            assert_eq!(told, ["COPY public.\"we;ird\" (id) FROM stdin", "COPY f FROM stdin"], "pieces of {size}");
            assert!(outside);
        }
        assert!(!events("SELECT 'open", 3).1);
    }
}
