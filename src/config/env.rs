//! Environment twins of `[daemon]` and `[smtp]`: `PGDUMPD_DAEMON_STATE_DIR`, `PGDUMPD_SMTP_PASSWORD_FILE`. They win over the file.
//!
//! The names follow from the table of keys. A value is read as the key's own form: lists are separated by commas, secrets stay in the
//! environment (or in the file that the `_FILE` variable names) until they are needed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::ambient;
use super::item::Item;
use super::keys::{self, Key, Section};
use super::kind::Kind;
use super::report::{Place, Report, Trouble, nearest};

/// How a variable is looked up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The sections that have twins, by their headers, and the word in the variables' names.
pub(super) const SECTIONS: &[(&str, &str)] = &[("[daemon]", "DAEMON"), ("[smtp]", "SMTP")];

/// The variable of a key: `PGDUMPD_SMTP_HOST`.
pub(super) fn name(section: &str, key: &Key) -> String {
    format!("PGDUMPD_{section}_{}", key.name.to_uppercase())
}

/// Hands the value of each variable that is set, and not empty, to `apply`.
pub(super) fn twins(section: &str, keys: &Section, report: &Rc<Report>, env: Lookup<'_>, mut apply: impl FnMut(&'static Key, &Item<'_>)) {
    for key in keys.keys() {
        let name = name(section, key);
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        if key.kind == Kind::Secret {
            let file = format!("{name}_FILE");
            let mut told = |variable: &str, form, value| {
                let value = secret_table(form, value);
                apply(key, &Item { place: Place::variable(report, variable), value: &value, kind: key.kind });
            };
            match (set(&name), set(&file)) {
                (Some(_), Some(_)) => {
                    Place::variable(report, &name).problem(Trouble::new(format!("{file} is set too")).hint("unset one of them"));
                }
                (Some(_), None) => told(&name, "env", name.clone()),
                (None, Some(path)) => told(&file, "file", path),
                (None, None) => {}
            }
        } else if let Some(value) = set(&name) {
            apply(key, &Item { place: Place::variable(report, &name), value: &value_of(key.kind, &value), kind: key.kind });
        }
    }
}

/// Tells variables that look like twins and are none: what they say would pass unseen.
pub(super) fn strangers(report: &Rc<Report>, variables: &BTreeMap<String, String>) {
    for (section, word) in SECTIONS {
        let Some(keys) = keys::SECTIONS.iter().find(|keys| keys.header == *section) else { continue };
        let known: Vec<(String, &Key)> = keys.keys().map(|key| (name(word, key), key)).collect();
        let beginning = format!("PGDUMPD_{word}_");
        for (variable, value) in variables.iter().filter(|(name, _)| name.starts_with(&beginning)) {
            let is = |plain: &str| known.iter().find(|(name, _)| name == plain).map(|(_, key)| key.kind);
            let of_file = variable.strip_suffix("_FILE");
            if value.is_empty() || is(variable).is_some() || ambient::of_a_service(variable, value) {
                continue;
            }
            let trouble = match of_file.and_then(|plain| Some((plain, is(plain)?))) {
                Some((_, Kind::Secret)) => continue,
                Some((plain, _)) => Trouble::new("has no effect, as beside a configuration file only secrets may stand in files")
                    .hint(format!("set {plain} itself")),
                None => match nearest(variable, known.iter().map(|(name, _)| name.as_str())) {
                    Some(near) => Trouble::new("unknown variable").suggest(Some(near)),
                    None => Trouble::new("unknown variable").hint(format!("it isn't named like a key of {section}; unset it")),
                },
            };
            Place::variable(report, variable).problem(trouble);
        }
    }
}

/// The same table that the file would hold: `{ env = "…" }` or `{ file = "…" }`.
fn secret_table(form: &'static str, value: String) -> DeValue<'static> {
    let mut table = DeTable::new();
    table.insert(Spanned::new(0..0, Cow::Borrowed(form)), spanned(DeValue::String(Cow::Owned(value))));
    DeValue::Table(table)
}

fn spanned(value: DeValue<'_>) -> Spanned<DeValue<'_>> {
    Spanned::new(0..0, value)
}

/// The variable's text as the value that the file would hold.
fn value_of(kind: Kind, text: &str) -> DeValue<'_> {
    let string = |text| DeValue::String(Cow::Borrowed(text));
    match kind {
        Kind::Texts | Kind::Emails | Kind::Durations | Kind::Storages => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            DeValue::Array(parts.map(|part| spanned(string(part))).collect::<DeArray<'_>>())
        }
        // A number or a word that isn't one stays text, which the getter then calls wrong.
        Kind::Count(..) | Kind::Flag => match DeValue::parse(text) {
            Ok(value) if matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Boolean(_)) => value.into_inner(),
            _ => string(text),
        },
        _ => string(text),
    }
}
