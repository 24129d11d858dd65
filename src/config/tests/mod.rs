//! Tests of the configuration: what is read, what is refused and in which words.

mod ambient;
mod forms;
mod messages;
mod properties;
mod sample;
mod secrets;

use super::{Problem, Settings, parse};

/// No variable is set.
fn nothing(_: &str) -> Option<String> {
    None
}

/// A storage, a mail server and one project whose keys are `keys`.
fn shop(keys: &str) -> String {
    format!("{HEAD}[[project]]\nname = \"shop\"\nconnection = \"postgresql://backup@db/shop\"\n{keys}\n")
}

const HEAD: &str = "[storage.main]\npath = \"/backups\"\n[smtp]\nhost = \"mail\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n";

fn settings(text: &str) -> Settings {
    match parse(text, "pgdumpd.toml", &nothing) {
        Ok(settings) => settings,
        Err(problems) => panic!("refused:\n{}", lines(&problems)),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The problems of a text, one a line.
fn told(text: &str) -> String {
    match parse(text, "pgdumpd.toml", &nothing) {
        Ok(_) => String::from("accepted"),
        Err(problems) => lines(&problems),
    }
}

/// The problems of each list of keys in a project, without the file's name; line 8 is the first of them.
fn told_of_project(table: &[&str]) -> String {
    table.iter().map(|keys| told(&shop(keys)).replace("pgdumpd.toml", "")).collect::<Vec<_>>().join("\n")
}
