//! See the design.

pub mod archive;
