//! A custom archive passing by: header, table of contents, then a block of data for every entry that announced one.
//!
//! There is no trailer: the archive is whole exactly when it ends between blocks and every announced block has come. Walks the chunks
//! inside the blocks; keeps no data.

use std::collections::HashMap;

use super::copy_text::{CopyText, Counted};
use super::decode::{WIDEST, int, place};
use super::fingerprint::Fingerprint;
use super::toc::{Data, Entry, Header, Kind, Packing, Parser};
use super::{Cutter, Observed, Trouble, incomplete};
use crate::error::Result;
use crate::model::backup::{Structure, TableEntry};

/// The block type of a table's data.
pub(super) const TABLE_DATA: u8 = 1;
/// The block type of large objects.
pub(super) const LARGE_OBJECTS: u8 = 3;

/// The watch over one custom archive.
#[derive(Debug, Default)]
pub(super) struct Watch {
    parser: Parser,
    contents: Contents,
    blocks: Option<Blocks>,
    cutter: Cutter,
    offset: u64,
    beyond: Option<String>,
}

/// What the table of contents announced, and what has come of it.
#[derive(Debug, Default)]
struct Contents {
    tables: Vec<TableEntry>,
    expected: HashMap<i32, Expected>,
    missing: usize,
    entries: u64,
    large_objects: u64,
    fingerprint: Fingerprint,
}

#[derive(Debug, Clone, Copy)]
struct Expected {
    content: Content,
    /// Where its entry ends.
    entry: u64,
    /// Where its block began, once that has come.
    block: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A table's rows; its index in `tables`, and whether they are COPY text.
    Table {
        index: usize,
        copy: bool,
    },
    LargeObjects,
    Other,
}

impl Watch {
    pub(super) fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<()> {
        if self.beyond.is_none() {
            match self.pass(chunk, cuts) {
                Ok(()) => {}
                Err(Trouble::Beyond(why)) => self.beyond = Some(why),
                Err(broken @ Trouble::Broken { .. }) => return Err(broken.into()),
            }
        }
        self.offset += chunk.len() as u64;
        Ok(())
    }

    fn pass(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<(), Trouble> {
        let mut from = 0;
        if self.blocks.is_none() {
            let contents = &mut self.contents;
            let Some(used) = self.parser.feed(chunk, &mut |_, entry| contents.add(&entry))? else { return Ok(()) };
            let Some(header) = self.parser.header().filter(|header| header.kind == Kind::Custom) else {
                return Err(Trouble::Broken { what: String::from("it is not a custom archive"), at: 10 });
            };
            self.blocks = Some(Blocks::new(header));
            from = used;
        }
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let place = Place { chunk, offset: self.offset };
        blocks.walk(&place, from, &mut self.contents, &mut self.cutter, cuts)
    }

    /// Of every entry whose block has come: where the table of contents notes the block's place, and the note as it should be.
    pub(super) fn places(&self) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let width = self.parser.header().map_or(0, |header| header.offset_size);
        self.contents.expected.values().filter_map(move |expected| {
            let note = place(expected.block?, width);
            Some((expected.entry.checked_sub(note.len() as u64)?, note))
        })
    }

    pub(super) fn finish(self) -> Result<Observed> {
        let (bytes, contents) = (self.offset, self.contents);
        if let Some(why) = self.beyond {
            return Ok(Observed::unchecked(bytes, why));
        }
        if bytes == 0 {
            return Err(incomplete("the archive is empty: pg_dump wrote nothing"));
        }
        let Some(blocks) = self.blocks else {
            return Err(incomplete(format!("the archive ends at byte {bytes} inside its table of contents")));
        };
        if blocks.state != State::BlockType {
            return Err(incomplete(format!("the archive ends at byte {bytes} inside {}", contents.name(blocks.id))));
        }
        if let Some((&id, _)) = contents.expected.iter().filter(|(_, expected)| expected.block.is_none()).min_by_key(|(id, _)| **id) {
            let (missing, name) = (contents.missing, contents.name(id));
            return Err(incomplete(format!("the archive ends at byte {bytes} without {name} ({missing} blocks of data are missing)")));
        }
        let observed = Observed {
            structure: Structure::Whole,
            unchecked: None,
            tables: contents.tables,
            large_objects: contents.large_objects,
            schema_version: contents.fingerprint.finish(),
            header: self.parser.header().cloned(),
            entries: contents.entries,
            bytes,
            command: None,
        };
        Ok(observed.with_names_read())
    }
}

impl Contents {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.fingerprint.add(entry);
        // A position that is known already means the archive was written to a file; through a pipe they are all still to come.
        if !matches!(entry.data, Data::ToCome | Data::At(_)) {
            return;
        }
        let content = match entry.desc.as_str() {
            "TABLE DATA" => {
                self.tables.push(TableEntry {
                    schema: entry.namespace.clone().unwrap_or_default(),
                    name: entry.tag.clone(),
                    rows: None,
                    bytes: 0,
                    crc32: None,
                    dump_id: Some(entry.dump_id),
                    offset: None,
                });
                Content::Table { index: self.tables.len() - 1, copy: entry.copy_stmt.is_some() }
            }
            "BLOBS" => Content::LargeObjects,
            _ => Content::Other,
        };
        if self.expected.insert(entry.dump_id, Expected { content, entry: entry.end, block: None }).is_none() {
            self.missing += 1;
        }
    }

    /// An entry's data, in words.
    fn name(&self, id: i32) -> String {
        match self.expected.get(&id).map(|expected| expected.content) {
            Some(Content::Table { index, .. }) => {
                self.tables.get(index).map_or_else(String::new, |table| format!("the data of table {}.{}", table.schema, table.name))
            }
            Some(Content::LargeObjects) => format!("the large objects of entry {id}"),
            Some(Content::Other) | None => format!("the data of entry {id}"),
        }
    }
}

/// A chunk and where in the archive it lies.
struct Place<'a> {
    chunk: &'a [u8],
    offset: u64,
}

impl Place<'_> {
    fn broken<T>(&self, at: usize, what: impl Into<String>) -> Result<T, Trouble> {
        Err(Trouble::Broken { what: what.into(), at: self.offset + at as u64 })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between blocks: the next byte is a block's type.
    BlockType,
    BlockId,
    /// Within large objects: the next integer is an object's id, or zero.
    ObjectId,
    ChunkLength,
    Body(u64),
}

/// The walk over the blocks.
#[derive(Debug)]
struct Blocks {
    state: State,
    /// Width of an integer with its sign.
    width: usize,
    compressed: bool,
    partial: [u8; WIDEST + 1],
    filled: usize,
    kind: u8,
    id: i32,
    content: Content,
    /// Where the present block began in the archive.
    begun: u64,
    text: CopyText,
    raw: u64,
}

impl Blocks {
    fn new(header: &Header) -> Self {
        Self {
            state: State::BlockType,
            width: header.int_size + 1,
            compressed: header.packing != Packing::None,
            partial: [0; WIDEST + 1],
            filled: 0,
            kind: 0,
            id: 0,
            content: Content::Other,
            begun: 0,
            text: CopyText::default(),
            raw: 0,
        }
    }

    fn walk(
        &mut self,
        place: &Place<'_>,
        from: usize,
        contents: &mut Contents,
        cutter: &mut Cutter,
        cuts: &mut Vec<usize>,
    ) -> Result<(), Trouble> {
        let mut at = from;
        while let Some(rest) = place.chunk.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Body(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let (body, _) = rest.split_at(count);
                    self.take(body);
                    at += count;
                    let left = left - count as u64;
                    self.state = if left == 0 { State::ChunkLength } else { State::Body(left) };
                }
                State::BlockType => {
                    cutter.data_starts(place.offset + at as u64, at, cuts);
                    self.kind = rest.first().copied().unwrap_or_default();
                    if ![TABLE_DATA, LARGE_OBJECTS].contains(&self.kind) {
                        return place.broken(at, format!("a block of the unknown type {} begins there", self.kind));
                    }
                    self.begun = place.offset + at as u64;
                    self.state = State::BlockId;
                    at += 1;
                }
                State::BlockId | State::ObjectId | State::ChunkLength => {
                    let (used, value) = self.integer(rest);
                    at += used;
                    if let Some(value) = value {
                        self.number(value, &(place, at - used), contents)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// An integer, or as much of it as there is.
    fn integer(&mut self, rest: &[u8]) -> (usize, Option<i64>) {
        if self.filled == 0
            && let Some(whole) = rest.get(..self.width)
        {
            return (self.width, Some(int(whole)));
        }
        let count = rest.len().min(self.width - self.filled);
        let until = self.filled + count;
        if let (Some(room), Some(bytes)) = (self.partial.get_mut(self.filled..until), rest.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.filled = until;
        if self.filled < self.width {
            return (count, None);
        }
        self.filled = 0;
        (count, Some(int(self.partial.get(..self.width).unwrap_or_default())))
    }

    /// Acts on a complete integer.
    fn number(&mut self, value: i64, &(place, at): &(&Place<'_>, usize), contents: &mut Contents) -> Result<(), Trouble> {
        self.state = match self.state {
            State::ObjectId if value == 0 => State::BlockType,
            State::ObjectId => {
                contents.large_objects += 1;
                State::ChunkLength
            }
            State::BlockId => return self.begin(value, place, at, contents),
            _ => match u64::try_from(value) {
                Ok(0) if self.kind == LARGE_OBJECTS => State::ObjectId,
                Ok(0) => {
                    self.end(place, at, contents)?;
                    State::BlockType
                }
                Ok(length) => State::Body(length),
                Err(_) => return place.broken(at, format!("a piece of {} has the length {value}", contents.name(self.id))),
            },
        };
        Ok(())
    }

    fn begin(&mut self, id: i64, place: &Place<'_>, at: usize, contents: &mut Contents) -> Result<(), Trouble> {
        let expected = i32::try_from(id).ok().and_then(|id| contents.expected.get_mut(&id).map(|expected| (id, expected)));
        let Some((id, expected)) = expected else {
            return place.broken(at, format!("a block belongs to entry {id}, which announced none"));
        };
        if expected.block.is_some() {
            return place.broken(at, format!("a second block of entry {id} begins there"));
        }
        if (expected.content == Content::LargeObjects) != (self.kind == LARGE_OBJECTS) {
            return place.broken(at, format!("the block of entry {id} has the wrong type"));
        }
        expected.block = Some(self.begun);
        contents.missing = contents.missing.saturating_sub(1);
        if let Content::Table { index, .. } = expected.content
            && let Some(table) = contents.tables.get_mut(index)
        {
            table.offset = Some(self.begun);
        }
        (self.id, self.content, self.text, self.raw) = (id, expected.content, CopyText::default(), 0);
        self.state = if self.kind == LARGE_OBJECTS { State::ObjectId } else { State::ChunkLength };
        Ok(())
    }

    fn take(&mut self, body: &[u8]) {
        match self.content {
            Content::Table { copy: true, .. } if !self.compressed => self.text.take(body),
            _ => self.raw += body.len() as u64,
        }
    }

    /// A table's data is complete.
    fn end(&self, place: &Place<'_>, at: usize, contents: &mut Contents) -> Result<(), Trouble> {
        let Content::Table { index, copy } = self.content else { return Ok(()) };
        let counted = if copy && !self.compressed {
            let Some(Counted { rows, bytes, crc32 }) = self.text.rows() else {
                return place.broken(at, format!("{} ends without its end mark", contents.name(self.id)));
            };
            (Some(rows), bytes, Some(crc32))
        } else {
            (None, self.raw, None)
        };
        if let Some(table) = contents.tables.get_mut(index) {
            (table.rows, table.bytes, table.crc32) = counted;
        }
        Ok(())
    }
}
