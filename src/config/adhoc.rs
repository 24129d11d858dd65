//! A project that is written nowhere: what the command line and the environment say, read by the rules of the configuration file.

use super::env::Lookup;
use super::kind::Kind;
use crate::error::{Cause, Failure, Result};
use crate::model::project::{Databases, Project};

/// What a person said of one backup.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// URL or keywords of the connection, which may hold a password and name a database; empty leaves it to libpq's variables.
    pub connection: String,
    /// Keys of a project that shape the dump, by their names in the configuration: one value.
    pub words: Vec<(&'static str, String)>,
    /// The same for lists.
    pub lists: Vec<(&'static str, Vec<String>)>,
    /// Connections that dump in parallel.
    pub jobs: Option<u32>,
}

/// The project, every default filled in, with one attempt and no lock on the server. What is wrong is told by the options' names; a
/// value that may hold a secret is never repeated.
pub fn project(said: &Said) -> Result<Project> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut text = String::from("[storage.output]\ntype = \"local\"\npath = \"/output\"\n[[project]]\nname = \"adhoc\"\n");
    let mut line = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
    // An empty table leaves everything to libpq.
    line("connection", if said.connection.is_empty() { String::from("{}") } else { quoted(&said.connection) });
    // Which one it is, the connection or libpq's variables say: whoever asks for the project knows whether one has to be named.
    line("databases", String::from("[\"adhoc\"]"));
    line("server_lock", String::from("false"));
    line("limits", String::from("{ retries = [] }"));
    said.words.iter().for_each(|(key, value)| line(key, quoted(value)));
    for (key, values) in &said.lists {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        line(key, format!("[{}]", values.join(", ")));
    }
    if let Some(jobs) = said.jobs {
        line("jobs", jobs.to_string());
    }
    let nothing: Lookup<'_> = &|_| None;
    let settings = super::parse(&text, "the command line", nothing).map_err(|problems| {
        let words: Vec<String> = problems.iter().map(told).collect();
        let failure = Failure::new(Cause::Configuration, words.join("\n"));
        problems.iter().find_map(|problem| problem.hint.as_deref().map(in_options)).map_or(failure.clone(), |hint| failure.hint(hint))
    })?;
    let unread = || Failure::new(Cause::Configuration, "the command line describes no backup");
    let project = settings.projects.first().ok_or_else(unread)?;
    Ok(Project { databases: Databases::FromConnection, ..Project::clone(project) })
}

/// A problem by the option it is about.
fn told(problem: &super::Problem) -> String {
    let option = match problem.key.as_deref() {
        Some("connection") => String::from("the connection"),
        Some("compression") => String::from("--compress"),
        Some("options") => String::from("after --"),
        Some(key) => format!("--{}", key.replace('_', "-")),
        None => String::from("the command line"),
    };
    let expected = match problem.expected.as_deref() {
        // A table is a way to write it in a file.
        Some(forms) if forms == Kind::Connection.expected() => Some("postgresql://user@host/database, or host=… dbname=…, or service=…"),
        other => other,
    };
    let expected = expected.map(|expected| format!("; expected {expected}")).unwrap_or_default();
    let near = problem.suggestion.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{option}: {}{expected}{near}", in_options(&problem.message))
}

/// What a file's words say of keys, said of options.
fn in_options(words: &str) -> String {
    const SAID: [(&str, &str); 7] = [
        ("set format = \"directory\", or leave jobs out", "add --format directory, or leave --jobs out"),
        ("use the key format", "use --format"),
        ("use the key compression", "use --compress"),
        ("use the key jobs with the directory format", "use --jobs with --format directory"),
        ("use the key password", "put it into PGPASSWORD or ~/.pgpass"),
        ("use the keys for included and excluded tables and schemas", "use --tables, --schemas and --exclude-…"),
        ("use content = \"full\", \"schema\" or \"data\"", "use --schema-only or --data-only, or neither"),
    ];
    SAID.iter().fold(words.to_owned(), |words, (key, option)| words.replace(key, option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dump::{Compression, Format};

    fn said(words: &[(&'static str, &str)]) -> Said {
        Said {
            connection: String::from("postgresql://me:geheim@db/shop"),
            words: words.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            ..Said::default()
        }
    }

    #[test]
    fn a_command_line_becomes_a_project() {
        let mut said = said(&[("format", "directory"), ("compression", "gzip:4")]);
        said.jobs = Some(3);
        said.lists = vec![("tables", vec![String::from("\"it's \\ \"\"Größe\"\"\"")])];
        let project = project(&said).unwrap();
        assert_eq!((project.shape.format, project.shape.compression, project.shape.jobs), (Format::Directory, Compression::Gzip(4), 3));
        assert_eq!(project.shape.include_tables, ["\"it's \\ \"\"Größe\"\"\""]);
        assert!(project.limits.retries.is_empty() && !project.server_lock);
    }

    #[test]
    fn what_is_wrong_is_told_by_the_option_and_without_secrets() {
        for (words, expected) in [
            (said(&[("compression", "zip")]), "--compress: unknown compression zip; expected \"zstd\""),
            (said(&[("compression", "zstd:99")]), "--compress: zstd has no level 99; expected 1 to 19"),
            (Said { jobs: Some(4), ..said(&[]) }, "--jobs: more than one job needs the directory format"),
            (Said { connection: String::from("postgresql://me:ge%heim@db"), ..Said::default() }, "the connection: a % is not followed"),
            (Said { lists: vec![("options", vec![String::from("--file=/etc/x")])], ..said(&[]) }, "after --: the pg_dump option"),
            (
                Said { connection: String::from("postgresql://me:geheim@db/shop?sslmode=requre"), ..Said::default() },
                "the connection: unknown sslmode; expected disable, allow, prefer, require, verify-ca, verify-full; did you mean require?",
            ),
        ] {
            let failure = project(&words).unwrap_err();
            assert_eq!(failure.cause, Cause::Configuration);
            assert!(failure.message.starts_with(expected), "{}", failure.message);
            assert!(!format!("{failure:?}").contains("heim"), "{failure:?}");
        }
    }

    /// Nobody who types options has seen the file's keys.
    #[test]
    fn what_is_to_be_done_is_told_by_the_option() {
        let lists = |option: &str| Said { lists: vec![("options", vec![option.to_owned()])], ..said(&[]) };
        for (words, expected) in [
            (Said { jobs: Some(4), ..said(&[]) }, "add --format directory, or leave --jobs out"),
            (lists("-Z9"), "use --compress"),
            (lists("--format=c"), "use --format"),
            (lists("--jobs=2"), "use --jobs with --format directory"),
            (lists("--schema=public"), "use --tables, --schemas and --exclude-…"),
            (lists("--schema-only"), "use --schema-only or --data-only, or neither"),
            (lists("--password"), "put it into PGPASSWORD"),
        ] {
            let failure = project(&words).unwrap_err();
            let told = format!("{}\n{}", failure.message, failure.hint.unwrap_or_default());
            assert!(told.contains(expected) && !told.contains("key ") && !told.contains(" = "), "{told}");
        }
    }
}
