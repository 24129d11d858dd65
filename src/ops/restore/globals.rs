//! The server's roles and tablespaces, restored before a database that needs them. What is there already stays as it is.

use std::io::Read;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::{Manifest, RunId};
use crate::model::dump::Content;
use crate::postgres::archive::{Tap, statement};
use crate::postgres::quote::{ident, unquoted};
use crate::postgres::restore::{AtError, Form, Restore};
use crate::postgres::session::Session;
use crate::stream::Observe;

use super::source::Source;
use super::{Means, Plan, before, feed};

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
        let statements = statement::cut(&script);
        let named = |word: &str| statements.iter().filter_map(|text| Some(unquoted(text.trim_start().strip_prefix(word)?)?.0)).collect();
        let (roles, tablespaces) = (named("CREATE ROLE "), named("CREATE TABLESPACE "));
        let passwordless = passwordless(&statements);
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

    /// The script without what would change roles and tablespaces that are there: only what is about one that is `lacking` stays.
    fn without(&self, lacking: &[Subject]) -> String {
        let stays = |text: &&str| subjects(text).is_none_or(|about| about.iter().any(|one| lacking.contains(one)));
        statement::cut(&self.script).into_iter().filter(stays).collect()
    }
}

/// What a statement makes or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Role(String),
    Tablespace(String),
}

/// The roles and tablespaces that a statement of `pg_dumpall` makes or changes; nothing where it is of another kind, such as a setting of the
/// session. A membership is of two roles, and a right of the role that gets it as well as of what it is a right to.
fn subjects(text: &str) -> Option<Vec<Subject>> {
    let text = text.trim_start();
    let after = |word: &str| text.strip_prefix(word).and_then(unquoted).map(|(name, _)| name);
    let of = |words: [&str; 3], kind: &str| words.iter().find_map(|word| after(&format!("{word} {kind} ")));
    let words = ["CREATE", "ALTER", "COMMENT ON"];
    if let Some(name) = of(words, "ROLE") {
        return Some(vec![Subject::Role(name)]);
    }
    if let Some(name) = of(words, "TABLESPACE") {
        return Some(vec![Subject::Tablespace(name)]);
    }
    let label = |rest: &str| Some(unquoted(unquoted(rest)?.1.strip_prefix(" ON ROLE ")?)?.0);
    if let Some(name) = text.strip_prefix("SECURITY LABEL FOR ").and_then(label) {
        return Some(vec![Subject::Role(name)]);
    }
    let rest = ["GRANT ", "REVOKE "].iter().find_map(|word| text.strip_prefix(word))?;
    let taker = |rest: &str| {
        let rest = [" TO ", " FROM "].iter().find_map(|word| rest.strip_prefix(word))?;
        Some(Subject::Role(unquoted(rest)?.0))
    };
    // A right has words before what it is a right to, a membership nothing but the role.
    if let Some((_, on)) = rest.split_once(" ON TABLESPACE ").filter(|(rights, _)| !rights.contains('"')) {
        let (name, rest) = unquoted(on)?;
        return Some(std::iter::once(Subject::Tablespace(name)).chain(taker(rest)).collect());
    }
    if let Some((_, on)) = rest.split_once(" ON PARAMETER ").filter(|(rights, _)| !rights.contains('"')) {
        let at = on.find(" TO ").or_else(|| on.find(" FROM "))?;
        return taker(&on[at..]).map(|role| vec![role]);
    }
    let (name, rest) = unquoted(rest)?;
    Some(vec![Subject::Role(name), taker(rest)?])
}

/// The roles that may log in and come without a password: where the role that backed them up may not read any, or they never had one.
fn passwordless(statements: &[&str]) -> Vec<String> {
    let of = |text: &&str| {
        let (name, attributes) = unquoted(text.trim_start().strip_prefix("ALTER ROLE ")?)?;
        let attributes = attributes.strip_prefix(" WITH ")?;
        (attributes.contains(" LOGIN") && !attributes.contains(" PASSWORD '")).then_some(name)
    };
    statements.iter().filter_map(of).collect()
}

/// What became of the roles and tablespaces that the server lacked.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// What it said against single ones.
    pub(super) said: Vec<String>,
    roles: Vec<String>,
    tablespaces: Vec<String>,
}

impl Made {
    /// They stay, whatever becomes of the restore: that is told beside why it failed.
    pub(super) fn beside(&self, session: &mut Session, failure: Failure) -> Failure {
        let Ok((roles, tablespaces)) = lacking(session, &self.roles, &self.tablespaces) else { return failure };
        let made = self
            .roles
            .iter()
            .filter(|name| !roles.contains(name))
            .chain(self.tablespaces.iter().filter(|name| !tablespaces.contains(name)));
        let made: Vec<String> = made.map(|name| ident(name)).collect();
        if made.is_empty() {
            return failure;
        }
        failure.also(&format!("the roles and tablespaces that were made for it stay: {}", made.join(", ")))
    }
}

/// Which of them the server lacks.
fn lacking(session: &mut Session, roles: &[String], tablespaces: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    fn names(all: &[String]) -> Vec<&str> {
        all.iter().map(String::as_str).collect()
    }
    Ok((session.missing_roles(&names(roles))?, session.missing_tablespaces(&names(tablespaces))?))
}

/// Makes the roles and tablespaces that the server lacks. One that the backup needs and that could not be made ends it.
pub(super) fn restore(means: Means<'_>, session: &mut Session, plan: &Plan, globals: &Globals) -> Result<Made> {
    let Plan { recipe, wanted, .. } = plan;
    let tablespaces = if wanted.no_tablespaces { &[][..] } else { &globals.tablespaces };
    let (roles, tablespaces) = lacking(session, &globals.roles, tablespaces)?;
    let missing = roles.iter().cloned().map(Subject::Role);
    let lacking: Vec<Subject> = missing.chain(tablespaces.iter().cloned().map(Subject::Tablespace)).collect();
    let form = Form { at_error: AtError::GoOn, ..Form::default() };
    let restore = Restore {
        client: &recipe.client,
        access: means.access,
        reached: &recipe.server.reached,
        database: &session.server().database.clone(),
        run: means.run,
        form: &form,
    };
    let said = feed::text(means, &restore.script(), globals.without(&lacking).as_bytes())?;
    if !said.exit.is_success() {
        return Err(Failure::new(Cause::RestoreFailed, format!("psql ended with {} while it restored roles", said.exit)).detail(said.tail));
    }
    let against = said.first.iter().filter(|error| !error.contains("42710:"));
    let against: Vec<String> = against.map(|error| format!("while making roles and tablespaces: {error}")).collect();
    let made = Made { said: against, roles, tablespaces };
    match before::are_there(session, recipe, wanted) {
        Ok(()) => Ok(made),
        Err(failure) => Err(made.beside(session, failure.detail(made.said.join("\n")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_log_in_without_a_password_are_found() {
        let script = "CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS;\n\
                      ALTER ROLE \"a \"\"b\" WITH NOSUPERUSER INHERIT LOGIN CONNECTION LIMIT 5 VALID UNTIL 'infinity';\n\
                      ALTER ROLE boss WITH NOSUPERUSER INHERIT NOLOGIN NOREPLICATION;\n\
                      ALTER ROLE known WITH NOSUPERUSER LOGIN NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x';\nALTER ROLE app SET x TO ' WITH LOGIN';\n";
        assert_eq!(passwordless(&statement::cut(script)), ["app", "a \"b"]);
    }

    #[test]
    fn only_what_is_about_something_that_is_lacking_stays() {
        let script = "SET client_encoding = 'UTF8';\nCREATE ROLE new;\nCREATE ROLE there;\nALTER ROLE there SET \"a.b\" TO 'x\n;ALTER ROLE new \
                      SUPERUSER;\nalter role there superuser;\n--';\nALTER ROLE new SET \"a.b\" TO 'two\nlines';\nCOMMENT ON ROLE there IS 'x;\ny';\n\
                      GRANT there TO new WITH ADMIN OPTION GRANTED BY postgres;\nGRANT \"a TO new\" TO there GRANTED BY postgres;\n\
                      GRANT pg_read_all_data TO there;\nCREATE TABLESPACE there OWNER there LOCATION '/x';\nCREATE TABLESPACE fast OWNER there \
                      LOCATION '/y';\nGRANT ALL ON TABLESPACE fast TO there;\nREVOKE ALL ON TABLESPACE there FROM PUBLIC;\nGRANT ALL ON TABLESPACE \
                      there TO new;\nGRANT SET ON PARAMETER work_mem TO there;\nGRANT SET ON PARAMETER work_mem TO new;\nSECURITY LABEL FOR x ON ROLE \
                      there IS 'l';\n\\unrestrict k\n";
        let kept = |lacking: &[Subject]| {
            let globals =
                Globals { backup: RunId::random(), roles: vec![], passwordless: vec![], tablespaces: vec![], script: script.to_owned() };
            globals.without(lacking)
        };
        let lacking = [Subject::Role("new".into()), Subject::Tablespace("fast".into())];
        let stays = "SET client_encoding = 'UTF8';\nCREATE ROLE new;\nALTER ROLE new SET \"a.b\" TO 'two\nlines';\nGRANT there TO new WITH ADMIN OPTION \
                     GRANTED BY postgres;\nCREATE TABLESPACE fast OWNER there LOCATION '/y';\nGRANT ALL ON TABLESPACE fast TO there;\nGRANT ALL ON \
                     TABLESPACE there TO new;\nGRANT SET ON PARAMETER work_mem TO new;\n\\unrestrict k\n";
        assert_eq!(kept(&lacking), stays);
        assert_eq!(kept(&[]), "SET client_encoding = 'UTF8';\n\\unrestrict k\n");
        assert_eq!(statement::cut(script).concat(), script);
    }
}
