//! Reads a dump in a file, whoever made it, to its end: what it is, its checksum, whether it is whole, and the rows of its tables.
//!
//! A custom archive goes through `pg_restore`, whose script is then counted as it passes; plain dumps and tars are looked at directly
//! (release 15's `pg_restore` never ends on a tar that is cut). Nothing is believed of the file's name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use crate::error::{Cause, Failure, Result};
use crate::model::dump::Compression;
use crate::postgres::archive::{Observed, Tap};
use crate::postgres::version::Client;
use crate::process::{self, Cancel, CancelReason, Exit, Input, Output, Signal, Spec};
use crate::stream::{self, Observe, hash};

/// How long a `pg_restore` that has nothing left to write may take to end.
const AFTER_EOF: Duration = Duration::from_secs(60);

/// How long an unwanted one has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// How often the wish to end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// So much of a file's beginning says what it is: the first block of a tar and the head of the table of contents in it.
const HEAD: usize = 4096;

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `pg_dump -Fc`.
    Custom,
    /// `pg_dump -Ft`.
    Tar,
    /// A folder of `pg_dump -Fd` in one tar.
    Directory,
    /// SQL text.
    Plain,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Tar => "tar",
            Self::Directory => "directory",
            Self::Plain => "plain",
        }
    }
}

/// The length and SHA-256 of a file.
pub fn checksum(path: &Path) -> Result<(u64, String)> {
    let file = open(path)?;
    let size = file.metadata().map_err(|error| Failure::storage(format!("looking at {}", path.display()), &error))?.len();
    Ok((size, hash::sha256(file)?))
}

/// Reads it all. Fails where it is not whole, or is no dump.
pub fn read_whole(path: &Path, client: &Client, cancel: &Cancel) -> Result<(Kind, Observed)> {
    let (mut archive, kind) = unpacked(path)?;
    let observed = match kind {
        Kind::Plain => pass(&mut archive, Tap::plain(), cancel),
        Kind::Tar | Kind::Directory => pass(&mut archive, Tap::tar(), cancel),
        Kind::Custom => restored(path, archive, client, cancel),
    };
    observed.map(|observed| (kind, observed)).map_err(|failure| {
        let words = format!("{} is not whole: {}", path.display(), failure.message);
        if failure.cause == Cause::Interrupted { failure } else { Failure { cause: Cause::Damaged, message: words, ..failure } }
    })
}

fn open(path: &Path) -> Result<File> {
    let failed = |error: io::Error| Failure::storage(format!("opening {}", path.display()), &error);
    let facts = std::fs::metadata(path).map_err(failed)?;
    if !facts.is_file() {
        return Err(Failure::new(Cause::UnsafePath, format!("{} is no plain file", path.display())));
    }
    File::open(path).map_err(failed)
}

/// The archive without what compresses it from outside, and what it is.
fn unpacked(path: &Path) -> Result<(Box<dyn Read + Send>, Kind)> {
    let mut file = BufReader::new(open(path)?);
    let head = peek(&mut file).map_err(|error| Failure::storage(format!("reading {}", path.display()), &error))?;
    let compression = match head.as_slice() {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd(0),
        [0x1f, 0x8b, ..] => Compression::Gzip(0),
        [b'B', b'Z', b'h', ..] => Compression::Bzip2(0),
        _ => Compression::None,
    };
    let mut archive = stream::decompress(compression, Box::new(io::Cursor::new(head).chain(file)))?;
    let head = peek(&mut archive).map_err(|error| {
        Failure::new(Cause::Damaged, format!("{} can't be decompressed: {error}", path.display())).hint("fetch it from a copy")
    })?;
    let kind = kind(&head);
    Ok((Box::new(io::Cursor::new(head).chain(archive)), kind))
}

fn peek(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    source.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn kind(head: &[u8]) -> Kind {
    if head.starts_with(b"PGDMP") {
        return Kind::Custom;
    }
    if head.get(257..262) != Some(b"ustar".as_slice()) {
        return Kind::Plain;
    }
    // pg_dump's own tars have an owner that nobody else gives (`pg_backup_tar.c`); the table of contents is the same in both.
    if head.get(108..115) == Some(b"0004000".as_slice()) { Kind::Tar } else { Kind::Directory }
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

/// What `pg_restore` makes of it.
fn restored(path: &Path, mut archive: Box<dyn Read + Send>, client: &Client, cancel: &Cancel) -> Result<Observed> {
    let mut spec = Spec::new(client.pg_restore());
    spec.args = vec!["-f".into(), "-".into()];
    (spec.stdin, spec.stdout) = (Input::Piped, Output::Piped);
    let mut child = process::spawn(&spec)?;
    let (Some(mut input), Some(mut script)) = (child.take_stdin(), child.take_stdout()) else {
        return Err(Failure::new(Cause::System, "pg_restore was started without its pipes"));
    };
    let thread = std::thread::Builder::new().name(String::from("feed"));
    // It ends with the pipe; pg_restore says what was wrong with what it got.
    let feeding = thread.spawn(move || io::copy(&mut archive, &mut input).map(drop));
    let feeding = feeding.map_err(|error| Failure::new(Cause::System, format!("starting a thread: {error}")))?;
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
    let fed = feeding.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread has died")));
    if let Some(reason) = cancel.reason() {
        return Err(reason.failure());
    }
    match fed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::new(Cause::Damaged, format!("reading {}: {error}", path.display())));
        }
        _ => {}
    }
    if exit == Exit::Code(0) {
        return observed;
    }
    Err(Failure::new(Cause::Damaged, format!("pg_restore could not read it to its end ({exit})")).detail(child.stderr_tail()))
}
