//! What a drill has besides the restore itself: which backups, whose roles, and the project's own questions to what came back.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::catalog::{BackupFilter, Reader};
use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, RunId};
use crate::model::dump::Selection;
use crate::model::project::{Check, Project};
use crate::postgres::connection::Access;
use crate::postgres::quote::ident;
use crate::postgres::session::Session;
use crate::postgres::version::Client;
use crate::process::{self, Cancel, Exit};
use crate::storage::Storage;

use super::restore::Restored;
use super::{World, artifact, origin, there};

/// Longest time for one check; the server's own limit is a little shorter.
const CHECK: Duration = Duration::from_secs(70);

/// A script of roles longer than this is none.
const LONGEST: u64 = 64 << 20;

/// What a check answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The check's name.
    pub name: String,
    /// Why it is not true, where it isn't.
    pub failed: Option<String>,
}

/// One backup after its drill.
#[derive(Debug, Clone, Serialize)]
pub struct Drilled {
    /// Its row, with what was found.
    pub backup: BackupRow,
    /// What came back, where it came so far.
    pub restored: Option<Restored>,
    /// What the project's checks answered.
    pub checks: Vec<Answer>,
    /// Where it was restored: a server, or a throwaway cluster's version.
    pub place: String,
    /// The server's URL, without a password, where this drill alone was sent there by hand.
    #[serde(skip)]
    pub on: Option<String>,
    /// The database that was kept.
    pub kept: Option<String>,
    /// The scratch database that could not be dropped.
    pub left: Option<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// Why what came of it could not be written beside the backup: nothing counts it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<Failure>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

impl Drilled {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn of(backup: BackupRow) -> Self {
        Self {
            backup,
            restored: None,
            checks: Vec::new(),
            place: String::new(),
            on: None,
            kept: None,
            left: None,
            warnings: Vec::new(),
            unwritten: None,
            failure: None,
        }
    }

    /// Whether it says anything about the backup. One that was ended early doesn't, nor one that was sent by hand to a server that took
    /// nothing: a mistyped name is no failed drill.
    #[must_use]
    pub fn proves(&self) -> bool {
        self.failure.as_ref().is_none_or(|failure| match failure.cause {
            Cause::Interrupted => false,
            Cause::Connection
            | Cause::Login
            | Cause::ConnectionLost
            | Cause::ServerShutdown
            | Cause::Configuration
            | Cause::Secret
            | Cause::Permission
            | Cause::Refused => self.on.is_none(),
            _ => true,
        })
    }
}

/// The backups of a drill: of each database that the project still covers the newest undamaged one of its usual selection, of the own server
/// where another pgdumpd backs up another one under the same name, and some older ones by chance.
pub fn pick(world: &World, project: &Project, older: u32) -> Result<Vec<BackupRow>> {
    let selection = project.shape.selection();
    let (mut left, there) =
        world.catalog.read(|reader| Ok((reader.project_backups(&project.name)?, there::recall(reader, &project.name)?)))?;
    left.retain(|row| row.selection == selection && row.damaged.is_none());
    let covered: BTreeSet<String> = there::covered(Some(project), there.as_ref(), &left).into_iter().map(str::to_owned).collect();
    let mut picked: Vec<BackupRow> = Vec::new();
    for database in covered {
        if let Some(newest) = left.iter().find(|row| row.database == database) {
            picked.push(world.catalog.read(|reader| origin::own(reader, newest.clone()))?);
        }
    }
    left.retain(|row| picked.iter().all(|known| known.id != row.id));
    for _ in 0..older {
        if left.is_empty() {
            break;
        }
        picked.push(left.swap_remove(rand::random_range(0..left.len())));
    }
    Ok(picked)
}

/// The checks that name a database which the project doesn't back up, a sentence each: nobody is ever asked them there.
pub fn unasked(world: &World, project: &Project, database: &str) -> Result<Vec<String>> {
    let (rows, there) = world.catalog.read(|reader| Ok((reader.project_backups(&project.name)?, there::recall(reader, &project.name)?)))?;
    let covered = there::covered(Some(project), there.as_ref(), &rows);
    let named = project.checks.iter().filter(|check| !check.inherited).flat_map(|check| check.databases.iter().map(|of| (&check.name, of)));
    let unknown = named.filter(|(_, of)| *of != database && !covered.iter().any(|known| known == of));
    Ok(unknown
        .map(|(check, of)| format!("the check {check:?} is asked of no database {of:?}: the project backs up none of that name"))
        .collect())
}

/// Makes roles and tablespaces on a throwaway cluster: those of the project's newest globals backup, then what else is `missing`, by name
/// alone. Returns what could not be made.
pub fn roles(session: &mut Session, script: Option<&str>, missing: impl FnOnce() -> Result<Vec<String>>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let mut tell = |session: &mut Session, statement: &str| {
        if let Err(failure) = session.carry_out(statement) {
            warnings.push(format!("while making roles: {failure}"));
        }
    };
    for line in script.unwrap_or_default().lines() {
        // The superuser is there; a tablespace gets a place of its own, wherever the original's was.
        if let Some(name) = line.strip_prefix("CREATE TABLESPACE ").and_then(first_name) {
            tell(session, "set allow_in_place_tablespaces = on");
            tell(session, &format!("create tablespace {} location ''", ident(&name)));
        }
        let is_role = ["CREATE ROLE ", "ALTER ROLE ", "GRANT "].iter().any(|word| line.starts_with(word));
        // What is set for the superuser's sessions would be set for the drill's own.
        let is_own = line == "CREATE ROLE postgres;" || line.starts_with("ALTER ROLE postgres SET ");
        if is_role && line.ends_with(';') && !is_own {
            tell(session, line.trim_end_matches(';'));
        }
    }
    for name in missing()? {
        tell(session, &format!("create role {} nologin", ident(&name)));
    }
    Ok(warnings)
}

/// The name at the beginning of what `pg_dumpall` writes, out of its quotes.
fn first_name(text: &str) -> Option<String> {
    let Some(quoted) = text.strip_prefix('"') else { return text.split([' ', ';']).next().map(str::to_owned) };
    let mut name = String::new();
    let mut letters = quoted.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '"' && letters.next_if_eq(&'"').is_none() {
            return Some(name);
        }
        name.push(letter);
    }
    None
}

/// The project's newest roles and tablespaces, where it has any.
pub fn globals(world: &World, storage: &dyn Storage, project: &str) -> Result<Option<String>> {
    let filter = BackupFilter {
        storage: Some(storage.name().to_owned()),
        project: Some(project.to_owned()),
        selection: Some(Selection::globals()),
        undamaged: true,
        ..BackupFilter::default()
    };
    let newest = |reader: &Reader| reader.latest_backup(&filter)?.map(|newest| origin::own(reader, newest)).transpose();
    let Some(row) = world.catalog.read(newest)? else { return Ok(None) };
    let manifest = manifest::read(storage, &manifest::key(&row.project, &row.file))?;
    let mut script = Vec::new();
    let read = artifact::open(storage, &manifest)?.take(LONGEST).read_to_end(&mut script);
    read.map_err(|error| Failure::storage(format!("reading {}", row.file), &error))?;
    Ok(Some(String::from_utf8_lossy(&script).into_owned()))
}

/// Asks the restored database the project's questions, each on its own, read-only and for a minute at most. One that is being answered when
/// the drill is to end is cancelled on the server, and has no answer.
#[must_use]
pub fn ask(client: &Client, access: &Access, database: &str, run: &RunId, checks: &[Check], cancel: &Cancel) -> Vec<Answer> {
    let mut answers = Vec::new();
    for check in checks {
        let failed = question(client, access, database, run, check, cancel).unwrap_or_else(|failure| Some(failure.message));
        if cancel.is_cancelled() {
            break;
        }
        answers.push(Answer { name: check.name.clone(), failed });
    }
    answers
}

fn question(client: &Client, access: &Access, database: &str, run: &RunId, check: &Check, cancel: &Cancel) -> Result<Option<String>> {
    let began = Instant::now();
    let mut spec = access.spec(client, client.psql(), Some(database), &format!("pgdumpd/{run}"), None);
    spec.args.extend(["-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"].map(Into::into));
    // In brackets it can only be one value: a second row, a second column or another type is the server's own error.
    let text = format!(
        "set default_transaction_read_only = on; set statement_timeout = '60s'; set lock_timeout = '10s';\nbegin read only;\n\
         select case when (\n{}\n) then 'true' else 'not true' end;\nrollback;\n",
        check.sql
    );
    let finished = process::run_unless(&spec, text.as_bytes(), CHECK, 64 * 1024, cancel)?;
    let said = String::from_utf8_lossy(&finished.stdout);
    if finished.exit == Exit::Code(0) && said.trim() == "true" {
        return Ok(None);
    }
    if finished.exit == Exit::Code(0) {
        return Ok(Some(String::from("it is not true")));
    }
    let error = finished.stderr.lines().find(|line| line.contains("ERROR:") || line.contains("FATAL:")).unwrap_or("psql failed");
    let words = error.split_once("ERROR:").map_or(error, |(_, words)| words).trim().to_owned();
    Ok(Some(format!("{words} (after {} s)", began.elapsed().as_secs())))
}

#[cfg(test)]
mod tests {
    use super::first_name;

    #[test]
    fn names_come_out_of_their_quotes() {
        for (text, name) in [("fast OWNER x", "fast"), ("\"a b\" OWNER", "a b"), ("\"say \"\"hi\"\"\";", "say \"hi\""), ("x;", "x")] {
            assert_eq!(first_name(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(first_name("\"open"), None);
    }
}
