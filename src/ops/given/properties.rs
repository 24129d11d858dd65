//! What dumps say of the database that they are of: in an archive's entry for it, and in a script's head. Pure.

use crate::model::backup::Manifest;
use crate::model::database::DatabaseProperties;
use crate::postgres::version;

/// The properties in an archive's CREATE DATABASE; none where it leaves out what is needed.
pub(super) fn of_database(defn: &str, owner: &str) -> Option<DatabaseProperties> {
    let value = |key: &str| literal(defn, key);
    let locale = value("LOCALE");
    let part = |key: &str| value(key).or_else(|| locale.clone());
    let provider = match word(defn, "LOCALE_PROVIDER").as_deref() {
        Some("icu") => Some("i"),
        Some("builtin") => Some("b"),
        Some(_) => Some("c"),
        None => None,
    };
    Some(DatabaseProperties {
        owner: owner.to_owned(),
        encoding: value("ENCODING")?,
        collate: part("LC_COLLATE")?,
        ctype: part("LC_CTYPE")?,
        icu_locale: value("ICU_LOCALE").or_else(|| value("BUILTIN_LOCALE")),
        icu_rules: value("ICU_RULES"),
        locale_provider: provider.map(str::to_owned),
        comment: None,
        connection_limit: None,
        grants: None,
        settings: Vec::new(),
    })
}

/// The string behind ` KEY = `, as `pg_dump` writes it.
fn literal(defn: &str, key: &str) -> Option<String> {
    let rest = behind(defn, key)?.strip_prefix('\'')?;
    let mut text = String::new();
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if letters.peek() == Some(&'\'') => {
                letters.next();
                text.push('\'');
            }
            '\'' => return Some(text),
            _ => text.push(letter),
        }
    }
    None
}

fn word(defn: &str, key: &str) -> Option<String> {
    behind(defn, key).and_then(|rest| rest.split([' ', ';']).next()).map(str::to_owned)
}

/// What follows ` KEY = ` outside of quotes: the database's own name may hold anything.
fn behind<'a>(defn: &'a str, key: &str) -> Option<&'a str> {
    let wanted = format!(" {key} = ");
    let mut quote = None;
    for (at, letter) in defn.char_indices() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ' ') => {
                if let Some(rest) = defn.get(at..).and_then(|rest| rest.strip_prefix(&wanted)) {
                    return Some(rest);
                }
            }
            _ => {}
        }
    }
    None
}

/// The versions in a script's first comments, and the database that it makes by itself, perhaps in the place of another.
pub(super) fn of_script(head: &[u8], manifest: &mut Manifest) {
    let head = String::from_utf8_lossy(head);
    let behind = |words: &str| head.lines().find_map(|line| line.strip_prefix(words)).map(|rest| rest.trim().to_owned());
    manifest.postgresql_version = behind("-- Dumped from database version ").unwrap_or_default();
    manifest.pg_dump_version = behind("-- Dumped by pg_dump version ").unwrap_or_default();
    manifest.postgresql_version_num = version::number(&manifest.postgresql_version).unwrap_or_default();
    if let Some(name) = behind("CREATE DATABASE ").as_deref().and_then(first_name) {
        manifest.options.push(String::from("--create"));
        manifest.database_name = name;
    }
    if behind("DROP DATABASE ").is_some() {
        manifest.options.push(String::from("--clean"));
    }
}

/// The name that a statement's rest begins with.
fn first_name(rest: &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        return rest.split([' ', ';']).next().filter(|name| !name.is_empty()).map(str::to_owned);
    };
    let mut name = String::new();
    let mut letters = quoted.chars().peekable();
    loop {
        match letters.next()? {
            '"' if letters.peek() == Some(&'"') => {
                letters.next();
                name.push('"');
            }
            '"' => return Some(name),
            letter => name.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_from_what_each_release_writes() {
        let of = |defn: &str| of_database(defn, "me");
        let old = of("CREATE DATABASE x WITH TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'de_DE.UTF-8' LC_CTYPE = 'C';\n").unwrap();
        assert_eq!((old.collate.as_str(), old.ctype.as_str(), old.locale_provider), ("de_DE.UTF-8", "C", None));
        let tricky = "CREATE DATABASE \"a ENCODING = 'x' \"\"b\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LOCALE_PROVIDER = libc LOCALE = 'C';\n";
        let new = of(tricky).unwrap();
        assert_eq!((new.encoding.as_str(), new.collate.as_str(), new.locale_provider.as_deref()), ("LATIN1", "C", Some("c")));
        let icu = "CREATE DATABASE x WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C.UTF-8' ICU_LOCALE = 'de-u-co-phonebk' ICU_RULES = '&a < g';";
        let icu = of(icu).unwrap();
        assert_eq!(
            (icu.ctype.as_str(), icu.icu_locale.as_deref(), icu.locale_provider.as_deref()),
            ("C.UTF-8", Some("de-u-co-phonebk"), Some("i"))
        );
        assert_eq!(icu.icu_rules.as_deref(), Some("&a < g"));
        assert_eq!(of("CREATE DATABASE x;"), None);
    }

    #[test]
    fn a_script_names_its_versions() {
        let head = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\n-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)\n-- Dumped by pg_dump version 17.2\n";
        let mut manifest = crate::manifest::tests::manifest();
        of_script(head, &mut manifest);
        assert_eq!((manifest.postgresql_version_num, manifest.pg_dump_version.as_str()), (150_018, "17.2"));
        assert_eq!(manifest.own_way(), None);
    }

    #[test]
    fn a_script_names_the_database_that_it_makes_and_drops() {
        let head = b"SET x = 1;\r\nDROP DATABASE IF EXISTS \"a \"\"b\";\r\nCREATE DATABASE \"a \"\"b\" WITH TEMPLATE = template0;\r\n";
        let mut manifest = crate::manifest::tests::manifest();
        (manifest.dump_format, manifest.options) = (crate::model::dump::Format::Plain, Vec::new());
        of_script(head, &mut manifest);
        assert_eq!(manifest.own_database(), Some("a \"b"));
        assert!(manifest.own_way().unwrap().contains("drops the database \"a \\\"b\""));
        assert_eq!(first_name("shop;"), Some(String::from("shop")));
    }
}
