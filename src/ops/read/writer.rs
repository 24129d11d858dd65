//! A table's rows on their way out, in one of three formats, counted and compared with what the manifest says of them.

use std::io::{Read, Write};

use super::cat::{Output, Piece};
use super::csv::Csv;
use super::json::Json;
use super::{Out, Rows};
use crate::error::{Cause, Failure, Result};
use crate::model::backup::Manifest;
use crate::postgres::archive::copy_rows::{self, Ended};
use crate::postgres::archive::statement::Shape;

/// Rows on their way out.
pub(super) enum Writer<'a> {
    Cells(Box<Csv<'a>>),
    Objects(Box<Json<'a>>),
    Raw(Out<'a>, u64),
}

impl<'a> Writer<'a> {
    pub(super) fn begin(output: Output, columns: &[String], shapes: &[(String, Shape)], sink: &'a mut dyn Write) -> std::io::Result<Self> {
        let shape = |name: &String| shapes.iter().find(|(other, _)| other == name).map_or(Shape::Text, |(_, shape)| *shape);
        let out = Out::new(sink);
        Ok(match output {
            Output::Csv => Self::Cells(Box::new(Csv::begin(out, columns)?)),
            Output::Json => {
                let columns: Vec<_> = columns.iter().map(|name| (name.clone(), shape(name))).collect();
                Self::Objects(Box::new(Json::begin(out, &columns)?))
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
            Self::Cells(csv) => csv.rows(),
            Self::Objects(json) => json.rows(),
            Self::Raw(_, rows) => *rows,
        }
    }

    pub(super) fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Cells(csv) => csv.finish(),
            Self::Objects(json) => json.finish(),
            Self::Raw(out, _) => out.flush(),
        }
    }
}
