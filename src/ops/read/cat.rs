//! A table's rows out of a backup, in one of three formats, reading only the frames they lie in.
//!
//! A partitioned table's rows are those of its partitions, one after another. Rows that don't come to the number in the manifest are damage.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};

use super::lacking::{no_rows, unlike};
use super::writer::Writer;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, TableEntry};
use crate::model::dump::{Content, Format};
use crate::ops::artifact::{self, Passing};
use crate::ops::entries::{Behind, Source, entries, named, open, open_ahead};
use crate::postgres::archive::block::Blocks;
use crate::postgres::archive::charset::Charset;
use crate::postgres::archive::copy_rows::{self, Ended};
use crate::postgres::archive::ddl;
use crate::postgres::archive::members::Members;
use crate::postgres::archive::name::{Finder, Wanted, shown};
use crate::postgres::archive::script::{self, Script};
use crate::postgres::archive::statement::{self, Qualified, Shape};
use crate::postgres::archive::toc::{self, Data};
use crate::storage::Storage;

/// The endings of a directory dump's compressed files.
const PACKED: [&str; 3] = [".gz", ".lz4", ".zst"];

/// The largest window that a zstd frame may ask for, as a power of two: what `--compress=zstd:long` takes.
const WINDOW: u32 = 27;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// As `psql`'s `\copy … csv header` does.
    Csv,
    /// One object a line.
    Json,
    /// COPY text, as it stands in the archive, without the end mark.
    Copy,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catted {
    /// The table, as it would be typed.
    pub table: String,
    /// The partitions whose rows these are, in their order; none for an ordinary table.
    pub partitions: Vec<String>,
    /// How many rows.
    pub rows: u64,
    /// Whether a checksum vouches for them: their own, or that of the frames they lay in.
    pub vouched: bool,
    /// Whether the reader went away before the end, which is his right.
    pub closed: bool,
}

/// What the archive says of the tables that are wanted.
#[derive(Debug, Default)]
struct Survey {
    /// The rows' places, in the archive's order.
    pieces: Vec<Piece>,
    shapes: BTreeMap<Qualified, Vec<(String, Shape)>>,
    /// The kind of what has the wanted name.
    kind: Option<String>,
    /// What the rows are in, as the archive says.
    charset: Charset,
    /// A custom archive's header.
    header: Option<toc::Header>,
}

/// One table's rows.
#[derive(Debug)]
pub(super) struct Piece {
    table: Qualified,
    /// The entry with the rows; none in a script.
    id: i32,
    /// The member that holds them, in a tar.
    file: Option<String>,
    /// Unknown where the rows are INSERT commands.
    columns: Option<Vec<String>>,
}

/// The rows of a table as they can be put somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Schema and name, unquoted.
    pub table: Qualified,
    /// The columns, in the order of the rows.
    pub columns: Vec<String>,
    /// Other orders in which partitions have them.
    pub others: Vec<Vec<String>>,
    /// The encoding that the rows are in, as PostgreSQL names it.
    pub encoding: Option<String>,
    /// Whether [`cat`] compares the rows themselves with a checksum.
    pub summed: bool,
    /// About how many bytes they are, all partitions' together, where the manifest says so.
    pub bytes: Option<u64>,
    /// How many rows they are, where the manifest says so.
    pub rows: Option<u64>,
}

/// What [`cat`] would write as [`Output::Copy`], without its rows.
pub fn header(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted) -> Result<Header> {
    let (table, survey) = look(storage, manifest, wanted)?;
    let mut others: Vec<Vec<String>> = survey.pieces.iter().filter_map(|piece| piece.columns.clone()).collect();
    others.sort_unstable();
    others.dedup();
    let columns = survey.pieces.first().and_then(|first| first.columns.clone()).unwrap_or_default();
    others.retain(|other| *other != columns);
    let of_database = || manifest.database_properties.as_ref().map(|properties| properties.encoding.clone());
    let said = Some(survey.charset.name().to_owned()).filter(|name| !name.is_empty());
    let encoding = said.or_else(of_database);
    let bytes = survey.pieces.iter().map(|piece| piece.entry(manifest).map(|entry| entry.bytes)).sum();
    let rows = survey.pieces.iter().map(|piece| piece.entry(manifest).and_then(|entry| entry.rows)).sum();
    Ok(Header { table, columns, others, encoding, summed: survey.is_summed(manifest), bytes, rows })
}

/// Writes a table's rows to `sink`, and compares them with their checksum in the manifest. Without one, every frame that they lie in is read to
/// its end, where it has one itself; without that, nobody vouches for them.
pub fn cat(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted, output: Output, sink: &mut dyn Write) -> Result<Catted> {
    let (table, survey) = look(storage, manifest, wanted)?;
    if let Some(other) = survey.pieces.iter().find(|piece| Some(&piece.columns) != survey.pieces.first().map(|first| &first.columns)) {
        return Err(unlike(&table, other));
    }
    written(storage, manifest, (table, survey), output, sink)
}

/// Writes the rows of those partitions alone that have their columns in this order, as [`Output::Copy`].
pub fn rows_of(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted, order: &[String], sink: &mut dyn Write) -> Result<Catted> {
    let (table, mut survey) = look(storage, manifest, wanted)?;
    survey.pieces.retain(|piece| piece.columns.as_deref() == Some(order));
    written(storage, manifest, (table, survey), Output::Copy, sink)
}

fn written(
    storage: &dyn Storage,
    manifest: &Manifest,
    (table, survey): (Qualified, Survey),
    output: Output,
    sink: &mut dyn Write,
) -> Result<Catted> {
    let Some(first) = survey.pieces.first() else { return Err(no_rows(manifest, &table, survey.kind.as_deref())) };
    let columns = first.columns.clone().unwrap_or_default();
    let shapes = survey.shapes.get(&first.table).map(Vec::as_slice).unwrap_or_default();
    let mut writer =
        Writer::begin(output, &columns, shapes, &survey.charset, sink).map_err(|error| Failure::from_io("writing the rows", error));
    let written = match &mut writer {
        Ok(writer) => read_pieces(storage, manifest, &survey, writer).and_then(|()| writer.finish().map_err(Ended::Taker)),
        Err(failure) => return Err(failure.clone()),
    };
    let closed = match written {
        Ok(()) => false,
        Err(Ended::Taker(error)) if error.kind() == ErrorKind::BrokenPipe => true,
        Err(Ended::Taker(error)) => return Err(named(manifest, Failure::from_io("writing the rows", error))),
        Err(Ended::Source(failure)) => return Err(named(manifest, failure)),
    };
    let partitions = survey.pieces.iter().filter(|piece| piece.table != table).map(|piece| shown(&piece.table.0, &piece.table.1)).collect();
    let rows = writer.map_or(0, |writer| writer.rows());
    let vouched = survey.is_summed(manifest) || artifact::checks_itself(manifest);
    Ok(Catted { table: shown(&table.0, &table.1), partitions, rows, vouched, closed })
}

/// The table that is meant, and its rows' places, all with the same columns, in whatever order.
fn look(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted) -> Result<(Qualified, Survey)> {
    if manifest.content == Content::Globals {
        let words = format!("{} holds roles and tablespaces, no tables", manifest.backup_file);
        return Err(Failure::new(Cause::NotFound, words).hint("`pgdumpd list` shows the backups of databases"));
    }
    let (table, leaves) = resolve(storage, manifest, wanted)?;
    let survey = survey(storage, manifest, &table, &leaves)?;
    let Some(first) = survey.pieces.first() else { return Err(no_rows(manifest, &table, survey.kind.as_deref())) };
    let sorted = |piece: &Piece| {
        let mut columns = piece.columns.clone()?;
        columns.sort_unstable();
        Some(columns)
    };
    let wanted = sorted(first);
    if let Some(other) = survey.pieces.iter().find(|piece| piece.columns.is_none() || sorted(piece) != wanted) {
        return Err(unlike(&table, other));
    }
    Ok((table, survey))
}

/// The table that is meant, and the tables whose rows are its own: itself, or all partitions below it.
fn resolve(storage: &dyn Storage, manifest: &Manifest, wanted: &Wanted) -> Result<(Qualified, BTreeSet<Qualified>)> {
    let mut finder = Finder::new(wanted);
    let mut partitions: BTreeMap<Qualified, Vec<Qualified>> = BTreeMap::new();
    let mut attach = |statement: &str| {
        if let Some((parent, partition)) = statement::attached(statement) {
            partitions.entry(parent).or_default().push(partition);
        }
    };
    manifest.tables.iter().for_each(|table| finder.see(&table.schema, &table.name));
    if manifest.dump_format == Format::Plain {
        let mut script = Script::new(open(storage, manifest, 0)?);
        while let Some(script::Statement::Told(statement)) = script.next_statement().map_err(|failure| named(manifest, failure))? {
            attach(&statement);
            if let Some(((schema, name), _)) = statement::created(&statement) {
                finder.see(&schema, &name);
            }
        }
    } else {
        entries(storage, manifest, &mut |entry| {
            if ddl::NAMED.contains(&entry.desc.as_str()) {
                finder.see(entry.namespace.as_deref().unwrap_or_default(), &entry.tag);
            }
            if matches!(entry.desc.as_str(), "TABLE" | "TABLE ATTACH") {
                attach(&entry.defn);
            }
        })?;
    }
    let table = finder.found()?;
    let (mut leaves, mut look) = (BTreeSet::new(), vec![table.clone()]);
    while let Some(next) = look.pop() {
        if leaves.insert(next.clone()) {
            look.extend(partitions.remove(&next).unwrap_or_default());
        }
    }
    Ok((table, leaves))
}

fn survey(storage: &dyn Storage, manifest: &Manifest, table: &Qualified, leaves: &BTreeSet<Qualified>) -> Result<Survey> {
    let mut survey = Survey::default();
    if manifest.dump_format == Format::Plain {
        let mut script = Script::new(open(storage, manifest, 0)?);
        while survey.pieces.len() < leaves.len()
            && let Some(next) = script.next_statement().map_err(|failure| named(manifest, failure))?
        {
            survey.see_statement(&next, leaves);
        }
        survey.charset = script.charset();
        return Ok(survey);
    }
    let behind = entries(storage, manifest, &mut |entry| {
        if entry.desc == "ENCODING" {
            survey.charset = Charset::of_entry(&entry.defn);
        }
        let name = (entry.namespace.clone().unwrap_or_default(), entry.tag.clone());
        if !leaves.contains(&name) {
            return;
        }
        if entry.desc == "TABLE DATA" {
            let columns = entry.copy_stmt.as_deref().and_then(statement::copy_columns);
            let file = if let Data::File(file) = entry.data { Some(file) } else { None };
            survey.pieces.push(Piece { table: name, id: entry.dump_id, file, columns });
        } else if ddl::NAMED.contains(&entry.desc.as_str()) {
            if let Some((_, shapes)) = statement::created(&entry.defn) {
                survey.shapes.insert(name.clone(), shapes);
            }
            survey.kind = Some(entry.desc).filter(|_| name == *table).or(survey.kind.take());
        }
    })?;
    survey.header = if let Behind::Blocks(_, header, _) = behind { Some(header) } else { None };
    Ok(survey)
}

impl Survey {
    fn is_summed(&self, manifest: &Manifest) -> bool {
        self.pieces.iter().all(|piece| piece.is_summed(manifest))
    }

    fn see_statement(&mut self, statement: &script::Statement, leaves: &BTreeSet<Qualified>) {
        match statement {
            script::Statement::Told(text) => {
                if let Some((name, shapes)) = statement::created(text).filter(|(name, _)| leaves.contains(name)) {
                    self.shapes.insert(name, shapes);
                }
            }
            script::Statement::Copy(text) => {
                let columns = statement::copy_columns(text);
                if let Some(table) = statement::copied(text).filter(|name| leaves.contains(name)) {
                    self.pieces.push(Piece { table, id: 0, file: None, columns });
                }
            }
        }
    }
}

/// Reads the rows of one table after another, in the archive's order.
fn read_pieces(storage: &dyn Storage, manifest: &Manifest, survey: &Survey, writer: &mut Writer<'_>) -> Result<(), Ended> {
    let pieces = &survey.pieces;
    if let Some(header) = &survey.header {
        for piece in pieces {
            let (mut rows, mut passing, begins) = block(storage, manifest, header, piece)?;
            writer.copy(manifest, piece, &mut *rows)?;
            copy_rows::to_its_end(&mut *rows)?;
            if !piece.is_summed(manifest) {
                passing.finish_frame(manifest, begins)?;
            }
        }
        return Ok(());
    }
    let (source, mut passing) = open_ahead(storage, manifest, 0)?;
    if manifest.dump_format == Format::Plain {
        let mut script = Script::new(source);
        for piece in pieces {
            while let Some(next) = script.next_statement()? {
                if let script::Statement::Copy(text) = next
                    && statement::copied(&text).as_ref() == Some(&piece.table)
                {
                    break;
                }
            }
            writer.copy(manifest, piece, &mut script)?;
        }
        return Ok(finish(manifest, survey, &mut passing, script.source())?);
    }
    let mut members = Members::new(source);
    let mut left: Vec<&Piece> = pieces.iter().collect();
    while !left.is_empty() {
        let Some(name) = members.next_member()? else {
            let words = format!("{} lacks the rows of {}", manifest.backup_file, left.first().map_or(String::new(), |piece| piece.name()));
            return Err(Failure::new(Cause::Damaged, words).hint("take another backup").into());
        };
        let (plain, ending) = PACKED.iter().find_map(|ending| Some((name.strip_suffix(ending)?, *ending))).unwrap_or((&name, ""));
        if let Some(at) = left.iter().position(|piece| piece.file.as_deref() == Some(plain)) {
            let piece = left.remove(at);
            let mut rows: Box<dyn Read + '_> = match ending {
                "" => Box::new(&mut members),
                ".gz" => Box::new(flate2::read::MultiGzDecoder::new(&mut members)),
                ".lz4" => Box::new(lz4_flex::frame::FrameDecoder::new(&mut members)),
                _ => Box::new(unpacked(&mut members)?),
            };
            writer.copy(manifest, piece, &mut *rows)?;
            copy_rows::to_its_end(&mut *rows)?;
        }
    }
    Ok(finish(manifest, survey, &mut passing, members.source())?)
}

/// Reads on to the end of the frame that the last byte came from which was taken out of `source`, where rows have no checksum of their own.
fn finish(manifest: &Manifest, survey: &Survey, passing: &mut Passing, source: &Source) -> Result<()> {
    if survey.is_summed(manifest) {
        return Ok(());
    }
    let taken = passing.at().saturating_sub(source.buffer().len() as u64);
    passing.finish_frame(manifest, taken.saturating_sub(1))
}

/// A table's rows in a custom archive, and a byte of the frame that holds them: from their place in the manifest, or, where an older pgdumpd
/// noted none, by walking there.
fn block(storage: &dyn Storage, manifest: &Manifest, header: &toc::Header, piece: &Piece) -> Result<(Box<dyn Read + Send>, Passing, u64)> {
    let known = manifest.tables.iter().find(|table| table.dump_id == Some(piece.id)).and_then(|table| table.offset);
    let Some(offset) = known else {
        let (mut source, passing) = open_ahead(storage, manifest, 0)?;
        let (header, end) = toc::each(&mut source, &mut |_| ())?;
        let rows = Blocks::new(source, &header, end).find(piece.id)?;
        let about = passing.at();
        return Ok((rows, passing, about));
    };
    let there = open_ahead(storage, manifest, offset)
        .and_then(|(source, passing)| Ok((Blocks::new(source, header, offset).here(piece.id)?, passing, offset)));
    there.map_err(|failure| {
        let teller = if manifest.is_of_given_file() { "the table of contents" } else { "the manifest" };
        let words = format!("{teller} places the rows of {} at byte {offset}: {}", piece.name(), failure.message);
        Failure { message: words, ..failure }
    })
}

impl Piece {
    pub(super) fn name(&self) -> String {
        shown(&self.table.0, &self.table.1)
    }

    /// Whether its rows are INSERT commands.
    pub(super) fn has_no_columns(&self) -> bool {
        self.columns.is_none()
    }

    /// What the manifest says of it.
    pub(super) fn entry<'a>(&self, manifest: &'a Manifest) -> Option<&'a TableEntry> {
        manifest.tables.iter().find(|table| (&table.schema, &table.name) == (&self.table.0, &self.table.1))
    }

    /// Whether its rows have a checksum of their own.
    fn is_summed(&self, manifest: &Manifest) -> bool {
        self.entry(manifest).is_some_and(|entry| entry.crc32.is_some())
    }
}

/// A member that `pg_dump` has compressed with zstd.
fn unpacked<R: Read>(member: R) -> Result<impl Read> {
    let failed = |error: std::io::Error| Failure::new(Cause::System, format!("zstd can't be set up for reading: {error}"));
    let mut decoder = zstd::stream::read::Decoder::new(member).map_err(failed)?;
    decoder.window_log_max(WINDOW).map_err(failed)?;
    Ok(decoder)
}
