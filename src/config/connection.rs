//! Reads `connection` in any of libpq's three forms, and takes a password in it out of it.
//!
//! libpq's rules stay the only rules: a URL stays a URL. Messages never repeat a value, since any part of a mistyped one may be the password.

use std::collections::BTreeMap;

use secrecy::SecretString;
use toml::de::DeValue;

use super::item::{Item, shown};
use super::keywords::{self, KEYWORDS};
use super::report::{Place, Trouble, nearest};
use super::url;
use crate::model::project::Target;

/// A target and the password that stood in it.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) target: Target,
    pub(super) password: Option<SecretString>,
    /// Whether the target says which database, itself or through a service file.
    pub(super) names_database: bool,
    pub(super) place: Place,
}

/// What drivers and poolers read from a URL and libpq doesn't know.
const OF_DRIVERS: [&str; 10] = [
    "schema",
    "currentSchema",
    "connection_limit",
    "pool_timeout",
    "socket_timeout",
    "pgbouncer",
    "statement_cache_size",
    "sslaccept",
    "charset",
    "serverVersion",
];

/// What the readers of keywords answer: each with its value and its place, the password among them.
type Pairs = Vec<(String, String, Place)>;

/// The `connection` key.
pub(super) fn read(item: &Item<'_>) -> Option<Read> {
    match item.value {
        DeValue::String(text) if text.trim() != text.as_ref() => {
            let trouble = Trouble::new("a blank or a line break stands before it or after it");
            item.place.problem(trouble.hint("leave it away; `printf %s` and `tr -d '\\n'` write none"));
            None
        }
        DeValue::String(text) if text.starts_with(['"', '\'']) || text.ends_with('"') => {
            let trouble = Trouble::new("it stands in quotes, which belong to it here");
            item.place.problem(trouble.hint("leave the quotes away: files of variables are not read by a shell"));
            None
        }
        DeValue::Table(_) => from_pairs(item, table(item)?),
        DeValue::String(text) if text.starts_with("postgresql://") || text.starts_with("postgres://") => from_url(item, text),
        DeValue::String(text) if text.contains('=') => match keywords::parse(text) {
            Ok(pairs) => from_pairs(item, pairs.into_iter().map(|(name, value)| (name, value, item.place.clone())).collect()),
            Err(why) => told(item, &why),
        },
        DeValue::String(_) => told(item, "is neither a URL nor a keyword string"),
        _ => item.wrong_type(),
    }
}

fn told<T>(item: &Item<'_>, why: &str) -> Option<T> {
    item.wrong(why);
    None
}

fn from_url(item: &Item<'_>, text: &str) -> Option<Read> {
    let parts = match url::split(text) {
        Ok(parts) => parts,
        Err(trouble) => {
            item.place.problem(trouble);
            return None;
        }
    };
    let mut fine = true;
    for (name, value) in &parts.parameters {
        fine &= name == "ssl" || check(&item.place, name, value);
    }
    let says_where = |name: &str, value: &str| matches!(name, "dbname" | "service") && !value.is_empty();
    let names_database = parts.names_database || parts.parameters.iter().any(|(name, value)| says_where(name, value));
    fine.then(|| Read { target: Target::Url(parts.url), password: parts.password, names_database, place: item.place.clone() })
}

fn from_pairs(item: &Item<'_>, pairs: Pairs) -> Option<Read> {
    let mut words = BTreeMap::new();
    let mut password = None;
    let mut fine = true;
    for (name, value, place) in pairs {
        if name == "password" {
            // libpq takes an empty password for none.
            password = (!value.is_empty()).then(|| SecretString::from(value));
        } else if check(&place, &name, &value) {
            words.insert(name, value);
        } else {
            fine = false;
        }
    }
    let names_database = ["dbname", "service"].iter().any(|name| words.get(*name).is_some_and(|value| !value.is_empty()));
    fine.then(|| Read { target: Target::Keywords(words), password, names_database, place: item.place.clone() })
}

/// `connection = { host = "…", port = 5432, … }`.
fn table(item: &Item<'_>) -> Option<Pairs> {
    let mut pairs = Vec::new();
    let mut fine = true;
    for (name, value) in item.table()? {
        let inner =
            Item { place: item.place.key(&shown(name.get_ref())).at(&name.span()), value: value.get_ref(), kind: super::kind::Kind::Text };
        let text = match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.to_string()),
            _ => inner.wrong_type(),
        };
        fine &= text.is_some();
        pairs.extend(text.map(|text| (name.get_ref().to_string(), text, inner.place.clone())));
    }
    fine.then_some(pairs)
}

/// Whether libpq knows the keyword and pgdumpd may pass it on.
fn check(place: &Place, name: &str, value: &str) -> bool {
    let trouble = if !KEYWORDS.contains(&name) {
        let trouble = Trouble::new(format!("libpq has no keyword {}", shown(name)));
        match nearest(name, KEYWORDS.iter().copied()) {
            _ if OF_DRIVERS.contains(&name) => {
                let one_schema = if name == "schema" { "; one schema alone is dumped by --schemas, or PGDUMPD_SCHEMAS" } else { "" };
                trouble.hint(format!("leave {name}=… away: it is meant for a driver, such as Prisma's, and not for PostgreSQL{one_schema}"))
            }
            Some(near) => trouble.suggest(Some(near)),
            None => trouble.hint("see \"Parameter Key Words\" in PostgreSQL's manual"),
        }
    } else if keywords::is_secret(name) {
        Trouble::new(format!("{name} is a secret that would have to be passed on in the open"))
            .hint("put it into a service file and name that: service = \"…\"")
    } else if value.contains('\0') {
        Trouble::new(format!("{name} contains a zero byte"))
    } else if name == "sslmode" && !keywords::SSL_MODES.contains(&value) {
        Trouble::new("unknown sslmode")
            .expected(keywords::SSL_MODES.join(", "))
            .suggest(nearest(value, keywords::SSL_MODES.iter().copied()))
    } else if name == "port" && !keywords::ports_are_good(value) {
        Trouble::new("the port is not a number from 1 to 65535")
    } else {
        return true;
    };
    place.problem(trouble);
    false
}
