//! Secrets: where they come from, checked when the configuration is read; their values, read at the last moment and never printed.
//!
//! A file that others can read is refused, except below `/run/secrets`, in `$CREDENTIALS_DIRECTORY`, or when a `_FILE` variable named it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::de::DeValue;

use super::env::Lookup;
use super::item::{Item, set, walk};
use super::keys::SECRET;
use super::report::{Place, Trouble};
use crate::error::{Cause, Failure, Result};
use crate::model::project::PasswordSource;

/// No secret is longer; a larger file is not one.
const LONGEST: u64 = 64 * 1024;

/// A source with the place that named it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) source: PasswordSource,
}

/// The secret itself, read now; `None` means it is left to libpq. `run` runs a command and answers what it printed.
pub fn read(source: &PasswordSource, run: &dyn Fn(&[String]) -> Result<String>) -> Result<Option<SecretString>> {
    read_with(source, &|name| std::env::var(name).ok(), run)
}

/// As [`read`], with the environment given.
pub fn read_with(source: &PasswordSource, env: Lookup<'_>, run: &dyn Fn(&[String]) -> Result<String>) -> Result<Option<SecretString>> {
    let (text, of) = match source {
        PasswordSource::Libpq => return Ok(None),
        PasswordSource::Inline(secret) => return Ok(Some(secret.clone())),
        PasswordSource::File(path) => (file(path, is_guarded(path, env))?, path.display().to_string()),
        PasswordSource::Mounted(path) => (file(path, true)?, path.display().to_string()),
        PasswordSource::Credential(name) => (file(&credential(name, env)?, true)?, format!("credential {name}")),
        PasswordSource::Env(name) => (variable(name, env)?, format!("variable {name}")),
        PasswordSource::Command(command) => (run(command)?, format!("command {}", command.first().map_or("", String::as_str))),
    };
    first_line(&text).map(Some).ok_or_else(|| empty(&of))
}

/// What can be known about a source without using it: that it is there, readable by us and not by others. Nothing is kept.
pub(super) fn check(source: &PasswordSource, env: Lookup<'_>) -> Result<()> {
    match source {
        PasswordSource::Command(command) => program(command),
        _ => read_with(source, env, &|_| Ok(String::new())).map(|_| ()),
    }
}

/// Where a secret comes from, as the file says it: one of four tables, or the secret in plain text.
pub(super) fn source(item: &Item<'_>) -> Option<Named> {
    let named = |source| Some(Named { place: item.place.clone(), source });
    if let DeValue::String(_) = item.value {
        return named(PasswordSource::Inline(SecretString::from(item.name()?)));
    }
    let table = item.table()?;
    let mut sources = Vec::new();
    let mut forms = 0;
    walk(&SECRET, table, &item.place, |key, item| {
        forms += 1;
        let path = |item: &Item<'_>| item.path().map(if item.place.is_variable() { PasswordSource::Mounted } else { PasswordSource::File });
        let mut found = None;
        match key.name {
            "file" => set(&mut found, path(item).map(Some)),
            "env" => set(&mut found, item.name().map(|name| Some(PasswordSource::Env(name)))),
            "command" => set(&mut found, item.names().map(|words| Some(PasswordSource::Command(words)))),
            "credential" => set(&mut found, item.name().map(|name| Some(PasswordSource::Credential(name)))),
            _ => super::unread(key, item),
        }
        sources.extend(found);
    });
    if forms != 1 {
        item.wrong(if forms == 0 { "names no source" } else { "names more than one source" });
        return None;
    }
    named(sources.pop()?)
}

/// Whether the place protects the file, whatever its mode.
fn is_guarded(path: &Path, env: Lookup<'_>) -> bool {
    path.starts_with("/run/secrets") || env("CREDENTIALS_DIRECTORY").is_some_and(|folder| !folder.is_empty() && path.starts_with(folder))
}

fn credential(name: &str, env: Lookup<'_>) -> Result<PathBuf> {
    if name.contains('/') || name == ".." || name == "." {
        return Err(Failure::new(Cause::Secret, format!("credential {name:?} is not a plain file name")));
    }
    match env("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(Path::new(&folder).join(name)),
        None => Err(Failure::new(Cause::Secret, format!("credential {name} can't be read: $CREDENTIALS_DIRECTORY is not set"))
            .hint(format!("put LoadCredential={name}:/PATH into the systemd unit"))),
    }
}

fn variable(name: &str, env: Lookup<'_>) -> Result<String> {
    env(name).ok_or_else(|| {
        Failure::new(Cause::Secret, format!("variable {name} is not set")).hint("set it where pgdumpd is started, or use a file")
    })
}

/// The text of a file that a `_FILE` variable names, all of it.
pub(super) fn mounted(path: &Path) -> Result<String> {
    file(path, true)
}

/// The text of a secret's file. The mode is asked of the open file, so that it can't be swapped in between.
fn file(path: &Path, guarded: bool) -> Result<String> {
    let shown = path.display();
    let failed = |error: &std::io::Error| {
        Failure::new(Cause::Secret, format!("secret {shown} can't be read: {error}"))
            .hint("make the file, readable for the user that pgdumpd runs as")
    };
    let file = open(path).map_err(|error| failed(&error))?;
    let facts = file.metadata().map_err(|error| failed(&error))?;
    if !facts.is_file() {
        return Err(Failure::new(Cause::Secret, format!("secret {shown} is not a regular file")));
    }
    let mode = facts.mode() & 0o7777;
    if !guarded && mode & 0o077 != 0 {
        return Err(Failure::new(Cause::Secret, format!("secret {shown} can be read by others (mode {mode:04o})"))
            .hint(format!("chmod 600 {shown}")));
    }
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if read as u64 > LONGEST {
        return Err(Failure::new(Cause::Secret, format!("secret {shown} is longer than {LONGEST} bytes")));
    }
    Ok(text)
}

/// Opens without waiting, so that a named pipe in the file's place can't hang the start.
fn open(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    Ok(File::from(fd))
}

/// A command's program must exist; whether it works is seen when it is needed.
fn program(command: &[String]) -> Result<()> {
    let Some(program) = command.first() else {
        return Err(Failure::new(Cause::Secret, "the secret's command is empty"));
    };
    if program.contains('/') && !Path::new(program).is_file() {
        return Err(Failure::new(Cause::Secret, format!("the secret's command {program} does not exist")));
    }
    Ok(())
}

/// The first line without its end; `None` where it is empty.
fn first_line(text: &str) -> Option<SecretString> {
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    (!line.is_empty()).then(|| SecretString::from(line.to_owned()))
}

fn empty(of: &str) -> Failure {
    Failure::new(Cause::Secret, format!("the secret from {of} is empty")).hint("its first line must hold the secret")
}

/// A failed check as a problem of the place that named the source.
pub(super) fn tell(named: &Named, failure: Failure) {
    let here = matches!(named.source, PasswordSource::Env(_) | PasswordSource::Credential(_));
    let trouble = Trouble::new(failure.message).here(here);
    named.place.problem(match failure.hint {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    });
}
