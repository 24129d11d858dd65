//! Moving a dump's bytes: source, tap, compression, SHA-256, sink, each on its own thread and in flat memory.
//!
//! It knows nothing of PostgreSQL or storages: a source is a `Read`, a sink a `Write`, and what passes is shown to an [`Observe`]r.
//! It never decides whether a backup counts; `ops::backup` does, from what [`pump`] returns.

pub mod ahead;
pub mod compress;
pub mod gauge;
pub mod hash;
pub mod observe;
pub mod pump;
pub mod readback;
pub mod tar;

pub use ahead::Ahead;
pub use compress::{beyond_window, decompress};
pub use gauge::{Gauge, Reading, Waiting};
pub use observe::{Blind, Observe};
pub use pump::{Done, PumpError, Pumped, Side, enlarge_pipe, pump};
pub use readback::{Inside, ReadBack, read_back};
pub use tar::Tar;
