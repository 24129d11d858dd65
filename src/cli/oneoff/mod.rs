//! `pgdumpd backup` without a configuration: one database, one file, nothing else.

mod args;
mod environment;
mod files;
mod list;
mod place;
mod told;
mod verdict;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::config::adhoc;
use crate::error::{Cause, Failure, Result};
use crate::jobs::Board;
use crate::jobs::adhoc::{Met, Setting, Target, meet};
use crate::model::backup::{Manifest, RunId};
use crate::model::project;
use crate::ops::dumpfile;
use crate::ops::given::metadata_name;
use crate::postgres::connection;
use crate::process::{Cancel, CancelReason};
use crate::storage::{Given, Loose, SCOPE, Storage, names};
use crate::stream::hash;

use super::exit::Exit;
use super::{Common, interrupt, logging, out, progress};

pub(super) use self::args::Args;
use self::environment::Environment;
pub(super) use self::files::verify;
use self::place::Place;

/// Where backups of environments lie unless someone says otherwise.
const USUAL_FOLDER: &str = "backups";

/// The variables that name a database where no option does.
const NAMED_BY: [&str; 4] = ["DATABASE_URL", "PGHOST", "PGSERVICE", "PGDATABASE"];

/// Whether the environment names a database to back up.
pub(super) fn is_named_by_environment() -> bool {
    NAMED_BY.into_iter().any(is_set)
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Fails where an option is there with nothing in it: a variable that is not set would make another backup than the one that is meant.
pub(super) fn none_is_empty(args: &Args, databases: &[String]) -> Result<()> {
    let database = databases.iter().any(|name| name.is_empty()).then_some("--database");
    args.empty().or(database).map_or(Ok(()), |option| Err(empty(option)))
}

/// The failure of an option with nothing in it.
pub(super) fn empty(option: &str) -> Failure {
    Failure::new(Cause::Configuration, format!("{option} is empty"))
        .hint("a variable of the shell may not be set: set it, or leave the option out")
}

/// Carries it out. A failure is told here, as one answer under the names that older clients read.
pub(super) fn run(common: &Common, args: &Args, database: Option<&str>) -> Result<Exit> {
    logging::start(crate::model::settings::LogFormat::Text, logging::level(common, "off"));
    if let (Some(_), Some(other)) = (database, args.looks()) {
        return Err(Failure::new(Cause::Configuration, format!("--database is for a backup, and {other} makes none")).hint("leave it out"));
    }
    if args.list {
        return list::list(common, &usual_folder(args));
    }
    let cancel = Cancel::new();
    let signals = interrupt::listen(&cancel)?;
    let exit = match &args.verify {
        Some(file) => files::verify(common, file, &cancel),
        None => {
            let began = Instant::now();
            back_up(common, args, database, &cancel).or_else(|failure| told::failed(common, args, &failure, began))
        }
    }?;
    Ok(signals.exit().unwrap_or(exit))
}

/// What the answer on standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Words,
    Json,
}

/// Everything decided before the server is asked.
struct Plan {
    said: adhoc::Said,
    place: Place,
    environment: Option<Environment>,
    /// What was made for a question alone.
    passing: Passing,
}

/// Folders that were made to be looked at: they go with the question.
#[derive(Default)]
struct Passing(Vec<PathBuf>);

impl Passing {
    /// The folder and those above it, as far as they are missing.
    fn of(folder: &Path) -> Self {
        let is_missing = |part: &&Path| !part.as_os_str().is_empty() && part.symlink_metadata().is_err();
        Self(folder.ancestors().take_while(is_missing).map(Path::to_path_buf).collect())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        for folder in &self.0 {
            // One that holds something by now is somebody's.
            let _stays = std::fs::remove_dir(folder);
        }
    }
}

fn plan(args: &Args, database: Option<&str>, answer: Answer) -> Result<Plan> {
    let environment = args.env.map(|mode| environment::read(mode, Path::new("."), &|name| std::env::var(name).ok())).transpose()?;
    let connection = environment.as_ref().map(|environment| environment.connection.clone()).or_else(|| args.url.clone());
    let from_url = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let connection = connection.or_else(from_url);
    if connection.is_none() {
        unheard(database, &is_set)?;
    }
    let mut said = args.said(connection.unwrap_or_default());
    let passing = if args.dry_run && environment.is_some() { Passing::of(&usual_folder(args)) } else { Passing::default() };
    let place = if environment.is_some() {
        Place::Folder(made(&usual_folder(args))?)
    } else {
        place::decide(args.output.as_deref(), args.output_dir.as_deref())?
    };
    let says_where = args.output.is_some() || args.output_dir.is_some() || environment.is_some();
    if !says_where && answer == Answer::Words && !args.dry_run {
        place::carries_words(std::io::stdout())?;
    }
    if place == Place::Pipe && std::io::stdout().is_terminal() && !args.dry_run {
        return Err(Failure::new(Cause::Configuration, "a backup is no text for a terminal")
            .hint("redirect it: > FILE, or name a file with --output"));
    }
    if place == Place::Pipe && !args.dry_run {
        place::leads_somewhere(std::io::stdout())?;
    }
    if let Place::File(_, name) = &place
        && !(args.format.is_some() && args.compress.is_some())
    {
        place::is_kept(name)?;
    }
    let (format, compression) = match &place {
        Place::File(_, name) => place::told_by_name(name),
        Place::Pipe => ("custom", "native"),
        Place::Folder(_) if environment.is_some() => ("custom", "native"),
        Place::Folder(_) => ("custom", "zstd"),
    };
    let named = args.format.map_or(format, args::Format::word);
    // What is compressed from outside is so by default; a plain or tar dump has no compression of its own.
    let compression = if compression == "native" && !matches!(named, "custom" | "directory") { "none" } else { compression };
    said.words.push(("format", named.to_owned()));
    let compression = args.compress.clone().unwrap_or_else(|| compression.to_owned());
    if let Place::File(_, name) = &place {
        place::is_kept_by(name, named, &compression)?;
    }
    said.words.push(("compression", compression));
    Ok(Plan { said, place, environment, passing })
}

/// Fails where variables that describe a project name the server or the database, and nothing that is used here does: the dump would
/// be of another database than the one they mean.
fn unheard(database: Option<&str>, is_set: &dyn Fn(&str) -> bool) -> Result<()> {
    let of_server = (["DATABASE_URL_FILE", "POSTGRES_HOST", "POSTGRES_HOST_FILE"], ["PGHOST", "PGHOSTADDR", "PGSERVICE"]);
    let of_database = (["DATABASE_URL_FILE", "POSTGRES_DB", "POSTGRES_DB_FILE"], ["PGDATABASE", "PGSERVICE", "PGSERVICE"]);
    let mut unheard: Vec<&str> = Vec::new();
    for (theirs, ours) in [Some(of_server), database.is_none().then_some(of_database)].into_iter().flatten() {
        if !ours.into_iter().any(is_set) {
            unheard.extend(theirs.into_iter().filter(|name| is_set(name)));
        }
    }
    unheard.dedup();
    if unheard.is_empty() {
        return Ok(());
    }
    let words =
        format!("{} would not be used: with options of its own a backup goes by --url, DATABASE_URL or PGHOST and kin", unheard.join(", "));
    Err(Failure::new(Cause::Configuration, words)
        .hint("name the database with --url or DATABASE_URL; or leave out the options: `pgdumpd backup` alone uses these variables"))
}

/// Fails where nothing names the database: libpq would take the one that is called like the user, which on many servers is there and
/// empty. What a service says, only libpq knows.
fn named(target: &project::Target, args: &Args) -> Result<()> {
    let by_libpq = ["PGDATABASE", "PGSERVICE"].into_iter().any(is_set);
    if by_libpq || connection::named_by(target).is_some() || connection::is_by_service(target) {
        return Ok(());
    }
    let typed = || std::env::args().skip(1).map(|word| out::shell(&word)).collect::<Vec<_>>().join(" ");
    let hint = match (args.url.is_some(), connection::url(target)) {
        // What was typed may hold a password.
        (true, Some(url)) => {
            let (url, query) = url.split_once('?').map_or((url.as_str(), String::new()), |(url, query)| (url, format!("?{query}")));
            format!("type it behind the host: --url {}", out::shell(&format!("{}/DATABASE{query}", url.trim_end_matches('/'))))
        }
        (true, None) => String::from("type it among the keywords: --url \"… dbname=DATABASE\""),
        (false, _) => format!("type: PGDATABASE=DATABASE pgdumpd {}", typed()),
    };
    Err(Failure::new(Cause::Configuration, "no database is named").hint(hint))
}

fn usual_folder(args: &Args) -> PathBuf {
    args.output_dir.clone().unwrap_or_else(|| PathBuf::from(USUAL_FOLDER))
}

/// The folder for an environment's backups, made if missing; where it leads is decided by the rules of every output.
fn made(folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Failure::storage(format!("making the folder {}", folder.display()), &error))?;
    match place::decide(None, Some(folder))? {
        Place::Folder(folder) => Ok(folder),
        Place::File(..) | Place::Pipe => Ok(folder.to_path_buf()),
    }
}

fn back_up(common: &Common, args: &Args, database: Option<&str>, cancel: &Cancel) -> Result<Exit> {
    let Plan { said, place, environment, passing: _passing } =
        plan(args, database, if common.json { Answer::Json } else { Answer::Words })?;
    for warning in environment.iter().flat_map(|environment| &environment.warnings) {
        out::note(format!("pgdumpd: warning: {warning}"));
    }
    let clock = Clock::system();
    let project = adhoc::project(&said)?;
    if database.is_none() {
        named(&project.connection.target, args)?;
    }
    let met = meet(project, database, clock.clone(), cancel)?;
    let file = file_name(&met, &place, environment.as_ref(), &clock);
    let (target, path) = target(&met, &place, environment.as_ref(), &file)?;
    let loose = match &target {
        Target::File(loose) | Target::Pipe(loose) => loose.clone(),
    };
    if environment.is_some() {
        met.require_twice(loose.free_space()?)?;
    }
    if args.dry_run {
        told::intended(common, &met, path.as_deref(), loose.free_space()?)?;
        return Ok(Exit::Done);
    }
    told::begin(&met, path.as_deref());
    let board = Board::default();
    let over = Cancel::new();
    let said = out::forwarded(common);
    let made = std::thread::scope(|scope| {
        scope.spawn(|| progress::follow(&board, &over));
        let first = || environment.as_ref().map_or(Ok(()), |_| files::mend(&loose));
        let setting = Setting { cancel, board: &board, said, first: &first };
        let verified = |manifest: &mut Manifest| match (&environment, &path) {
            (Some(environment), Some(path)) => prove(&met, environment, &loose, path, manifest, cancel),
            _ => Ok(()),
        };
        let made = met.back_up(&target, &file, &setting, &verified);
        over.cancel(CancelReason::Cancelled);
        made
    })?;
    told::done(common, path.as_deref(), &made);
    Ok(Exit::Done)
}

fn file_name(met: &Met, place: &Place, environment: Option<&Environment>, clock: &Clock) -> String {
    let shape = &met.project().shape;
    let engine = |id: &RunId| names::artifact_file(&met.server.database, clock.now(), shape.content, id, shape.format, shape.compression);
    match (place, environment) {
        (Place::File(_, name), _) => name.clone(),
        (_, Some(environment)) => {
            let mut name = engine(&RunId::random());
            let ending = name.find(shape.format.extension()).map(|at| name.split_off(at)).unwrap_or_default();
            let at = clock.now().format("%Y-%m-%dT%H-%M-%S-%3fZ");
            format!("{}_{}_{at}.{ending}", names::encoded(&met.server.database), environment.name)
        }
        _ => engine(&RunId::random()),
    }
}

/// Where it goes, and the path to tell; none for standard output.
fn target(met: &Met, place: &Place, environment: Option<&Environment>, file: &str) -> Result<(Target, Option<PathBuf>)> {
    // Whoever writes the same file, or backs up the same database into the same folder, waits for nobody and is refused.
    let scope = |what: &str| hash::hex(&Sha256::digest(what.as_bytes())).chars().take(SCOPE).collect::<String>();
    Ok(match place {
        Place::Pipe => (Target::Pipe(Loose::pipe(&std::env::temp_dir())), None),
        Place::File(folder, name) => {
            let loose = Loose::file(folder, name, &scope(&format!("file {name}")), true).outdating(files::about(folder, name));
            (Target::File(loose), Some(folder.join(name)))
        }
        Place::Folder(folder) => {
            let of = environment.map(|environment| environment.name).unwrap_or_default();
            let scope = scope(&format!("database {} {of}", met.server.database));
            let loose = Loose::file(folder, file, &scope, false);
            // What counts only once it was read again has no name before.
            let loose = if environment.is_some() { loose.to_be_proven()? } else { loose };
            (Target::File(loose), Some(folder.join(file)))
        }
    })
}

/// An environment's backup counts only after it was read again, whole; then it gets its name, and its metadata says so beside it.
fn prove(met: &Met, environment: &Environment, loose: &Loose, path: &Path, manifest: &mut Manifest, cancel: &Cancel) -> Result<()> {
    manifest.environment = Some(environment.name.to_owned());
    let given = Given::at(loose.unproven().as_deref().unwrap_or(path))?;
    let (size, sha256) = dumpfile::checksum(&given)?;
    if (size, &sha256) != (manifest.backup_size_bytes, &manifest.checksum_sha256) {
        return Err(Failure::new(Cause::Damaged, format!("{} was read back with another checksum than was written", path.display()))
            .hint("the disk is not to be trusted: look into the kernel log (dmesg), and write elsewhere"));
    }
    let whole = dumpfile::read_whole(path, &given, Some(&met.client), cancel)?;
    files::count(manifest, whole.observed)?;
    let metadata = files::metadata(manifest, &Clock::system())?;
    loose.prove(&metadata_name(&manifest.backup_file), &metadata)
}
