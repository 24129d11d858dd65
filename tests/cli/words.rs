//! What mails, the runbook and the README tell people to type exists, and help says something of everything.

use std::path::Path;

use crate::rig::Rig;

const VERBS: [&str; 22] = [
    "serve", "backup", "list", "show", "verify", "drill", "restore", "accept", "cat", "diff", "prune", "delete", "pin", "unpin", "pause",
    "resume", "plan", "check", "doctor", "status", "audit", "notify",
];

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

#[test]
fn every_line_to_type_names_a_verb_that_exists() {
    let mut named: Vec<(String, String)> = Vec::new();
    let mut sources = vec![String::from("src/notify/letter.rs")];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/notify/letter");
    for entry in std::fs::read_dir(folder).expect("letters").flatten().filter(|entry| entry.path().is_file()) {
        sources.push(format!("src/notify/letter/{}", entry.file_name().to_string_lossy()));
    }
    for source in &sources {
        for piece in text(source).split("command(").skip(1).filter_map(|rest| rest.split_once("&[\"")) {
            named.push((source.clone(), piece.1.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    assert!(named.len() > 8, "the letters' commands are still found: {named:?}");
    sources.extend([String::from("docs/runbook.md"), String::from("README.md")]);
    for source in &sources {
        for rest in text(source).split("`pgdumpd ").skip(1) {
            named.push((source.clone(), rest.split([' ', '`', '\n']).next().unwrap_or_default().to_owned()));
        }
    }
    let strange: Vec<_> =
        named.iter().filter(|(_, verb)| !VERBS.contains(&verb.as_str()) && verb != "VERB" && !verb.starts_with('-')).collect();
    assert!(strange.is_empty(), "no such verbs: {strange:?}");
}

#[test]
fn every_verb_has_help_and_a_mistyped_one_a_hint() {
    let rig = Rig::new();
    let whole = rig.run(&["--help"]);
    assert_eq!(whole.code, 0);
    for verb in VERBS {
        assert!(whole.stdout.contains(&format!("\n  {verb} ")), "{verb}");
        let help = rig.run(&[verb, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        assert!(help.stdout.contains("Usage: pgdumpd") && help.stdout.contains("With each command:"), "{}", help.stdout);
    }
    insta::assert_snapshot!("help", whole.stdout);
    let mistyped = rig.run(&["bakup"]);
    assert_eq!(
        (mistyped.code, mistyped.stderr.contains("'backup' exists") || mistyped.stderr.contains("backup")),
        (2, true),
        "{mistyped:?}"
    );
    assert_eq!(rig.run(&["--version"]).code, 0);
    assert_eq!(rig.run(&[]).code, 2);
}

#[test]
fn every_cause_has_its_page_in_the_runbook() {
    let runbook = text("docs/runbook.md");
    let source = text("src/error.rs");
    let body = source.split("pub enum Cause {").nth(1).and_then(|rest| rest.split("\n}").next()).expect("the causes");
    let names: Vec<&str> = body.lines().map(str::trim).filter(|line| line.ends_with(',') && !line.starts_with("//")).collect();
    assert!(names.len() > 20);
    for name in names {
        let mut code = String::new();
        for letter in name.trim_end_matches(',').chars() {
            if letter.is_uppercase() && !code.is_empty() {
                code.push('-');
            }
            code.push(letter.to_ascii_lowercase());
        }
        assert!(runbook.contains(&format!("### `{code}`")), "{code} is missing");
    }
}

#[test]
fn a_hidden_command_is_never_suggested() {
    let rig = Rig::new();
    for word in ["generat", "generated", "genrate", "regenerate"] {
        let told = rig.run(&[word]);
        assert!(told.code == 2 && !told.stderr.contains("'generate'"), "{told:?}");
    }
    assert!(rig.run(&["restor"]).stderr.contains("'restore'"));
}

#[test]
fn a_printed_command_names_the_file_that_was_named() {
    let rig = Rig::new();
    rig.configure("");
    let file = rig.path().join("a copy.toml");
    std::fs::rename(rig.path().join("pgdumpd.toml"), &file).expect("moved");
    let file = file.display().to_string();
    for arguments in [&["show", "zzzz", "--config", &file][..], &["--config", &file, "show", "zzzz"]] {
        let told = rig.run(arguments).stderr;
        assert!(told.contains(&format!("`pgdumpd --config '{file}' list` shows their ids")), "{told}");
    }
    let typed = format!("pgdumpd --config '{file}' list").replacen("pgdumpd", env!("CARGO_BIN_EXE_pgdumpd"), 1);
    let pasted = std::process::Command::new("sh").args(["-c", &typed]).output().expect("sh");
    assert!(pasted.status.success(), "{pasted:?}");
    // A variable counts for what is pasted into the same shell.
    std::fs::copy(&file, rig.path().join("pgdumpd.toml")).expect("copied");
    assert!(rig.run(&["show", "zzzz"]).stderr.contains("`pgdumpd list` shows their ids"));
    let json = rig.run(&["show", "zzzz", "--json", "--config", &file]).json();
    assert!(json["error"]["hint"].as_str().is_some_and(|hint| hint.contains("`pgdumpd list`")), "{json}");
}
