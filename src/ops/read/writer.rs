//! A table's rows on their way out, in one of three formats, counted and compared with what the manifest says of them.

use std::io::{Read, Write};

use super::cat::{Output, Piece};
use super::csv::Csv;
use super::json::Json;
use super::{Out, Rows};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::postgres::archive::charset::Charset;
use crate::postgres::archive::copy_rows::{self, Cells, Ended};
use crate::postgres::archive::statement::Shape;

/// Rows on their way out.
pub(super) enum Writer<'a> {
    Cells(Box<Recoded<Csv<'a>>>),
    Objects(Box<Recoded<Json<'a>>>),
    Raw(Out<'a>, u64),
}

impl<'a> Writer<'a> {
    pub(super) fn begin(
        output: Output,
        columns: &[String],
        shapes: &[(String, Shape)],
        charset: &Charset,
        sink: &'a mut dyn Write,
    ) -> std::io::Result<Self> {
        let shape = |name: &String| shapes.iter().find(|(other, _)| other == name).map_or(Shape::Text, |(_, shape)| *shape);
        let out = Out::new(sink);
        Ok(match output {
            Output::Csv => Self::Cells(Box::new(Recoded::new(Csv::begin(out, columns)?, charset))),
            Output::Json => {
                let columns: Vec<_> = columns.iter().map(|name| (name.clone(), shape(name))).collect();
                Self::Objects(Box::new(Recoded::new(Json::begin(out, &columns)?, charset)))
            }
            Output::Copy => Self::Raw(out, 0),
        })
    }

    /// Writes one table's rows and counts them against the manifest.
    pub(super) fn copy(&mut self, manifest: &Manifest, piece: &Piece, source: &mut dyn Read) -> Result<(), Ended> {
        let before = self.rows();
        let crc32 = match self {
            Self::Cells(csv) => copy_rows::rows(source, &mut **csv)?,
            Self::Objects(json) => copy_rows::rows(source, &mut **json)?,
            Self::Raw(out, rows) => {
                let (count, crc32) = copy_rows::raw_rows(source, |bytes| out.write_all(bytes))?;
                *rows += count;
                crc32
            }
        };
        let (came, said) = (self.rows() - before, piece.entry(manifest));
        let wrong =
            |words: String| Failure::new(Cause::Damaged, words).hint("the stored file is no longer what was dumped; take another backup");
        if let Some(said) = said.and_then(|table| table.rows).filter(|said| *said != came) {
            return Err(wrong(format!("{came} rows of {} came, and {said} were dumped", piece.name())).into());
        }
        if let Some(said) = said.and_then(|table| table.crc32).filter(|said| *said != crc32) {
            let words = format!("rows of {} were altered: they have the CRC-32 {crc32:08x}, and those dumped had {said:08x}", piece.name());
            return Err(wrong(words).into());
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Cells(csv) => csv.inner.rows(),
            Self::Objects(json) => json.inner.rows(),
            Self::Raw(_, rows) => *rows,
        }
    }

    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Cells(csv) => csv.inner.finish(),
            Self::Objects(json) => json.inner.finish(),
            Self::Raw(out, _) => out.flush(),
        }
    }
}

/// Values as UTF-8, as the columns' names are; only `copy` gives the rows as they stand in the archive.
pub(super) struct Recoded<C> {
    inner: C,
    charset: Charset,
    room: Vec<u8>,
}

impl<C> Recoded<C> {
    fn new(inner: C, charset: &Charset) -> Self {
        Self { inner, charset: charset.clone(), room: Vec::new() }
    }
}

impl<C: Cells> Cells for Recoded<C> {
    fn part(&mut self, bytes: &[u8], last: bool) -> std::io::Result<()> {
        self.inner.part(self.charset.recode(bytes, &mut self.room), last)
    }

    fn null(&mut self) -> std::io::Result<()> {
        self.inner.null()
    }

    fn end_row(&mut self) -> std::io::Result<()> {
        self.inner.end_row()
    }
}
