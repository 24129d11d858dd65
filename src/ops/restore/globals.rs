//! The server's roles and tablespaces, restored before a database that needs them. What is there already stays as it is.

use std::io::Read;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, RunId};
use crate::model::dump::Content;
use crate::postgres::archive::Tap;
use crate::postgres::quote::{ident, unquoted};
use crate::postgres::restore::{AtError, Form, Restore};
use crate::postgres::session::Session;
use crate::stream::Observe;

use super::source::Source;
use super::{Means, Recipe, feed};

/// A script of roles longer than this is none.
const LONGEST: u64 = 64 << 20;

/// A globals backup, read and found whole.
#[derive(Debug, Clone)]
pub struct Globals {
    /// The backup.
    pub backup: RunId,
    /// The roles that it makes.
    pub roles: Vec<String>,
    /// Those that log in and have no password in it.
    pub passwordless: Vec<String>,
    /// The tablespaces that it makes.
    pub tablespaces: Vec<String>,
    script: String,
}

impl Globals {
    /// Reads one; it has to be whole and unaltered before a line of it is run.
    pub fn read(means: Means<'_>, manifest: &Manifest) -> Result<Self> {
        if manifest.content != Content::Globals {
            return Err(Failure::new(Cause::BadManifest, format!("{} holds no roles", manifest.backup_id)));
        }
        let mut source = Source::open(Means { manifest, ..means })?;
        let mut script = Vec::new();
        source
            .by_ref()
            .take(LONGEST)
            .read_to_end(&mut script)
            .map_err(|error| Failure::from_io(format!("reading {}", manifest.backup_file), error))?;
        source.check()?;
        let mut tap = Tap::globals();
        tap.observe(&script, &mut Vec::new())?;
        tap.finish()?;
        let script = String::from_utf8_lossy(&script).into_owned();
        let named = |word: &str| {
            script.lines().filter_map(|line| line.strip_prefix(word)).filter_map(|rest| unquoted(rest).map(|(name, _)| name)).collect()
        };
        let (roles, tablespaces) = (named("CREATE ROLE "), named("CREATE TABLESPACE "));
        let passwordless = passwordless(&script);
        Ok(Self { backup: manifest.backup_id.clone(), roles, passwordless, tablespaces, script })
    }

    /// What has to be done for the roles that the server lacks and that get no password.
    pub(super) fn warning(&self, session: &mut Session) -> Result<Option<String>> {
        let missing = session.missing_roles(&self.passwordless.iter().map(String::as_str).collect::<Vec<_>>())?;
        let Some(first) = missing.first() else { return Ok(None) };
        Ok(Some(format!(
            "the backup {} holds no password of the roles {}: they can't log in by one before it is set anew, as by psql's \\password {}",
            self.backup,
            missing.join(", "),
            ident(first)
        )))
    }

    /// The script without what would change roles and tablespaces that are there.
    fn without(&self, present: &[String]) -> String {
        let about = |line: &str| {
            ["CREATE ROLE ", "ALTER ROLE ", "CREATE TABLESPACE ", "ALTER TABLESPACE "]
                .iter()
                .find_map(|word| unquoted(line.strip_prefix(word)?).map(|(name, _)| name))
        };
        let stays = |line: &&str| about(line).is_none_or(|name| !present.contains(&name));
        self.script.lines().filter(stays).fold(String::new(), |text, line| text + line + "\n")
    }
}

/// The roles that may log in and come without a password: where the role that backed them up may not read any, or they never had one.
fn passwordless(script: &str) -> Vec<String> {
    let of = |line: &str| {
        let (name, attributes) = unquoted(line.strip_prefix("ALTER ROLE ")?)?;
        let attributes = attributes.strip_prefix(" WITH ")?;
        (attributes.contains(" LOGIN") && !attributes.contains(" PASSWORD '")).then_some(name)
    };
    script.lines().filter_map(of).collect()
}

/// Makes the roles and tablespaces that the server lacks; returns what it said against single ones.
pub(super) fn restore(means: Means<'_>, session: &mut Session, recipe: &Recipe, globals: &Globals) -> Result<Vec<String>> {
    let missing = session.missing_roles(&globals.roles.iter().map(String::as_str).collect::<Vec<_>>())?;
    let lacking = session.missing_tablespaces(&globals.tablespaces.iter().map(String::as_str).collect::<Vec<_>>())?;
    let present = |names: &[String], missing: &[String]| names.iter().filter(|name| !missing.contains(name)).cloned().collect::<Vec<_>>();
    let there = [present(&globals.roles, &missing), present(&globals.tablespaces, &lacking)].concat();
    let form = Form { at_error: AtError::GoOn, ..Form::default() };
    let restore = Restore {
        client: &recipe.client,
        access: means.access,
        reached: &recipe.server.reached,
        database: &session.server().database.clone(),
        run: means.run,
        form: &form,
    };
    let said = feed::text(means, &restore.script(), globals.without(&there).as_bytes())?;
    if !said.exit.is_success() {
        return Err(Failure::new(Cause::RestoreFailed, format!("psql ended with {} while it restored roles", said.exit)).detail(said.tail));
    }
    Ok(said.first.iter().filter(|error| !error.contains("42710:")).map(|error| format!("while restoring roles: {error}")).collect())
}

#[cfg(test)]
mod tests {
    use super::passwordless;

    #[test]
    fn roles_that_log_in_without_a_password_are_found() {
        let script = "CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS;\n\
                      ALTER ROLE \"a \"\"b\" WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 VALID UNTIL 'infinity';\n\
                      ALTER ROLE boss WITH NOSUPERUSER INHERIT NOLOGIN NOREPLICATION;\n\
                      ALTER ROLE known WITH NOSUPERUSER LOGIN NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x';\nALTER ROLE app SET x TO ' WITH LOGIN';\n";
        assert_eq!(passwordless(script), ["app", "a \"b"]);
    }
}
