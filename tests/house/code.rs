//! Sizes, and words that must not stay in the code.

use crate::report;
use crate::tree;

/// Lines above which a file has two subjects; tables of cases may run longer.
const LONGEST_FILE: usize = 400;
const LONGEST_TEST_FILE: usize = 500;

fn is_test(file: &str) -> bool {
    file.contains("tests")
}

fn rust_files() -> Vec<(String, String)> {
    let mut found = tree::files("src", "rs");
    found.extend(tree::files("tests", "rs"));
    found
}

#[test]
fn no_file_is_longer_than_it_may() {
    let findings: Vec<String> = rust_files()
        .iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(file, lines)| *lines > if is_test(file) { LONGEST_TEST_FILE } else { LONGEST_FILE })
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    report("files that became a folder's worth", &findings);
}

#[test]
fn nothing_is_left_for_later_or_silenced() {
    // Written in two halves, so that this file isn't a finding.
    let words =
        [["TO", "DO"], ["FIX", "ME"], ["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"], ["#[al", "low("], ["#![al", "low("]];
    let mut findings = Vec::new();
    for (file, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            for word in words.map(|halves| halves.concat()) {
                if line.contains(&word) {
                    findings.push(format!("{file}:{}: {word}", number + 1));
                }
            }
        }
    }
    report("left for later or silenced (use #[expect(…, reason)])", &findings);
}

#[test]
fn every_module_says_what_it_is() {
    let findings: Vec<String> = rust_files()
        .into_iter()
        .filter(|(file, text)| !file.ends_with("/tests.rs") && !text.starts_with("//!"))
        .map(|(file, _)| format!("{file}: no `//!` at its top"))
        .collect();
    report("modules without a word about themselves", &findings);
}
