//! Imports only look down. `src/lib.rs` says which module stands on which floor; verbs and jobs don't even look beside themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::report;
use crate::tree::{self, Token};

/// The last floor whose modules may use their neighbours.
const NEIGHBOURS_UP_TO: u32 = 3;

/// The floor of each module, read from the comments and declarations of `src/lib.rs`.
fn floors(lib: &str) -> BTreeMap<String, u32> {
    let mut floor = None;
    let mut found = BTreeMap::new();
    for line in lib.lines() {
        if let Some(rest) = line.strip_prefix("// Floor ") {
            floor = rest.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|number| number.parse().ok());
        } else if let Some(name) = declared(line) {
            found.insert(name.to_owned(), floor.unwrap_or_else(|| panic!("src/lib.rs declares {name} above the first floor")));
        }
    }
    found
}

/// The module that a line like `pub mod name;` declares.
fn declared(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("pub mod ")?.strip_suffix(';')
}

/// The module path of a source file: `src/ops/backup/mod.rs` is `ops::backup`.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| *part != "mod").map(str::to_owned).collect()
}

/// The verbs (or jobs) of a floor: the public modules of its `mod.rs`. What is private there is shared scaffolding, and so are the public
/// modules below a comment that begins with `// Shared`, up to the next blank line.
fn verbs(index: &str) -> Vec<&str> {
    let mut shared = false;
    let mut found = Vec::new();
    for line in index.lines() {
        shared = (shared && !line.is_empty()) || line.starts_with("// Shared");
        found.extend(declared(line).filter(|_| !shared));
    }
    found
}

#[test]
fn shared_modules_are_no_verbs() {
    assert_eq!(verbs("pub mod a;\nmod b;\n\n// Shared: questions.\npub mod c;\n\npub mod d;\n"), ["a", "d"]);
}

/// One place that names another module, as a path from the crate's root.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    path: Vec<String>,
    line: usize,
}

/// Every `crate::…` and `super::…` path in a file, groups in braces taken apart.
fn references(text: &str, module: &[String]) -> Vec<Reference> {
    let tokens = tree::tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut here = module.to_vec();
    let mut braces: Vec<bool> = Vec::new();
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        match word(at) {
            "{" => {
                let is_module = at >= 2 && word(at - 2) == "mod";
                if is_module {
                    here.push(word(at - 1).to_owned());
                }
                braces.push(is_module);
            }
            "}" if braces.pop() == Some(true) => {
                here.pop();
            }
            "crate" if word(at + 1) == "::" => follow(&tokens, at + 2, Vec::new(), &mut found),
            "super" if word(at + 1) == "::" && (at == 0 || word(at - 1) != "::") => {
                let mut from = here.clone();
                let mut next = at;
                while word(next) == "super" && word(next + 1) == "::" {
                    from.pop();
                    next += 2;
                }
                follow(&tokens, next, from, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Reads a path from `at` on; each branch of a group becomes a reference of its own.
fn follow(tokens: &[Token], mut at: usize, mut path: Vec<String>, found: &mut Vec<Reference>) {
    let start = path.len();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            let mut depth = 0;
            while let Some(inner) = tokens.get(at) {
                match inner.text.as_str() {
                    "{" => {
                        depth += 1;
                        if depth == 1 {
                            follow(tokens, at + 1, path.clone(), found);
                        }
                    }
                    "," if depth == 1 => follow(tokens, at + 1, path.clone(), found),
                    "}" if depth == 1 => return,
                    "}" => depth -= 1,
                    _ => {}
                }
                at += 1;
            }
            return;
        }
        if !token.text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_' || letter == '*') {
            return;
        }
        path.push(token.text.clone());
        let line = token.line;
        if tokens.get(at + 1).is_none_or(|next| next.text != "::") {
            found.push(Reference { path, line });
            return;
        }
        at += 2;
    }
    debug_assert!(path.len() >= start);
}

#[test]
fn references_are_found_in_groups_and_through_super() {
    let text = "use crate::{a::{b, c}, d};\nfn f() { super::super::e::g() }\nmod tests {\n  use super::*;\n use super::super::h;\n}";
    let here = vec!["x".to_owned(), "y".to_owned()];
    let paths: Vec<String> = references(text, &here).into_iter().map(|found| format!("{}@{}", found.path.join("::"), found.line)).collect();
    assert_eq!(paths, ["a::b@1", "a::c@1", "d@1", "e::g@2", "x::y::*@4", "x::h@5"]);
}

#[test]
fn imports_only_look_down() {
    let floors = floors(&tree::read("src/lib.rs"));
    assert!(floors.len() > 10, "src/lib.rs lists its floors: {floors:?}");
    let mut findings = Vec::new();
    for (file, text) in tree::files("src", "rs") {
        let module = module(&file);
        let Some(mine) = floors.get(&module[0]) else { continue };
        for Reference { path, line } in references(&text, &module) {
            let Some(theirs) = path.first().and_then(|name| floors.get(name)) else { continue };
            let beside = mine == theirs && path[0] != module[0] && *mine > NEIGHBOURS_UP_TO;
            if theirs > mine || beside {
                findings.push(format!("{file}:{line}: {} (floor {mine}) uses {} (floor {theirs})", module[0], path.join("::")));
            }
        }
    }
    report("imports that don't look down", &findings);
}

#[test]
fn every_top_level_module_stands_on_a_floor() {
    let floors = floors(&tree::read("src/lib.rs"));
    let present: BTreeSet<String> =
        tree::files("src", "rs").iter().map(|(file, _)| module(file)[0].clone()).filter(|name| name != "lib" && name != "main").collect();
    let listed: BTreeSet<String> = floors.into_keys().collect();
    assert_eq!(present, listed);
}

#[test]
fn verbs_and_jobs_never_use_one_another() {
    let mut findings = Vec::new();
    for floor in ["ops", "jobs"] {
        let index = tree::read(&format!("src/{floor}/mod.rs"));
        let verbs = verbs(&index);
        for (file, text) in tree::files(&format!("src/{floor}"), "rs") {
            let module = module(&file);
            let Some(mine) = module.get(1) else { continue };
            for Reference { path, line } in references(&text, &module) {
                let theirs = path.get(1).map_or("", String::as_str);
                // A value that another verb made may be passed on (a plan, a report); its functions may not be called.
                let is_type = path.len() == 3 && path[2].starts_with(|letter: char| letter.is_ascii_uppercase());
                if path[0] == floor && theirs != mine && verbs.contains(&theirs) && !is_type {
                    findings.push(format!("{file}:{line}: {floor}::{mine} uses {}", path.join("::")));
                }
            }
        }
    }
    report("verbs or jobs that use one another", &findings);
}
