//! `pgdumpd restore FILE`: a dump that no project knows, to a server that the command line or the environment names.

use std::path::Path;

use crate::config::adhoc::{self, Said};
use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::restore::Report;
use crate::jobs::restore::given::{self as job, Order};
use crate::model::dump::Format;
use crate::model::project::{Project, Target};
use crate::ops::World;
use crate::ops::given::Dump;
use crate::postgres::connection::{as_role, named_by};
use crate::process::{Cancel, CancelReason};

use super::super::exit::Exit;
use super::super::{Common, given, interrupt, logging, oneoff, out, progress};
use super::{Args, exit, merge, occupied, tell, wanted};

pub(super) fn run(common: &Common, args: &Args, path: &Path) -> Result<Exit> {
    logging::start(crate::model::settings::LogFormat::Text, logging::level(common, "off"));
    let (world, unwritten) = given::diary(common)?;
    // A hint would tell how to do it as another user, who may not read this file: it is done as this one.
    if let Some(failure) = unwritten.filter(|_| !args.dry_run) {
        out::note(format!("pgdumpd: warning: no audit log is kept of this restore: {failure}"));
    }
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let done = to(args, path).and_then(|(server, database)| {
        let dump = opened(args, path, &cancel).inspect_err(|failure| refused(&world, args, path, failure))?;
        let order = Order {
            dump: &dump,
            server,
            database,
            wanted: wanted(args),
            occupied: occupied(args),
            safety: !args.no_safety_backup,
            dry_run: args.dry_run,
        };
        match args.on_conflict {
            Some(rule) => merge::file(common, &world, &order, &merge::table(args, rule)?, &cancel),
            None => {
                let report = carry_out(&world, &order, &cancel)?;
                tell(common, &report)?;
                unknown(&dump, &report);
                Ok(exit(&report))
            }
        }
    });
    let interrupted = signals.exit();
    drop(signals);
    let exit = done.unwrap_or_else(|failure| out::failure(common, &failure));
    Ok(interrupted.filter(|_| exit != Exit::Done).unwrap_or(exit))
}

/// The file, read as far as it has to be: where no manifest vouches for it, to its end, before anything is touched.
fn opened(args: &Args, path: &Path, cancel: &Cancel) -> Result<Dump> {
    if args.globals {
        return Err(Failure::new(Cause::Configuration, "a dump file holds no roles: --globals is for the backups of projects")
            .hint("make the roles by hand, or use --no-owner --no-privileges"));
    }
    let dump = if args.on_conflict.is_some() { given::contents(path)? } else { given::whole(path, cancel)? };
    match &dump.command {
        Some(command) if args.on_conflict.is_none() => {
            let words = format!("{} holds a command to psql itself, which pg_dump does not write: {command}", path.display());
            Err(Failure::new(Cause::Refused, words).hint("look at what it does; psql -X -f FILE runs it nevertheless"))
        }
        _ => Ok(dump),
    }
}

/// A file that can't be read is in the audit log as well.
fn refused(world: &World, args: &Args, path: &Path, failure: &Failure) {
    if !args.dry_run {
        drop(world.audit("restore", None, &format!("the file {}", path.display()), &format!("{}: {failure}", failure.cause)));
    }
}

/// The server and the database there.
fn to(args: &Args, path: &Path) -> Result<(Project, String)> {
    let file = out::shell(&path.display().to_string());
    let said = args.to.as_deref().filter(|to| !to.is_empty()).ok_or_else(|| {
        Failure::new(Cause::Configuration, "where to restore it is not said").hint(format!(
            "type: pgdumpd restore {file} --to NEW_DATABASE --url postgresql://user@host/, or --to postgresql://user@host/NEW_DATABASE"
        ))
    })?;
    if args.url.as_deref().is_some_and(|url| url.trim().is_empty()) {
        return Err(oneoff::empty("--url"));
    }
    let is_url = said.contains("://");
    if is_url && args.url.is_some() {
        return Err(Failure::new(Cause::Configuration, "--to names a server, and so does --url")
            .hint("leave out --url, or name the database alone with --to"));
    }
    let from_env = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let connection = if is_url { Some(said.to_owned()) } else { args.url.clone().or_else(from_env) };
    if connection.is_none() && !oneoff::is_named_by_environment() {
        return Err(Failure::new(Cause::Configuration, format!("the server is not said on which {said:?} is to be")).hint(format!(
            "type: pgdumpd restore {file} --to {} --url postgresql://user@host/; or set DATABASE_URL, or PGHOST and kin",
            out::shell(said)
        )));
    }
    let mut server = adhoc::project(&Said { connection: connection.unwrap_or_default(), ..Said::default() })?;
    if let Some(role) = &args.user {
        server.connection.target = as_role(&server.connection.target, role);
    }
    let database = if is_url { named_by(&Target::Url(said.to_owned())) } else { Some(said.to_owned()) };
    let nameless = || Failure::new(Cause::Configuration, "the URL names no database").hint("type it: --to postgresql://HOST/DATABASE");
    Ok((server, database.ok_or_else(nameless)?))
}

fn carry_out(world: &World, order: &Order<'_>, cancel: &Cancel) -> Result<Report> {
    let (board, over) = (Board::default(), Cancel::new());
    std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let report = job::run(world, order, cancel, &board);
        over.cancel(CancelReason::Cancelled);
        report
    })
}

/// What could not be compared, and with what the rest was.
fn unknown(dump: &Dump, report: &Report) {
    if dump.beside.is_some() || report.restored.is_none() {
        return;
    }
    let unknown = dump.manifest.tables.iter().filter(|table| table.rows.is_none()).count() as u64;
    if unknown > 0 {
        let tables = out::count(unknown, "table");
        out::note(format!("  the rows of {tables} could not be compared: no manifest beside the file, and nobody has counted them"));
    } else {
        out::note("  rows were compared with those in the file, not with what was dumped: no manifest beside the file");
    }
    if dump.manifest.dump_format == Format::Plain {
        out::note(
            "  a script doesn't say its database's encoding and locale: where the database was made, they are the server's usual ones",
        );
    }
}
