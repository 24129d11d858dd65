//! How this backup is restored on that server: which client, which entries, from a pipe or from a file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::MemfdFlags;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, TableEntry};
use crate::model::dump::{Content, Format};
use crate::postgres::archive;
use crate::postgres::archive::members::Members;
use crate::postgres::archive::toc::{self, Entry, Toc};
use crate::postgres::restore::{AtError, Halves};
use crate::postgres::session::Server;
use crate::postgres::version::{self, Client};

use super::choose::{self, Chosen};
use super::source::{Source, damaged};
use super::{Means, Wanted, order};

/// What is known of a backup when its restore may begin.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The programs that restore it.
    pub client: Client,
    /// The server, as it was asked.
    pub server: Server,
    /// Its table of contents; scripts have none.
    pub toc: Option<Toc>,
    /// The entries that are wanted, where not all are.
    pub chosen: Option<Chosen>,
    /// What a person should know, beside what is said of the chosen entries.
    pub warnings: Vec<String>,
    /// The encoding of names that couldn't be read.
    pub unread: Option<String>,
}

/// Which entries `pg_restore` is to restore, as it reads them by `-L`.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// `None` is all of them as they come.
    pub(super) first: Option<Arc<OwnedFd>>,
    /// What must wait until those are done, where something must.
    pub(super) after: Option<Arc<OwnedFd>>,
}

impl Recipe {
    /// What a person should know.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        self.chosen.iter().flat_map(Chosen::warnings).chain(self.warnings.iter().cloned()).collect()
    }

    /// The entries that will be restored.
    #[must_use]
    pub fn entries(&self) -> Vec<&Entry> {
        let entries = self.toc.iter().flat_map(|toc| &toc.entries);
        match &self.chosen {
            None => entries.collect(),
            Some(chosen) => entries.filter(|entry| chosen.ids.contains(&entry.dump_id)).collect(),
        }
    }

    /// Whether it is a script, of which nothing can be left out.
    pub(super) fn is_script(&self) -> bool {
        self.toc.is_none()
    }

    /// Schema and name of what is made or filled, where that is a part: the planner knows the rest.
    pub(super) fn analyzed(&self) -> Option<Vec<(&str, &str)>> {
        self.chosen.as_ref().filter(|_| self.unread.is_none())?;
        let entries =
            self.entries().into_iter().filter(|entry| ["TABLE", "TABLE DATA", "MATERIALIZED VIEW"].contains(&entry.desc.as_str()));
        let named: BTreeSet<(&str, &str)> =
            entries.map(|entry| (entry.namespace.as_deref().unwrap_or_default(), entry.tag.as_str())).collect();
        Some(named.into_iter().collect())
    }

    /// The entries as lists for `pg_restore` with so many connections. `clean` says whether what is there is dropped first.
    pub(super) fn lists(&self, clean: bool, jobs: u32) -> Result<Lists> {
        let entries = self.entries();
        if let Some((first, after)) = order::for_several(&entries).filter(|_| jobs > 1) {
            return Ok(Lists { first: Some(listed(&first)?), after: Some(listed(&after)?) });
        }
        let ordered = match order::sorted(&entries, clean) {
            Some(ordered) => ordered,
            None if self.chosen.is_none() => return Ok(Lists::default()),
            None => entries.iter().map(|entry| entry.dump_id).collect(),
        };
        Ok(Lists { first: Some(listed(&ordered)?), after: None })
    }

    /// The encoding of names that couldn't be read, where there are such: nothing can be compared with them.
    pub(super) fn unread_names(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// Refuses where something is to be found in the target, or not found there, by names that nobody can read.
    pub(super) fn readable(&self, database: &str) -> Result<()> {
        let Some(encoding) = self.unread_names() else { return Ok(()) };
        let words = format!("names in the backup are in {encoding}, which pgdumpd can't read: it can't tell what of them {database:?} has");
        Err(Failure::new(Cause::Refused, words).hint(format!(
            "restore all of it into a new database, and take from there what is wanted: --to {database}_restored; or put it in the place of \
             the old one with --replace"
        )))
    }

    /// The tables whose rows will be restored.
    #[must_use]
    pub fn tables<'a>(&self, tables: &'a [TableEntry]) -> Vec<&'a TableEntry> {
        if self.unread_names().is_some() {
            return Vec::new();
        }
        let Some(chosen) = &self.chosen else { return tables.iter().collect() };
        tables.iter().filter(|table| chosen.rows.contains(&(table.schema.clone(), table.name.clone()))).collect()
    }
}

/// Entries for `pg_restore -L`, in a file without a name.
fn listed(ids: &[i32]) -> Result<Arc<OwnedFd>> {
    let lines: Vec<String> = ids.iter().map(|id| format!("{id};")).collect();
    let text = lines.join("\n") + "\n";
    let failed = |error: std::io::Error| Failure::new(Cause::System, format!("keeping the list of entries in memory: {error}"));
    let fd = rustix::fs::memfd_create("entries", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut file = File::from(fd);
    file.write_all(text.as_bytes()).and_then(|()| file.rewind()).map_err(failed)?;
    Ok(Arc::new(OwnedFd::from(file)))
}

/// Finds out how to restore it; refuses what could not succeed.
pub(super) fn recipe(means: Means<'_>, wanted: &Wanted, server: &Server) -> Result<Recipe> {
    let manifest = means.manifest;
    if manifest.content == Content::Globals {
        return Err(Failure::new(Cause::Refused, format!("{} holds roles and tablespaces, no database", manifest.backup_id))
            .hint("restore a database's backup with --globals, and the newest roles are restored before it"));
    }
    let client = client(means, wanted, server)?;
    let toc = contents(means)?;
    let chosen = match &toc {
        _ if wanted.tables.is_empty() && wanted.schemas.is_empty() && wanted.exclude_tables.is_empty() => None,
        Some(toc) => Some(choose::choose(&toc.entries, wanted)?),
        None => {
            return Err(Failure::new(Cause::Refused, "a plain dump can only be restored as a whole")
                .hint("restore it into a new database and take the tables from there; the custom format can be restored in parts"));
        }
    };
    if toc.is_none() {
        script_fits(means, wanted)?;
    }
    let mut warnings = Vec::new();
    if toc.is_none() && wrote(manifest) / 10_000 > server.version_num / 10_000 {
        warnings.push(format!(
            "the script was written by pg_dump {}, newer than the server: what it does not know would end the restore",
            manifest.pg_dump_version
        ));
    }
    // A script's are known from when it was written.
    let unread = match &toc {
        Some(toc) => toc.header.unread_names.clone(),
        None => manifest.warnings.iter().find_map(|warning| archive::unread_in(warning)).map(str::to_owned),
    };
    if let Some(encoding) = &unread {
        warnings
            .push(format!("names in the backup are in {encoding}, which pgdumpd can't read: what comes of it can't be compared with it"));
    }
    if wanted.jobs > 1 && !matches!(manifest.dump_format, Format::Custom | Format::Directory) {
        warnings.push(format!("a backup in the {} format is restored by one connection, not {}", manifest.dump_format.word(), wanted.jobs));
    }
    Ok(Recipe { client, server: server.clone(), toc, chosen, warnings, unread })
}

/// A script does what stands in it; what would lead it elsewhere, or what can't be left out of it, is refused.
fn script_fits(means: Means<'_>, wanted: &Wanted) -> Result<()> {
    if let Some(why) = means.manifest.own_way() {
        return Err(Failure::new(Cause::Refused, "this plain dump was made with --create: it would go into a database of its own choice")
            .hint(format!("by hand it is restored by: {} ({why})", means.manifest.line_by_hand())));
    }
    if wanted.halves != Halves::Both || wanted.no_owner || wanted.no_privileges || wanted.no_tablespaces {
        return Err(Failure::new(Cause::Refused, "a plain dump is a script: nothing can be left out of it")
            .hint("restore it without --data-only, --schema-only, --no-owner, --no-privileges and --no-tablespaces"));
    }
    Ok(())
}

/// The client: not older than the `pg_dump` that wrote the archive, and as new as the server where there is a choice.
fn client(means: Means<'_>, wanted: &Wanted, server: &Server) -> Result<Client> {
    let manifest = means.manifest;
    let (dumped, target) = (version::major(manifest.postgresql_version_num), version::major(server.version_num));
    if target < dumped {
        let words = format!(
            "the backup is of PostgreSQL {dumped} ({}), and the server {} is PostgreSQL {target} ({})",
            manifest.postgresql_version, server.reached, server.version
        );
        return Err(Failure::new(Cause::Refused, words).hint("restore it to a server of the same release or a newer one"));
    }
    let wrote = wrote(manifest);
    if manifest.dump_format == Format::Plain {
        return for_script(means, wanted, server, wrote);
    }
    let client = means.clients.for_restore(wrote, server.version_num)?;
    // It begins with settings that an older server doesn't know.
    if client.version_num >= 170_000 && server.version_num < 170_000 && wanted.at_error == AtError::Stop {
        let words = format!(
            "the backup was made by pg_dump {}, and its pg_restore {} speaks to servers from release 17 on, not to {}",
            manifest.pg_dump_version, client.version, server.version
        );
        return Err(Failure::new(Cause::Refused, words).hint(
            "restore it to a newer server, or let errors pass with --keep-going and read them: one about transaction_timeout is harmless",
        ));
    }
    Ok(client)
}

/// The version of the `pg_dump` that wrote it.
fn wrote(manifest: &Manifest) -> u32 {
    version::number(&manifest.pg_dump_version).unwrap_or(manifest.postgresql_version_num)
}

/// psql takes a script of any release; whether the server does is another question, which it answers in one transaction.
fn for_script(means: Means<'_>, wanted: &Wanted, server: &Server, wrote: u32) -> Result<Client> {
    if wrote >= 170_000 && server.version_num < 170_000 && wanted.at_error == AtError::Stop {
        let words = format!(
            "the script was written by pg_dump {}, and begins with a setting that {} does not know",
            means.manifest.pg_dump_version, server.version
        );
        return Err(Failure::new(Cause::Refused, words).hint(
            "let errors pass with --keep-going and read them: one about transaction_timeout is harmless; or restore it to a newer server",
        ));
    }
    let usable = means.clients.for_restore(wrote, server.version_num).or_else(|_| means.clients.for_server(server.version_num));
    Ok(usable.unwrap_or_else(|_| means.clients.newest().clone()))
}

/// The table of contents, read from the beginning of the archive; none for a script.
fn contents(means: Means<'_>) -> Result<Option<Toc>> {
    let mut source = Source::open(means)?;
    match means.manifest.dump_format {
        Format::Plain => Ok(None),
        Format::Custom => toc::read(&mut source).map(Some),
        Format::Tar | Format::Directory => {
            let mut members = Members::new(&mut source);
            while let Some(name) = members.next_member()? {
                if name == "toc.dat" {
                    return toc::read(&mut members).map(Some);
                }
            }
            Err(damaged(means.manifest, "it holds no toc.dat"))
        }
    }
}
