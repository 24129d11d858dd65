//! Compression of a passing stream, cut into frames that standard tools read as one file.
//!
//! Owns the encoders and their decoders; knows nothing of what is inside. Called by the pump, and by whatever reads a backup back.

use std::io::{self, Read, Write};

use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, InBuffer, Operation as _, OutBuffer};

use crate::error::{Cause, Failure, Result};
use crate::model::dump::Compression;

/// Bytes of one compressed block on its way to the sink.
pub(super) const OUT: usize = 128 * 1024;

/// An encoder over a writer, whose output can be cut: a new frame (zstd), member (gzip) or stream (bzip2) begins there.
pub(super) enum Encoder<W: Write> {
    Zstd { encoder: ZstdEncoder<'static>, out: W, buffer: Box<[u8]> },
    Gzip { encoder: flate2::write::GzEncoder<W>, level: flate2::Compression },
    Bzip2 { encoder: bzip2::write::BzEncoder<W>, level: bzip2::Compression },
    Plain(W),
}

impl<W: Write> Encoder<W> {
    /// `workers` as in `zstd -T`: 0 compresses on this very thread, 1 and more on threads of zstd's own; other algorithms have none.
    pub(super) fn new(compression: Compression, workers: u32, out: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd(level) => {
                let mut encoder = ZstdEncoder::new(level)?;
                encoder.set_parameter(CParameter::ChecksumFlag(true))?;
                if workers >= 1 {
                    encoder.set_parameter(CParameter::NbWorkers(workers))?;
                }
                Self::Zstd { encoder, out, buffer: vec![0; OUT].into_boxed_slice() }
            }
            Compression::Gzip(level) => {
                let level = flate2::Compression::new(level.clamp(1, 9));
                Self::Gzip { encoder: flate2::write::GzEncoder::new(out, level), level }
            }
            Compression::Bzip2(level) => {
                let level = bzip2::Compression::new(level.clamp(1, 9));
                Self::Bzip2 { encoder: bzip2::write::BzEncoder::new(out, level), level }
            }
            Compression::None | Compression::Native => Self::Plain(out),
        })
    }

    /// Compresses `input`.
    pub(super) fn write(&mut self, input: &[u8]) -> io::Result<()> {
        match self {
            Self::Zstd { encoder, out, buffer } => {
                let mut input = InBuffer::around(input);
                while input.pos() < input.src.len() {
                    let written = {
                        let mut output = OutBuffer::around(&mut buffer[..]);
                        encoder.run(&mut input, &mut output)?;
                        output.pos()
                    };
                    out.write_all(buffer.get(..written).unwrap_or_default())?;
                }
                Ok(())
            }
            Self::Gzip { encoder, .. } => encoder.write_all(input),
            Self::Bzip2 { encoder, .. } => encoder.write_all(input),
            Self::Plain(out) => out.write_all(input),
        }
    }

    /// Ends the present frame; what is written next begins a new one.
    pub(super) fn cut(self) -> io::Result<Self> {
        Ok(match self {
            Self::Zstd { mut encoder, mut out, mut buffer } => {
                end_zstd_frame(&mut encoder, &mut out, &mut buffer)?;
                encoder.reinit()?;
                Self::Zstd { encoder, out, buffer }
            }
            Self::Gzip { encoder, level } => Self::Gzip { encoder: flate2::write::GzEncoder::new(encoder.finish()?, level), level },
            Self::Bzip2 { encoder, level } => Self::Bzip2 { encoder: bzip2::write::BzEncoder::new(encoder.finish()?, level), level },
            plain @ Self::Plain(_) => plain,
        })
    }

    /// Ends the last frame and gives the writer back.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Zstd { mut encoder, mut out, mut buffer } => {
                end_zstd_frame(&mut encoder, &mut out, &mut buffer)?;
                Ok(out)
            }
            Self::Gzip { encoder, .. } => encoder.finish(),
            Self::Bzip2 { encoder, .. } => encoder.finish(),
            Self::Plain(out) => Ok(out),
        }
    }

    /// The writer underneath.
    pub(super) fn get_ref(&self) -> &W {
        match self {
            Self::Zstd { out, .. } | Self::Plain(out) => out,
            Self::Gzip { encoder, .. } => encoder.get_ref(),
            Self::Bzip2 { encoder, .. } => encoder.get_ref(),
        }
    }
}

fn end_zstd_frame(encoder: &mut ZstdEncoder<'static>, out: &mut impl Write, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        let (written, left) = {
            let mut output = OutBuffer::around(&mut *buffer);
            let left = encoder.finish(&mut output, true)?;
            (output.pos(), left)
        };
        out.write_all(buffer.get(..written).unwrap_or_default())?;
        if left == 0 {
            return Ok(());
        }
    }
}

/// Reads back what was compressed: many frames as one stream. Cut or altered input is a read error (zstd and gzip carry checksums,
/// bzip2 one per block); `None` and `Native` pass through as they are.
pub fn decompress(compression: Compression, source: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::Zstd(_) => Box::new(zstd_decoder(source).map_err(|error| {
            let words = format!("zstd can't be set up for reading: {error}");
            Failure::new(Cause::System, words)
        })?),
        Compression::Gzip(_) => Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(OUT, source))),
        Compression::Bzip2(_) => Box::new(bzip2::bufread::MultiBzDecoder::new(io::BufReader::with_capacity(OUT, source))),
        Compression::None | Compression::Native => source,
    })
}

/// The largest window a zstd frame may ask for, as a power of two: what `zstd -d` takes unasked. Level 19 takes 8 MiB; a hostile file may
/// claim any.
const WINDOW: u32 = 27;

/// The window that the zstd frame beginning here asks for, bytes, where it is larger than is given (RFC 8878, section 3.1.1.1).
#[must_use]
pub fn beyond_window(head: &[u8]) -> Option<u64> {
    let (descriptor, rest) = head.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?.split_first()?;
    let window = if descriptor & 0x20 == 0 {
        let byte = *rest.first()?;
        let base = 1_u64 << (10 + u32::from(byte >> 3));
        base + base / 8 * u64::from(byte & 7)
    } else {
        // The window is the content, whose length stands behind the dictionary's id.
        let (id, length) = ([0, 1, 2, 4][usize::from(descriptor & 3)], [1, 2, 4, 8][usize::from(descriptor >> 6)]);
        let bytes = rest.get(id..id + length)?;
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    (window > 1 << WINDOW).then_some(window)
}

fn zstd_decoder(source: Box<dyn Read + Send>) -> io::Result<zstd::stream::read::Decoder<'static, io::BufReader<Box<dyn Read + Send>>>> {
    let mut decoder = zstd::stream::read::Decoder::new(source)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}
