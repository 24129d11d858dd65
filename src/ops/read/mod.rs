//! Reading a backup without a server: a table's rows, its definition, the table of contents.
//!
//! Streams; reads only the frames it needs. What it doesn't find it says with what comes near.

mod cat;
mod contents;
mod csv;
mod json;
mod lacking;
mod writer;

use std::io::{self, Write};

pub use cat::{Catted, Header, Output, cat, header, rows_of};
pub use contents::{Statement, Summary, ddl, toc};

use crate::error::{Cause, Failure};
use crate::postgres::archive::copy_rows::Cells;

/// Bytes gathered before they are written.
const BUFFER: usize = 128 * 1024;

/// Cells that become lines of some format.
trait Rows: Cells {
    /// Rows written so far.
    fn rows(&self) -> u64;
    /// Writes what was gathered.
    fn finish(&mut self) -> io::Result<()>;
}

/// What is written, gathered into large pieces.
struct Out<'a> {
    sink: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl<'a> Out<'a> {
    fn new(sink: &'a mut dyn Write) -> Self {
        Self { sink, buffer: Vec::with_capacity(2 * BUFFER) }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.buffer.clear();
        self.sink.flush()
    }
}

/// A row whose values aren't as many as the columns.
fn wrong_width(rows_before: u64, values: usize, columns: usize) -> io::Error {
    let words = format!("row {} has {values} values for {columns} columns", rows_before + 1);
    Failure::new(Cause::Damaged, words).hint("the stored file is no longer what was dumped; take another backup").into()
}
