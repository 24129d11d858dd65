//! What makes a database the same to its applications: owner, privileges, settings, connection limit, comment. Asked for, and as statements.
//!
//! Owns the queries and the statements. A swap carries them over from the old database, a new one gets them from the manifest.

use super::database::{Database, comment, give};
use super::quote::{ident, literal};
use super::session::Session;
use crate::error::Result;
use crate::model::database::{DatabaseProperties, Grant, Setting};

/// Settings whose values are lists of names (`GUC_LIST_QUOTE` in the server's sources): each name is quoted alone.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// The privileges that there are on databases: a manifest is no place to take others from.
const PRIVILEGES: [&str; 4] = ["CONNECT", "CREATE", "TEMP", "TEMPORARY"];

/// Members of a JSON object about the database `d` of `pg_database`.
pub(super) const LIKENESS: &str = "'comment', shobj_description(d.oid, 'pg_database'),
    'grants', case when d.datacl is not null then (select coalesce(json_agg(json_build_object('privilege', a.privilege_type,
       'to', case when a.grantee <> 0 then pg_get_userbyid(a.grantee) end, 'grantable', a.is_grantable)), '[]')
       from aclexplode(d.datacl) a) end,
    'settings', (select coalesce(json_agg(json_build_object('role', r.rolname, 'text', u.text) order by r.rolname, u.n), '[]')
       from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
       cross join lateral unnest(s.setconfig) with ordinality u (text, n) where s.setdatabase = d.oid)";

impl Session {
    /// What makes the connected database's like.
    pub fn properties(&mut self) -> Result<DatabaseProperties> {
        let name = self.server().database.clone();
        self.properties_of(&name)
    }

    /// The same of another database.
    pub fn properties_of(&mut self, name: &str) -> Result<DatabaseProperties> {
        let (provider, locale) = match self.server().version_num {
            170_000.. => ("d.datlocprovider", "d.datlocale"),
            150_000.. => ("d.datlocprovider", "d.daticulocale"),
            _ => ("null", "null"),
        };
        let rules = if self.server().version_num >= 160_000 { "d.daticurules" } else { "null" };
        self.ask(&format!(
            "select json_build_object('owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
               'collate', d.datcollate, 'ctype', d.datctype, 'icu_locale', {locale}, 'icu_rules', {rules},
               'locale_provider', {provider}, 'connection_limit', case when d.datconnlimit >= 0 then d.datconnlimit end, {LIKENESS})
             from pg_database d where d.datname = {}",
            literal(name)
        ))
    }

    /// Whether a table, a column or a schema has a name with letters beyond ASCII; in an encoding of several bytes a letter.
    pub fn has_names_beyond_ascii(&mut self) -> Result<bool> {
        let longer = |catalog: &str, name: &str| {
            format!("exists (select from {catalog} where octet_length({name}::text) <> char_length({name}::text))")
        };
        let any = [("pg_class", "relname"), ("pg_namespace", "nspname"), ("pg_attribute", "attname")].map(|(of, name)| longer(of, name));
        self.ask(&format!("select to_json({})", any.join(" or ")))
    }

    /// Whether the server converts text from one encoding to the other.
    pub fn converts(&mut self, from: &str, to: &str) -> Result<bool> {
        self.ask(&format!(
            "select to_json(exists (select from pg_conversion where condefault and conforencoding = pg_char_to_encoding({})
               and contoencoding = pg_char_to_encoding({})))",
            literal(from),
            literal(to)
        ))
    }
}

/// The statements that make `name` what `like` is to its applications.
#[must_use]
pub fn alike(name: &str, like: &Database) -> Vec<String> {
    let mut statements = vec![give(name, &like.owner), comment(name, like.comment.as_deref())];
    statements.extend(rights(name, &like.owner, &like.owner, like.grants.as_deref()));
    statements.extend(like.settings.iter().filter_map(|setting| set(name, setting)));
    statements.extend(u32::try_from(like.connection_limit).ok().map(|limit| limited(name, limit)));
    if like.is_template {
        statements.push(format!("alter database {} is_template true", ident(name)));
    }
    if !like.allows_connections {
        statements.push(format!("alter database {} allow_connections false", ident(name)));
    }
    statements
}

/// The same for a new database, which belongs to `owner`, from what a manifest says; owner and comment come with its name.
#[must_use]
pub fn resembling(name: &str, owner: &str, like: &DatabaseProperties) -> Vec<String> {
    let mut statements = rights(name, owner, &like.owner, like.grants.as_deref());
    statements.extend(like.settings.iter().filter_map(|setting| set(name, setting)));
    statements.extend(like.connection_limit.map(|limit| limited(name, limit)));
    statements
}

fn limited(name: &str, limit: u32) -> String {
    format!("alter database {} connection limit {limit}", ident(name))
}

/// Privileges; what the former owner had is the owner's now.
fn rights(name: &str, owner: &str, former: &str, grants: Option<&[Grant]>) -> Vec<String> {
    let Some(grants) = grants else { return Vec::new() };
    let mut statements = vec![
        format!("revoke all on database {} from public", ident(name)),
        format!("revoke all on database {} from {}", ident(name), ident(owner)),
    ];
    statements.extend(grants.iter().filter(|grant| PRIVILEGES.contains(&grant.privilege.as_str())).map(|grant| {
        let to = grant.to.as_deref().map_or_else(|| String::from("public"), |to| ident(if to == former { owner } else { to }));
        let option = if grant.grantable { " with grant option" } else { "" };
        format!("grant {} on database {} to {to}{option}", grant.privilege, ident(name))
    }));
    statements
}

/// One setting as a statement, the way `pg_dump` writes it.
fn set(name: &str, setting: &Setting) -> Option<String> {
    let (key, value) = setting.text.split_once('=')?;
    let value = if LISTS.contains(&key.to_ascii_lowercase().as_str()) {
        let parts: Vec<String> = list(value).iter().map(|part| literal(part)).collect();
        if parts.is_empty() { String::from("''") } else { parts.join(", ") }
    } else {
        literal(value)
    };
    // A setting of an extension has a dot in its name, which stands between two names.
    let key: Vec<String> = key.split('.').map(ident).collect();
    let whose = match &setting.role {
        None => format!("alter database {}", ident(name)),
        Some(role) => format!("alter role {} in database {}", ident(role), ident(name)),
    };
    Some(format!("{whose} set {} to {value}", key.join(".")))
}

/// The names in a list as the server keeps it: `"$user", public`.
fn list(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut part, mut quoted, mut seen) = (String::new(), false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => (quoted, seen) = (!quoted, true),
            ',' if !quoted => {
                parts.push(std::mem::take(&mut part));
                seen = false;
            }
            _ if letter.is_whitespace() && !quoted => {}
            _ => part.push(letter),
        }
    }
    if seen || !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_are_taken_apart_as_the_server_keeps_them() {
        assert_eq!(list("\"$user\", public"), ["$user", "public"]);
        assert_eq!(list("\"a, \"\"b\"\"\",c"), ["a, \"b\"", "c"]);
        assert_eq!(list("\"\""), [""]);
        assert!(list("").is_empty());
    }

    #[test]
    fn settings_become_statements() {
        let said = |role: Option<&str>, text: &str| set("d", &Setting { role: role.map(str::to_owned), text: text.to_owned() }).unwrap();
        assert_eq!(said(None, "work_mem=1MB"), "alter database \"d\" set \"work_mem\" to E'1MB'");
        assert_eq!(said(Some("r"), "search_path=\"$user\", x"), "alter role \"r\" in database \"d\" set \"search_path\" to E'$user', E'x'");
        assert_eq!(said(None, "my.key=a=b"), "alter database \"d\" set \"my\".\"key\" to E'a=b'");
    }

    #[test]
    fn a_manifest_grants_what_there_is_to_grant_and_to_the_owner_of_now() {
        let grant = |privilege: &str, to: Option<&str>| Grant { privilege: privilege.into(), to: to.map(str::to_owned), grantable: false };
        let grants = [grant("CONNECT", Some("former")), grant("CREATE", Some("r")), grant("ALL on t to x; drop table y; --", None)];
        let said = rights("d", "now", "former", Some(&grants));
        assert_eq!(said[2..], ["grant CONNECT on database \"d\" to \"now\"", "grant CREATE on database \"d\" to \"r\""]);
        assert!(rights("d", "now", "former", None).is_empty());
    }
}
