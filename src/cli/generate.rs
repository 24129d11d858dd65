//! `pgdumpd generate`: the manual pages and completions that packages bring, made from the very command line they describe.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
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
        clap_complete::generate_to(shell, &mut Cli::command(), "pgdumpd", &completions)?;
    }
    Ok(())
}
