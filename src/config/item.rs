//! Walking a table by its section's keys, and taking values out of it.
//!
//! A getter answers `None` when the value is wrong, and has told so then: callers only set what they get.

use std::path::{Component, PathBuf};
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::{DeTable, DeValue};

use super::keys::{Key, SECTIONS, Section};
use super::kind::Kind;
use super::report::{Place, Trouble, nearest};
use crate::units;

/// A value with its place and the form it must have.
#[derive(Debug)]
pub(super) struct Item<'v> {
    pub(super) place: Place,
    pub(super) value: &'v DeValue<'v>,
    pub(super) kind: Kind,
}

/// Hands each known key of `table` to `apply`, in the order of the section, and tells the unknown ones.
pub(super) fn walk<'v>(section: &Section, table: &'v DeTable<'v>, place: &Place, mut apply: impl FnMut(&'static Key, &Item<'v>)) {
    for (name, _) in table {
        let text: &str = name.get_ref();
        if section.key(text).is_none() {
            unknown(section, &place.key(&shown(text)).at(&name.span()), text);
        }
    }
    for key in section.keys() {
        if let Some((name, value)) = table.get_key_value(key.name) {
            apply(key, &Item { place: place.key(key.name).at(&name.span()), value: value.get_ref(), kind: key.kind });
        }
    }
}

/// Hands each key that has a default to `apply`.
pub(super) fn defaults(section: &Section, place: &Place, mut apply: impl FnMut(&'static Key, &Item<'_>)) {
    for key in section.keys() {
        // A default that can't be parsed would be told as missing; a test reads every one.
        if let Ok(value) = DeValue::parse(key.default) {
            apply(key, &Item { place: place.key(key.name), value: value.get_ref(), kind: key.kind });
        }
    }
}

fn unknown(section: &Section, place: &Place, name: &str) {
    let near = nearest(name, section.keys().map(|key| key.name));
    let mut trouble = Trouble::new("unknown key");
    let home = SECTIONS.iter().find(|other| other.key(name).is_some());
    trouble = match (home, near) {
        (Some(home), _) => trouble.hint(format!("{name} belongs in {}", home.header)),
        (None, None) => {
            let names: Vec<&str> = section.keys().map(|key| key.name).collect();
            trouble.hint(format!("{} knows {}", section.header, names.join(", ")))
        }
        (None, near) => trouble.suggest(near),
    };
    place.problem(trouble);
}

/// A name from the file, safe to print on one line.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    let plain = short.chars().all(|c| c.is_alphanumeric() || "_-".contains(c)) && !short.is_empty();
    if plain && short.len() == text.len() { short } else { format!("{short:?}") }
}

impl<'v> Item<'v> {
    /// Tells that the value is wrong.
    pub(super) fn wrong(&self, why: impl Into<String>) {
        self.place.problem(Trouble::new(why).expected(self.kind.expected()));
    }

    /// Tells that the value has the wrong type.
    pub(super) fn wrong_type<T>(&self) -> Option<T> {
        // A variable is always text: what it lacks is the right form.
        let why = if self.place.is_variable() { String::from("wrong value") } else { format!("wrong type, {}", self.type_words()) };
        self.wrong(why);
        None
    }

    fn type_words(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// Any text, also an empty one; no control characters, which neither a terminal nor a command line should get.
    pub(super) fn text(&self) -> Option<&'v str> {
        let DeValue::String(text) = self.value else { return self.wrong_type() };
        if text.chars().any(char::is_control) {
            self.wrong("contains a control character");
            return None;
        }
        Some(text)
    }

    /// A text that isn't blank.
    pub(super) fn name(&self) -> Option<String> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.wrong("is empty");
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong_type(),
        }
    }

    /// A whole number within the bounds of [`Kind::Count`].
    pub(super) fn count<T: TryFrom<u64>>(&self) -> Option<T> {
        let DeValue::Integer(number) = self.value else { return self.wrong_type() };
        let (low, high) = if let Kind::Count(low, high) = self.kind { (low, high) } else { (0, u64::MAX) };
        let found = i128::from_str_radix(number.as_str(), number.radix()).ok();
        let count = found.and_then(|value| u64::try_from(value).ok()).filter(|value| (low..=high).contains(value));
        let count = count.and_then(|value| T::try_from(value).ok());
        if count.is_none() {
            self.wrong(format!("{} is out of range", shown(&number.to_string())));
        }
        count
    }

    /// A duration; of a second or more unless the kind is [`Kind::Duration`].
    pub(super) fn duration(&self) -> Option<Duration> {
        let duration = match units::parse_duration(self.text()?) {
            Ok(duration) => duration,
            Err(why) => {
                // It says what to write.
                self.place.problem(Trouble::new(why));
                return None;
            }
        };
        if self.kind != Kind::Duration && duration < Duration::from_secs(1) {
            self.wrong("is shorter than a second");
            return None;
        }
        Some(duration)
    }

    /// Sets a duration, or `None` for `"none"`.
    pub(super) fn duration_or_none(&self, target: &mut Option<Duration>) {
        match self.value {
            DeValue::String(text) if text == "none" => *target = None,
            _ => set(target, self.duration().map(Some)),
        }
    }

    /// A size in bytes.
    pub(super) fn size(&self) -> Option<u64> {
        match units::parse_size(self.text()?) {
            Ok(size) => Some(size),
            Err(why) => {
                self.place.problem(Trouble::new(why));
                None
            }
        }
    }

    /// An absolute path without `..`: where it leads must not depend on where the daemon was started.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.name()?);
        if !path.is_absolute() {
            self.wrong("is not an absolute path");
            return None;
        }
        if path.components().any(|part| part == Component::ParentDir) {
            self.wrong("contains ..");
            return None;
        }
        Some(path)
    }

    pub(super) fn zone(&self) -> Option<Tz> {
        let text = self.text()?;
        if let Ok(zone) = text.parse() {
            return Some(zone);
        }
        let near = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        let trouble = Trouble::new(format!("unknown time zone {}", shown(text))).expected(self.kind.expected());
        self.place.problem(trouble.suggest(near));
        None
    }

    pub(super) fn email(&self) -> Option<String> {
        let text = self.text()?;
        if text.parse::<lettre::Address>().is_ok() {
            return Some(text.to_owned());
        }
        let expected = Kind::Email.expected();
        self.place.problem(Trouble::new(format!("{text:?} is not a mail address")).expected(expected));
        None
    }

    /// One of the words of [`Kind::Words`], as its index.
    pub(super) fn word(&self) -> Option<usize> {
        let Kind::Words(words) = self.kind else { return None };
        let text = self.text()?;
        let found = words.iter().position(|word| *word == text);
        if found.is_none() {
            let near = nearest(text, words.iter().copied());
            let trouble = Trouble::new(format!("unknown value {}", shown(text))).expected(self.kind.expected());
            self.place.problem(trouble.suggest(near));
        }
        found
    }

    /// A list; wrong elements are told and left out, each with its own line.
    pub(super) fn list<T>(&self, kind: Kind, take: impl Fn(&Item<'v>) -> Option<T>) -> Option<Vec<T>> {
        let DeValue::Array(array) = self.value else { return self.wrong_type() };
        let items = array.iter().map(|value| Item { place: self.place.at(&value.span()), value: value.get_ref(), kind });
        Some(items.filter_map(|item| take(&item)).collect())
    }

    /// A list of texts that aren't blank.
    pub(super) fn names(&self) -> Option<Vec<String>> {
        self.list(Kind::Text, Item::name)
    }

    /// A list of mail addresses.
    pub(super) fn emails(&self) -> Option<Vec<String>> {
        self.list(Kind::Email, Item::email)
    }

    pub(super) fn table(&self) -> Option<&'v DeTable<'v>> {
        match self.value {
            DeValue::Table(table) => Some(table),
            _ => self.wrong_type(),
        }
    }
}

/// Sets what was read; what was wrong has been told and leaves the old value.
pub(super) fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}
