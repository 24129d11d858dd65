//! The command line: argv, printing, exit codes. One verb a file; no logic of its own.

mod accept;
mod audit;
mod backup;
mod cat;
mod check;
mod delete;
mod diff;
mod doctor;
mod drill;
mod exit;
mod generate;
mod given;
mod interrupt;
mod list;
mod logging;
mod moment;
mod notify;
mod oneoff;
mod out;
mod pause;
mod pick;
mod pin;
mod plan;
mod progress;
mod prune;
mod restore;
mod serve;
mod show;
mod status;
mod told;
mod verify;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config;
use crate::daemon::reaper;
use crate::process;

use self::exit::Exit;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "pgdumpd", about = "pg_dump, on duty: scheduled PostgreSQL backups that can be trusted", long_about = None, version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What goes with each verb.
#[derive(Debug, clap::Args)]
struct Common {
    /// The configuration file
    #[arg(long, global = true, env = "PGDUMPD_CONFIG", hide_env_values = true, default_value = config::USUAL_FILE, value_name = "FILE")]
    #[arg(help_heading = EVERYWHERE)]
    config: PathBuf,
    /// Answer in JSON, for programs
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    /// Log what happens on the way; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    verbose: u8,
}

/// The heading of the options that go with each verb.
const EVERYWHERE: &str = "With each command";

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed or unhealthy; 2 usage or configuration; 3 partly done;
11 locked by another run; 75 server not reachable in time; 129, 130, 131, 143 interrupted.

First steps: pgdumpd check, pgdumpd doctor, pgdumpd backup PROJECT, pgdumpd list
Without a configuration: pgdumpd backup --url URL -o FILE; show, verify, cat, diff, restore FILE";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon: fire schedules, prune, mail, until a signal ends it
    Serve(serve::Args),
    /// Back up one project now, or all of them; or one database without a configuration
    Backup(Box<backup::Args>),
    /// List backups, newest first
    List(list::Args),
    /// Show everything about one backup or dump file, and how to restore it
    Show(show::Args),
    /// Look at stored backups or a dump file: are they intact, can they be read
    Verify(verify::Args),
    /// Restore a backup for trial: does it come back, and how long does that take
    Drill(drill::Args),
    /// Bring a backup or dump file back: into a new database, or in the place of one
    Restore(restore::Args),
    /// Write the rows of one table in a backup or dump file, without a server
    Cat(cat::Args),
    /// Say which objects came, went or changed between two backups or dump files
    Diff(diff::Args),
    /// Remove the backups that the retention no longer keeps
    Prune(prune::Args),
    /// Remove one backup: a damaged one, one whose files are gone, one that must not be kept
    Delete(delete::Args),
    /// Keep a backup whatever the retention says
    Pin(pin::Args),
    /// Let the retention decide over a pinned backup again
    Unpin(pin::Args),
    /// Say that a suspicious backup is meant to be so, and let pruning go on
    Accept(accept::Args),
    /// Skip a project's slots until it is resumed
    Pause(pause::PauseArgs),
    /// Run a paused project's slots again
    Resume(pause::ResumeArgs),
    /// Check the configuration file
    Check(check::Args),
    /// Find what would fail tonight: clients, logins, rights, space, mail
    Doctor(doctor::Args),
    /// Print the coming slots, and what the retention would keep
    Plan(plan::Args),
    /// Say how each project stands; not zero where one is failing or stale
    Status(status::Args),
    /// Show who restored, merged, drilled, pruned or pinned what, and what came of it
    Audit(audit::Args),
    /// Try out the mail settings
    Notify(notify::Args),
    /// Write the manual pages and the shells' completions, for packages
    #[command(hide = true)]
    Generate(generate::Args),
}

impl Verb {
    /// Whether all that it does is to answer, so that nothing is done where the answer is lost.
    fn is_answer(&self) -> bool {
        use Verb::{Audit, Cat, Check, Diff, Doctor, Generate, List, Plan, Show, Status};
        matches!(self, Audit(_) | Cat(_) | Check(_) | Diff(_) | Doctor(_) | Generate(_) | List(_) | Plan(_) | Show(_) | Status(_))
    }
}

/// An empty variable counts as unset, as everywhere.
fn named_or_usual(config: clap::Arg) -> clap::Arg {
    if std::env::var_os("PGDUMPD_CONFIG").is_some_and(|file| file.is_empty()) { config.env(None::<&str>) } else { config }
}

/// Whether the file was named on the command line; what a variable names counts for whatever is pasted into the same shell.
fn names_config(found: &ArgMatches) -> bool {
    let within = found.subcommand().and_then(|(_, found)| found.value_source("config"));
    [found.value_source("config"), within].contains(&Some(ValueSource::CommandLine))
}

fn verbs() -> Vec<String> {
    Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect()
}

/// A hidden command is nothing that somebody meant who mistyped another.
fn without_hidden(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::Strings(mut names)) = error.remove(ContextKind::SuggestedSubcommand) {
        let command = Cli::command();
        names.retain(|name| !command.find_subcommand(name).is_some_and(clap::Command::is_hide_set));
        if !names.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
        }
    }
    error
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // The process-wide TLS provider can be set only once; nothing before this line could have.
    drop(rustls::crypto::ring::default_provider().install_default());
    // With a handler, a write beyond the limit on file sizes (ulimit -f, LimitFSIZE=) fails and is told; without one it would end the process.
    drop(signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()));
    process::give_way();
    let parsed = Cli::command().mut_arg("config", named_or_usual).try_get_matches();
    let cli = match parsed.and_then(|found| Ok((Cli::from_arg_matches(&found)?, names_config(&found)))) {
        Ok((cli, is_named)) => {
            if let Some(file) = config::unusual(&cli.common.config).filter(|_| is_named) {
                out::name_config(&file, verbs());
            }
            cli
        }
        Err(error) => {
            let error = without_hidden(error);
            // Help and version go to standard output and are no error.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    if reaper::is_needed() && matches!(cli.verb, Verb::Serve(_)) {
        return match reaper::run(std::env::args_os().skip(1).collect()) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => out::failure(&cli.common, &failure).into(),
        };
    }
    let common = &cli.common;
    let answers = cli.verb.is_answer();
    let exit = match cli.verb {
        Verb::Serve(args) => serve::run(common, &args),
        Verb::Backup(args) => backup::run(common, &args),
        Verb::List(args) => list::run(common, &args),
        Verb::Show(args) => show::run(common, &args),
        Verb::Verify(args) => verify::run(common, &args),
        Verb::Drill(args) => drill::run(common, &args),
        Verb::Restore(args) => restore::run(common, &args),
        Verb::Cat(args) => cat::run(common, &args),
        Verb::Diff(args) => diff::run(common, &args),
        Verb::Prune(args) => prune::run(common, &args),
        Verb::Delete(args) => delete::run(common, &args),
        Verb::Pin(args) => pin::run(common, &args, true),
        Verb::Unpin(args) => pin::run(common, &args, false),
        Verb::Accept(args) => accept::run(common, &args),
        Verb::Pause(args) => pause::pause(common, &args),
        Verb::Resume(args) => pause::resume(common, &args),
        Verb::Check(args) => check::run(common, &args),
        Verb::Doctor(args) => doctor::run(common, &args),
        Verb::Plan(args) => plan::run(common, &args),
        Verb::Status(args) => status::run(common, &args),
        Verb::Audit(args) => audit::run(common, &args),
        Verb::Notify(args) => notify::run(common, &args),
        Verb::Generate(args) => generate::run(&args),
    };
    let exit = exit.unwrap_or_else(|failure| out::failure(common, &failure));
    let lost = !out::went_out();
    if lost && answers && exit == Exit::Done { Exit::Failed.into() } else { exit.into() }
}
