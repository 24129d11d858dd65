//! Reads the values that only a project has: its name, databases, storage, standby policy and retention.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::DeValue;

use super::item::{Item, set, shown, walk};
use super::keys::{ANOMALY, Key, RETENTION};
use super::kind::Kind;
use super::report::{Place, Trouble};
use crate::habit::Rule;
use crate::model::project::{Databases, Standby};
use crate::retention::Policy;

/// A text between quotes, shortened, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

/// Percent-encoded in the storage, so its length is counted as it will stand there.
pub(super) fn project_name(item: &Item<'_>) -> Option<String> {
    const LONGEST: usize = 80;
    let name = item.name()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let length: usize = name.bytes().map(|byte| if plain(byte) { 1 } else { 3 }).sum();
    if length > LONGEST {
        item.place.problem(Trouble::new(format!(
            "the name is too long: {length} bytes once percent-encoded for its folder, of at most {LONGEST}"
        )));
        return None;
    }
    Some(name)
}

pub(super) fn databases(item: &Item<'_>) -> Option<Databases> {
    if let DeValue::String(text) = item.value {
        if text == "all" {
            return Some(Databases::All { exclude: Vec::new() });
        }
        item.wrong(format!("unknown value {}", shown(text)));
        return None;
    }
    let names = item.names()?;
    let mut seen = BTreeSet::new();
    for name in &names {
        if !seen.insert(name) {
            item.place.problem(Trouble::new(format!("{} stands here twice", quoted(name))));
        }
    }
    if let DeValue::Array(array) = item.value
        && array.is_empty()
    {
        item.wrong("names no database");
        return None;
    }
    Some(Databases::Named(names))
}

pub(super) fn globs(item: &Item<'_>) -> Option<Vec<String>> {
    item.list(Kind::Text, |item| {
        let glob = item.name()?;
        match globset::Glob::new(&glob) {
            Ok(_) => Some(glob),
            Err(error) => {
                item.place.problem(Trouble::new(format!("bad glob {}: {}", quoted(&glob), error.kind())));
                None
            }
        }
    })
}

pub(super) fn storage(item: &Item<'_>) -> Option<(String, Place)> {
    if let DeValue::String(name) = item.value {
        item.place.problem(Trouble::new("wrong type, a text").expected(format!("a list with one name: [{}]", quoted(name))));
        return None;
    }
    let names = item.names()?;
    match names.as_slice() {
        [one] => Some((one.clone(), item.place.clone())),
        [] => {
            item.wrong("names no storage");
            None
        }
        _ => {
            item.place.problem(
                Trouble::new(format!("names {} storages, and pgdumpd writes to one", names.len()))
                    .hint("copy the storage's folder elsewhere by other means, or make a second project"),
            );
            None
        }
    }
}

pub(super) fn standby(item: &Item<'_>) -> Option<Standby> {
    if let DeValue::Table(table) = item.value {
        let mut found = None;
        for (name, value) in table {
            let inner =
                Item { place: item.place.key(&shown(name.get_ref())).at(&name.span()), value: value.get_ref(), kind: Kind::Interval };
            if name.get_ref() == "pause_replay" {
                found = Some(inner.duration()?);
            } else {
                inner.place.problem(Trouble::new("unknown key").suggest(Some(String::from("pause_replay"))));
            }
        }
        if found.is_none() {
            item.wrong("says nothing");
        }
        return found.map(Standby::PauseReplay);
    }
    match item.text()? {
        "as-is" => Some(Standby::AsIs),
        "refuse" => Some(Standby::Refuse),
        other => {
            item.wrong(format!("unknown value {}", shown(other)));
            None
        }
    }
}

/// The policy, which must keep something if it says anything.
pub(super) fn retention(item: &Item<'_>) -> Option<Policy> {
    let table = item.table()?;
    let mut policy = Policy::default();
    let mut said = 0;
    let mut kept = 0;
    walk(&RETENTION, table, &item.place, |key, item| {
        if key.name == "keep_within" {
            said += 1;
            kept += 1;
            set(&mut policy.keep_within, item.duration().map(Some));
            return;
        }
        if key.name == "min_keep" {
            set(&mut policy.min_keep, min_keep(item));
            return;
        }
        let count: Option<u32> = item.count();
        said += 1;
        // A wrong value has been told already; it must not look like a zero.
        kept += usize::from(count != Some(0));
        let target = match key.name {
            "keep_last" => &mut policy.keep_last,
            "keep_hourly" => &mut policy.keep_hourly,
            "keep_daily" => &mut policy.keep_daily,
            "keep_weekly" => &mut policy.keep_weekly,
            "keep_monthly" => &mut policy.keep_monthly,
            "keep_yearly" => &mut policy.keep_yearly,
            _ => return super::unread(key, item),
        };
        set(target, count.map(Some));
    });
    if said > 0 && kept == 0 {
        item.place.problem(
            Trouble::new("every rule is zero, which counts as unset and would keep everything")
                .hint("give one rule a number, or leave retention out to keep everything"),
        );
        return None;
    }
    Some(policy)
}

fn min_keep(item: &Item<'_>) -> Option<u32> {
    if let DeValue::Integer(number) = item.value
        && number.as_str() == "0"
    {
        item.place.problem(Trouble::new("0 would let the last backup go").expected("1 or more"));
        return None;
    }
    item.count()
}

/// When a backup is suspicious, as far as it has been read: an off-switch leaves the figures as they are.
#[derive(Debug, Clone)]
pub(super) struct Anomaly {
    judged: bool,
    rule: Rule,
}

impl Default for Anomaly {
    /// Only the shape: values come from the table of keys.
    fn default() -> Self {
        Self { judged: true, rule: Rule { rows_below: 0, size_below: 0, tables: false, after: u32::MAX, after_span: Duration::ZERO } }
    }
}

impl Anomaly {
    /// `false`, or a table over what was set before.
    pub(super) fn read(&mut self, item: &Item<'_>) {
        if let DeValue::Boolean(judged) = item.value {
            self.judged = *judged;
        } else if let Some(table) = item.table() {
            self.judged = true;
            walk(&ANOMALY, table, &item.place, |key, item| self.apply(key, item));
        }
    }

    pub(super) fn apply(&mut self, key: &Key, item: &Item<'_>) {
        match key.name {
            "rows_below" => set(&mut self.rule.rows_below, percent(item)),
            "size_below" => set(&mut self.rule.size_below, percent(item)),
            "tables" => set(&mut self.rule.tables, item.flag()),
            "after" => set(&mut self.rule.after, item.count()),
            "after_span" => set(&mut self.rule.after_span, item.duration()),
            _ => super::unread(key, item),
        }
    }

    pub(super) fn rule(&self) -> Option<Rule> {
        Some(self.rule).filter(|_| self.judged)
    }
}

/// `"50%"` as 50.
fn percent(item: &Item<'_>) -> Option<u32> {
    let text = item.text()?;
    let number = text.strip_suffix('%').map(str::trim_end).and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100);
    if number.is_none() {
        item.wrong(format!("{} is no such share", shown(text)));
    }
    number
}
