//! Whether what a session begins may change anything, and what says that it may not (`default_transaction_read_only`).
//!
//! Owns [`ReadOnly`] and its words. It never decides whom that stops: restores, drills and merges do.

use serde::Deserialize;

use super::quote::ident;
use super::session::Session;
use crate::error::{Cause, Failure, Result};

/// The setting.
const SETTING: &str = "default_transaction_read_only";

/// The file that ALTER SYSTEM writes.
const AUTO: &str = "postgresql.auto.conf";

/// What makes a role's sessions read-only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReadOnly {
    /// Where that comes from, as `pg_settings` calls it: `database`, `user`, `configuration file`.
    pub source: String,
    /// The role whose sessions they are.
    pub role: String,
    /// The database that was asked in; unset for one that is yet to be made.
    pub database: Option<String>,
    /// The file that it stands in, where the role may know.
    pub file: Option<String>,
}

impl Session {
    /// Why sessions like this one can change nothing in its database, if so.
    pub fn read_only(&mut self) -> Result<Option<ReadOnly>> {
        self.ask(&format!(
            "select coalesce((select json_build_object('source', s.source, 'role', session_user, 'database', current_database(),
               'file', s.sourcefile) from pg_settings s where s.name = '{SETTING}' and s.setting = 'on'), 'null')"
        ))
    }

    /// The same for sessions in a database that is yet to be made: what is set for this one alone doesn't concern them.
    pub fn read_only_anew(&mut self) -> Result<Option<ReadOnly>> {
        self.ask(&format!(
            "select coalesce((select json_build_object('source', f.source, 'role', session_user, 'file', f.file)
             from pg_settings s cross join lateral (
               select s.source, s.sourcefile as file, s.setting = 'on' as is_on where s.source not in ('database', 'database user', 'session')
               union all (select case when d.setrole = 0 then 'global' else 'user' end, null, split_part(u.text, '=', 2)::bool
                 from pg_db_role_setting d cross join lateral unnest(d.setconfig) u (text)
                 where s.source in ('database', 'database user', 'session') and d.setdatabase = 0 and u.text like '{SETTING}=%'
                   and d.setrole in (0, (select r.oid from pg_roles r where r.rolname = session_user))
                 order by d.setrole desc limit 1)) f
             where s.name = '{SETTING}' and f.is_on), 'null')"
        ))
    }

    /// Lets this connection make, rename and drop databases also where its own one's transactions are to change nothing: that is no word about others.
    pub fn reach_beyond(&mut self) -> Result<()> {
        self.tell(&format!(
            "select set_config(s.name, 'off', false) from pg_settings s
             where s.name = '{SETTING}' and s.setting = 'on' and s.source in ('database', 'database user')"
        ))
    }
}

impl ReadOnly {
    /// Whether another role's sessions may do better.
    #[must_use]
    pub fn is_of_role(&self) -> bool {
        matches!(self.source.as_str(), "user" | "database user")
    }

    /// Whether sessions in another database may do better.
    #[must_use]
    pub fn is_of_database(&self) -> bool {
        matches!(self.source.as_str(), "database" | "database user")
    }

    /// Nothing can be written by these sessions: who says so, and what to type. `instead` is a way around it.
    #[must_use]
    pub fn failure(&self, instead: Option<&str>) -> Failure {
        let place = self.database.as_ref().map_or_else(String::new, |database| format!(" in the database {database:?}"));
        let words = format!("sessions of the role {}{place} are read-only: {SETTING} is on, set by {}", self.role, self.set_by());
        let or = instead.map_or_else(String::new, |instead| format!("{instead}; or "));
        Failure::new(Cause::Refused, words).hint(format!("{or}{}", self.undone()))
    }

    fn altered(&self) -> Option<String> {
        let (role, database) = (ident(&self.role), ident(self.database.as_deref().unwrap_or_default()));
        match self.source.as_str() {
            "database" => Some(format!("ALTER DATABASE {database}")),
            "user" => Some(format!("ALTER ROLE {role}")),
            "database user" => Some(format!("ALTER ROLE {role} IN DATABASE {database}")),
            "global" => Some(String::from("ALTER ROLE ALL")),
            _ => None,
        }
    }

    fn set_by(&self) -> String {
        match (self.altered(), self.source.as_str(), &self.file) {
            (Some(altered), ..) => altered,
            (None, "configuration file", Some(file)) if file.ends_with(AUTO) => format!("ALTER SYSTEM ({file})"),
            (None, "configuration file", Some(file)) => file.clone(),
            (None, "configuration file", None) => String::from("the server's configuration file"),
            (None, "command line", _) => String::from("the command line of the server"),
            (None, "client", _) => String::from("the options of the connection"),
            (None, other, _) => format!("what pg_settings calls {other:?}"),
        }
    }

    fn undone(&self) -> String {
        match (self.altered(), self.source.as_str(), &self.file) {
            // The statement is a write as well.
            (Some(altered), ..) => {
                format!("type in psql: BEGIN READ WRITE; {altered} RESET {SETTING}; COMMIT; and set it again afterwards")
            }
            (None, "configuration file", Some(file)) if !file.ends_with(AUTO) => {
                format!("take it out of {file}, and type in psql: SELECT pg_reload_conf();")
            }
            (None, "configuration file", Some(_)) => format!("type in psql: ALTER SYSTEM RESET {SETTING}; SELECT pg_reload_conf();"),
            (None, "configuration file", None) => format!("type in psql: ALTER SYSTEM SET {SETTING} = off; SELECT pg_reload_conf();"),
            (None, "client", _) => String::from("take it out of the connection's options"),
            _ => String::from("take it out of what starts the server, and start it again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str, file: Option<&str>) -> (String, String) {
        let database = Some(String::from("sh\"op"));
        let read_only = ReadOnly { source: source.into(), role: "me".into(), database, file: file.map(str::to_owned) };
        let failure = read_only.failure(None);
        (failure.message, failure.hint.unwrap_or_default())
    }

    #[test]
    fn each_source_is_named_with_what_undoes_it() {
        for (source, file, by, undone) in [
            ("database", None, "ALTER DATABASE \"sh\"\"op\"", "ALTER DATABASE \"sh\"\"op\" RESET default_transaction_read_only;"),
            ("user", None, "ALTER ROLE \"me\"", "ALTER ROLE \"me\" RESET default_transaction_read_only;"),
            ("database user", None, "ALTER ROLE \"me\" IN DATABASE \"sh\"\"op\"", "IN DATABASE \"sh\"\"op\" RESET default_"),
            ("global", None, "ALTER ROLE ALL", "ALTER ROLE ALL RESET default_transaction_read_only;"),
            ("configuration file", Some("/etc/x/postgresql.conf"), "/etc/x/postgresql.conf", "take it out of /etc/x/postgresql.conf"),
            (
                "configuration file",
                Some("/d/postgresql.auto.conf"),
                "ALTER SYSTEM (/d/postgresql.auto.conf)",
                "ALTER SYSTEM RESET default_",
            ),
            ("configuration file", None, "the server's configuration file", "ALTER SYSTEM SET default_"),
            ("client", None, "the options of the connection", "the connection's options"),
            ("command line", None, "the command line of the server", "start it again"),
            ("environment variable", None, "what pg_settings calls \"environment variable\"", "start it again"),
        ] {
            let (message, hint) = told(source, file);
            assert!(message.ends_with(&format!("{SETTING} is on, set by {by}")) && hint.contains(undone), "{source}: {message} ({hint})");
        }
    }
}
