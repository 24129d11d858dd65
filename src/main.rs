//! The `pgdumpd` binary.
fn main() {}
