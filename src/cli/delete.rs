//! `pgdumpd delete`

use serde_json::json;

use crate::error::Result;
use crate::jobs::delete;
use crate::ops::delete::{self as verb, Deletion};
use crate::units::show_size;

use super::exit::Exit;
use super::{Common, out, pick, world};

/// Remove one backup, whatever the retention says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For a backup that is damaged, whose files are gone, or that must not be kept. What the retention no longer
keeps goes by itself. A pinned backup stays; the newest good one of a database needs --confirm.

Examples:
  pgdumpd delete k3f9q2abcd --dry-run    which files that are
  pgdumpd delete k3f9q2abcd              remove them, and what `status` says of them")]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or PROJECT@TIME
    backup: String,
    /// Show what would go, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove it although nothing as good is left then
    #[arg(long, conflicts_with = "dry_run")]
    confirm: bool,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let settings = world::settings(common)?;
    let world = if args.dry_run { world::look(common, &settings)? } else { world::existing(common, &settings)? };
    let row = pick::backup(&world, &settings, &args.backup)?;
    let deletion = if args.dry_run {
        verb::plan(&world, world.storage_of(&row)?.as_ref(), &row.id)?
    } else {
        delete::run(&world, &row, args.confirm)?
    };
    if common.json {
        out::json(&json!({
            "success": true,
            "deletedFile": deletion.backup.file,
            "freedSpace": deletion.size,
            "dryRun": args.dry_run,
            "files": deletion.files,
            "loss": deletion.loss,
            "backup": deletion.backup,
        }))?;
    } else {
        print(&deletion, args.dry_run);
    }
    Ok(Exit::Done)
}

fn print(deletion: &Deletion, dry_run: bool) {
    let Deletion { backup, files, size, loss } = deletion;
    let (would, freed) = if dry_run { ("would be ", "to be freed") } else { ("", "freed") };
    out::say(format!("{} {}/{} {would}removed, {} {freed}", backup.id, backup.project, backup.database, show_size(*size)));
    if dry_run {
        files.iter().for_each(|file| out::say(format!("  {file}")));
        if let Some(loss) = loss {
            out::note(format!("it is {loss}: --confirm is needed"));
        }
    }
}
