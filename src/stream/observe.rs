//! What may look at the bytes while they pass, before they are compressed.
//!
//! An observer never changes them; it can stop the stream, and it can say where decompression should be able to begin.

use crate::error::Result;

/// Looks at every byte of a stream, in order, in chunks of any size.
pub trait Observe: Send {
    /// Sees the next `chunk`. Pushes onto `cuts`, ascending, the offsets within `chunk` at which a new compressed frame should begin.
    /// An error ends the stream: what passed is not what was expected.
    fn observe(&mut self, chunk: &[u8], cuts: &mut Vec<usize>) -> Result<()>;
}

/// An observer that looks away.
#[derive(Debug, Default, Clone, Copy)]
pub struct Blind;

impl Observe for Blind {
    fn observe(&mut self, _chunk: &[u8], _cuts: &mut Vec<usize>) -> Result<()> {
        Ok(())
    }
}
