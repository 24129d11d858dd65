//! Documents against the code: links, commands, manifest fields and causes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::report;
use crate::tree;

fn documents() -> Vec<(String, String)> {
    let mut found = tree::files("docs", "md");
    found.extend(["README.md", "CHANGELOG.md"].map(|name| (name.to_owned(), tree::read(name))));
    found
}

/// The anchor that a heading gets: lower case, words joined by hyphens, other signs dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut findings = Vec::new();
    for (file, text) in documents() {
        let folder = Path::new(&file).parent().unwrap().to_owned();
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, wanted) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { file.clone() } else { folder.join(path).display().to_string() };
                let there = tree::root().join(&path).exists();
                let headed = wanted.is_empty() || tree::read(&path).lines().any(|line| line.starts_with('#') && anchor(line) == wanted);
                if !there || !headed {
                    findings.push(format!("{file}:{}: {target}", number + 1));
                }
            }
        }
    }
    report("links that lead nowhere", &findings);
}

/// The parts of a document set as code: spans in backticks and fenced blocks, with their line numbers.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push((number + 1, line.to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| (number + 1, span.to_owned())));
        }
    }
    found
}

/// The words that follow `program` as a command in code.
fn commands(program: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, span) in code(text) {
        let words: Vec<&str> = span.split_whitespace().collect();
        for pair in words.windows(2) {
            let command = pair[1].trim_end_matches([',', ';', ')']);
            if pair[0] == program
                && command != program
                && command.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')
                && !command.starts_with('-')
            {
                found.push((number, command.to_owned()));
            }
        }
    }
    found
}

#[test]
fn commands_in_the_documents_exist() {
    let makefile = tree::read("Makefile");
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let verbs = variants(&tree::read("src/cli/mod.rs"), "Verb");
    assert!(verbs.contains("backup"), "the verbs stand in src/cli/mod.rs: {verbs:?}");
    let mut findings = Vec::new();
    // The sources too: a hint that tells people to type what doesn't exist is worse than none.
    for (file, text) in [documents(), tree::files("src", "rs")].concat() {
        for (line, command) in commands("make", &text) {
            if !targets.contains(command.as_str()) {
                findings.push(format!("{file}:{line}: make {command}"));
            }
        }
        for (line, command) in commands("pgdumpd", &text) {
            if !verbs.contains(&command) {
                findings.push(format!("{file}:{line}: pgdumpd {command}"));
            }
        }
    }
    report("commands that don't exist", &findings);
}

/// The body of `pub struct NAME {` or `enum NAME {`, up to its closing brace at the line's start.
fn body(text: &str, head: &str) -> String {
    let begin = text.find(&format!("{head} {{\n")).unwrap_or_else(|| panic!("no {head} in the source"));
    let rest = &text[begin..];
    rest[..rest.find("\n}").unwrap()].to_owned()
}

/// The variants of an enum in kebab case.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    body(text, &format!("enum {name}"))
        .lines()
        .skip(1)
        .map(str::trim)
        .filter(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()))
        .map(|line| line.split(|letter: char| !letter.is_alphanumeric()).next().unwrap())
        .map(|name| {
            name.chars().map(|letter| if letter.is_uppercase() { format!("-{}", letter.to_lowercase()) } else { letter.into() }).collect()
        })
        .map(|name: String| name.trim_start_matches('-').to_owned())
        .collect()
}

/// The JSON names of a struct's public fields.
fn fields(text: &str, name: &str) -> BTreeSet<String> {
    let mut renamed = None;
    let mut found = BTreeSet::new();
    for line in body(text, &format!("pub struct {name}")).lines().skip(1) {
        if let Some((_, rest)) = line.split_once("rename = \"") {
            renamed = rest.split('"').next().map(str::to_owned);
        } else if let Some((field, _)) = line.trim().strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            found.insert(renamed.take().unwrap_or_else(|| field.to_owned()));
        }
    }
    found
}

#[test]
fn every_manifest_field_is_documented() {
    let source = tree::read("src/model/backup.rs") + &tree::read("src/model/database.rs");
    let doc = tree::read("docs/manifest.md");
    let mut findings = Vec::new();
    for (name, heading) in [
        ("Manifest", "## The manifest"),
        ("TableEntry", "## A table"),
        ("Frame", "## A frame"),
        ("DatabaseProperties", "## Database properties"),
        ("Grant", "## A privilege"),
        ("Setting", "## A setting"),
        ("Proof", "## The proof"),
    ] {
        let section = doc.split(&format!("{heading}\n")).nth(1).unwrap_or_default().split("\n## ").next().unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let documented: BTreeSet<String> = rows.map(str::to_owned).collect();
        let real = fields(&source, name);
        findings.extend(real.difference(&documented).map(|field| format!("{name}.{field} has no row under \"{heading}\"")));
        findings.extend(documented.difference(&real).map(|field| format!("\"{heading}\" documents {field}, which {name} hasn't")));
    }
    report("docs/manifest.md and src/model/backup.rs differ", &findings);
}

#[test]
fn every_cause_has_its_page_in_the_runbook() {
    let causes = variants(&tree::read("src/error.rs"), "Cause");
    let doc = tree::read("docs/runbook.md");
    let told: BTreeSet<String> =
        doc.lines().filter_map(|line| line.strip_prefix("### ")).map(|line| line.trim_matches('`').to_owned()).collect();
    assert_eq!(causes, told, "the causes in src/error.rs and the headings of docs/runbook.md");
}

/// The source file of a module, by its path: `ops::backup` stands in `src/ops/backup/mod.rs`.
fn source(path: &[&str]) -> Option<String> {
    let stem = format!("src/{}", path.join("/"));
    let file = [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|file| tree::root().join(file).exists());
    file.map(|file| tree::read(&file))
}

#[test]
fn what_the_architecture_names_is_there() {
    let text = tree::read("docs/architecture.md");
    let mut findings = Vec::new();
    for (line, span) in code(&text).into_iter().filter(|(_, span)| span.contains("::") && !span.contains(' ')) {
        let path: Vec<&str> = span.split("::").collect();
        let (last, parent) = path.split_last().unwrap();
        let has = |text: String| text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == *last);
        let known = source(&path).is_some() || source(parent).is_some_and(has);
        // A type's function, and one that is named in full elsewhere.
        if !known && !span.starts_with(char::is_uppercase) && !text.contains(&format!("::{span}`")) {
            findings.push(format!("docs/architecture.md:{line}: {span}"));
        }
    }
    report("names in the architecture that lead nowhere", &findings);
}

#[test]
fn every_table_of_the_catalog_is_described() {
    let schema = tree::read("src/catalog/sqlite/schema.rs");
    let made: BTreeSet<&str> = schema.split("CREATE TABLE ").skip(1).filter_map(|rest| rest.split([' ', '(']).next()).collect();
    let text = tree::read("docs/architecture.md");
    let described: BTreeSet<&str> = body_of_section(&text, "## The catalog")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    assert!(made.len() > 5);
    assert_eq!(described, made, "docs/architecture.md and the catalog's schema");
}

fn body_of_section<'a>(text: &'a str, heading: &str) -> &'a str {
    let rest = text.split_once(heading).map_or("", |(_, rest)| rest);
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}
