//! The options of a backup without a configuration.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::config::adhoc::Said;

/// The heading of these options.
const HEADING: &str = "Without a configuration";

/// What a person says of one backup.
#[derive(Debug, clap::Args)]
#[group(id = "oneoff")]
pub(in crate::cli) struct Args {
    /// Back up this database: a URL, or keywords ("host=db dbname=shop", "service=shop"); else `DATABASE_URL`, or libpq's PGHOST and kin
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    pub(super) url: Option<String>,
    /// Where to: a file, which is replaced once the new one is whole; a folder; or - for standard output
    #[arg(long, short, value_name = "FILE|DIR|-", help_heading = HEADING)]
    pub(super) output: Option<String>,
    /// The folder that the output must not leave; with --env it is made if missing
    #[arg(long, value_name = "DIR", help_heading = HEADING)]
    pub(super) output_dir: Option<PathBuf>,
    /// `pg_dump`'s format; unless given, the output's name tells (.sql, .tar), else custom. A directory is stored as one tar
    #[arg(long, value_name = "FORMAT", help_heading = HEADING)]
    pub(super) format: Option<Format>,
    /// Connections that dump in parallel, in the directory format
    #[arg(long, value_name = "N", help_heading = HEADING)]
    pub(super) jobs: Option<u32>,
    /// Only these tables, separated by commas; names as `pg_dump` takes them: "Mixed Case" in double quotes
    #[arg(long, value_name = "A,B", help_heading = HEADING)]
    tables: Vec<String>,
    /// Only these schemas
    #[arg(long, value_name = "A,B", help_heading = HEADING)]
    schemas: Vec<String>,
    /// Not these tables
    #[arg(long, value_name = "A,B", help_heading = HEADING)]
    exclude_tables: Vec<String>,
    /// Not these schemas
    #[arg(long, value_name = "A,B", help_heading = HEADING)]
    exclude_schemas: Vec<String>,
    /// These tables without their rows
    #[arg(long, value_name = "A,B", help_heading = HEADING)]
    exclude_table_data: Vec<String>,
    /// Rows only
    #[arg(long, conflicts_with = "schema_only", help_heading = HEADING)]
    data_only: bool,
    /// Definitions only
    #[arg(long, help_heading = HEADING)]
    schema_only: bool,
    /// zstd, gzip or bzip2, each with a level if wanted (zstd:9); none; native (`pg_dump`'s own). Unless given, the output's name tells
    #[arg(long, value_name = "METHOD[:LEVEL]", help_heading = HEADING)]
    pub(super) compress: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long, help_heading = HEADING)]
    pub(super) dry_run: bool,
    /// The database that `DEV_DB_*` or `DB_*` (HOST, PORT, NAME, USER, PASSWORD) name in the environment, .env.local or .env; auto asks `ENV_MODE`
    #[arg(long, value_name = "dev|prod|auto", conflicts_with_all = ["url", "output"], help_heading = HEADING)]
    pub(super) env: Option<Mode>,
    /// Check a dump file: its metadata, checksum, structure and rows; the same as `pgdumpd verify FILE`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "output", "env", "list"], help_heading = HEADING)]
    pub(super) verify: Option<PathBuf>,
    /// List the dump files of --output-dir (else ./backups), newest first
    #[arg(long, conflicts_with_all = ["url", "output", "env"], help_heading = HEADING)]
    pub(super) list: bool,
    /// Further options for `pg_dump`, as far as they break no promise
    #[arg(last = true, value_name = "PG_DUMP OPTIONS", help_heading = HEADING)]
    options: Vec<String>,
}

/// `pg_dump`'s formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Plain,
    Custom,
    Tar,
    Directory,
}

impl Format {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Custom => "custom",
            Self::Tar => "tar",
            Self::Directory => "directory",
        }
    }
}

/// Which of an application's databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    Dev,
    Prod,
    Auto,
}

impl Args {
    /// Whether any of these options is there.
    pub(in crate::cli) fn are_given(&self) -> bool {
        let words = [&self.url, &self.output, &self.compress].iter().any(|word| word.is_some());
        let lists = [&self.tables, &self.schemas, &self.exclude_tables, &self.exclude_schemas, &self.exclude_table_data, &self.options];
        let flags = self.data_only || self.schema_only || self.dry_run || self.list;
        let others = self.output_dir.is_some() || self.verify.is_some() || self.env.is_some();
        words || flags || others || self.format.is_some() || self.jobs.is_some() || lists.iter().any(|list| !list.is_empty())
    }

    /// The option that looks at what was made, where one does.
    pub(super) fn looks(&self) -> Option<&'static str> {
        self.list.then_some("--list").or(self.verify.as_ref().map(|_| "--verify"))
    }

    /// The first option that was given with nothing in it; an empty path is refused as the command line is read.
    pub(super) fn empty(&self) -> Option<&'static str> {
        let words = [("--url", &self.url), ("--output", &self.output), ("--compress", &self.compress)];
        let lists = [
            ("--tables", &self.tables),
            ("--schemas", &self.schemas),
            ("--exclude-tables", &self.exclude_tables),
            ("--exclude-schemas", &self.exclude_schemas),
            ("--exclude-table-data", &self.exclude_table_data),
        ];
        let blank = |text: &str| text.trim().is_empty();
        let word = words.into_iter().find(|(_, word)| word.as_deref().is_some_and(blank)).map(|(name, _)| name);
        let nothing = |list: &[String]| list.iter().any(|value| split(std::slice::from_ref(value)).is_empty());
        let list = || lists.into_iter().find(|(_, list)| nothing(list)).map(|(name, _)| name);
        word.or_else(list)
    }

    /// What shapes the dump, by the configuration's keys; format and compression where the options say.
    pub(super) fn said(&self, connection: String) -> Said {
        let content = match (self.data_only, self.schema_only) {
            (true, _) => Some("data"),
            (_, true) => Some("schema"),
            _ => None,
        };
        let lists = [
            ("tables", split(&self.tables)),
            ("schemas", split(&self.schemas)),
            ("exclude_tables", split(&self.exclude_tables)),
            ("exclude_schemas", split(&self.exclude_schemas)),
            ("exclude_table_data", split(&self.exclude_table_data)),
            ("options", self.options.clone()),
        ];
        Said {
            connection,
            words: content.map(|content| ("content", content.to_owned())).into_iter().collect(),
            lists: lists.into_iter().filter(|(_, values)| !values.is_empty()).collect(),
            jobs: self.jobs,
        }
    }
}

/// The parts between commas that stand outside of double quotes.
fn split(values: &[String]) -> Vec<String> {
    let mut parts = Vec::new();
    for value in values {
        let (mut quoted, mut part) = (false, String::new());
        for letter in value.chars() {
            quoted ^= letter == '"';
            if letter == ',' && !quoted {
                parts.push(std::mem::take(&mut part));
            } else {
                part.push(letter);
            }
        }
        parts.push(part);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commas_in_double_quotes_belong_to_the_name() {
        let given = ["a, b.c".to_owned(), "\"x, \"\"y\",z,".to_owned()];
        assert_eq!(split(&given), ["a", "b.c", "\"x, \"\"y\"", "z"]);
    }
}
