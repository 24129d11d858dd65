//! A source read ahead on a thread of its own, so that decompressing and taking apart go on side by side.

use std::io::{self, BufRead, ErrorKind, Read};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Cause, Failure, Result};

/// Bytes of one piece.
const PIECE: usize = 128 * 1024;
/// Pieces there are: enough that neither side waits for the other at each of them.
const PIECES: usize = 6;

/// What was read ahead. When it is dropped, the thread ends with its present read.
#[derive(Debug)]
pub struct Ahead {
    pieces: Receiver<io::Result<Piece>>,
    spare: Sender<Box<[u8]>>,
    piece: Piece,
    at: usize,
}

/// A buffer, and how much of it counts.
#[derive(Debug, Default)]
struct Piece {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Ahead {
    /// Begins to read.
    pub fn of(source: Box<dyn Read + Send>) -> Result<Self> {
        let (out, pieces) = bounded(PIECES);
        let (spare, spares) = bounded(PIECES);
        for _ in 0..PIECES {
            let _there_is_room = spare.try_send(vec![0; PIECE].into_boxed_slice());
        }
        let named = thread::Builder::new().name(String::from("read-ahead"));
        named
            .spawn(move || read(source, &spares, &out))
            .map_err(|error| Failure::new(Cause::System, format!("starting a thread: {error}")))?;
        Ok(Self { pieces, spare, piece: Piece::default(), at: 0 })
    }
}

fn read(mut source: Box<dyn Read + Send>, spares: &Receiver<Box<[u8]>>, out: &Sender<io::Result<Piece>>) {
    while let Ok(bytes) = spares.recv() {
        let mut piece = Piece { bytes, filled: 0 };
        let read = fill(&mut *source, &mut piece);
        let over = read.is_err() || piece.filled < PIECE;
        // What came before an error is taken before it.
        if piece.filled > 0 && out.send(Ok(piece)).is_err() {
            return;
        }
        if let Err(error) = read {
            // Nobody may be listening any more.
            drop(out.send(Err(error)));
        }
        if over {
            return;
        }
    }
}

/// Fills a piece; less only at the source's end.
fn fill(source: &mut dyn Read, piece: &mut Piece) -> io::Result<()> {
    while let Some(room) = piece.bytes.get_mut(piece.filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(count) => piece.filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.filled {
            let taken = std::mem::take(&mut self.piece).bytes;
            self.at = 0;
            if !taken.is_empty() {
                // The thread may have ended; then nobody needs the buffer.
                drop(self.spare.try_send(taken));
            }
            // A thread that has gone without an error has come to the end.
            if let Ok(piece) = self.pieces.recv() {
                self.piece = piece?;
            }
        }
        Ok(self.piece.bytes.get(self.at..self.piece.filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.piece.filled.min(self.at + count);
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many bytes, then an error.
    struct Breaks(usize);

    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len()).min(1000);
            buffer[..count].fill(7);
            self.0 -= count;
            if count > 0 { Ok(count) } else { Err(io::Error::other("broken")) }
        }
    }

    #[test]
    fn everything_comes_in_order_and_the_error_last() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
        let mut read = Vec::new();
        Ahead::of(Box::new(io::Cursor::new(bytes.clone()))).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        let mut read = Vec::new();
        let error = Ahead::of(Box::new(Breaks(200_000))).unwrap().read_to_end(&mut read).unwrap_err();
        assert_eq!((read.len(), error.to_string().as_str()), (200_000, "broken"));
    }
}
