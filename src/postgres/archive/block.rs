//! A custom archive's blocks of data, read one at a time: found by their place or by walking, unpacked where `pg_dump` compressed them.
//!
//! Trusts nothing: what stands at a place must be the block that was asked for. Keeps a buffer, never a block.

use std::io::{self, BufRead, BufReader, Read};

use super::decode::{WIDEST, int};
use super::toc::{Header, Packing};
use super::{Trouble, custom, unread, unreadable};
use crate::error::Result;
use crate::model::dump::Compression;
use crate::stream;

/// Who is shown a block: its entry, how it is packed, and what lies there.
pub(super) type Taker<'a> = dyn FnMut(i32, Packing, &mut dyn BufRead) -> io::Result<()> + 'a;

/// A source of archive bytes, at a known place.
pub struct Blocks<R> {
    source: R,
    /// Offset in the archive.
    at: u64,
    width: usize,
    packing: Packing,
}

impl<R: BufRead + Send> Blocks<R> {
    /// A source that stands at this offset of the archive, between two blocks.
    pub fn new(source: R, header: &Header, at: u64) -> Self {
        Self { source, at, width: header.int_size + 1, packing: header.packing }
    }

    /// The data of this entry, whose block begins right here.
    pub fn here(mut self, id: i32) -> Result<Box<dyn Read + Send>>
    where
        R: 'static,
    {
        match self.block().map_err(unread)? {
            Some((custom::TABLE_DATA, found)) if found == i64::from(id) => self.data(),
            _ => Err(unreadable(Trouble::Broken { what: format!("the data of entry {id} is not there"), at: self.at })),
        }
    }

    /// The data of this entry, whose block is still to come. Walks over those before it.
    pub fn find(mut self, id: i32) -> Result<Box<dyn Read + Send>>
    where
        R: 'static,
    {
        let found = loop {
            match self.block().map_err(unread)? {
                Some((custom::TABLE_DATA, found)) if found == i64::from(id) => break true,
                Some((kind, _)) => self.skip(kind == custom::LARGE_OBJECTS).map_err(unread)?,
                None => break false,
            }
        };
        if found {
            self.data()
        } else {
            Err(unreadable(Trouble::Broken { what: format!("the data of entry {id} is missing"), at: self.at }))
        }
    }

    /// Shows what lies packed in each block, one after another, a large object as one of its own; what isn't read of it is skipped.
    pub(super) fn each(mut self, take: &mut Taker<'_>) -> Result<()> {
        while let Some((kind, id)) = self.block().map_err(unread)? {
            let named = |error: io::Error| unread(error).context(format!("the data of entry {id}"));
            while kind != custom::LARGE_OBJECTS || self.int().map_err(unread)? != 0 {
                let packing = self.packing;
                let mut pieces = Pieces { blocks: self, left: 0, ended: false };
                take(i32::try_from(id).unwrap_or_default(), packing, &mut BufReader::new(&mut pieces)).map_err(named)?;
                io::copy(&mut pieces, &mut io::sink()).map_err(named)?;
                self = pieces.blocks;
                if kind != custom::LARGE_OBJECTS {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next block's kind and entry; none at the archive's end.
    fn block(&mut self) -> io::Result<Option<(u8, i64)>> {
        let mut kind = [0];
        if self.source.read(&mut kind)? == 0 {
            return Ok(None);
        }
        self.at += 1;
        let [kind] = kind;
        if ![custom::TABLE_DATA, custom::LARGE_OBJECTS].contains(&kind) {
            return Err(self.broken(format!("a block of the unknown type {kind} begins there")));
        }
        Ok(Some((kind, self.int()?)))
    }

    /// Skips a block's data, behind its entry's number.
    fn skip(&mut self, objects: bool) -> io::Result<()> {
        while !objects || self.int()? != 0 {
            loop {
                let length = self.length()?;
                if length == 0 {
                    break;
                }
                if io::copy(&mut Read::by_ref(&mut self.source).take(length), &mut io::sink())? < length {
                    return Err(self.broken(String::from("it ends inside a block of data")));
                }
                self.at += length;
            }
            if !objects {
                break;
            }
        }
        Ok(())
    }

    fn int(&mut self) -> io::Result<i64> {
        let mut digits = [0; WIDEST + 1];
        let room = digits.get_mut(..self.width).unwrap_or_default();
        self.source.read_exact(room).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.broken(String::from("it ends there")),
            _ => error,
        })?;
        self.at += self.width as u64;
        Ok(int(room))
    }

    fn length(&mut self) -> io::Result<u64> {
        let length = self.int()?;
        u64::try_from(length).map_err(|_| self.broken(format!("a piece of data has the length {length}")))
    }

    fn broken(&self, what: String) -> io::Error {
        unreadable(Trouble::Broken { what, at: self.at }).into()
    }

    /// The present block's data, unpacked.
    fn data(self) -> Result<Box<dyn Read + Send>>
    where
        R: 'static,
    {
        let packing = self.packing;
        let pieces = Pieces { blocks: self, left: 0, ended: false };
        match packing {
            Packing::None => Ok(Box::new(pieces)),
            Packing::Zlib => Ok(Box::new(flate2::read::ZlibDecoder::new(pieces))),
            Packing::Zstd => stream::decompress(Compression::Zstd(0), Box::new(pieces)),
            Packing::Lz4 => Ok(Box::new(lz4_flex::frame::FrameDecoder::new(pieces))),
            Packing::Unknown => {
                Err(unreadable(Trouble::Beyond(String::from("pg_dump compressed its rows in a way that pgdumpd doesn't unpack"))))
            }
        }
    }
}

/// The bytes of a block's pieces, one after another.
struct Pieces<R> {
    blocks: Blocks<R>,
    left: u64,
    ended: bool,
}

impl<R: BufRead + Send> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty() && !self.ended) {
            if self.left == 0 {
                self.left = self.blocks.length()?;
                self.ended = self.left == 0;
                continue;
            }
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(room.len());
            let count = self.blocks.source.read(room.get_mut(..most).unwrap_or_default())?;
            if count == 0 {
                return Err(self.blocks.broken(String::from("it ends inside a block of data")));
            }
            self.left -= count as u64;
            self.blocks.at += count as u64;
            filled += count;
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::toc::Kind;

    fn header(packing: Packing) -> Header {
        let text = String::new;
        Header {
            minor: 14,
            revision: 0,
            int_size: 4,
            offset_size: 8,
            kind: Kind::Custom,
            packing,
            database: text(),
            server_version: text(),
            pg_dump_version: text(),
            unread_names: None,
        }
    }

    fn int(value: u8) -> Vec<u8> {
        vec![0, value, 0, 0, 0]
    }

    /// A table, two large objects, and a table in two pieces.
    fn blocks() -> Vec<u8> {
        let table = |id: u8, pieces: &[&[u8]]| {
            let pieces: Vec<u8> = pieces.iter().flat_map(|piece| [int(piece.len() as u8), piece.to_vec()].concat()).collect();
            [vec![1], int(id), pieces, int(0)].concat()
        };
        let objects = [vec![3], int(8), int(44), int(2), b"ab".to_vec(), int(0), int(45), int(0), int(0)].concat();
        [table(7, &[b"first"]), objects, table(9, &[b"sec", b"ond"])].concat()
    }

    fn read(blocks: Result<Box<dyn Read + Send>>) -> std::result::Result<String, String> {
        let mut text = String::new();
        blocks.map_err(|failure| failure.message)?.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn a_block_is_found_by_its_place_or_by_walking() {
        let open = |bytes: Vec<u8>, at: u64| Blocks::new(io::Cursor::new(bytes), &header(Packing::None), at);
        let bytes = blocks();
        assert_eq!(read(open(bytes.clone(), 0).find(7)).unwrap(), "first");
        assert_eq!(read(open(bytes.clone(), 0).find(9)).unwrap(), "second");
        assert_eq!(read(open(bytes.clone(), 0).here(7)).unwrap(), "first");
        let place = bytes.len() - 27;
        assert_eq!(read(open(bytes[place..].to_vec(), place as u64).here(9)).unwrap(), "second");
        assert!(read(open(bytes.clone(), 0).here(9)).unwrap_err().ends_with("the data of entry 9 is not there"));
        assert!(read(open(bytes.clone(), 0).find(5)).unwrap_err().ends_with("the data of entry 5 is missing"));
        assert!(
            read(open(bytes[1..].to_vec(), 1).here(7))
                .unwrap_err()
                .starts_with("the archive is broken at byte 2: a block of the unknown type 0")
        );
        for end in 0..bytes.len() {
            assert!(read(open(bytes[..end].to_vec(), 0).find(9)).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn rows_that_pg_dump_packed_are_unpacked_or_refused() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut packed, b"rows").unwrap();
        let packed = packed.finish().unwrap();
        let bytes = [vec![1], int(7), int(packed.len() as u8), packed, int(0)].concat();
        let open = |packing| Blocks::new(io::Cursor::new(bytes.clone()), &header(packing), 0).here(7);
        assert_eq!(read(open(Packing::Zlib)).unwrap(), "rows");
        assert!(read(open(Packing::Zstd)).is_err() && read(open(Packing::Lz4)).is_err());
        let failure = open(Packing::Unknown).err().unwrap();
        assert!(failure.message.contains("in a way that pgdumpd doesn't unpack") && failure.hint.unwrap().contains("pg_restore"));
    }
}
