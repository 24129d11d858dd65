//! Archives that no `pg_restore` at hand reads: watched as they pass, and unpacked to their ends by ourselves.

use std::io::{self, Read};

use crate::error::{Failure, Result};
use crate::model::backup::Structure;
use crate::postgres::archive::packed::{self, Counts};
use crate::postgres::archive::{Observed, Tap};
use crate::process::Cancel;
use crate::stream::Observe;

/// A reader that shows what passes to a tap.
pub(super) struct Watched {
    inner: Box<dyn Read + Send>,
    pub(super) tap: Tap,
    cuts: Vec<usize>,
    cancel: Option<Cancel>,
}

impl Watched {
    /// Reading it fails once this is cancelled.
    pub(super) fn new(inner: Box<dyn Read + Send>, tap: Tap, cancel: Option<&Cancel>) -> Self {
        Self { inner, tap, cuts: Vec::new(), cancel: cancel.cloned() }
    }

    /// Reads what is left, and asks the tap. What it finds says more than what could not be unpacked.
    fn finish(mut self, counts: Result<Option<Counts>>) -> Result<Observed> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| Failure::from_io("reading it", error))?;
        let mut seen = self.tap.finish()?;
        let Some(counts) = counts? else {
            seen.structure = Structure::Unchecked;
            seen.unchecked = Some(String::from("pg_dump compressed its rows in a way that this pgdumpd doesn't unpack"));
            return Ok(seen);
        };
        for table in &mut seen.tables {
            if let Some((rows, bytes)) = table.dump_id.and_then(|id| counts.get(&id)) {
                (table.rows, table.bytes) = (Some(*rows), *bytes);
            }
        }
        Ok(seen)
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reason) = self.cancel.as_ref().and_then(Cancel::reason) {
            return Err(reason.failure().into());
        }
        let count = self.inner.read(buffer)?;
        self.cuts.clear();
        self.tap.observe(buffer.get(..count).unwrap_or_default(), &mut self.cuts)?;
        Ok(count)
    }
}

/// A custom archive.
pub(super) fn custom(archive: Box<dyn Read + Send>, cancel: &Cancel) -> Result<Observed> {
    let mut watched = Watched::new(archive, Tap::custom(), Some(cancel));
    let counts = packed::custom(&mut watched);
    watched.finish(counts)
}

/// The tar of a directory dump.
pub(super) fn directory(archive: Box<dyn Read + Send>, cancel: &Cancel) -> Result<Observed> {
    let mut watched = Watched::new(archive, Tap::tar(), Some(cancel));
    let counts = packed::directory(&mut watched).map(Some);
    watched.finish(counts)
}
