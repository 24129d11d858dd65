//! The house rules, checked against the source tree itself: floors, sizes, words that must not stay, and documents that must not drift.
#![cfg(test)]

mod code;
mod docs;
mod faults;
mod floors;
mod size;
mod tree;

/// Fails with every finding at once, one a line.
fn report(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what}:\n  {}\n", findings.join("\n  "));
}
