//! Which PostgreSQL clients are installed, and which of them suits a server.
//!
//! Owns [`Clients`] and [`Client`]. Versions are read by `--version` and remembered by path, inode and time of change. It never talks to
//! a server; verbs and `doctor` call it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Cause, Failure, Result};
use crate::process::{self, Exit, Output, Spec};

/// Folders whose children are one folder per major version, and the path from there to the programs.
const FAMILIES: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // Red Hat and the PGDG packages
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew on Intel
    ("/opt/homebrew/opt", "libpq", "bin"),       // Homebrew, clients alone
    ("/Library/PostgreSQL", "", "bin"),          // EDB's installer
];

/// Longest wait for `pg_dump --version`.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// The first release of each major version whose dumps can't make psql run a hostile superuser's commands (FACTS, CVE-2025-8714 and its
/// follow-ups).
const FIXED: [(u32, u32); 5] = [(18, 7), (17, 12), (16, 16), (15, 20), (14, 25)];

/// One installed set of client programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What `pg_dump --version` prints, without the program's name: `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The version as the server would number it: 150018.
    pub version_num: u32,
    pg_dump: PathBuf,
    psql: PathBuf,
}

impl Client {
    /// The major version: 15, or 9 for all releases before 10.
    #[must_use]
    pub fn major(&self) -> u32 {
        major(self.version_num)
    }

    /// The folder of `pg_dump`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.pg_dump.parent().unwrap_or(Path::new("/"))
    }

    /// Path of `pg_dump`.
    #[must_use]
    pub fn pg_dump(&self) -> &Path {
        &self.pg_dump
    }

    /// Path of `pg_dumpall`, beside `pg_dump`.
    #[must_use]
    pub fn pg_dumpall(&self) -> PathBuf {
        self.dir().join("pg_dumpall")
    }

    /// Path of `pg_restore`, beside `pg_dump`.
    #[must_use]
    pub fn pg_restore(&self) -> PathBuf {
        self.dir().join("pg_restore")
    }

    /// Path of `psql`.
    #[must_use]
    pub fn psql(&self) -> &Path {
        &self.psql
    }

    /// The fixed release to install where this one lets a malicious superuser's dump run code on restore; `None` where it is fixed.
    #[must_use]
    pub fn has_known_holes(&self) -> Option<String> {
        let (major, minor) = (self.major(), self.version_num % 100);
        match FIXED.iter().find(|(fixed, _)| *fixed == major) {
            Some((_, fixed)) if minor >= *fixed => None,
            Some((_, fixed)) => Some(format!("{major}.{fixed}")),
            None if major > FIXED[0].0 => None,
            None => Some(format!("{}.{}", FIXED[0].0, FIXED[0].1)),
        }
    }
}

/// Every client found, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients(Vec<Client>);

impl Clients {
    /// Finds the installed clients. `pg_bin_dir` overrules the search; `PG_DUMP_PATH` and `PSQL_PATH`, asked of `env`, overrule both.
    ///
    /// Fails with [`Cause::ClientMissing`] where there is none, or where an overruling one can't be run.
    pub fn find(pg_bin_dir: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let psql = env("PSQL_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
        let pg_dump = env("PG_DUMP_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
        let wanted = pg_dump.or_else(|| pg_bin_dir.map(|dir| dir.join("pg_dump")));
        if let Some(pg_dump) = wanted {
            return client(&pg_dump, psql.as_deref()).map(|client| Self(vec![client]));
        }
        let mut found: Vec<Client> = candidates(env).iter().filter_map(|path| client(path, psql.as_deref()).ok()).collect();
        found.sort_by_key(|client| client.version_num);
        found.dedup_by(|a, b| a.pg_dump == b.pg_dump);
        if found.is_empty() {
            return Err(Failure::new(Cause::ClientMissing, "no PostgreSQL client programs (pg_dump, psql) were found")
                .hint("install postgresql-client of the server's major version, or set pg_bin_dir to the folder that holds them"));
        }
        Ok(Self(found))
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Client] {
        &self.0
    }

    /// The newest: psql talks to older servers, so it is the one to ask with before the server's version is known.
    #[must_use]
    pub fn newest(&self) -> &Client {
        &self.0[self.0.len() - 1]
    }

    /// The client for restoring what a `pg_dump` of version `wrote` has written on a server of version `server`: not older than the one,
    /// and the newest that isn't newer than the other; where each is newer, the oldest of them.
    ///
    /// Fails with [`Cause::ClientMissing`] where every client is older than that `pg_dump`.
    pub fn for_restore(&self, wrote: u32, server: u32) -> Result<Client> {
        let usable: Vec<&Client> = self.0.iter().filter(|client| series(client.version_num) >= series(wrote)).collect();
        let fitting = usable.iter().filter(|client| series(client.version_num) <= series(server)).max_by_key(|client| client.version_num);
        let best =
            fitting.or_else(|| usable.iter().min_by_key(|client| (series(client.version_num), std::cmp::Reverse(client.version_num))));
        best.map(|client| (*client).clone()).ok_or_else(|| {
            let message = format!(
                "the backup was made by pg_dump {}, newer than every installed pg_restore (the newest is {} in {})",
                show(wrote),
                show(self.newest().version_num),
                self.newest().dir().display()
            );
            Failure::new(Cause::ClientMissing, message).hint(format!(
                "install the package postgresql-client-{} (Debian, Ubuntu), or point pg_bin_dir at a newer one",
                major(wrote)
            ))
        })
    }

    /// The client for a server of this `server_version_num`: its own major version, else the next newer one.
    ///
    /// Fails with [`Cause::ServerTooNew`], naming both versions, where the server's major is above every client's (`pg_dump` would refuse).
    pub fn for_server(&self, version_num: u32) -> Result<Client> {
        let usable = self.0.iter().filter(|client| series(client.version_num) >= series(version_num));
        let best = usable.min_by_key(|client| (series(client.version_num), std::cmp::Reverse(client.version_num)));
        best.cloned().ok_or_else(|| {
            let (newest, server) = (self.newest(), major(version_num));
            let message = format!(
                "the server is PostgreSQL {}, newer than every installed pg_dump (the newest is {} in {})",
                show(version_num),
                show(newest.version_num),
                newest.dir().display()
            );
            Failure::new(Cause::ServerTooNew, message).hint(format!(
                "install the package postgresql-client-{server} (Debian, Ubuntu) or postgresql{server} (Red Hat), or point pg_bin_dir at a newer one"
            ))
        })
    }
}

/// The number of a version as `pg_dump --version` and the server write it: 150018 for `15.18 (Debian …)`.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    parse(&format!("(PostgreSQL) {text}")).map(|(_, number)| number)
}

/// The first number of a `server_version_num`: 15 for 150018, 9 for 90624.
#[must_use]
pub fn major(version_num: u32) -> u32 {
    version_num / 10_000
}

/// The number of the release series' first release: before 10 the first two numbers made the major version.
fn series(version_num: u32) -> u32 {
    version_num - version_num % if version_num >= 100_000 { 10_000 } else { 100 }
}

/// A `server_version_num` as people write it: `15.18`, `9.6.24`.
#[must_use]
pub fn show(version_num: u32) -> String {
    if version_num >= 100_000 {
        format!("{}.{}", version_num / 10_000, version_num % 10_000)
    } else {
        format!("{}.{}.{}", version_num / 10_000, version_num / 100 % 100, version_num % 100)
    }
}

/// The version in the output of `pg_dump --version`, and as a number. A beta counts as release 0 of its major.
fn parse(line: &str) -> Option<(String, u32)> {
    let text = line.trim().split_once("(PostgreSQL) ")?.1;
    let digits: &str = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = digits.split('.').filter(|part| !part.is_empty()).map(str::parse::<u32>);
    let first = parts.next()?.ok()?;
    let second = parts.next().and_then(std::result::Result::ok).unwrap_or(0);
    let third = parts.next().and_then(std::result::Result::ok).unwrap_or(0);
    let number = if first >= 10 { first.checked_mul(10_000)?.checked_add(second)? } else { first * 10_000 + second * 100 + third };
    Some((text.to_owned(), number))
}

/// Where `pg_dump` may be: a folder per major version, then the `PATH`.
fn candidates(env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (root, prefix, bin) in FAMILIES {
        let Ok(entries) = std::fs::read_dir(root) else { continue };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                paths.push(entry.path().join(bin).join("pg_dump"));
            }
        }
    }
    let path = env("PATH").unwrap_or_default();
    paths.extend(std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join("pg_dump")));
    paths.into_iter().filter_map(|path| path.canonicalize().ok()).filter(|path| !is_wrapper(path)).collect()
}

/// Debian's `/usr/bin/pg_dump` is a script that picks one of the real ones, which have been found already.
fn is_wrapper(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "pg_wrapper")
}

/// The client whose `pg_dump` is this file; its psql is the given one or the one beside it.
fn client(pg_dump: &Path, psql: Option<&Path>) -> Result<Client> {
    let line = version_line(pg_dump)?;
    let Some((version, version_num)) = parse(&line) else {
        return Err(missing(pg_dump, &format!("it calls itself {line:?}")));
    };
    let psql = psql.map_or_else(|| pg_dump.with_file_name("psql"), Path::to_path_buf);
    if !psql.is_file() {
        return Err(missing(&psql, "there is no such file"));
    }
    Ok(Client { version, version_num, pg_dump: pg_dump.to_path_buf(), psql })
}

/// What a file was when it was last asked, and what it said.
type Known = HashMap<(PathBuf, u64, i64, i64), String>;
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// The output of `PROGRAM --version`, from memory while the file is the same (starting it costs 33 ms).
fn version_line(program: &Path) -> Result<String> {
    let facts = std::fs::metadata(program).map_err(|error| missing(program, &error.to_string()))?;
    let key = (program.to_path_buf(), facts.ino(), facts.mtime(), facts.mtime_nsec());
    if let Some(line) = KNOWN.lock().as_ref().and_then(|known| known.get(&key).cloned()) {
        return Ok(line);
    }
    let mut env = vec![(OsString::from("LC_ALL"), OsString::from("C"))];
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        env.extend(std::env::var_os(name).map(|value| (OsString::from(name), value)));
    }
    let spec =
        Spec { program: program.to_path_buf(), args: vec![OsString::from("--version")], env, stdout: Output::Piped, ..Spec::default() };
    let finished = process::run(&spec, &[], VERSION_LIMIT, 4096)?;
    if finished.exit != Exit::Code(0) {
        return Err(missing(program, &finished.exit.to_string()).detail(finished.stderr));
    }
    let line = String::from_utf8_lossy(&finished.stdout).trim().to_owned();
    KNOWN.lock().get_or_insert_with(HashMap::new).insert(key, line.clone());
    Ok(line)
}

fn missing(program: &Path, why: &str) -> Failure {
    Failure::new(Cause::ClientMissing, format!("{} can't be used: {why}", program.display()))
        .hint("install the PostgreSQL client programs, or correct pg_bin_dir, PG_DUMP_PATH or PSQL_PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn having(versions: &[u32]) -> Clients {
        let make = |num: &u32| Client {
            version: show(*num),
            version_num: *num,
            pg_dump: PathBuf::from(format!("/opt/{num}/pg_dump")),
            psql: PathBuf::from(format!("/opt/{num}/psql")),
        };
        Clients(versions.iter().map(make).collect())
    }

    #[test]
    fn versions_are_read_in_every_form() {
        let cases = [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("pg_dump (PostgreSQL) 9.6.24", 90_624),
            ("pg_dump (PostgreSQL) 17beta1", 170_000),
            ("pg_dump (PostgreSQL) 19devel", 190_000),
        ];
        for (line, number) in cases {
            assert_eq!(parse(line).map(|(_, number)| number), Some(number), "{line}");
        }
        for line in ["", "pg_dump 15.1", "pg_dump (PostgreSQL) x", "pg_dump (PostgreSQL) 99999999999"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_servers_own_major_is_preferred_else_the_next_newer() {
        let clients = having(&[130_010, 150_002, 150_018, 170_004]);
        for (server, chosen) in [(150_001, 150_018), (150_099, 150_018), (140_000, 150_018), (160_003, 170_004), (90_624, 130_010)] {
            assert_eq!(clients.for_server(server).unwrap().version_num, chosen, "server {server}");
        }
    }

    #[test]
    fn a_restore_takes_a_client_between_the_dump_and_the_server() {
        let clients = having(&[130_010, 150_018, 170_004]);
        for (wrote, server, chosen) in
            [(130_010, 150_001, 150_018), (150_018, 160_001, 150_018), (170_004, 150_001, 170_004), (120_001, 120_001, 130_010)]
        {
            assert_eq!(clients.for_restore(wrote, server).unwrap().version_num, chosen, "{wrote} to {server}");
        }
        assert_eq!(clients.for_restore(180_001, 180_001).unwrap_err().cause, Cause::ClientMissing);
    }

    #[test]
    fn a_newer_server_is_refused_with_both_versions() {
        let failure = having(&[130_010, 150_018]).for_server(180_001).unwrap_err();
        assert_eq!(failure.cause, Cause::ServerTooNew);
        assert!(failure.message.contains("18.1") && failure.message.contains("15.18"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("postgresql-client-18"));
    }

    #[test]
    fn known_holes_are_told_by_release() {
        let holes = |num| having(&[num]).newest().has_known_holes();
        assert_eq!(holes(150_018).as_deref(), Some("15.20"));
        assert_eq!(holes(150_020), None);
        assert_eq!(holes(130_023).as_deref(), Some("18.7"));
        assert_eq!(holes(190_000), None);
    }
}
