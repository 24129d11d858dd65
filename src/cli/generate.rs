//! `pgdumpd generate`: the manual pages and completions that packages bring, made from the very command line they describe.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::error::{Cause, Failure, Result};

use super::Cli;
use super::exit::Exit;

/// Write the manual pages and the shells' completions, for packages.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write to: DIR/man and DIR/completions are made
    dir: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit> {
    generate(&args.dir).map_err(|error| Failure::new(Cause::System, format!("{} can't be written: {error}", args.dir.display())))?;
    Ok(Exit::Done)
}

fn generate(dir: &Path) -> std::io::Result<()> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let file = clap_complete::generate_to(shell, &mut offered(), "pgdumpd", &completions)?;
        if shell == Shell::Bash {
            std::fs::write(&file, bash(&std::fs::read_to_string(&file)?))?;
        }
    }
    Ok(())
}

/// The script for bash, mended where it is in a person's way: names of files are left to bash, which quotes the blanks in them, and options
/// are offered to who has begun one, not where a backup or a file is wanted.
fn bash(script: &str) -> String {
    let script = script.replace("COMPREPLY=($(compgen -f \"${cur}\"))", "COMPREPLY=()").replace(" -F _pgdumpd ", " -F _pgdumpd_wanted ");
    format!("{script}{WANTED}")
}

/// Takes the options out of what is offered.
const WANTED: &str = r#"
_pgdumpd_wanted() {
    _pgdumpd "$@"
    if [[ "$2" != -* ]]; then
        local word offered=("${COMPREPLY[@]}")
        COMPREPLY=()
        for word in "${offered[@]}"; do
            [[ "${word}" == -* ]] || COMPREPLY+=("${word}")
        done
    fi
}
"#;

/// The command line without what is hidden: completions would offer it all the same.
fn offered() -> Command {
    let whole = Cli::command();
    let verbs = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    Command::new("pgdumpd").version(env!("CARGO_PKG_VERSION")).args(whole.get_arguments().cloned()).subcommands(verbs)
}
