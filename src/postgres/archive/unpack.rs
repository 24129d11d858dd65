//! From an archive that came through a pipe to a file in which `pg_restore` finds each block at once.
//!
//! `pg_dump` can't note in the table of contents where the data lies when its output is a pipe; `pg_restore --jobs` then looks for each block
//! from the start, in every process, and doesn't know which tables are large. Here the notes are made up for (`pg_backup_custom.c`).

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;

use super::{Observed, altered, custom, unread};
use crate::error::{Failure, Result};

/// Bytes moved at once.
const CHUNK: usize = 256 * 1024;

/// Writes a custom archive to an empty file and notes each entry's offset in its table of contents. Says what is in it; one that isn't
/// whole is an error, one of an unknown version is copied as it is. The file is neither synced nor removed after a failure.
pub fn unpack(source: &mut dyn Read, file: &File) -> Result<Observed> {
    let to_file = |error| Failure::storage("unpacking the archive", &error);
    let mut watch = custom::Watch::default();
    let (mut chunk, mut cuts, mut at) = (vec![0; CHUNK], Vec::new(), 0);
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error)),
        };
        let bytes = chunk.get(..count).unwrap_or_default();
        watch.observe(bytes, &mut cuts).map_err(|failure| altered(failure.message))?;
        cuts.clear();
        file.write_all_at(bytes, at).map_err(to_file)?;
        at += count as u64;
    }
    for (at, note) in watch.places() {
        file.write_all_at(&note, at).map_err(to_file)?;
    }
    watch.finish().map_err(|failure| altered(failure.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::archive::toc::{self, Data};

    /// A header, one entry that announces data, and its block.
    fn archive() -> Vec<u8> {
        let int = |value: u32| [vec![0], value.to_le_bytes().to_vec()].concat();
        let text = |words: &str| [int(words.len() as u32), words.as_bytes().to_vec()].concat();
        let none = || vec![1, 1, 0, 0, 0];
        let mut bytes = b"PGDMP\x01\x0e\x00\x04\x08\x01".to_vec();
        for value in [0, 0, 0, 0, 0, 0, 0, 0, 1] {
            bytes.extend(if value == 1 { [text("db"), text("15"), text("15"), int(1)].concat() } else { int(0) });
        }
        bytes.extend([int(7), int(1), text("1"), text("2"), text("t"), text("TABLE DATA"), int(3)].concat());
        bytes.extend([text(""), text(""), text("COPY public.t (a) FROM stdin;\n"), text("public")].concat());
        bytes.extend([text(""), text(""), text("me"), text("false"), none(), vec![1, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
        bytes.extend([vec![1], int(7), text("1\n"), text("\\.\n\n\n"), int(0)].concat());
        bytes
    }

    #[test]
    fn the_place_of_each_block_is_noted_and_nothing_else_changes() {
        let (file, before) = (tempfile::tempfile().unwrap(), archive());
        let seen = unpack(&mut &before[..], &file).unwrap();
        assert_eq!(seen.tables.first().unwrap().rows, Some(1));
        let mut after = vec![0; before.len()];
        file.read_exact_at(&mut after, 0).unwrap();
        let block = before.len() - 28;
        assert_eq!(toc::read(&mut &before[..]).unwrap().entries[0].data, Data::ToCome);
        let entry = toc::read(&mut &after[..]).unwrap().entries.remove(0);
        assert_eq!((entry.data, after[block]), (Data::At(block as u64), 1));
        let place = entry.end as usize - 9..entry.end as usize;
        after[place.clone()].copy_from_slice(&before[place]);
        assert!(after == before);
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused() {
        let whole = archive();
        for end in 0..whole.len() {
            let failure = unpack(&mut &whole[..end], &tempfile::tempfile().unwrap()).unwrap_err();
            assert!(failure.hint.unwrap().starts_with("the stored file"), "cut at {end}");
        }
    }
}
