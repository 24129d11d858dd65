//! `--env`: an application's database by its own variables, from the environment, `.env.local` and `.env`, in this order.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::dotenv;
use crate::error::{Cause, Failure, Result};

use super::args::Mode;

/// The files, the more important first.
const FILES: [&str; 2] = [".env.local", ".env"];

/// The database that an environment names.
#[derive(Debug)]
pub(super) struct Environment {
    /// `dev` or `prod`.
    pub(super) name: &'static str,
    /// Keywords for libpq, the password among them.
    pub(super) connection: String,
    /// What to warn of.
    pub(super) warning: Option<String>,
}

/// Reads it. `env` is the process's own environment; the files lie in `folder`.
pub(super) fn read(mode: Mode, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Environment> {
    let files = FILES.iter().map(|file| values(&folder.join(file))).collect::<Result<Vec<_>>>()?;
    let value = |name: &str| {
        let in_files = || files.iter().find_map(|values| values.get(name).cloned());
        env(name).or_else(in_files).filter(|value| !value.is_empty())
    };
    let name = name(mode, value("ENV_MODE").as_deref())?;
    let prefix = if name == "dev" { "DEV_DB_" } else { "DB_" };
    let part = |part: &str| value(&format!("{prefix}{part}"));
    let missing: Vec<String> =
        ["HOST", "NAME", "USER"].iter().filter(|word| part(word).is_none()).map(|word| format!("{prefix}{word}")).collect();
    if !missing.is_empty() {
        return Err(Failure::new(Cause::Configuration, format!("the environment {name} lacks {}", missing.join(", ")))
            .hint("set them in the environment, in .env.local or in .env"));
    }
    let words = [("host", "HOST"), ("port", "PORT"), ("dbname", "NAME"), ("user", "USER"), ("password", "PASSWORD")];
    let connection: Vec<String> = words.iter().filter_map(|(key, word)| Some(format!("{key}={}", quoted(&part(word)?)))).collect();
    let host = part("HOST").unwrap_or_default();
    let warning = (name == "prod" && is_here(&host))
        .then(|| format!("the environment is prod, but {prefix}HOST is {host}: this machine's own server is backed up"));
    Ok(Environment { name, connection: connection.join(" "), warning })
}

fn name(mode: Mode, said: Option<&str>) -> Result<&'static str> {
    match (mode, said.map(str::to_lowercase).as_deref()) {
        (Mode::Dev, _) | (Mode::Auto, Some("dev" | "development")) => Ok("dev"),
        (Mode::Prod, _) | (Mode::Auto, Some("prod" | "production")) => Ok("prod"),
        (Mode::Auto, Some(other)) => {
            Err(Failure::new(Cause::Configuration, format!("ENV_MODE is {other:?}")).hint("expected dev, development, prod or production"))
        }
        (Mode::Auto, None) => Err(Failure::new(Cause::Configuration, "--env auto needs ENV_MODE, and it is nowhere set")
            .hint("set ENV_MODE in the environment, in .env.local or in .env, or say --env dev or --env prod")),
    }
}

fn values(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Failure::new(Cause::Configuration, format!("{} can't be read: {error}", path.display()))),
    };
    dotenv::parse(&text).map_err(|line| {
        Failure::new(Cause::Configuration, format!("{}:{line}: the line is no NAME=value, or its quotes are open", path.display()))
    })
}

/// A value as a libpq connection string takes it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.starts_with("127.") || host == "::1" || host.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_local_file_and_that_over_the_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "DB_HOST=a\nDB_NAME=one\nDB_USER=u\nDB_PORT=1\nENV_MODE=production\n").unwrap();
        std::fs::write(folder.path().join(".env.local"), "DB_HOST=b\nDB_NAME=\"it's\"\n").unwrap();
        let env = |name: &str| (name == "DB_HOST").then(|| String::from("127.0.0.1"));
        let read = read(Mode::Auto, folder.path(), &env).unwrap();
        assert_eq!(read.name, "prod");
        assert_eq!(read.connection, "host='127.0.0.1' port='1' dbname='it\\'s' user='u'");
        assert!(read.warning.unwrap().contains("127.0.0.1"));
        let failure = super::read(Mode::Dev, folder.path(), &env).unwrap_err();
        assert_eq!(failure.message, "the environment dev lacks DEV_DB_HOST, DEV_DB_NAME, DEV_DB_USER");
    }

    #[test]
    fn a_mode_is_never_guessed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(Mode::Auto, folder.path(), &|_| None).unwrap_err().message.contains("ENV_MODE"));
        let odd = |name: &str| (name == "ENV_MODE").then(|| String::from("staging"));
        assert!(read(Mode::Auto, folder.path(), &odd).unwrap_err().message.contains("staging"));
    }
}
