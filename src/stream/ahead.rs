//! A source read ahead on a thread of its own, so that decompressing and taking apart go on side by side.

use std::io::{self, Read};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::{Cause, Failure, Result};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// Pieces that wait to be taken.
const WAITING: usize = 2;

/// What was read ahead. When it is dropped, the thread ends with its present read.
#[derive(Debug)]
pub struct Ahead {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
}

impl Ahead {
    /// Begins to read.
    pub fn of(source: Box<dyn Read + Send>) -> Result<Self> {
        let (out, pieces) = bounded(WAITING);
        let named = thread::Builder::new().name(String::from("read-ahead"));
        named.spawn(move || read(source, &out)).map_err(|error| Failure::new(Cause::System, format!("starting a thread: {error}")))?;
        Ok(Self { pieces, piece: Vec::new(), at: 0 })
    }
}

fn read(mut source: Box<dyn Read + Send>, out: &Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = Read::by_ref(&mut source).take(PIECE as u64).read_to_end(&mut piece);
        let over = read.is_err() || piece.is_empty();
        // What came before an error is taken before it.
        if !piece.is_empty() && out.send(Ok(piece)).is_err() {
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

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            // A thread that has gone without an error has come to the end.
            let Ok(piece) = self.pieces.recv() else { return Ok(0) };
            (self.piece, self.at) = (piece?, 0);
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(room), Some(bytes)) = (buffer.get_mut(..count), rest.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.at += count;
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
