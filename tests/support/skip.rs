//! Skipping a test that this machine can't run, in the open.
//!
//! Prints the skip past the test harness's capture and appends it to the file named by `PGDUMPD_SKIP_LOG`, where `tests/suite` compares it
//! with the reviewed list in `tests/skips.txt`. The caller returns right after.

use std::io::Write as _;

/// Records that `test` proves nothing on this machine, because of `reason` (one line).
pub(crate) fn skip(test: &str, reason: &str) {
    let reason = reason.replace('\n', " ");
    let _ = writeln!(std::io::stderr(), "SKIP {test}: {reason}");
    let Some(path) = std::env::var_os("PGDUMPD_SKIP_LOG") else { return };
    let log = std::fs::OpenOptions::new().append(true).create(true).open(&path);
    // One write call, so that tests in other processes can't tear the line. A skip that can't be recorded must not pass for a test.
    let written = log.and_then(|mut log| log.write_all(format!("{test}: {reason}\n").as_bytes()));
    assert!(written.is_ok(), "recording the skip of {test} in {}: {written:?}", path.display());
}
