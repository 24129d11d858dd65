//! A plain dump passing by: a script that must end with `pg_dump`'s closing comment.
//!
//! Without that comment psql would restore a cut script "successfully". Tables, rows and bytes come from the script's COPY sections;
//! where it has INSERT commands instead, rows are unknown. Keeps the last few hundred bytes and one statement.

use super::charset::Charset;
use super::section::Data;
use super::sql::{Event, Lexer};
use super::statement::{copy_columns, qualified};
use super::{Observed, incomplete};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Structure, TableEntry};

/// The closing comment of `pg_dump`.
pub(super) const DATABASE_END: &str = "PostgreSQL database dump complete";
/// The comment that it begins with.
const DATABASE_BEGIN: &str = "PostgreSQL database dump";
/// The closing comment of `pg_dumpall`.
pub(super) const CLUSTER_END: &str = "PostgreSQL database cluster dump complete";

/// The end of the script that is kept; the longest known trailer, with its `\unrestrict` line, has 150 bytes.
const KEPT: usize = 1024;
/// Within so many bytes a script says its encoding.
pub(super) const HEAD: usize = 4096;

/// The watch over one plain dump.
#[derive(Debug)]
pub(super) struct Watch {
    end: &'static str,
    lexer: Lexer,
    /// The script's first bytes, in which its encoding is said, and that encoding once it has been.
    head: Vec<u8>,
    charset: Option<Charset>,
    /// Whether a table's name couldn't be read.
    unread: bool,
    data: Option<Data>,
    tables: Vec<TableEntry>,
    /// Whether the last table was only announced by its comment so far.
    announced: bool,
    tail: Vec<u8>,
    bytes: u64,
    /// The first command to psql that does something.
    command: Option<String>,
    dumps: Dumps,
    /// Whether each row must have as many columns as its COPY statement names.
    compares: bool,
    /// The first row that has not.
    odd: Option<String>,
}

/// The dumps that have begun in one script; `pg_dump >> FILE` writes several.
#[derive(Debug, Default)]
struct Dumps {
    begun: u64,
    /// Whether the last one has no end so far.
    is_open: bool,
    /// Where the last one begins, bytes.
    last: u64,
    /// Whether one began within another.
    is_cut: bool,
}

impl Watch {
    pub(super) fn new(end: &'static str) -> Self {
        Self {
            end,
            lexer: Lexer::default(),
            head: Vec::new(),
            charset: None,
            unread: false,
            data: None,
            tables: Vec::new(),
            announced: false,
            tail: Vec::new(),
            bytes: 0,
            command: None,
            dumps: Dumps::default(),
            compares: false,
            odd: None,
        }
    }

    /// One that also compares the columns of each row with those of its COPY statement: what was made elsewhere may have been cut and
    /// written on.
    pub(super) fn comparing(self) -> Self {
        Self { compares: true, ..self }
    }

    pub(super) fn observe(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.keep_tail(chunk);
        self.look_for_encoding(chunk);
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = if let Some(data) = &mut self.data {
                let (used, ended) = data.read(rest);
                if ended {
                    self.end_data();
                }
                used
            } else {
                let (used, event) = self.lexer.read(rest);
                match event {
                    Some(Event::Comment(text)) => {
                        let end = self.bytes - (rest.len() - used) as u64;
                        self.dump(&text, end.saturating_sub(text.len() as u64 + 3));
                        self.comment(&text);
                    }
                    Some(Event::Copy(statement)) => self.copy(&statement),
                    Some(Event::Command(command)) => self.command(&command),
                    Some(Event::Other(_)) | None => {}
                }
                used
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// The table whose rows began last, and how many have begun.
    pub(super) fn table(&self) -> Option<(usize, &TableEntry)> {
        self.tables.last().map(|table| (self.tables.len(), table))
    }

    fn look_for_encoding(&mut self, chunk: &[u8]) {
        if self.charset.is_none() && self.head.len() < HEAD {
            self.head.extend_from_slice(chunk.get(..chunk.len().min(HEAD - self.head.len())).unwrap_or_default());
            self.charset = Charset::of_script(&self.head);
        }
    }

    fn read(&mut self, text: &[u8]) -> String {
        let (text, whole) = self.charset.as_ref().unwrap_or(&Charset::default()).decode(text);
        self.unread |= !whole;
        text
    }

    fn keep_tail(&mut self, chunk: &[u8]) {
        let new = chunk.get(chunk.len().saturating_sub(KEPT)..).unwrap_or_default();
        let old = self.tail.len().saturating_sub(KEPT - new.len());
        self.tail.drain(..old);
        self.tail.extend_from_slice(new);
    }

    /// Notes where a dump begins and ends; a script for a whole server holds several.
    fn dump(&mut self, comment: &[u8], at: u64) {
        let is = |words: &str| comment.trim_ascii() == words.as_bytes();
        if self.end == DATABASE_END && is(DATABASE_BEGIN) {
            self.dumps.is_cut |= self.dumps.is_open;
            self.dumps = Dumps { begun: self.dumps.begun + 1, is_open: true, last: at, ..self.dumps };
        } else if is(DATABASE_END) {
            self.dumps.is_open = false;
        }
    }

    /// `-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: o` announces a table, however its rows are written.
    fn comment(&mut self, text: &[u8]) {
        if !text.starts_with(b" Data for Name: ") {
            return;
        }
        let text = self.read(text);
        let Some(text) = text.strip_prefix(" Data for Name: ") else { return };
        if let Some((name, rest)) = text.split_once("; Type: TABLE DATA; Schema: ")
            && let Some((schema, _)) = rest.split_once("; Owner: ")
        {
            self.tables.push(TableEntry {
                schema: schema.to_owned(),
                name: name.to_owned(),
                rows: None,
                bytes: 0,
                crc32: None,
                dump_id: None,
                offset: None,
            });
            self.announced = true;
        }
    }

    /// `\restrict` and `\unrestrict` only bar psql from other commands; each of those leads beyond the script.
    fn command(&mut self, command: &[u8]) {
        let harmless = [&b"\\restrict "[..], b"\\unrestrict "];
        if self.command.is_none() && !harmless.iter().any(|word| command.starts_with(word)) {
            self.command = Some(String::from_utf8_lossy(command).into_owned());
        }
    }

    fn copy(&mut self, statement: &[u8]) {
        if !statement.ends_with(b" FROM stdin") {
            return;
        }
        let statement = self.read(statement);
        let columns = if self.compares { copy_columns(&statement).map(|columns| columns.len() as u64) } else { None };
        self.data = Some(Data::comparing(columns.filter(|columns| *columns > 0)));
        // Names in comments have their line breaks replaced; those in the statement are exact.
        let names = statement.strip_prefix("COPY ").and_then(qualified).map(|(names, _)| names);
        match (names, self.announced, self.tables.last_mut()) {
            (Some((schema, name)), true, Some(table)) => (table.schema, table.name) = (schema, name),
            (Some((schema, name)), ..) => {
                self.tables.push(TableEntry { schema, name, rows: None, bytes: 0, crc32: None, dump_id: None, offset: None });
            }
            (None, true, Some(_)) => {}
            (None, ..) => {
                self.tables.push(TableEntry {
                    schema: String::new(),
                    name: statement,
                    rows: None,
                    bytes: 0,
                    crc32: None,
                    dump_id: None,
                    offset: None,
                });
            }
        }
        self.announced = false;
    }

    fn end_data(&mut self) {
        if let (Some(data), Some(table)) = (self.data.take(), self.tables.last_mut()) {
            (table.rows, table.bytes) = (Some(data.rows), data.bytes);
            if let (None, Some(odd)) = (&self.odd, data.odd()) {
                self.odd = Some(format!("in table {}.{}, {odd}", table.schema, table.name));
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<Observed> {
        if self.bytes == 0 {
            return Err(incomplete("the dump is empty: nothing was written"));
        }
        if self.data.is_some() {
            let table = self.tables.last().map_or_else(String::new, |table| format!(" of table {}.{}", table.schema, table.name));
            return Err(incomplete(format!("the dump ends at byte {} inside the data{table}", self.bytes)));
        }
        if !has_trailer(&self.tail, self.end) {
            return Err(incomplete(format!("the dump ends at byte {} without its closing comment \"{}\"", self.bytes, self.end)));
        }
        if self.lexer.is_outside_quotes() {
            self.is_one()?;
        } else {
            // The closing comment is there, so what was misread is the script; then its figures can't be trusted either.
            self.tables.iter_mut().for_each(|table| table.rows = None);
        }
        let encoding = self.charset.as_ref().map_or("no known encoding", Charset::name);
        let unread = self.unread.then(|| super::names_in(encoding));
        Ok(Observed {
            structure: Structure::Whole,
            tables: if unread.is_some() { Vec::new() } else { self.tables },
            unchecked: unread,
            large_objects: 0,
            schema_version: None,
            header: None,
            entries: 0,
            bytes: self.bytes,
            command: self.command,
        })
    }
}

impl Watch {
    /// Fails where it is no single dump, or one that was cut and written on.
    fn is_one(&self) -> Result<()> {
        let begun = self.dumps.begun;
        let last = format!("`tail -c +{} FILE` is the last of them", self.dumps.last + 1);
        if let Some(odd) = &self.odd {
            let words = format!("{odd}: it was altered or cut there, and perhaps another dump was written behind it");
            return Err(incomplete(words));
        }
        if self.dumps.is_cut {
            return Err(incomplete(format!("another dump begins before one has ended, as in `pg_dump >> FILE` after a failure; {last}")));
        }
        if begun > 1 {
            let words = format!("holds {begun} dumps, one behind the other, as `pg_dump >> FILE` writes them; {last}");
            return Err(Failure::new(Cause::Refused, words).hint("take the dumps apart; pg_dump > FILE, or pgdumpd, writes one"));
        }
        Ok(())
    }
}

/// Whether a script's last bytes are the closing comment, perhaps followed by the `\unrestrict` line of newer releases.
fn has_trailer(tail: &[u8], end: &str) -> bool {
    let tail = tail.trim_ascii_end();
    let tail = match tail.iter().rposition(|&byte| byte == b'\n') {
        Some(newline) if tail.get(newline + 1..).is_some_and(|line| line.starts_with(b"\\unrestrict ")) => {
            tail.get(..newline).unwrap_or_default().trim_ascii_end()
        }
        _ => tail,
    };
    let ends = |newline: &str| tail.ends_with(format!("{newline}--{newline}-- {end}{newline}--").as_bytes());
    ends("\n") || ends("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = concat!(
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc'\n\nSET x = 'y';\n",
        "--\n-- Data for Name: a\"; Type: TABLE DATA; Schema: public; Owner: o\n--\n\n",
        "COPY public.\"a\"\"\n\" (id) FROM stdin;\n1\n\\\\.\n\\N\n\\.\n\n\n",
        "--\n-- Data for Name: b; Type: TABLE DATA; Schema: s; Owner: o\n--\n\nINSERT INTO s.b VALUES ('x\n\\.\n');\n\n",
        "--\n-- Data for Name: c; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n",
        "COPY s.c FROM stdin;\n\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc'\n\n"
    );

    fn watch(script: &str, size: usize) -> Result<Observed> {
        let mut watch = Watch::new(DATABASE_END);
        script.as_bytes().chunks(size).for_each(|piece| watch.observe(piece));
        watch.finish()
    }

    #[test]
    fn tables_are_counted_however_the_script_is_cut() {
        for size in 1..80 {
            let seen = watch(SCRIPT, size).unwrap();
            let tables: Vec<_> = seen.tables.iter().map(|table| (table.name.as_str(), table.rows, table.bytes)).collect();
            assert_eq!(tables, [("a\"\n", Some(3), 9), ("b", None, 0), ("c", Some(0), 0)], "pieces of {size}");
        }
    }

    /// What `pg_dump >> FILE` leaves, also where a run before was cut; a script for a whole server holds several on purpose.
    #[test]
    fn several_dumps_are_not_one() {
        let table = "--\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n--\n\nCOPY s.t (a, \"b, c\") FROM stdin;\n1\t\\N\n-\t\\.\n\\.\n\n";
        let one = SCRIPT.replace("--\n-- Data for Name: c;", &format!("{table}\n--\n-- Data for Name: c;"));
        let finish = |script: &str, size: usize, end: &'static str| {
            let mut watch = Watch::new(end).comparing();
            script.as_bytes().chunks(size).for_each(|piece| watch.observe(piece));
            watch.finish()
        };
        let cut_at = |mark: &str| one.split_at(one.find(mark).unwrap() + 3).0;
        for size in 1..60 {
            assert!(finish(&one, size, DATABASE_END).is_ok(), "pieces of {size}");
            let twice = finish(&(one.clone() + &one), size, DATABASE_END).unwrap_err();
            let second = one.len() + one.find("-- PostgreSQL").unwrap() + 1;
            let words = format!("holds 2 dumps, one behind the other, as `pg_dump >> FILE` writes them; `tail -c +{second} FILE`");
            assert!(twice.cause == Cause::Refused && twice.message.starts_with(&words), "{words}: {twice:?}");
            let before_rows = finish(&(cut_at("SET x").to_owned() + &one), size, DATABASE_END).unwrap_err();
            assert!(before_rows.message.starts_with("another dump begins before one has ended"), "{before_rows:?}");
            let in_rows = finish(&(cut_at("1\t\\N\n").to_owned() + &one), size, DATABASE_END).unwrap_err();
            assert!(in_rows.message.starts_with("in table s.t, row 2 has 1 of 2 columns"), "{in_rows:?}");
            let server = one.clone() + &one + "--\n-- PostgreSQL database cluster dump complete\n--\n";
            assert!(finish(&server, size, CLUSTER_END).is_ok());
        }
    }

    #[test]
    fn other_line_ends_are_no_damage() {
        let script = SCRIPT.replace('\n', "\r\n").replace("\"\"\r\n\"", "\"\"\n\"");
        for size in 1..40 {
            let seen = watch(&script, size).unwrap();
            let rows: Vec<_> = seen.tables.iter().map(|table| table.rows).collect();
            assert_eq!(rows, [Some(3), None, Some(0)], "pieces of {size}");
        }
    }

    #[test]
    fn a_script_cut_anywhere_is_incomplete() {
        let complete = SCRIPT.find("complete\n--").unwrap() + "complete\n--".len();
        for end in 0..complete {
            assert!(watch(&SCRIPT[..end], 7).is_err(), "cut at {end}");
        }
        // What remains of the file after that is blank, or the key that psql doesn't miss at the end of its input.
        assert!(watch(&SCRIPT[..complete], 7).is_ok());
    }
}
