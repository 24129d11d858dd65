//! Reads a dump in a file, whoever made it, to its end: what it is, its checksum, whether it is whole, and the rows of its tables.
//!
//! A custom archive is watched on its way into `pg_restore`, whose script is counted as it passes; plain dumps and tars are looked at
//! directly (release 15's `pg_restore` never ends on a tar that is cut). Nothing is believed of the file's name.

mod inside;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Structure, TableEntry};
use crate::model::dump::{Compression, Format};
use crate::postgres::archive::{Observed, Tap, is_known};
use crate::postgres::restore::lacks_library;
use crate::postgres::version::Client;
use crate::process::{self, Cancel, CancelReason, Exit, Input, Output, Signal, Spec};
use crate::storage::{Given, Storage};
use crate::stream::hash::{self, Sum};
use crate::stream::{self, Observe};
use crate::units::show_size;

use self::inside::Watched;

/// How long a `pg_restore` that has nothing left to write may take to end.
const AFTER_EOF: Duration = Duration::from_secs(60);

/// How long an unwanted one has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// How often the wish to end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// So much of a file's beginning says what it is: the first block of a tar and the head of the table of contents in it.
const HEAD: usize = 4096;

/// What files begin with that hold a dump in a way that isn't read from outside: what they are, and what unpacks them.
const FOREIGN: [(&[u8], &str, &str); 5] = [
    (&[0x04, 0x22, 0x4d, 0x18], "compressed with LZ4 from outside", "lz4 -d FILE"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed with xz", "xz -d FILE"),
    (b"PK\x03\x04", "a zip archive", "unzip FILE"),
    (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], "a 7z archive", "7z x FILE"),
    (b"LZIP", "compressed with lzip", "lzip -d FILE"),
];

/// Where the first member of a tar begins.
const BLOCK: usize = 512;

/// What a file's beginning says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// What `pg_dump` wrote.
    pub format: Format,
    /// What compresses it from outside.
    pub compression: Compression,
    /// The beginning of what `pg_dump` wrote.
    pub head: Vec<u8>,
}

/// A file that was read to its end and is whole.
#[derive(Debug, Clone)]
pub struct Whole {
    /// What it is.
    pub form: Form,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length of what `pg_dump` wrote, bytes.
    pub length: u64,
    /// What was seen in it.
    pub observed: Observed,
}

/// The length and SHA-256 of a file.
pub fn checksum(given: &Given) -> Result<(u64, String)> {
    given.begin_reading("summing up");
    Ok((given.length()?, hash::sha256(given.open()?)?))
}

/// What it is, by its beginning.
pub fn form(path: &Path, given: &Given) -> Result<Form> {
    unpacked(path, given).map(|(_, form, _)| form)
}

/// Length of what `pg_dump` wrote, and the SHA-256 of the file. It is read to its end, but nothing is said of what is in it.
pub fn measure(path: &Path, given: &Given) -> Result<(u64, String)> {
    let (mut archive, _, sums) = unpacked(path, given)?;
    io::copy(&mut archive, &mut io::sink()).map_err(|error| not_unpacked(path, &error))?;
    sums.finish(path)
}

/// Reads it all. Fails where it is not whole, or is no dump. Without a client that can read it, an archive is unpacked here; one of a
/// version that isn't known here either is only watched as it passes, and stays unchecked.
pub fn read_whole(path: &Path, given: &Given, client: Option<&Client>, cancel: &Cancel) -> Result<Whole> {
    let (mut archive, form, sums) = unpacked(path, given)?;
    is_dump(path, &form)?;
    let client = client.filter(|client| reads(client, &form));
    let observed = match (form.format, client) {
        (Format::Plain, _) => pass(&mut archive, Tap::script(), cancel),
        (Format::Directory, Some(client)) if given.is_folder() => pass(&mut archive, Tap::tar(), cancel)
            .and_then(|seen| Ok(together(seen, restored(Fed::Folder(given.lies_at().unwrap_or(path)), client, cancel)?.1))),
        (Format::Tar, _) => pass(&mut archive, Tap::tar(), cancel),
        (Format::Directory, _) => inside::directory(archive, cancel),
        (Format::Custom, None) if is_known(&form.head) => inside::custom(archive, cancel),
        (Format::Custom, None) => pass(&mut archive, Tap::custom(), cancel),
        (Format::Custom, Some(client)) => restored(Fed::Pipe(archive), client, cancel).map(|both| match both {
            (Some(seen), counted) => together(seen, counted),
            (None, counted) => counted,
        }),
    };
    if client.is_some() && observed.as_ref().is_err_and(|failure| failure.cause == Cause::ClientMissing) {
        return read_whole(path, given, None, cancel);
    }
    let observed = observed.map_err(|failure| {
        if form.format == Format::Custom && !is_known(&form.head) && failure.cause != Cause::Interrupted {
            return unknown(path, &form.head, client, failure);
        }
        if failure.cause == Cause::Refused {
            return Failure { message: format!("{} {}", path.display(), failure.message), ..failure };
        }
        let why = if given.is_folder() { failure.message.replace("the tar archive", "the folder") } else { failure.message.clone() };
        let words = format!("{} is not whole: {why}", path.display());
        if failure.cause == Cause::Interrupted { failure } else { damaged(words, failure) }
    })?;
    let (length, sha256) = sums.finish(path)?;
    Ok(Whole { form, sha256, length, observed })
}

/// Whether a client's `pg_restore` takes an archive of this version; each takes all older ones (`pg_backup_archiver.h`). One that is
/// unknown here may be known to it.
fn reads(client: &Client, form: &Form) -> bool {
    let at = if form.format == Format::Custom { 6 } else { BLOCK + 6 };
    match form.head.get(at) {
        Some(15) => client.major() >= 16,
        Some(16) => client.major() >= 17,
        _ => true,
    }
}

/// An archive of a version that is known neither here nor to `pg_restore` isn't damaged for that.
fn unknown(path: &Path, head: &[u8], client: Option<&Client>, failure: Failure) -> Failure {
    let version = format!("{}.{}", head.get(5).copied().unwrap_or_default(), head.get(6).copied().unwrap_or_default());
    let reader = client.map_or_else(|| String::from("no pg_restore is here to"), |client| format!("pg_restore {} can't", client.version));
    let words = format!("{} is an archive of version {version}, which this pgdumpd doesn't know and {reader} read", path.display());
    let hint = String::from("install the PostgreSQL client of the release that wrote it, or a newer one");
    Failure { cause: Cause::ClientMissing, message: words, hint: Some(hint), detail: failure.detail }
}

fn damaged(words: String, failure: Failure) -> Failure {
    let hint = String::from("fetch the file from a copy, or make the dump again; what is left of it may still be read by hand");
    Failure { cause: Cause::Damaged, message: words, hint: Some(hint), detail: failure.detail }
}

/// Fails where the beginning is none of a dump of one database.
pub fn is_dump(path: &Path, form: &Form) -> Result<()> {
    let name = path.display();
    if form.head.is_empty() {
        return Err(Failure::new(Cause::Damaged, format!("{name} is empty")).hint("the dump failed or was never written: make it again"));
    }
    if form.format != Format::Plain {
        return Ok(());
    }
    if let Some((_, what, how)) = FOREIGN.iter().find(|(magic, ..)| form.head.starts_with(magic)) {
        let words = format!("{name} is {what}, which isn't unpacked here: {how}");
        return Err(Failure::new(Cause::Refused, words).hint("what comes out of it is read like any other dump"));
    }
    let says = |words: &str| memchr::memmem::find(&form.head, words.as_bytes()).is_some();
    if says("-- PostgreSQL database cluster dump") {
        let words = format!("{name} is a script of pg_dumpall, for a whole server: psql -X -d postgres -f FILE runs it");
        return Err(Failure::new(Cause::Refused, words).hint("whether it is whole, its last line says: database cluster dump complete"));
    }
    if says("-- PostgreSQL database dump") {
        return Ok(());
    }
    let words = format!("{name} is no dump: it begins neither like an archive of pg_dump nor like its script");
    Err(Failure::new(Cause::Damaged, words)
        .hint("encrypted or packed in another way it has to be unpacked first; other SQL is run by psql"))
}

fn not_unpacked(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Cause::Damaged, format!("{} can't be decompressed: {error}", path.display()))
        .hint("it was cut or altered: fetch it from a copy")
}

/// What has gone by: stored bytes on one side, the archive's on the other.
#[derive(Clone)]
struct Sums {
    stored: Arc<Mutex<(Box<dyn Read + Send>, Sum)>>,
    archive: Arc<Mutex<u64>>,
}

impl Sums {
    /// The archive's length and the SHA-256 of what is stored, once all of it has gone by.
    fn finish(&self, path: &Path) -> Result<(u64, String)> {
        let mut rest = Stored(Arc::clone(&self.stored));
        io::copy(&mut rest, &mut io::sink()).map_err(|error| Failure::storage(format!("reading {}", path.display()), &error))?;
        Ok((*self.archive.lock(), self.stored.lock().1.clone().hex()))
    }
}

struct Stored(Arc<Mutex<(Box<dyn Read + Send>, Sum)>>);

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut both = self.0.lock();
        let count = both.0.read(buffer)?;
        both.1.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

struct Counted<R>(R, Arc<Mutex<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        *self.1.lock() += count as u64;
        Ok(count)
    }
}

/// The archive without what compresses it from outside, and what it is.
fn unpacked(path: &Path, given: &Given) -> Result<(Box<dyn Read + Send>, Form, Sums)> {
    given.begin_reading("reading");
    let sums = Sums { stored: Arc::new(Mutex::new((given.open()?, Sum::default()))), archive: Arc::default() };
    let mut file = BufReader::with_capacity(64 * 1024, Stored(Arc::clone(&sums.stored)));
    let head = peek(&mut file).map_err(|error| Failure::storage(format!("reading {}", path.display()), &error))?;
    let compression = match head.as_slice() {
        _ if given.is_folder() => Compression::None,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd(0),
        [0x1f, 0x8b, ..] => Compression::Gzip(0),
        [b'B', b'Z', b'h', ..] => Compression::Bzip2(0),
        _ => Compression::None,
    };
    if let Some(window) = stream::beyond_window(&head).filter(|_| !given.is_folder()) {
        let size = show_size(window);
        let words = format!("{} is compressed by zstd with a window of {size}, which takes as much memory to unpack", path.display());
        let hint = "unpack it first: zstd -d --long=31 FILE; what comes out of it is read like any other dump";
        return Err(Failure::new(Cause::Refused, words).hint(hint));
    }
    let mut archive = stream::decompress(compression, Box::new(io::Cursor::new(head).chain(file)))?;
    let head = peek(&mut archive).map_err(|error| not_unpacked(path, &error))?;
    let format = if given.is_folder() { Format::Directory } else { format(&head) };
    let archive = Counted(io::Cursor::new(head.clone()).chain(archive), Arc::clone(&sums.archive));
    Ok((Box::new(archive), Form { format, compression, head }, sums))
}

fn peek(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    source.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn format(head: &[u8]) -> Format {
    if head.starts_with(b"PGDMP") {
        return Format::Custom;
    }
    if head.get(257..262) != Some(b"ustar".as_slice()) {
        return Format::Plain;
    }
    // pg_dump's own tars have an owner that nobody else gives (`pg_backup_tar.c`); the table of contents is the same in both.
    if head.get(108..115) == Some(b"0004000".as_slice()) { Format::Tar } else { Format::Directory }
}

/// Shows everything to the tap, and asks it.
fn pass(source: &mut dyn Read, mut tap: Tap, cancel: &Cancel) -> Result<Observed> {
    let mut buffer = vec![0; 256 * 1024];
    let mut cuts = Vec::new();
    loop {
        if let Some(reason) = cancel.reason() {
            return Err(reason.failure());
        }
        let count = match source.read(&mut buffer) {
            Ok(0) => return tap.finish(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::from_io("reading it", error)),
        };
        cuts.clear();
        tap.observe(buffer.get(..count).unwrap_or_default(), &mut cuts)?;
    }
}

/// Where `pg_restore` finds what it reads.
enum Fed<'a> {
    Pipe(Box<dyn Read + Send>),
    Folder(&'a Path),
}

/// Hands an archive on. It ends with the pipe: `pg_restore` says what was wrong with what it got. What it didn't want is read all the
/// same, to be summed up.
fn feed(archive: Box<dyn Read + Send>, mut input: std::process::ChildStdin) -> Result<Observed> {
    let mut watched = Watched::new(archive, Tap::custom(), None);
    let fed = io::copy(&mut watched, &mut input);
    drop(input);
    let read = match fed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => io::copy(&mut watched, &mut io::sink()),
        fed => fed,
    };
    read.map_err(|error| Failure::from_io("reading it", error))?;
    watched.tap.finish()
}

/// What was seen of the archive in a pipe, and what `pg_restore` makes of it.
fn restored(from: Fed<'_>, client: &Client, cancel: &Cancel) -> Result<(Option<Observed>, Observed)> {
    let mut spec = Spec::new(client.pg_restore());
    spec.args = vec!["-f".into(), "-".into()];
    (spec.stdout, spec.bulk) = (Output::Piped, true);
    match &from {
        Fed::Pipe(_) => spec.stdin = Input::Piped,
        Fed::Folder(path) => spec.args.push((*path).into()),
    }
    let mut child = process::spawn(&spec)?;
    let Some(mut script) = child.take_stdout() else {
        return Err(Failure::new(Cause::System, "pg_restore was started without its output"));
    };
    let thread = std::thread::Builder::new().name(String::from("feed"));
    let feeding = match (from, child.take_stdin()) {
        (Fed::Pipe(archive), Some(input)) => Some(thread.spawn(move || feed(archive, input))),
        _ => None,
    };
    let feeding = feeding.transpose().map_err(|error| Failure::new(Cause::System, format!("starting a thread: {error}")))?;
    let over = Cancel::new();
    let target = child.identity();
    let observed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while over.wait_timeout(LOOK).is_none() {
                if cancel.reason().is_some() {
                    // Its end is the end of the reading below.
                    drop(target.kill_group(Signal::KILL));
                    break;
                }
            }
        });
        let observed = pass(&mut script, Tap::plain(), cancel);
        over.cancel(CancelReason::Cancelled);
        observed
    });
    let exit = if observed.is_ok() { child.wait_timeout(AFTER_EOF) } else { child.try_wait() };
    let exit = exit.unwrap_or_else(|| child.terminate(GRACE));
    let died = |_| Err(Failure::new(Cause::System, "the reading thread has died"));
    let fed = feeding.map(|feeding| feeding.join().unwrap_or_else(died)).transpose();
    if let Some(reason) = cancel.reason() {
        return Err(reason.failure());
    }
    let seen = fed?;
    if exit != Exit::Code(0) {
        let said = child.stderr_tail();
        let cause = if lacks_library(&said).is_some() { Cause::ClientMissing } else { Cause::Damaged };
        return Err(Failure::new(cause, format!("pg_restore could not read it to its end ({exit})")).detail(said));
    }
    observed.map(|counted| (seen, counted))
}

/// What was seen in the archive, with the rows that were counted in its script: `pg_dump` may have compressed the archive's.
fn together(mut seen: Observed, counted: Observed) -> Observed {
    // What is beyond us, pg_restore has read to its end.
    seen.structure = Structure::Whole;
    if seen.tables.is_empty() {
        seen.tables = counted.tables;
        return seen;
    }
    let mut by_name: BTreeMap<(String, String), TableEntry> =
        counted.tables.into_iter().map(|table| ((table.schema.clone(), table.name.clone()), table)).collect();
    for table in &mut seen.tables {
        if let Some(counted) = by_name.remove(&(table.schema.clone(), table.name.clone())) {
            (table.rows, table.bytes) = (counted.rows, counted.bytes);
        }
    }
    seen
}
