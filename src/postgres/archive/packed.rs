//! What `pg_dump` compressed inside of an archive, unpacked to its end where no `pg_restore` is at hand: checksums compared, rows counted.
//!
//! A dump is whole for its structure long before all of its rows can be read again. Keeps a buffer and a count for each table.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use super::copy_text::CopyText;
use super::members::Members;
use super::toc::{self, Data, Packing};
use super::{altered, block, unread};
use crate::error::Result;

/// Bytes unpacked at once.
const BUFFER: usize = 128 * 1024;

/// A table's rows and the length of their text, by the number of their entry.
pub type Counts = HashMap<i32, (u64, u64)>;

/// Unpacks all that comes, and shows it. Something behind the stream's end is at fault as well.
pub(super) fn drain(packing: Packing, source: &mut dyn BufRead, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    // What was never written to has no stream at all.
    if source.fill_buf()?.is_empty() {
        return Ok(());
    }
    match packing {
        Packing::Zlib => through(&mut flate2::bufread::ZlibDecoder::new(&mut *source), take)?,
        Packing::Zstd => through(&mut zstd::Decoder::with_buffer(&mut *source)?.single_frame(), take)?,
        Packing::Lz4 => through(&mut lz4_flex::frame::FrameDecoder::new(&mut *source), take)?,
        Packing::None | Packing::Unknown => through(source, take)?,
    }
    behind(source)
}

/// Fails where a stream is followed by something.
fn behind(source: &mut dyn BufRead) -> io::Result<()> {
    if source.fill_buf()?.is_empty() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "something follows the end of its compressed stream"))
}

fn through<R: Read + ?Sized>(source: &mut R, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a custom archive to its end. None where `pg_dump` compressed it in a way that isn't known here: then nothing of it was unpacked.
///
/// # Errors
/// Where it breaks off or can't be unpacked, and where a table's rows end without their end mark.
pub fn custom(source: impl Read + Send) -> Result<Option<Counts>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let mut copied = Vec::new();
    let (header, at) = toc::each(&mut source, &mut |entry| {
        if entry.desc == "TABLE DATA" && entry.copy_stmt.is_some() {
            copied.push(entry.dump_id);
        }
    })?;
    if header.packing == Packing::Unknown {
        return Ok(None);
    }
    let mut texts: HashMap<i32, CopyText> = copied.into_iter().map(|id| (id, CopyText::default())).collect();
    let mut counts = Counts::new();
    block::Blocks::new(source, &header, at).each(&mut |id, packing, data| {
        let Some(mut text) = texts.remove(&id) else { return drain(packing, data, &mut |_| {}) };
        drain(packing, data, &mut |bytes| text.take(bytes))?;
        counts.insert(id, counted(&text, &format!("the data of entry {id}"))?);
        Ok(())
    })?;
    Ok(Some(counts))
}

/// Reads the tar of a directory dump up to its end mark; counts the rows in its compressed members.
///
/// # Errors
/// As [`custom`].
pub fn directory(source: impl Read) -> Result<Counts> {
    let (mut members, mut texts, mut wanted) = (Members::new(source), HashMap::new(), Vec::new());
    while let Some(name) = members.next_member()? {
        if name == "toc.dat" {
            toc::each(&mut BufReader::new(&mut members), &mut |entry| {
                if let (Data::File(file), "TABLE DATA", Some(_)) = (entry.data, entry.desc.as_str(), &entry.copy_stmt) {
                    wanted.push((entry.dump_id, file));
                }
            })?;
            continue;
        }
        let Some((stem, ending)) = name.rsplit_once('.') else { continue };
        let mut text = CopyText::default();
        let mut member = BufReader::with_capacity(BUFFER, &mut members);
        unpacked(ending, &mut member, &mut |bytes| text.take(bytes))
            .map_err(|error| unread(error).context(format!("the member {name}")))?;
        let is_table = stem.strip_suffix(".dat").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if is_table && ["gz", "lz4", "zst"].contains(&ending) {
            text.close();
            texts.insert(stem.to_owned(), text);
        }
    }
    let mut counts = Counts::new();
    for (id, file) in wanted {
        if let Some(text) = texts.get(&file) {
            counts.insert(id, counted(text, &format!("the member {file}"))?);
        }
    }
    Ok(counts)
}

/// A member by its name's ending; what isn't compressed is looked at by others.
fn unpacked(ending: &str, member: &mut dyn BufRead, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    match ending {
        "gz" if !member.fill_buf()?.is_empty() => through(&mut flate2::bufread::MultiGzDecoder::new(member), take),
        "lz4" => drain(Packing::Lz4, member, take),
        "zst" => drain(Packing::Zstd, member, take),
        _ => Ok(()),
    }
}

fn counted(text: &CopyText, what: &str) -> Result<(u64, u64)> {
    let counted = text.rows().ok_or_else(|| altered(format!("{what} ends without its end mark")))?;
    Ok((counted.rows, counted.bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// One stream of each kind.
    fn packed() -> [(Packing, Vec<u8>); 3] {
        let text: Vec<u8> = (0..4000).flat_map(|row| format!("{row}\t{}\n", row * 7919).into_bytes()).collect();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&text).unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 3).unwrap();
        [(Packing::Zlib, zlib.finish().unwrap()), (Packing::Lz4, lz4.finish().unwrap()), (Packing::Zstd, zstd)]
    }

    #[test]
    fn a_stream_that_is_cut_or_followed_by_something_is_none() {
        for (packing, bytes) in packed() {
            let read = |bytes: &[u8]| {
                let mut count = 0;
                drain(packing, &mut io::Cursor::new(bytes), &mut |piece| count += piece.len()).map(|()| count)
            };
            let whole = read(&bytes).unwrap();
            assert!(whole > 40_000, "{packing:?}");
            for end in [1, 5, bytes.len() / 2, bytes.len() - 5] {
                assert!(read(&bytes[..end]).is_err(), "{packing:?} cut at {end} of {}", bytes.len());
            }
            assert!(read(&[bytes.as_slice(), b"more"].concat()).is_err(), "{packing:?}");
            assert_eq!(read(b"").unwrap(), 0);
        }
    }

    #[test]
    fn each_altered_bit_of_what_zlib_packed_is_found() {
        let [(packing, bytes), ..] = packed();
        for at in (0..bytes.len()).step_by(997) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(drain(packing, &mut io::Cursor::new(bytes), &mut |_| {}).is_err(), "byte {at}");
        }
    }
}
