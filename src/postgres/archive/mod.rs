//! What `pg_dump` writes, watched while it passes: is it whole, and what is in it?
//!
//! Owns the [`Tap`] and the parsers of archives ([`toc`] for headers and tables of contents). It never keeps data, never changes a byte
//! and needs bounded memory, whatever comes. The dump stream shows it every byte; `ops::backup` asks for [`Observed`] at the end.

pub mod block;
pub mod charset;
pub mod copy_rows;
mod copy_text;
mod custom;
pub mod ddl;
mod decode;
mod fingerprint;
pub mod members;
pub mod name;
pub mod packed;
mod plain;
pub mod roles;
pub mod script;
mod section;
mod sql;
pub mod statement;
mod tar;
pub mod toc;
mod unpack;

pub use fingerprint::is_schema;
pub use unpack::unpack;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Structure, TableEntry};
use crate::stream::Observe;

/// A new frame is worth its few bytes only after this much archive.
const FRAME_EVERY: u64 = 4 * 1024 * 1024;
/// With every this many bytes per byte of [`FRAME_EVERY`], frames become rarer, so that their list stays short in archives of any size.
const FRAMES_ABOUT: u64 = 16 * 1024;

/// What a tap saw in an archive that is whole, or that it could not judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whole, or unchecked.
    pub structure: Structure,
    /// Why it is unchecked, as half a sentence: `the archive's version 1.99 is unknown`.
    pub unchecked: Option<String>,
    /// Tables with data, in the archive's order.
    pub tables: Vec<TableEntry>,
    /// Number of large objects.
    pub large_objects: u64,
    /// SHA-256 over the schema's definitions, without ids, owners and times: equal for equal schemas. Unknown for plain dumps.
    pub schema_version: Option<String>,
    /// The archive's header, where the format has one.
    pub header: Option<toc::Header>,
    /// Entries in its table of contents.
    pub entries: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// A script's first command to psql itself, which may lead it to another database: `\\connect shop`.
    pub command: Option<String>,
}

impl Observed {
    /// Where the archive's names couldn't be read, nothing that goes by a name can be said of it; that it is whole has been seen all the same.
    fn with_names_read(mut self) -> Self {
        if let Some(encoding) = self.header.as_ref().and_then(|header| header.unread_names.as_ref()) {
            let of = if encoding.is_empty() { "no known encoding" } else { encoding };
            self.unchecked = Some(names_in(of));
            self.tables.clear();
        }
        self
    }

    fn unchecked(bytes: u64, why: impl Into<String>) -> Self {
        Self {
            structure: Structure::Unchecked,
            unchecked: Some(why.into()),
            tables: Vec::new(),
            large_objects: 0,
            schema_version: None,
            header: None,
            entries: 0,
            bytes,
            command: None,
        }
    }
}

/// Around the encoding in the words that say why nothing is known of the tables.
const UNREAD: (&str, &str) = ("names in it are in ", ", which pgdumpd can't read: nothing is known of its tables");

/// Why nothing is known of the tables.
fn names_in(encoding: &str) -> String {
    format!("{}{encoding}{}", UNREAD.0, UNREAD.1)
}

/// The encoding of names that couldn't be read, where these words of a manifest say so.
#[must_use]
pub fn unread_in(warning: &str) -> Option<&str> {
    warning.strip_prefix(UNREAD.0)?.strip_suffix(UNREAD.1)
}

/// Watches one dump pass by.
#[derive(Debug)]
pub struct Tap(Kind);

#[derive(Debug)]
enum Kind {
    Custom(Box<custom::Watch>),
    Plain(Box<plain::Watch>),
    Tar(Box<tar::Watch>),
    Opaque(u64),
}

impl Tap {
    /// For `pg_dump -Fc` into a pipe. Rows are counted with `-Z0`; with any other compression they stay unknown, and a table's bytes
    /// are its compressed ones.
    #[must_use]
    pub fn custom() -> Self {
        Self(Kind::Custom(Box::default()))
    }

    /// For `pg_dump -Fp`.
    #[must_use]
    pub fn plain() -> Self {
        Self(Kind::Plain(Box::new(plain::Watch::new(plain::DATABASE_END))))
    }

    /// The same for a script that was made elsewhere: each row's columns are compared with its statement's, too.
    #[must_use]
    pub fn script() -> Self {
        Self(Kind::Plain(Box::new(plain::Watch::new(plain::DATABASE_END).comparing())))
    }

    /// For `pg_dumpall`, `--globals-only` or not.
    #[must_use]
    pub fn globals() -> Self {
        Self(Kind::Plain(Box::new(plain::Watch::new(plain::CLUSTER_END))))
    }

    /// For `pg_dump -Ft`, and for a directory dump packed into one tar.
    #[must_use]
    pub fn tar() -> Self {
        Self(Kind::Tar(Box::default()))
    }

    /// For anything else: counts bytes and promises nothing.
    #[must_use]
    pub fn opaque() -> Self {
        Self(Kind::Opaque(0))
    }

    /// Which table a script is at, the how manieth it is, as far as it has been seen.
    #[must_use]
    pub fn table(&self) -> Option<(usize, &TableEntry)> {
        if let Kind::Plain(watch) = &self.0 { watch.table() } else { None }
    }

    /// What was seen, after the last byte. An archive that isn't whole is an error that names what is missing and where it ended.
    pub fn finish(self) -> Result<Observed> {
        match self.0 {
            Kind::Custom(watch) => watch.finish(),
            Kind::Plain(watch) => watch.finish(),
            Kind::Tar(watch) => watch.finish(),
            Kind::Opaque(bytes) => Ok(Observed::unchecked(bytes, "nobody looked inside")),
        }
    }
}

impl Observe for Tap {
    fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<()> {
        match &mut self.0 {
            Kind::Custom(watch) => watch.observe(chunk, cuts),
            Kind::Plain(watch) => {
                watch.observe(chunk);
                Ok(())
            }
            Kind::Tar(watch) => watch.observe(chunk, cuts),
            Kind::Opaque(bytes) => {
                *bytes += chunk.len() as u64;
                Ok(())
            }
        }
    }
}

/// Why reading an archive can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It breaks the rules of its version at this offset.
    Broken {
        /// What is wrong, as half a sentence.
        what: String,
        /// Offset in the archive, bytes.
        at: u64,
    },
    /// It is beyond what this parser knows or is ready to hold in memory; nothing is said about it.
    Beyond(String),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Broken { what, at } => incomplete(format!("the archive is broken at byte {at}: {what}")),
            Trouble::Beyond(why) => Self::new(Cause::ArchiveIncomplete, format!("the archive can't be read: {why}"))
                .hint("read it with the pg_restore of the PostgreSQL release that wrote it"),
        }
    }
}

/// A stored archive that can't be read on: its bytes were altered, or it is beyond what this parser knows.
fn unreadable(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Broken { what, at } => altered(format!("the archive is broken at byte {at}: {what}")),
        beyond @ Trouble::Beyond(_) => beyond.into(),
    }
}

/// Reading a stored archive failed: the storage has said why, or what it gave can't be unpacked.
fn unread(error: std::io::Error) -> Failure {
    let failure = Failure::from_io("the archive can't be unpacked", error);
    if failure.cause == Cause::System { altered(failure.message) } else { failure }
}

/// The archive was whole when it was stored.
fn altered(message: String) -> Failure {
    Failure::new(Cause::Damaged, message)
        .hint("the stored file is no longer what was dumped: compare it with its checksum, fetch it from a copy, or take another backup")
}

/// Whether an archive or a `toc.dat` that begins like this is of a version that the taps know.
#[must_use]
pub fn is_known(beginning: &[u8]) -> bool {
    !matches!(toc::Parser::default().feed(beginning, &mut |_, _| {}), Err(Trouble::Beyond(_)))
}

fn incomplete(message: impl Into<String>) -> Failure {
    Failure::new(Cause::ArchiveIncomplete, message)
        .hint("the dump is not kept; run the backup again, and if it repeats, look at pg_dump's messages and at the server's log")
}

/// Decides where frames begin: at starts of data, not too close together.
#[derive(Debug, Default)]
struct Cutter {
    last: u64,
}

impl Cutter {
    /// Data starts at `offset` of the archive, which is `at` within the present chunk.
    fn data_starts(&mut self, offset: u64, at: usize, cuts: &mut Vec<usize>) {
        if offset.saturating_sub(self.last) >= FRAME_EVERY.max(offset / FRAMES_ABOUT) {
            self.last = offset;
            cuts.push(at);
        }
    }
}
