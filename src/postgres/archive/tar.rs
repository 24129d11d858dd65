//! A tar archive passing by: `pg_dump -Ft`, or a directory dump packed into one tar.
//!
//! Whole means: every member's header has its right checksum, the end-of-archive blocks came, and each entry of `toc.dat` that announced
//! a file has it, with rows that end as they must. Members may come in any order. Keeps their names and counts.

use std::collections::HashMap;

use super::copy_text::{CopyText, Counted};
use super::fingerprint::Fingerprint;
use super::toc::{Data, Entry, Parser};
use super::{Cutter, Observed, Trouble, incomplete};
use crate::error::Result;
use crate::model::backup::{Structure, TableEntry};

pub(super) const BLOCK: usize = 512;
/// The compressions of a directory dump's files.
const COMPRESSED: [&str; 3] = [".gz", ".lz4", ".zst"];
/// So many members' names are kept.
const MOST_MEMBERS: usize = 4_000_000;

/// The watch over one tar archive.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: State,
    block: Vec<u8>,
    contents: Contents,
    cutter: Cutter,
    offset: u64,
    beyond: Option<String>,
}

#[derive(Debug, Default)]
enum State {
    /// Collecting a header; so many blocks of zeros came before it.
    #[default]
    Header,
    /// One block of zeros has come.
    FirstZeros,
    /// The end-of-archive blocks have come.
    End,
    /// A member's bytes still to come, then its padding.
    Body { member: Member, left: u64, padding: u64 },
}

#[derive(Debug)]
enum Member {
    Toc,
    Data(String, CopyText),
    Other,
}

#[derive(Debug, Default)]
struct Contents {
    parser: Parser,
    toc_complete: bool,
    announced: Vec<Announced>,
    members: HashMap<String, CopyText>,
    large_objects: u64,
    entries: u64,
    fingerprint: Fingerprint,
}

/// An entry of the table of contents that has a file.
#[derive(Debug)]
struct Announced {
    file: String,
    /// Further names it may have.
    others: Vec<String>,
    /// Set for a table's rows: the table, and whether they are COPY text.
    table: Option<(TableEntry, bool)>,
}

impl Watch {
    pub(super) fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<()> {
        let mut at = 0;
        while self.beyond.is_none()
            && let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty())
        {
            let place = self.offset + at as u64;
            match self.pass(rest, place, at, cuts) {
                Ok(used) => at += used,
                Err(Trouble::Beyond(why)) => self.beyond = Some(why),
                Err(broken @ Trouble::Broken { .. }) => return Err(broken.into()),
            }
        }
        self.offset += chunk.len() as u64;
        Ok(())
    }

    /// Takes the beginning of `rest`, at least a byte of it; returns how much.
    fn pass(&mut self, rest: &[u8], place: u64, at: usize, cuts: &mut Vec<usize>) -> Result<usize, Trouble> {
        if let State::Body { member, left, padding } = &mut self.state {
            let of_body = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
            let (body, after) = rest.split_at(of_body);
            self.contents.take(member, body)?;
            *left -= of_body as u64;
            let of_padding = usize::try_from(*padding).unwrap_or(usize::MAX).min(after.len());
            if *left == 0 {
                *padding -= of_padding as u64;
                if *padding == 0 {
                    let ended = std::mem::take(&mut self.state);
                    self.contents.close(ended)?;
                }
                return Ok(of_body + of_padding);
            }
            return Ok(of_body);
        }
        if self.block.is_empty() {
            self.cutter.data_starts(place, at, cuts);
        }
        let used = rest.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(rest.get(..used).unwrap_or_default());
        if self.block.len() == BLOCK {
            let begin = (place + used as u64).saturating_sub(BLOCK as u64);
            let block = std::mem::take(&mut self.block);
            self.header(&block, begin)?;
        }
        Ok(used)
    }

    fn header(&mut self, block: &[u8], at: u64) -> Result<(), Trouble> {
        let broken = |what: &str| Err(Trouble::Broken { what: what.to_owned(), at });
        if block.iter().all(|&byte| byte == 0) {
            self.state = if matches!(self.state, State::Header) { State::FirstZeros } else { State::End };
            return Ok(());
        }
        match self.state {
            State::Header => {}
            State::End => return broken("something follows the end of the tar archive"),
            _ => return broken("a block of zeros stands between members"),
        }
        let Some((name, size)) = member(block) else {
            return broken("no member of the tar archive begins there: its header's checksum is wrong");
        };
        let member = match name.as_str() {
            _ if !is_file(block) => Member::Other,
            "toc.dat" => Member::Toc,
            _ if name.starts_with("blob_") => {
                self.contents.large_objects += 1;
                Member::Other
            }
            _ if name.contains(".dat") || name.contains(".toc") => Member::Data(name, CopyText::default()),
            _ => Member::Other,
        };
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        let body = State::Body { member, left: size, padding };
        if size == 0 {
            self.state = State::Header;
            return self.contents.close(body);
        }
        self.state = body;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Observed> {
        let (bytes, contents) = (self.offset, self.contents);
        if let Some(why) = self.beyond {
            return Ok(Observed::unchecked(bytes, why));
        }
        if bytes == 0 {
            return Err(incomplete("the archive is empty: pg_dump wrote nothing"));
        }
        if !matches!(self.state, State::End) || !self.block.is_empty() {
            return Err(incomplete(format!("the tar archive ends at byte {bytes} without its end mark")));
        }
        contents.finish(bytes)
    }
}

impl Contents {
    fn take(&mut self, member: &mut Member, body: &[u8]) -> Result<(), Trouble> {
        match member {
            Member::Data(_, text) => text.take(body),
            Member::Toc if !self.toc_complete => {
                let (announced, fingerprint, entries) = (&mut self.announced, &mut self.fingerprint, &mut self.entries);
                let end = self.parser.feed(body, &mut |_, entry| {
                    *entries += 1;
                    fingerprint.add(&entry);
                    announced.extend(announce(entry));
                })?;
                self.toc_complete = end.is_some();
            }
            Member::Toc | Member::Other => {}
        }
        Ok(())
    }

    /// A member is complete.
    fn close(&mut self, ended: State) -> Result<(), Trouble> {
        if let State::Body { member: Member::Data(name, mut text), .. } = ended {
            text.close();
            if self.members.len() >= MOST_MEMBERS {
                return Err(Trouble::Beyond(format!("it has more than {MOST_MEMBERS} members")));
            }
            self.members.insert(name, text);
        }
        Ok(())
    }

    fn finish(mut self, bytes: u64) -> Result<Observed> {
        if !self.toc_complete {
            return Err(incomplete("the tar archive has no complete table of contents (toc.dat)"));
        }
        let listed: u64 = self.members.iter().filter(|(name, _)| is_list_of_blobs(name)).map(|(_, text)| text.lines()).sum();
        if listed != self.large_objects {
            let found = self.large_objects;
            return Err(incomplete(format!("the tar archive lists {listed} large objects and holds {found} of them")));
        }
        let mut tables = Vec::new();
        for Announced { file, others, table } in std::mem::take(&mut self.announced) {
            let plain = std::iter::once(&file).chain(&others).find_map(|name| self.members.get(name));
            let compressed = plain.is_none();
            let packed = || COMPRESSED.iter().find_map(|ending| self.members.get(&format!("{file}{ending}")));
            let Some(text) = plain.or_else(packed) else {
                return Err(incomplete(format!("the tar archive lacks its member {file}{}", of_table(table.as_ref()))));
            };
            let Some((mut entry, copy)) = table else { continue };
            (entry.rows, entry.bytes) = (None, text.bytes());
            if copy && !compressed {
                let Some(Counted { rows, bytes, crc32 }) = text.rows() else {
                    let table = format!("{}.{}", entry.schema, entry.name);
                    return Err(incomplete(format!("the member {file} with the data of table {table} ends without its end mark")));
                };
                (entry.rows, entry.bytes, entry.crc32) = (Some(rows), bytes, Some(crc32));
            }
            tables.push(entry);
        }
        let observed = Observed {
            structure: Structure::Whole,
            unchecked: None,
            tables,
            large_objects: self.large_objects,
            schema_version: self.fingerprint.finish(),
            header: self.parser.header().cloned(),
            entries: self.entries,
            bytes,
            command: None,
        };
        Ok(observed.with_names_read())
    }
}

/// `blobs.toc` or `blobs_ID.toc`: one line for each large object, never compressed (`pg_backup_directory.c`, `pg_backup_tar.c`).
fn is_list_of_blobs(name: &str) -> bool {
    name.strip_suffix(".toc").is_some_and(|stem| stem.starts_with("blobs"))
}

fn of_table(table: Option<&(TableEntry, bool)>) -> String {
    table.map_or_else(String::new, |(entry, _)| format!(" with the data of table {}.{}", entry.schema, entry.name))
}

fn announce(entry: Entry) -> Option<Announced> {
    let Data::File(file) = entry.data else { return None };
    let table = (entry.desc == "TABLE DATA").then(|| {
        let table = TableEntry {
            schema: entry.namespace.unwrap_or_default(),
            name: entry.tag,
            rows: None,
            bytes: 0,
            crc32: None,
            dump_id: Some(entry.dump_id),
            offset: None,
        };
        (table, entry.copy_stmt.is_some())
    });
    // The tar format's large objects are listed in a member whose name differs from the announced one (`pg_backup_tar.c`).
    let others = match entry.desc.as_str() {
        "BLOBS" => vec![String::from("blobs.toc"), format!("blobs_{}.toc", entry.dump_id)],
        _ => Vec::new(),
    };
    Some(Announced { file, others, table })
}

/// A member's base name and size, from a header whose checksum is right.
pub(super) fn member(block: &[u8]) -> Option<(String, u64)> {
    let checksum = number(block.get(148..156)?)?;
    let sum: u64 = block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { u64::from(byte) }).sum();
    if sum != checksum {
        return None;
    }
    let name = block.get(..100)?.split(|&byte| byte == 0).next()?;
    let name = String::from_utf8_lossy(name);
    let base = name.rsplit('/').next().unwrap_or_default().to_owned();
    // A size beyond any file is as good as none.
    Some((base, number(block.get(124..136)?).filter(|&size| i64::try_from(size).is_ok())?))
}

/// Whether a member is a plain file: tar itself writes folders and longer headers as members, too.
pub(super) fn is_file(block: &[u8]) -> bool {
    matches!(block.get(156), Some(0 | b'0' | b'7'))
}

/// A number in a header: octal digits, or, for sizes from 8 GiB, big-endian bytes after a first one of 0x80.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((&0x80, digits)) = field.split_first() {
        return digits.iter().try_fold(0_u64, |value, &digit| Some(value.checked_mul(256)? | u64::from(digit)));
    }
    let digits = field.trim_ascii().split(|&byte| byte == 0 || byte == b' ').next()?;
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => Some(value.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}
