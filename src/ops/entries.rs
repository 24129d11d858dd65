//! An archive's entries, one after another, and the reader that stands behind them; for every verb that looks into archives.
//!
//! Entries pass one by one: a question that needs to know one before another reads them again, which costs little and keeps memory flat.

use std::io::{BufReader, Read};

use super::artifact::{self, Passing};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::model::dump::{Content, Format};
use crate::postgres::archive::members::Members;
use crate::postgres::archive::toc::{self, Entry, Header};
use crate::storage::Storage;
use crate::stream::Ahead;

/// Bytes read at once.
const BUFFER: usize = 128 * 1024;

/// A decompressed archive, buffered.
pub type Source = BufReader<Box<dyn Read + Send>>;

/// What follows the table of contents.
pub enum Behind {
    /// Blocks, from this offset of the archive on.
    Blocks(Source, Header, u64),
    /// The members behind it; in a tar of somebody's own making there may be others before it.
    Members(Members<Source>),
}

/// Opens the archive, buffered.
pub fn open(storage: &dyn Storage, manifest: &Manifest, offset: u64) -> Result<Source> {
    Ok(BufReader::with_capacity(BUFFER, artifact::open_at(storage, manifest, offset)?))
}

/// Opens the archive for rows that go out: it is decompressed on a thread of its own, and its frame can be read on to its end afterwards.
pub fn open_ahead(storage: &dyn Storage, manifest: &Manifest, offset: u64) -> Result<(Source, Passing)> {
    let passing = Passing::new(Box::new(Ahead::of(artifact::open_at(storage, manifest, offset)?)?), offset);
    Ok((BufReader::with_capacity(BUFFER, Box::new(passing.clone())), passing))
}

/// Gives the archive's entries, and what follows them. Plain dumps have none.
pub fn entries(storage: &dyn Storage, manifest: &Manifest, give: &mut dyn FnMut(Entry)) -> Result<Behind> {
    let file = &manifest.backup_file;
    if manifest.dump_format == Format::Plain || manifest.content == Content::Globals {
        let words = format!("{file} is a script, which has no table of contents");
        return Err(Failure::new(Cause::NotFound, words).hint("it can be read as it is: unpack it and look into it with a pager"));
    }
    let mut source = open(storage, manifest, 0)?;
    let named = |failure: Failure| named(manifest, failure);
    if manifest.dump_format == Format::Custom {
        let (header, end) = toc::each(&mut source, give).map_err(named)?;
        return Ok(Behind::Blocks(source, header, end));
    }
    let mut members = Members::new(source);
    // pg_dump and pgdumpd write it first; tar packs a folder in any order.
    loop {
        match members.next_member().map_err(named)?.as_deref() {
            Some("toc.dat") => break,
            Some(_) => {}
            None => {
                let words = format!("{file} has no table of contents (toc.dat)");
                return Err(Failure::new(Cause::Damaged, words).hint("unpack it with tar, and look at what it holds"));
            }
        }
    }
    toc::each(&mut BufReader::with_capacity(BUFFER, &mut members), give).map_err(named)?;
    Ok(Behind::Members(members))
}

/// A failure that says which file it was.
#[must_use]
pub fn named(manifest: &Manifest, failure: Failure) -> Failure {
    if failure.message.contains(&manifest.backup_file) { failure } else { failure.context(&manifest.backup_file) }
}
