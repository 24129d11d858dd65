//! What a plain dump by `pg_dump --create` does: it leaves the database that psql was given, and makes one of its own. And what other dumps
//! need to find in the one that they are given.
//!
//! Who types its restore line has to know which database that is, and whether it takes the place of one that is there.

use super::backup::Manifest;
use super::dump::{Content, Format};

impl Manifest {
    /// The database that the script makes and goes to by itself, whatever psql is told.
    #[must_use]
    pub fn own_database(&self) -> Option<&str> {
        let makes = self.has_option(&["--create", "-C"]) && self.content != Content::Globals;
        (makes && self.dump_format == Format::Plain).then_some(self.database_name.as_str())
    }

    /// What becomes of that database, as half a sentence; none where a restore goes where it is told.
    #[must_use]
    pub fn own_way(&self) -> Option<String> {
        let name = self.own_database()?;
        Some(if self.has_option(&["--clean", "-c"]) {
            format!("this script drops the database {name:?} with all that is in it, and makes it anew; it restores into no other")
        } else {
            format!("this script makes the database {name:?} by itself, and fails where there is one; it restores into no other")
        })
    }

    /// What has to be in the database already where the line is to succeed, as half a sentence; none where it may be new and empty.
    #[must_use]
    pub fn presumes(&self) -> Option<&'static str> {
        let sections = || self.options.iter().filter_map(|option| option.strip_prefix("--section="));
        let cleans = self.has_option(&["--clean", "-c"]) && !self.has_option(&["--if-exists"]);
        if self.content == Content::Data || (sections().next().is_some() && !sections().any(|section| section == "pre-data")) {
            Some("it holds no definitions of tables: the restore line needs a database that has them")
        } else if self.own_database().is_none() && self.dump_format == Format::Plain && cleans {
            Some("the script drops what it makes first, and fails where that is not there: in a new database it needs --if-exists as well")
        } else if self.selection.0.contains(" table=") {
            Some(
                "it holds what was selected alone: the restore line needs a database that has its schema, and what else it builds on \
                 (types, functions, tables of a view or a foreign key)",
            )
        } else {
            None
        }
    }

    /// The line that restores it with standard tools alone, also where the manifest was written by a release that knew no better.
    #[must_use]
    pub fn line_by_hand(&self) -> String {
        match self.own_database() {
            None => self.restore_command.clone(),
            Some("postgres") => self.restore_command.replace(" -d NEW_DATABASE", " -d template1"),
            Some(_) => self.restore_command.replace(" -d NEW_DATABASE", " -d postgres"),
        }
    }

    fn has_option(&self, names: &[&str]) -> bool {
        self.options.iter().any(|option| names.contains(&option.as_str()))
    }
}
