//! `docs/faults.md` against the tests: each row names tests that exist, or says "not yet"; each fault test stands in its row.

use std::collections::{BTreeMap, BTreeSet};

use crate::report;
use crate::tree;

/// The cells of the table rows whose first cell begins with a digit: (number, last cell).
fn rows(doc: &str) -> BTreeMap<String, String> {
    doc.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|cells| cells[0].starts_with(|letter: char| letter.is_ascii_digit()))
        .map(|cells| (cells[0].to_owned(), cells[cells.len() - 1].to_owned()))
        .collect()
}

/// The prefix of a row's tests: 7 is `f07_`, 29a is `f29a_`.
fn prefix(number: &str) -> String {
    let digits = number.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    format!("f{:0>2}{}_", digits, &number[digits.len()..])
}

/// The names of all functions that look like fault tests.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in [tree::files("src", "rs"), tree::files("tests", "rs")].concat() {
        for pair in tree::tokens(&text).windows(2) {
            let name = &pair[1].text;
            let numbered = name.strip_prefix('f').is_some_and(|rest| rest.len() > 3 && rest.as_bytes()[..2].iter().all(u8::is_ascii_digit));
            if pair[0].text == "fn" && numbered {
                found.insert(name.clone());
            }
        }
    }
    found
}

/// The page with every row's last cell set to the tests that exist.
fn updated(doc: &str, tests: &BTreeSet<String>) -> String {
    let line = |line: &str| -> String {
        let Some(number) =
            line.strip_prefix("| ").and_then(|rest| rest.split(' ').next()).filter(|cell| cell.starts_with(|l: char| l.is_ascii_digit()))
        else {
            return line.to_owned();
        };
        let named: Vec<String> = tests.iter().filter(|name| name.starts_with(&prefix(number))).map(|name| format!("`{name}`")).collect();
        let cell = if named.is_empty() { "not yet".to_owned() } else { named.join(" ") };
        let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        format!("{} | {cell} |", cells[..cells.len() - 1].join(" | "))
    };
    doc.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn every_fault_has_its_test_or_says_not_yet() {
    let tests = tests();
    if std::env::var_os("PGDUMPD_UPDATE_DOCS").is_some() {
        std::fs::write(tree::root().join("docs/faults.md"), updated(&tree::read("docs/faults.md"), &tests)).unwrap();
    }
    let rows = rows(&tree::read("docs/faults.md"));
    let mut findings = Vec::new();
    for number in (1..=49).map(|number| number.to_string()).chain(["29a".to_owned()]) {
        let Some(cell) = rows.get(&number) else {
            findings.push(format!("row {number} is missing from docs/faults.md"));
            continue;
        };
        let named: BTreeSet<String> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let real: BTreeSet<String> = tests.iter().filter(|name| name.starts_with(&prefix(&number))).cloned().collect();
        if named.is_empty() && !cell.contains("not yet") {
            findings.push(format!("row {number} names no test and doesn't say \"not yet\""));
        }
        if !real.is_empty() && named.is_empty() {
            findings.push(format!("row {number} says \"not yet\", but there is `{}`", Vec::from_iter(real).join("` `")));
        } else if named != real {
            findings.push(format!("row {number} names {named:?}, the tests are {real:?}"));
        }
    }
    report("docs/faults.md and the tests differ (PGDUMPD_UPDATE_DOCS=1 writes the names in)", &findings);
}

#[test]
fn prefixes_have_two_digits() {
    assert_eq!(["1", "29a", "42"].map(prefix), ["f01_", "f29a_", "f42_"]);
}
