//! `pgdumpd cat`

use crate::error::Result;
use crate::ops::artifact;
use crate::ops::read::{self, Output};
use crate::postgres::archive::name::Wanted;
use crate::process::Cancel;

use super::exit::Exit;
use super::{Common, given, out};

/// Write the rows of one table in a backup, or in any dump file, to standard output, without a server.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
csv is what psql's \\copy writes, with a header: NULL is nothing, an empty text is \"\". json is one
object a line; numbers and booleans stand bare where the table's definition says so, all other values
are strings. copy is COPY text, fit for \\copy TABLE FROM STDIN. Generated columns aren't in a dump.
The rows of a partitioned table are those of its partitions, one after another. Only the part of the
file where the table lies is read; its rows are counted against the manifest and compared with their
checksum: altered rows end with exit 1.

Examples:
  pgdumpd cat shop@latest orders > orders.csv
  pgdumpd cat k3f9q2abcd 'public.\"Order Items\"' --format json | jq .
  pgdumpd cat latest users --format copy | psql -d shop -c '\\copy users from stdin'
  pgdumpd cat ./shop.dump orders    a file, whoever made it; no configuration is needed")]
pub(super) struct Args {
    /// An id or its beginning, a file name, PROJECT@latest, PROJECT/DATABASE@latest, or latest; or the path of a dump file
    #[arg(value_name = "BACKUP|FILE")]
    backup: String,
    /// TABLE or SCHEMA.TABLE; double quotes as in psql
    table: String,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
    Copy,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let wanted = Wanted::parse(&args.table)?;
    let (storage, manifest) = given::opened(common, &args.backup, given::contents)?;
    let output = match args.format {
        _ if common.json => Output::Json,
        Format::Csv => Output::Csv,
        Format::Json => Output::Json,
        Format::Copy => Output::Copy,
    };
    let written = read::cat(storage.as_ref(), &manifest, &wanted, output, &mut std::io::stdout())?;
    // Where nothing vouches for the rows, all bytes are compared: after them, as they may be all that is left.
    if !written.closed && !written.vouched && !manifest.is_of_the_file_itself() {
        artifact::check(storage.as_ref(), &manifest, &Cancel::new())
            .map_err(|failure| failure.context("what was written may be altered"))?;
    }
    if !written.partitions.is_empty() && !written.closed {
        let (count, names) = (out::count(written.partitions.len() as u64, "partition"), written.partitions.join(", "));
        out::note(format!("{} is partitioned: these were the rows of its {count}, one after another: {names}", written.table));
    }
    Ok(Exit::Done)
}
