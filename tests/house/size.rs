//! The binary's size: everything is in it, and a crate that doubles it should be noticed before the release.
#![expect(clippy::disallowed_methods, reason = "the binary is measured from outside, by binutils")]

use std::process::Command;

/// Bytes without symbols that a build without optimisation may have; the optimised one has about two thirds of it, and its own bound in
/// `tests/packages`.
const UNOPTIMISED: u64 = 40_000_000;

#[test]
fn the_binary_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("pgdumpd");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(env!("CARGO_BIN_EXE_pgdumpd")).status().expect("strip, of binutils");
    assert!(status.success());
    let size = std::fs::metadata(&stripped).unwrap().len();
    assert!(size <= UNOPTIMISED, "{size} bytes without symbols, {UNOPTIMISED} allowed: what came in, and is it worth it?");
}
