//! A plain dump read statement by statement, and the rows behind a COPY.
//!
//! Forward only; keeps one statement. Only the statements that are asked for come to light, mostly those that say what tables there are.

use std::io::{self, BufRead, Read};

use super::charset::Charset;
use super::plain::HEAD;
use super::section::Data;
use super::sql::{Event, Lexer};
use super::unread;
use crate::error::Result;

/// What statements about tables begin with.
const TABLES: &[&[u8]] = &[b"CREATE TABLE ", b"CREATE UNLOGGED TABLE ", b"ALTER TABLE ONLY "];

/// A statement, without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Rows follow; reading the script reads them, their end mark included.
    Copy(String),
    /// One of those that are asked for; what its strings hold is left out.
    Told(String),
}

/// So much of what stands behind a statement in its line is kept.
const LINE: u64 = 1024;

/// A script; reading it reads the rows of the COPY statement that came last.
pub struct Script<R> {
    source: R,
    lexer: Lexer,
    /// The first bytes, in which the encoding is said, and that encoding once it has been.
    head: Vec<u8>,
    charset: Option<Charset>,
    /// The rows that are being read.
    data: Option<Data>,
    /// Whether the script's line ends were changed on the way; then a carriage return is part of one, as the server reads it. Values escape theirs.
    is_dos: bool,
}

impl<R: BufRead> Script<R> {
    /// A script that begins where the source stands; it tells `CREATE TABLE …` and `ALTER TABLE ONLY …`.
    pub fn new(source: R) -> Self {
        Self::telling(source, TABLES)
    }

    /// The same, which tells the statements that begin so.
    pub fn telling(source: R, told: &'static [&'static [u8]]) -> Self {
        Self { source, lexer: Lexer::telling(told), head: Vec::new(), charset: None, data: None, is_dos: false }
    }

    /// What it is read from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// The encoding that the script says it is in; unnamed where it says none.
    pub fn charset(&self) -> Charset {
        self.charset.clone().unwrap_or_default()
    }

    /// The next statement; rows that weren't read are skipped.
    pub fn next_statement(&mut self) -> Result<Option<Statement>> {
        io::copy(self, &mut io::sink()).map_err(unread)?;
        loop {
            let bytes = self.source.fill_buf().map_err(unread)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let (used, event) = self.lexer.read(bytes);
            if self.charset.is_none() && self.head.len() < HEAD {
                self.head.extend_from_slice(bytes.get(..used).unwrap_or_default());
                self.charset = Charset::of_script(&self.head);
            }
            self.source.consume(used);
            match event {
                Some(Event::Copy(statement)) if statement.ends_with(b" FROM stdin") => {
                    self.begin_rows().map_err(unread)?;
                    return Ok(Some(Statement::Copy(self.charset().text(&statement))));
                }
                Some(Event::Other(statement)) => return Ok(Some(Statement::Told(self.charset().text(&statement)))),
                _ => {}
            }
        }
    }

    /// The rows begin behind the statement's own line.
    fn begin_rows(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        if (&mut self.source).take(LINE).read_until(b'\n', &mut rest)? > 0 && !rest.ends_with(b"\n") {
            self.source.skip_until(b'\n')?;
        }
        self.is_dos = rest.ends_with(b"\r\n");
        let mut data = Data::default();
        data.read(b"\n");
        self.data = Some(data);
        Ok(())
    }
}

impl<R: BufRead> Read for Script<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(data) = &mut self.data {
            let bytes = self.source.fill_buf()?;
            let most = bytes.len().min(buffer.len());
            let bytes = bytes.get(..most).unwrap_or_default();
            let (used, ended) = data.read(bytes);
            let bytes = bytes.get(..used).unwrap_or_default();
            let given = if self.is_dos { copy_without(b'\r', bytes, buffer) } else { copy(bytes, buffer) };
            self.source.consume(used);
            if ended || used == 0 {
                self.data = None;
            }
            if given > 0 || buffer.is_empty() {
                return Ok(given);
            }
        }
        Ok(0)
    }
}

/// Copies all of it; there is room.
fn copy(bytes: &[u8], room: &mut [u8]) -> usize {
    if let Some(room) = room.get_mut(..bytes.len()) {
        room.copy_from_slice(bytes);
    }
    bytes.len()
}

/// Copies it without this byte; returns how many were copied.
fn copy_without(unwanted: u8, bytes: &[u8], room: &mut [u8]) -> usize {
    let mut at = 0;
    for part in bytes.split(|byte| *byte == unwanted) {
        at += copy(part, room.get_mut(at..).unwrap_or_default());
    }
    at
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const SCRIPT: &str = concat!(
        "-- x\nCREATE TABLE public.t (\n    a integer DEFAULT 'x; y'::text\n);\n\nCREATE INDEX i;\nALTER TABLE public.t OWNER TO x;\n",
        "ALTER TABLE ONLY public.p ATTACH PARTITION public.t DEFAULT;\nCOPY public.t (a) FROM stdin;\n1\n\\\\.\n2\n\\.\n\n\n",
        "COPY public.u  FROM stdin;\n\\.\n\n\nCOPY public.v (a) FROM stdin;\n5\n\\.\n"
    );

    #[test]
    fn changed_line_ends_are_no_part_of_a_value() {
        let text = SCRIPT.replace("1\n\\\\.", "1\t\\N\n\\\\.").replace('\n', "\r\n");
        for (size, most) in (1..90).flat_map(|size| [(size, 1), (size, 3), (size, 4096)]) {
            let mut script = Script::new(BufReader::with_capacity(size, text.as_bytes()));
            while script.next_statement().unwrap() != Some(Statement::Copy("COPY public.t (a) FROM stdin".into())) {}
            let (mut rows, mut buffer) = (Vec::new(), vec![0; most]);
            while let count @ 1.. = script.read(&mut buffer).unwrap() {
                rows.extend_from_slice(&buffer[..count]);
            }
            assert_eq!(rows, b"1\t\\N\n\\\\.\n2\n\\.\n", "pieces of {size}, {most}");
            assert!(matches!(script.next_statement().unwrap(), Some(Statement::Copy(next)) if next.contains("public.u")));
        }
    }

    #[test]
    fn statements_and_rows_come_in_turn() {
        for size in 1..90 {
            let mut script = Script::new(BufReader::with_capacity(size, SCRIPT.as_bytes()));
            let mut next = || script.next_statement().unwrap();
            let table = "CREATE TABLE public.t (\n    a integer DEFAULT ''::text\n)";
            assert_eq!(next(), Some(Statement::Told(table.into())), "pieces of {size}");
            assert_eq!(next(), Some(Statement::Told("ALTER TABLE ONLY public.p ATTACH PARTITION public.t DEFAULT".into())));
            assert_eq!(next(), Some(Statement::Copy("COPY public.t (a) FROM stdin".into())));
            let mut rows = String::new();
            script.read_to_string(&mut rows).unwrap();
            assert_eq!(rows, "1\n\\\\.\n2\n\\.\n");
            assert_eq!(script.next_statement().unwrap(), Some(Statement::Copy("COPY public.u  FROM stdin".into())));
            assert_eq!(script.next_statement().unwrap(), Some(Statement::Copy("COPY public.v (a) FROM stdin".into())));
            assert_eq!(script.next_statement().unwrap(), None);
        }
    }
}
