//! Filling one database: the tool is run, what it said is judged, and what came of it is compared with the manifest.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::{Cause, Failure, Result};
use crate::model::dump::{Content, Format};
use crate::postgres::archive::Tap;
use crate::postgres::dump::beside;
use crate::postgres::restore::{Archive, AtError, Form, Halves, Restore, lacks_library};
use crate::postgres::session::Session;
use crate::process::Exit;

use super::super::compare::{self, Expected};
use super::feed::{self, Said};
use super::recipe::Lists;
use super::source::Source;
use super::tables::Tables;
use super::{Means, Recipe, Restored, Wanted, held, scratch};

/// How the database changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Bit by bit: it is dropped where that fails.
    Apart,
    /// In one transaction.
    Together,
    /// In one transaction in which what is there is dropped first.
    Over,
}

/// Restores into a database that is there; `session` is one elsewhere on the server, to ask how far it is.
pub(super) fn fill(
    means: Means<'_>,
    session: &mut Session,
    recipe: &Recipe,
    wanted: &Wanted,
    (database, whole): (&str, Whole),
) -> Result<Restored> {
    let mut run = || run(means, session, recipe, wanted, (database, whole));
    let said = match whole {
        Whole::Over => held::told(means, recipe, database, run),
        Whole::Apart | Whole::Together => run(),
    }?;
    means.gauge.begin("comparing");
    let open = || Session::open(&recipe.client, means.access, Some(database), &beside(means.run), means.limits, means.cancel);
    // Side by side: both read every table, and the tool's own connections are free by now.
    let new = recipe.analyzed().filter(|_| whole != Whole::Apart);
    let (compared, analyzed) = std::thread::scope(|scope| {
        let analyzing = wanted.analyze.then(|| scope.spawn(|| open()?.analyze(new.as_deref())));
        let compared = open().and_then(|mut session| compare::compare(&mut session, &expected(means, recipe, wanted)));
        let broken = |_| Err(Failure::new(Cause::System, "gathering statistics broke off by an error in pgdumpd itself"));
        (compared, analyzing.map_or(Ok(()), |thread| thread.join().unwrap_or_else(broken)))
    });
    let mut restored = Restored::new(compared?, said, recipe.told());
    restored.warnings.extend(unanalyzed(analyzed)?);
    Ok(restored)
}

/// Statistics are no part of a backup, and the server makes them by itself in time: what keeps them away, such as a foreign server that can't be
/// reached and that a partition lies on, is told.
fn unanalyzed(analyzed: Result<()>) -> Result<Option<String>> {
    match analyzed {
        Ok(()) => Ok(None),
        Err(failure) if failure.cause == Cause::Interrupted => Err(failure),
        Err(failure) => Ok(Some(format!("the planner's statistics could not be gathered, type ANALYZE in psql: {failure}"))),
    }
}

fn run(means: Means<'_>, session: &mut Session, recipe: &Recipe, wanted: &Wanted, (database, whole): (&str, Whole)) -> Result<Said> {
    let several = matches!(means.manifest.dump_format, Format::Custom | Format::Directory);
    let parallel = wanted.jobs > 1 && several && whole == Whole::Apart;
    let jobs = if parallel { wanted.jobs } else { 1 };
    let Lists { first, after } = recipe.lists(whole == Whole::Over, jobs)?;
    let form = Form {
        halves: wanted.halves,
        at_error: wanted.at_error,
        one_transaction: whole != Whole::Apart && wanted.at_error == AtError::Stop,
        clean: whole == Whole::Over,
        no_owner: wanted.no_owner,
        no_privileges: wanted.no_privileges,
        no_tablespaces: wanted.no_tablespaces,
        disable_triggers: recipe.server.superuser,
        jobs,
        list: first,
    };
    let restore =
        Restore { client: &recipe.client, access: means.access, reached: &recipe.server.reached, database, run: means.run, form: &form };
    let from = |archive, tables| from_files(means, session, &restore, archive, tables, after);
    // A tool that commits as soon as it has what it wants must not begin with bytes that nobody has looked at.
    let early = recipe.chosen.is_some() || wanted.halves == Halves::Schema;
    let rows = if wanted.halves == Halves::Schema { Vec::new() } else { recipe.tables(&means.manifest.tables) };
    let tables = Tables::new(&rows).side_by_side(parallel);
    let said = match means.manifest.dump_format {
        Format::Plain => {
            if whole != Whole::Apart {
                // Its own transactions around large objects would commit what stands before them.
                Source::open(means)?.check()?;
            }
            feed::piped(means, &restore.script(), Some(Tap::plain()), &tables).and_then(|said| judged(said, &form, means))
        }
        Format::Custom if !parallel => {
            if early && whole != Whole::Apart {
                Source::open(means)?.check()?;
            }
            feed::piped(means, &restore.archive(Archive::Pipe), None, &tables).and_then(|said| judged(said, &form, means))
        }
        Format::Tar | Format::Directory if scratch::lies(means).is_some() => {
            Source::open(means)?.check()?;
            let place = scratch::lies(means).unwrap_or_default();
            from(Archive::Folder(&place), tables)
        }
        Format::Custom | Format::Tar => {
            let file = scratch::unpacked(means)?;
            from(Archive::File(&file), tables)
        }
        Format::Directory => {
            let folder = scratch::laid_out(means)?;
            from(Archive::Folder(folder.path()), tables)
        }
    };
    if said.is_err() && whole != Whole::Apart {
        end_backends(means, recipe, database);
    }
    said
}

/// Restores from files, which can be read more than once: `after` is what comes when all else is there.
fn from_files(
    means: Means<'_>,
    session: &mut Session,
    restore: &Restore<'_>,
    archive: Archive<'_>,
    tables: Tables,
    after: Option<Arc<OwnedFd>>,
) -> Result<Said> {
    let mut said = judged(feed::alone(means, session, &restore.archive(archive), tables)?, restore.form, means)?;
    if after.is_some() {
        let form = Form { jobs: 1, list: after, ..restore.form.clone() };
        let more = feed::alone(means, session, &Restore { form: &form, ..*restore }.archive(archive), Tables::new(&[]))?;
        let more = judged(more, &form, means)?;
        said.errors += more.errors;
        said.first.extend(more.first);
        said.tail += &more.tail;
    }
    Ok(said)
}

/// A tool that was ended leaves a backend that may still be at work; until that has ended, nothing is rolled back.
fn end_backends(means: Means<'_>, recipe: &Recipe, database: &str) {
    let fresh = crate::process::Cancel::new();
    let ended = Session::open(&recipe.client, means.access, Some(database), &beside(means.run), means.limits, &fresh)
        .and_then(|mut session| session.terminate(means.run));
    if let Err(failure) = ended {
        tracing::warn!(run = %means.run, "what the restore left at work on the server could not be ended: {failure}");
    }
}

/// The exit status decides. Only where errors are passed over does a status of 1 with `pg_restore`'s own count of them mean that it came to its end.
fn judged(mut said: Said, form: &Form, means: Means<'_>) -> Result<Said> {
    let ignored = passed_over(&said.tail);
    if said.exit.is_success() {
        return Ok(said);
    }
    if form.at_error == AtError::GoOn && said.exit == Exit::Code(1) && ignored.is_some() {
        // Over several connections it counts each twice: where it is made, and where that is heard of.
        said.errors = ignored.filter(|_| form.jobs <= 1 || said.errors == 0).unwrap_or(said.errors);
        return Ok(said);
    }
    let tool = if means.manifest.dump_format == Format::Plain { "psql" } else { "pg_restore" };
    let dependents = dependents(&said.tail).filter(|_| form.clean);
    let message = match (said.exit, said.first.first()) {
        (Exit::Code(_), Some(first)) => {
            let which = dependents.map_or_else(String::new, |which| format!(": {which}"));
            format!("{tool} could not restore the backup: {first}{which}")
        }
        (exit, _) => format!("{tool} ended with {exit}"),
    };
    let owners = ["must be member of role", "must be able to SET ROLE"].iter().any(|words| message.contains(words));
    let hint = match said.exit {
        Exit::Code(_) if gone(&said.tail) => {
            "the target is as it was: the server or the way to it went away; look into the server's log, and restore again when it answers"
        }
        Exit::Code(_) if lacks_library(&said.tail).is_some() => {
            "the target is as it was; install a PostgreSQL client that is built with that library, as Debian's is, or point pg_bin_dir or PG_DUMP_PATH at one"
        }
        Exit::Code(_) if owners => {
            "the target is as it was; add --no-owner, so that all of it belongs to the role that restores, or restore as another with --user"
        }
        Exit::Code(_) if message.contains("permission denied for tablespace") => {
            "the target is as it was; GRANT CREATE ON TABLESPACE … to the role that restores, restore as another with --user, or let everything go \
             into the default tablespace with --no-tablespaces"
        }
        Exit::Code(_) if form.clean && message.contains("other objects depend on it") => {
            "the target is as it was; what was made since the backup depends on what it would drop: drop that first, or restore with --replace, \
             which drops nothing in the database that is there"
        }
        Exit::Code(_) => {
            "the target is as it was; mend what the error names, or see the whole of it with `pgdumpd restore --keep-going` into a new database"
        }
        Exit::Signal(_) => {
            "the target is as it was; look for what ended it, the out-of-memory killer in the kernel's log (`journalctl -k`) say"
        }
    };
    Err(Failure::new(Cause::RestoreFailed, message).hint(hint).detail(said.tail))
}

/// Whether the tool lost its server. libpq's words, and the server's own when it ends a session; only a hint is chosen by them.
fn gone(tail: &str) -> bool {
    let words = [
        "server closed the connection unexpectedly",
        "terminating connection due to",
        "no connection to the server",
        "could not receive data from server",
        "could not send data to server",
        "connection to server was lost",
        "connection to server at",
        "connection to server on socket",
    ];
    words.iter().any(|words| tail.contains(words))
}

/// What depends on an object that could not be dropped, in the server's words: the lines of its DETAIL, of which some are enough.
fn dependents(tail: &str) -> Option<String> {
    const SOME: usize = 3;
    let behind = tail.split_once("because other objects depend on it\n")?.1;
    let detail = behind.strip_prefix("DETAIL:")?.lines();
    let named: Vec<&str> = detail.map(str::trim).take_while(|line| line.contains(" depends on ")).collect();
    let more = if named.len() > SOME { format!(", and {} more", named.len() - SOME) } else { String::new() };
    let some = named.iter().take(SOME).copied().collect::<Vec<_>>().join("; ");
    (!named.is_empty()).then(|| format!("{some}{more}"))
}

/// `pg_restore: warning: errors ignored on restore: 3`
fn passed_over(tail: &str) -> Option<u64> {
    tail.lines().rev().find_map(|line| line.rsplit_once("errors ignored on restore: ")?.1.trim().parse().ok())
}

fn expected<'a>(means: Means<'a>, recipe: &'a Recipe, wanted: &Wanted) -> Expected<'a> {
    let manifest = means.manifest;
    let rows = wanted.halves != Halves::Schema && manifest.content != Content::Schema;
    let definitions = wanted.halves != Halves::Data && manifest.content != Content::Data;
    let by_root = |option: &String| option == "--load-via-partition-root";
    Expected {
        tables: if rows { recipe.tables(&manifest.tables) } else { Vec::new() },
        // Nobody counts those of a script.
        large_objects: (rows && recipe.chosen.is_none() && recipe.toc.is_some()).then_some(manifest.large_objects),
        entries: if rows && definitions && recipe.unread_names().is_none() { recipe.entries() } else { Vec::new() },
        unread: recipe.unread_names().is_some(),
        by_total: manifest.options.iter().any(by_root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_dropped_is_taken_from_the_detail() {
        let tail = |lines: &str| {
            format!(
                "pg_restore: error: could not execute query: ERROR:  cannot drop table t because other objects depend on it\n\
                 DETAIL:  {lines}\nHINT:  Use DROP ... CASCADE to drop the dependent objects too.\nCommand was: DROP TABLE t;\n"
            )
        };
        assert_eq!(dependents(&tail("view v depends on table t")).as_deref(), Some("view v depends on table t"));
        let four = "view a depends on table t\nview b depends on view a\nview c depends on table t\nview d depends on table t";
        let told = "view a depends on table t; view b depends on view a; view c depends on table t, and 1 more";
        assert_eq!(dependents(&tail(four)).as_deref(), Some(told));
        assert_eq!(dependents("pg_restore: error: could not execute query: ERROR:  x\nDETAIL:  y depends on z\n"), None);
    }

    #[test]
    fn passed_over_errors_are_counted_by_the_tool() {
        assert_eq!(passed_over("pg_restore: error: x\npg_restore: warning: errors ignored on restore: 12\n"), Some(12));
        assert_eq!(passed_over("pg_restore: error: connection lost\n"), None);
    }
}
