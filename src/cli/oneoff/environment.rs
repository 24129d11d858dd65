//! `--env`: an application's database by its own variables, from the environment, `.env.local` and `.env`, in this order.

use std::path::Path;

use crate::config::dotenv::{self, Values};
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
    pub(super) warnings: Vec<String>,
}

/// Reads it. `env` is the process's own environment; the files lie in `folder`. A line that can't be read and says nothing of what is
/// looked for is somebody else's, and only warned of.
pub(super) fn read(mode: Mode, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Environment> {
    let files = FILES.iter().map(|file| Ok((*file, values(&folder.join(file))?))).collect::<Result<Vec<_>>>()?;
    let in_files = |name: &str| files.iter().find_map(|(_, found)| found.values.get(name).cloned());
    let value = |name: &str| env(name).or_else(|| in_files(name)).filter(|value| !value.is_empty());
    let legible = |name: &str| legible(name, &files, env);
    if mode == Mode::Auto {
        legible("ENV_MODE")?;
    }
    let name = name(mode, value("ENV_MODE").as_deref())?;
    let prefix = if name == "dev" { "DEV_DB_" } else { "DB_" };
    let part = |part: &str| value(&format!("{prefix}{part}"));
    let words = [("host", "HOST"), ("port", "PORT"), ("dbname", "NAME"), ("user", "USER"), ("password", "PASSWORD")];
    words.iter().try_for_each(|(_, word)| legible(&format!("{prefix}{word}")))?;
    let mut warnings: Vec<String> = files.iter().filter_map(|(file, found)| unread(file, found)).collect();
    let missing: Vec<String> =
        ["HOST", "NAME", "USER"].iter().filter(|word| part(word).is_none()).map(|word| format!("{prefix}{word}")).collect();
    if !missing.is_empty() {
        warnings.insert(0, String::from("set them in the environment, in .env.local or in .env"));
        return Err(
            Failure::new(Cause::Configuration, format!("the environment {name} lacks {}", missing.join(", "))).hint(warnings.join("\n"))
        );
    }
    if let Some(port) = part("PORT").filter(|port| !port.parse().is_ok_and(|port: u16| port > 0)) {
        let words = format!("{prefix}PORT is {port:?}, which is no number from 1 to 65535");
        return Err(Failure::new(Cause::Configuration, words).hint("set it in the environment, in .env.local or in .env"));
    }
    let connection: Vec<String> = words.iter().filter_map(|(key, word)| Some(format!("{key}={}", quoted(&part(word)?)))).collect();
    let host = part("HOST").unwrap_or_default();
    if name == "prod" && is_here(&host) {
        warnings.push(format!("the environment is prod, but {prefix}HOST is {host}: this machine's own server is backed up"));
    }
    let password = format!("{prefix}PASSWORD");
    if env(&password).is_none() {
        warnings.extend(open_to_others(&password, folder, &files));
    }
    for word in words.iter().map(|(_, word)| format!("{prefix}{word}")) {
        if env(&word).is_none() && in_files(&word).is_some_and(|value| value.contains("${")) {
            warnings.push(format!("the value of {word} holds ${{…}}, which is taken as it stands: nothing is put in its place"));
        }
    }
    Ok(Environment { name, connection: connection.join(" "), warnings })
}

/// Fails where a line that can't be read would have given this variable its value.
fn legible(name: &str, files: &[(&str, Values)], env: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    if env(name).is_some() {
        return Ok(());
    }
    for (file, found) in files {
        if let Some(line) = found.unread.iter().find(|unread| unread.name.as_deref() == Some(name)) {
            let words = format!(
                "{file}:{}: the value of {name} can't be read: there is no = after the name, quotes are open or followed by something, or it \
                 is no UTF-8",
                line.line
            );
            return Err(
                Failure::new(Cause::Configuration, words).hint(format!("write {name}=value, and quotes of one kind around all of it"))
            );
        }
        if found.values.contains_key(name) {
            return Ok(());
        }
    }
    Ok(())
}

/// What to say where others can read the file that a password comes from.
fn open_to_others(name: &str, folder: &Path, files: &[(&str, Values)]) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let (file, _) = files.iter().find(|(_, found)| found.values.get(name).is_some_and(|value| !value.is_empty()))?;
    let mode = std::fs::metadata(folder.join(file)).ok()?.permissions().mode();
    (mode & 0o044 != 0).then(|| format!("others can read {file}, and {name} stands in it: chmod 600 {file}"))
}

/// What to say of a file's lines that nobody can read.
fn unread(file: &str, found: &Values) -> Option<String> {
    let lines: Vec<String> = found.unread.iter().map(|unread| format!("{file}:{}", unread.line)).collect();
    let (first, more) = (lines.first()?, lines.len() - 1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{first}{more}: no NAME=value, or quotes that are open; passed over"))
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

fn values(path: &Path) -> Result<Values> {
    match std::fs::read(path) {
        Ok(text) if text.contains(&0) => Err(Failure::new(Cause::Configuration, format!("{} is no text in UTF-8", path.display()))
            .hint("an editor may have saved it as UTF-16: save it as UTF-8")),
        // A comment in another encoding is nobody's concern; a value is, and is found out by what stands in its place.
        Ok(text) => Ok(dotenv::parse(&String::from_utf8_lossy(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Values::default()),
        Err(error) => Err(Failure::new(Cause::Configuration, format!("{} can't be read: {error}", path.display()))),
    }
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
        assert!(read.warnings.len() == 1 && read.warnings.first().unwrap().contains("127.0.0.1"), "{:?}", read.warnings);
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

    #[test]
    fn a_password_that_others_can_read_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "DB_HOST=db\nDB_NAME=shop\nDB_USER=u\nDB_PASSWORD=p\n").unwrap();
        let warnings = |mode: u32, env: &dyn Fn(&str) -> Option<String>| {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            read(Mode::Prod, folder.path(), env).unwrap().warnings
        };
        assert_eq!(warnings(0o644, &|_| None), ["others can read .env, and DB_PASSWORD stands in it: chmod 600 .env"]);
        assert!(warnings(0o600, &|_| None).is_empty());
        assert!(warnings(0o644, &|name| (name == "DB_PASSWORD").then(|| String::from("q"))).is_empty());
    }

    #[test]
    fn a_port_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for port in ["abc", "0", "65536", "54 32"] {
            std::fs::write(folder.path().join(".env"), format!("DB_HOST=db\nDB_NAME=shop\nDB_USER=u\nDB_PORT={port}\n")).unwrap();
            let failure = read(Mode::Prod, folder.path(), &|_| None).unwrap_err();
            assert_eq!(failure.message, format!("DB_PORT is {port:?}, which is no number from 1 to 65535"));
        }
    }

    /// What concerns nobody here is warned of; what would have been the password stops.
    #[test]
    fn an_unreadable_line_counts_where_it_concerns_us() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            std::fs::write(folder.path().join(".env"), text).unwrap();
            std::fs::set_permissions(folder.path().join(".env"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        let known = "DB_HOST=db\nDB_NAME=shop\nDB_USER=u\n";
        let key = "KEY=\"-----BEGIN\nDB_HOST=no\n-----END\"\n";
        write(&format!("{known}{key}"));
        let found = read(Mode::Prod, folder.path(), &|_| None).unwrap();
        assert!(found.warnings.is_empty() && found.connection.starts_with("host='db'"), "{found:?}");
        write(&format!("{known}rubbish\nX=\"open\nDB_PASSWORD=p\n"));
        let found = read(Mode::Prod, folder.path(), &|_| None).unwrap();
        assert!(found.connection.contains("password='p'"), "{found:?}");
        assert_eq!(found.warnings, [".env:4 and 1 more: no NAME=value, or quotes that are open; passed over"]);
        write(&format!("{known}DB_PASSWORD=\"open\n"));
        let failure = read(Mode::Prod, folder.path(), &|_| None).unwrap_err();
        assert!(failure.message.starts_with(".env:4: the value of DB_PASSWORD can't be read"), "{failure:?}");
        assert!(read(Mode::Prod, folder.path(), &|name| (name == "DB_PASSWORD").then(|| String::from("p"))).is_ok());
        write(&format!("{known}DB_PORT 5433\n"));
        assert!(read(Mode::Prod, folder.path(), &|_| None).unwrap_err().message.starts_with(".env:4: the value of DB_PORT can't be read"));
        std::fs::write(folder.path().join(".env"), [known.as_bytes(), b"# caf\xe9\nX=\xe9\n"].concat()).unwrap();
        assert_eq!(read(Mode::Prod, folder.path(), &|_| None).unwrap().warnings.len(), 1);
        std::fs::write(folder.path().join(".env"), [known.as_bytes(), b"DB_PASSWORD=\xe9\n"].concat()).unwrap();
        assert!(read(Mode::Prod, folder.path(), &|_| None).unwrap_err().message.contains("DB_PASSWORD"));
        write("rubbish\nDB_HOST=${HOST:-db}\nDB_NAME=shop\n");
        let failure = read(Mode::Prod, folder.path(), &|_| None).unwrap_err();
        assert!(failure.message.ends_with("lacks DB_USER") && failure.hint.unwrap().contains(".env:1"));
        write(&known.replace("=db", "=${HOST:-db}"));
        assert!(read(Mode::Prod, folder.path(), &|_| None).unwrap().warnings.first().unwrap().contains("DB_HOST holds ${"));
    }
}
