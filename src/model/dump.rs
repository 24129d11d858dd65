//! What a dump holds and how it is written: content, selection, format and compression.
//!
//! The [`Selection`] is what retention keeps apart: a schema-only or one-table backup never stands in for a full one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::options;
use crate::shell;

/// Which part of the database goes into the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Definitions and rows.
    #[default]
    Full,
    /// Definitions only (`pg_dump --schema-only`).
    Schema,
    /// Rows only (`pg_dump --data-only`).
    Data,
    /// Roles and tablespaces of the whole server (`pg_dumpall --globals-only`).
    Globals,
}

impl Content {
    /// The word used in file names, manifests and configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Schema => "schema",
            Self::Data => "data",
            Self::Globals => "globals",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The form `pg_dump` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `-Fc`, the only form whose tables can be read one by one.
    #[default]
    Custom,
    /// SQL text.
    Plain,
    /// `-Ft`.
    Tar,
    /// `-Fd`, dumped with several connections into scratch and stored as one tar.
    Directory,
}

impl Format {
    /// The word used in manifests and configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Plain => "plain",
            Self::Tar => "tar",
            Self::Directory => "directory",
        }
    }

    /// The file name's ending for this format, before the compression's: `dump`, `sql`, `tar`, `dir.tar`.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Custom => "dump",
            Self::Plain => "sql",
            Self::Tar => "tar",
            // pg_restore doesn't take the one for the other.
            Self::Directory => "dir.tar",
        }
    }
}

/// Who compresses, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "algorithm", content = "level")]
pub enum Compression {
    /// zstd, levels 1 to 19.
    Zstd(i32),
    /// gzip, levels 1 to 9.
    Gzip(u32),
    /// bzip2, levels 1 to 9.
    Bzip2(u32),
    /// The bytes of `pg_dump -Z0` as they are.
    None,
    /// `pg_dump`'s own compression, so that `pg_restore` opens the file as it is.
    Native,
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(3)
    }
}

impl Compression {
    /// The word used in manifests and configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Zstd(_) => "zstd",
            Self::Gzip(_) => "gzip",
            Self::Bzip2(_) => "bzip2",
            Self::None => "none",
            Self::Native => "native",
        }
    }

    /// The ending that the compression adds to a file name (`zst`), if any.
    #[must_use]
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Zstd(_) => Some("zst"),
            Self::Gzip(_) => Some("gz"),
            Self::Bzip2(_) => Some("bz2"),
            Self::None | Self::Native => None,
        }
    }
}

/// What shapes one dump: everything on `pg_dump`'s command line that isn't about connecting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DumpShape {
    /// Definitions, rows or both.
    pub content: Content,
    /// Archive format.
    pub format: Format,
    /// Compression and level.
    pub compression: Compression,
    /// `--table` patterns, psql's pattern rules (manual: psql, Patterns).
    pub include_tables: Vec<String>,
    /// `--exclude-table` patterns.
    pub exclude_tables: Vec<String>,
    /// `--schema` patterns.
    pub include_schemas: Vec<String>,
    /// `--exclude-schema` patterns.
    pub exclude_schemas: Vec<String>,
    /// Tables dumped without their rows, `--exclude-table-data` patterns.
    pub exclude_table_data: Vec<String>,
    /// Further vetted `pg_dump` options, one word each (`--no-comments`); the allow-list is in `options`.
    pub options: Vec<String>,
    /// Parallel jobs of the directory format; 1 otherwise.
    pub jobs: u32,
}

impl DumpShape {
    /// How many connections `pg_dump` makes: one, and one for each of several jobs (manual: `pg_dump`, `-j`).
    #[must_use]
    pub fn connections(&self) -> u32 {
        if self.format == Format::Directory && self.jobs > 1 { self.jobs + 1 } else { 1 }
    }

    /// The selection this shape makes: equal for two shapes that dump the same things, whatever format or compression.
    #[must_use]
    pub fn selection(&self) -> Selection {
        let mut text = String::from(self.content.word());
        let options = options::that_select(&self.options);
        let parts = [
            ("table", &self.include_tables),
            ("exclude-table", &self.exclude_tables),
            ("schema", &self.include_schemas),
            ("exclude-schema", &self.exclude_schemas),
            ("exclude-table-data", &self.exclude_table_data),
            ("option", &options),
        ];
        for (word, values) in parts {
            let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
            values.sort_unstable();
            values.dedup();
            for value in values {
                text.push_str(&format!(" {word}={value:?}"));
            }
        }
        Selection(text)
    }
}

/// Content plus include, exclude and shaping options in canonical text: `full`, `schema`, `full table="orders"`.
///
/// Retention, alerts and size estimates are kept per project, database and selection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selection(pub String);

/// No shape makes this one: what follows a shape's first word always has a value.
const BEFORE_RESTORE: &str = "full before-restore";

impl Selection {
    /// The selection of a whole database.
    #[must_use]
    pub fn full() -> Self {
        Self(String::from("full"))
    }

    /// The selection of the server's roles and tablespaces.
    #[must_use]
    pub fn globals() -> Self {
        Self(String::from("globals"))
    }

    /// The selection of what an in-place restore was about to overwrite: a whole database, but in a row of its own, so that nothing that
    /// asks for the newest full backup (a name, a drill, an age, the habit) takes the state that somebody wanted to be rid of for it.
    #[must_use]
    pub fn before_restore() -> Self {
        Self(String::from(BEFORE_RESTORE))
    }

    /// Whether this is what an in-place restore was about to overwrite.
    #[must_use]
    pub fn is_before_restore(&self) -> bool {
        self.0 == BEFORE_RESTORE
    }

    /// Whether this is the whole database; only such a backup answers "when was the last good full one".
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0 == "full"
    }

    /// What a backup of it is called in a sentence: `full backup`, `backup (schema)`.
    #[must_use]
    pub fn backup(&self) -> String {
        if self.is_full() { String::from("full backup") } else { format!("backup ({self})") }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The line that restores an artifact with standard tools alone into a new and empty database, told by its name: typed in its folder, or
/// anywhere where `file` is a path. `own` names the database that a script makes by itself and goes to, whatever psql is told: it begins
/// in another one, which it only leaves.
#[must_use]
pub fn restore_command(file: &str, content: Content, own: Option<&str>) -> String {
    let quoted = shell::file(file);
    let (stem, reader) = match file.rsplit_once('.') {
        Some((stem, "zst")) => (stem, Some("zstd -dc")),
        Some((stem, "gz")) => (stem, Some("gzip -dc")),
        Some((stem, "bz2")) => (stem, Some("bzip2 -dc")),
        _ => (file, None),
    };
    if stem.ends_with(".dir.tar") {
        let unpacked = match reader {
            Some(reader) => format!("{reader} {quoted} | tar -x -C NEW_FOLDER"),
            None => format!("tar -x -C NEW_FOLDER -f {quoted}"),
        };
        return format!("mkdir NEW_FOLDER && {unpacked} && pg_restore --exit-on-error -j 4 -d NEW_DATABASE NEW_FOLDER");
    }
    let restorer = match (content, stem.rsplit_once('.')) {
        (Content::Globals, _) => "psql -X -d postgres",
        (_, Some((_, "sql"))) => match own {
            None => "psql -X -v ON_ERROR_STOP=1 -d NEW_DATABASE",
            // No database can be dropped from within.
            Some("postgres") => "psql -X -v ON_ERROR_STOP=1 -d template1",
            Some(_) => "psql -X -v ON_ERROR_STOP=1 -d postgres",
        },
        _ => "pg_restore --exit-on-error -d NEW_DATABASE",
    };
    match reader {
        Some(reader) => format!("{reader} {quoted} | {restorer}"),
        None if restorer.starts_with("psql") => format!("{restorer} -f {quoted}"),
        None => format!("{restorer} {quoted}"),
    }
}

/// Whether a stored file is a script, by its name: `pg_restore` reads archives alone.
#[must_use]
pub fn is_script(file: &str) -> bool {
    file.rsplit('.').take(2).any(|ending| ending == "sql")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selection_ignores_order_format_and_compression() {
        let one = DumpShape { include_tables: vec!["b".into(), "a".into()], ..DumpShape::default() };
        let two = DumpShape {
            include_tables: vec!["a".into(), "b".into()],
            format: Format::Tar,
            compression: Compression::None,
            ..DumpShape::default()
        };
        assert_eq!(one.selection(), two.selection());
        assert_eq!(one.selection().0, r#"full table="a" table="b""#);
    }

    #[test]
    fn selection_tells_content_and_filters_apart() {
        let full = DumpShape::default().selection();
        assert!(full.is_full());
        let schema = DumpShape { content: Content::Schema, ..DumpShape::default() }.selection();
        let without = DumpShape { exclude_tables: vec!["log".into()], ..DumpShape::default() }.selection();
        assert_ne!(full, schema);
        assert!(!without.is_full());
        let with = |options: &[&str]| {
            DumpShape { options: options.iter().map(|option| String::from(*option)).collect(), ..DumpShape::default() }.selection()
        };
        assert!(with(&["--no-comments", "-O", "--clean", "-C", "--inserts"]).is_full(), "nothing of the database is left out");
        assert_eq!(with(&["-B", "--no-owner"]), Selection(String::from("full option=\"--no-blobs\"")));
    }

    #[test]
    fn restore_commands_are_the_lines_to_type() {
        let full = |file| restore_command(file, Content::Full, None);
        assert_eq!(full("a.dump.zst"), "zstd -dc a.dump.zst | pg_restore --exit-on-error -d NEW_DATABASE");
        assert_eq!(full("a.dump"), "pg_restore --exit-on-error -d NEW_DATABASE a.dump");
        assert_eq!(full("a.sql.gz"), "gzip -dc a.sql.gz | psql -X -v ON_ERROR_STOP=1 -d NEW_DATABASE");
        assert_eq!(full("a%20b.tar"), "pg_restore --exit-on-error -d NEW_DATABASE 'a%20b.tar'");
        assert_eq!(full("/it's/a.dump"), r"pg_restore --exit-on-error -d NEW_DATABASE '/it'\''s/a.dump'");
        assert_eq!(
            full("a.dir.tar.zst"),
            "mkdir NEW_FOLDER && zstd -dc a.dir.tar.zst | tar -x -C NEW_FOLDER && pg_restore --exit-on-error -j 4 -d NEW_DATABASE NEW_FOLDER"
        );
        assert_eq!(
            full("a.dir.tar"),
            "mkdir NEW_FOLDER && tar -x -C NEW_FOLDER -f a.dir.tar && pg_restore --exit-on-error -j 4 -d NEW_DATABASE NEW_FOLDER"
        );
        assert_eq!(restore_command("g.sql", Content::Globals, None), "psql -X -d postgres -f g.sql");
        let own = |file, name| restore_command(file, Content::Full, Some(name));
        assert_eq!(own("a.sql", "shop"), "psql -X -v ON_ERROR_STOP=1 -d postgres -f a.sql");
        assert_eq!(own("a.sql.gz", "postgres"), "gzip -dc a.sql.gz | psql -X -v ON_ERROR_STOP=1 -d template1");
        assert_eq!(own("a.dump", "shop"), "pg_restore --exit-on-error -d NEW_DATABASE a.dump");
    }
}
