//! An archive's header and table of contents, whole or piece by piece as it arrives.
//!
//! Knows the versions 1.12 (PostgreSQL 9.0) to 1.16 (17, 18) of the custom, tar and directory formats (`pg_backup_archiver.c`). It holds
//! one entry at a time; who needs them all collects them. Used by the tap, and by what shows or restores parts of a backup.

use std::io::{BufRead, BufReader, Read};

use super::charset::Charset;
use super::decode::{Cursor, Got, Lack, WIDEST};
use super::{Trouble, altered, unread, unreadable};
use crate::error::Result;

/// The minor versions of major 1 that are read.
const KNOWN: std::ops::RangeInclusive<u8> = 12..=16;
/// One entry may be this long; the largest known ones are functions and views of some MiB.
const LONGEST_ENTRY: usize = 32 * 1024 * 1024;
/// All of them together.
const LONGEST_TOC: u64 = 512 * 1024 * 1024;
/// So many entries are read.
const MOST_ENTRIES: i64 = 4_000_000;
/// Bytes read at once by [`read`].
const BUFFER: usize = 64 * 1024;

/// The kind of archive that a header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-Fc`
    Custom,
    /// `-Ft`; its header and entries are the member `toc.dat`.
    Tar,
    /// `-Fd`; they are the file `toc.dat`.
    Directory,
}

/// How `pg_dump` compressed each block of data, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// A zlib stream, as all releases can.
    Zlib,
    /// LZ4, since 16.
    Lz4,
    /// zstd, since 16.
    Zstd,
    /// In a way that came later.
    Unknown,
}

/// An archive's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Minor version of the archive's format; the major is 1.
    pub minor: u8,
    /// Revision.
    pub revision: u8,
    /// Width of integers, bytes without the sign.
    pub int_size: usize,
    /// Width of offsets, bytes.
    pub offset_size: usize,
    /// The kind of archive.
    pub kind: Kind,
    /// How `pg_dump` compressed the data itself.
    pub packing: Packing,
    /// Name of the dumped database.
    pub database: String,
    /// The server's version, as it told it.
    pub server_version: String,
    /// The version of `pg_dump`.
    pub pg_dump_version: String,
    /// The encoding of names that couldn't be read, where there were such; empty where it has no name.
    pub unread_names: Option<String>,
}

/// Where an entry's data is, as its TOC entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// It has none.
    None,
    /// It follows in a block of its own; the position was unknown when the entry was written.
    ToCome,
    /// At this offset of the archive.
    At(u64),
    /// In this file or member.
    File(String),
}

/// The part of a restore that an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// None of its own: comments, privileges; it follows what it belongs to.
    None,
    /// Before the data.
    PreData,
    /// Data.
    Data,
    /// After the data: indexes, constraints, triggers.
    PostData,
}

/// One entry of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, by which `pg_restore -l` and other entries name it.
    pub dump_id: i32,
    /// Whether it had data to be dumped.
    pub had_dumper: bool,
    /// Object's name.
    pub tag: String,
    /// Object's kind: `TABLE`, `TABLE DATA`, `BLOBS`.
    pub desc: String,
    /// Its section.
    pub section: Section,
    /// SQL that makes it.
    pub defn: String,
    /// SQL that drops it.
    pub drop_stmt: String,
    /// The COPY command of table data; none where the rows are INSERT commands.
    pub copy_stmt: Option<String>,
    /// Schema, unquoted.
    pub namespace: Option<String>,
    /// Tablespace, where it isn't the default one.
    pub tablespace: Option<String>,
    /// A table's access method, where the archive's version names it.
    pub access_method: Option<String>,
    /// Owner role.
    pub owner: String,
    /// Dump ids of the entries that this one needs.
    pub dependencies: Vec<i32>,
    /// Where its data is.
    pub data: Data,
    /// Where the entry ends in the archive, bytes; the place of its data is its last field.
    pub end: u64,
}

/// A header and all its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toc {
    /// The header.
    pub header: Header,
    /// The entries, in the archive's order.
    pub entries: Vec<Entry>,
}

/// Reads header and entries from the start of an archive (or of a `toc.dat`), and no further than a buffer beyond them.
pub fn read(source: &mut dyn Read) -> Result<Toc> {
    let mut entries = Vec::new();
    let (header, _) = each(&mut BufReader::with_capacity(BUFFER, source), &mut |entry| entries.push(entry))?;
    Ok(Toc { header, entries })
}

/// Gives one entry after another and leaves the source behind the last of them. Returns the header and that place in the archive.
pub fn each(source: &mut dyn BufRead, give: &mut dyn FnMut(Entry)) -> Result<(Header, u64)> {
    let mut parser = Parser::default();
    loop {
        let bytes = match source.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error)),
        };
        let count = bytes.len();
        let done = parser.feed(bytes, &mut |_, entry| give(entry)).map_err(unreadable)?;
        source.consume(done.unwrap_or(count));
        match (done, parser.header.take_if(|_| done.is_some())) {
            (Some(_), Some(header)) => return Ok((header, parser.parsed)),
            _ if count == 0 => return Err(altered(format!("the archive ends at byte {} inside its table of contents", parser.fed))),
            _ => {}
        }
    }
}

/// Takes an archive's beginning in pieces of any size and gives entries as soon as they are complete.
#[derive(Debug, Default)]
pub(super) struct Parser {
    header: Option<Header>,
    /// The encoding of the entries, once its own has come: it is the first.
    charset: Charset,
    /// Entries still to come; unknown until their number has been read.
    left: Option<i64>,
    /// The beginning of something whose end has not come yet, and bytes parsed to their end.
    carry: Vec<u8>,
    parsed: u64,
    /// Bytes fed.
    fed: u64,
}

impl Parser {
    /// Once it has been read.
    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Takes the next bytes. Returns how many of them belong to the table of contents once that is complete, else nothing.
    pub(super) fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(&Header, Entry)) -> Result<Option<usize>, Trouble> {
        self.fed += bytes.len() as u64;
        if self.carry.is_empty() {
            let used = self.parse(bytes, each)?;
            if self.left == Some(0) {
                return Ok(Some(used));
            }
            self.carry.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let before = self.carry.len();
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(bytes);
            let used = self.parse(&carry, each)?;
            if self.left == Some(0) {
                return Ok(Some(used.saturating_sub(before)));
            }
            carry.drain(..used);
            self.carry = carry;
        }
        if self.carry.len() > LONGEST_ENTRY {
            return Err(Trouble::Beyond(format!("an entry of its table of contents is longer than {LONGEST_ENTRY} bytes")));
        }
        Ok(None)
    }

    /// Parses as much as is complete; returns the bytes used.
    fn parse(&mut self, bytes: &[u8], each: &mut dyn FnMut(&Header, Entry)) -> Result<usize, Trouble> {
        let mut used = 0;
        while self.left != Some(0) {
            let mut cursor = Cursor::new(bytes.get(used..).unwrap_or_default());
            let step = self.step(&mut cursor, each);
            match step {
                Ok(()) => {
                    used += cursor.at();
                    self.parsed += cursor.at() as u64;
                }
                Err(Stop::Lack(Lack::Bytes)) => break,
                Err(Stop::Lack(Lack::Sense(what, at))) => return Err(Trouble::Broken { what, at: self.parsed + at as u64 }),
                Err(Stop::Beyond(why)) => return Err(Trouble::Beyond(why)),
            }
            if self.parsed > LONGEST_TOC {
                return Err(Trouble::Beyond(format!("its table of contents is longer than {LONGEST_TOC} bytes")));
            }
        }
        Ok(used)
    }

    /// The header, the number of entries, or one entry.
    fn step(&mut self, cursor: &mut Cursor<'_>, each: &mut dyn FnMut(&Header, Entry)) -> Result<(), Stop> {
        let Some(header) = &self.header else {
            self.header = Some(read_header(cursor)?);
            return Ok(());
        };
        *cursor = cursor.clone().with_sizes(header.int_size, header.offset_size);
        let Some(left) = self.left else {
            let count = cursor.int()?;
            if count < 0 {
                return Ok(cursor.nonsense(format!("its table of contents has {count} entries"))?);
            }
            if count > MOST_ENTRIES {
                return Err(Stop::Beyond(format!("its table of contents has {count} entries, more than {MOST_ENTRIES}")));
            }
            self.left = Some(count);
            return Ok(());
        };
        let (entry, names_read) = read_entry(cursor, header, &self.charset)?;
        if entry.desc == "ENCODING" {
            self.charset = Charset::of_entry(&entry.defn);
        }
        if !names_read && let Some(header) = &mut self.header {
            header.unread_names = Some(self.charset.name().to_owned());
        }
        let Some(header) = &self.header else { return Ok(()) };
        each(header, Entry { end: self.parsed + cursor.at() as u64, ..entry });
        self.left = Some(left - 1);
        Ok(())
    }
}

enum Stop {
    Lack(Lack),
    Beyond(String),
}

impl From<Lack> for Stop {
    fn from(lack: Lack) -> Self {
        Self::Lack(lack)
    }
}

fn read_header(cursor: &mut Cursor<'_>) -> Result<Header, Stop> {
    for &letter in b"PGDMP" {
        if cursor.byte()? != letter {
            return Ok(cursor.nonsense("it does not begin with PGDMP")?);
        }
    }
    let (major, minor, revision) = (cursor.byte()?, cursor.byte()?, cursor.byte()?);
    if major != 1 || !KNOWN.contains(&minor) {
        return Err(Stop::Beyond(format!("its version {major}.{minor} is unknown")));
    }
    let (int_size, offset_size) = (usize::from(cursor.byte()?), usize::from(cursor.byte()?));
    if !(4..=WIDEST).contains(&int_size) || !(4..=WIDEST).contains(&offset_size) {
        return Ok(cursor.nonsense(format!("its integers have {int_size} bytes and its offsets {offset_size}"))?);
    }
    let kind = match cursor.byte()? {
        1 => Kind::Custom,
        3 => Kind::Tar,
        5 => Kind::Directory,
        other => return Ok(cursor.nonsense(format!("its format {other} is unknown"))?),
    };
    *cursor = cursor.clone().with_sizes(int_size, offset_size);
    let packing = match (minor, if minor >= 15 { i64::from(cursor.byte()?) } else { cursor.int()? }) {
        (_, 0) => Packing::None,
        // Before 1.15 it is zlib's level.
        (..=14, _) | (_, 1) => Packing::Zlib,
        (_, 2) => Packing::Lz4,
        (_, 3) => Packing::Zstd,
        _ => Packing::Unknown,
    };
    for _ in 0..7 {
        cursor.int()?;
    }
    let mut text = || Ok::<_, Lack>(cursor.text()?.unwrap_or_default());
    let (database, server_version, pg_dump_version) = (text()?, text()?, text()?);
    Ok(Header { minor, revision, int_size, offset_size, kind, packing, database, server_version, pg_dump_version, unread_names: None })
}

/// An entry, and whether the names in it could be read.
fn read_entry(cursor: &mut Cursor<'_>, header: &Header, charset: &Charset) -> Got<(Entry, bool)> {
    let dump_id = match i32::try_from(cursor.int()?) {
        Ok(id) if id > 0 => id,
        _ => return cursor.nonsense("an entry's number is not positive"),
    };
    let had_dumper = match cursor.int()? {
        0 => false,
        1 => true,
        _ => return cursor.nonsense(format!("entry {dump_id} neither has data nor has none")),
    };
    cursor.skip_text()?;
    cursor.skip_text()?;
    let mut names_read = true;
    let mut text = |cursor: &mut Cursor<'_>, is_name: bool| {
        let Some((text, read)) = cursor.text_in(charset)?.filter(|(text, _)| !text.is_empty()) else { return Ok(None) };
        names_read &= read || !is_name;
        Ok(Some(text))
    };
    let tag = text(cursor, true)?.unwrap_or_default();
    let desc = cursor.text()?.unwrap_or_default();
    let section = match cursor.int()? {
        1 => Section::None,
        2 => Section::PreData,
        3 => Section::Data,
        4 => Section::PostData,
        other => return cursor.nonsense(format!("entry {dump_id} is in the unknown section {other}")),
    };
    let defn = text(cursor, false)?.unwrap_or_default();
    let drop_stmt = text(cursor, false)?.unwrap_or_default();
    let copy_stmt = text(cursor, true)?;
    let namespace = text(cursor, true)?;
    let tablespace = text(cursor, false)?;
    let access_method = if header.minor >= 14 { text(cursor, false)? } else { None };
    if header.minor >= 16 {
        cursor.int()?;
    }
    let owner = text(cursor, false)?.unwrap_or_default();
    if !matches!(cursor.text()?.as_deref(), Some("false" | "true")) {
        return cursor.nonsense(format!("entry {dump_id} lacks a field that every entry has"));
    }
    let mut dependencies = Vec::new();
    while let Some(id) = cursor.text()? {
        match id.parse() {
            Ok(id) => dependencies.push(id),
            Err(_) => return cursor.nonsense(format!("entry {dump_id} depends on something that is no number")),
        }
    }
    let data = read_place(cursor, header, dump_id)?;
    let entry = Entry {
        dump_id,
        had_dumper,
        tag,
        desc,
        section,
        defn,
        drop_stmt,
        copy_stmt,
        namespace,
        tablespace,
        access_method,
        owner,
        dependencies,
        data,
        end: 0,
    };
    Ok((entry, names_read))
}

fn read_place(cursor: &mut Cursor<'_>, header: &Header, dump_id: i32) -> Got<Data> {
    if header.kind != Kind::Custom {
        return Ok(cursor.text()?.filter(|file| !file.is_empty()).map_or(Data::None, Data::File));
    }
    match cursor.offset()? {
        (1, _) => Ok(Data::ToCome),
        (2, offset) => Ok(Data::At(offset)),
        (3, _) => Ok(Data::None),
        (state, _) => cursor.nonsense(format!("entry {dump_id} has the unknown offset state {state}")),
    }
}
