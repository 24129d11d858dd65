//! Reads `verify`, `drill` and `[[project.check]]`: how a project's backups are proven.

use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeValue;

use super::item::{Item, defaults, set, walk};
use super::keys::{CHECK, DRILL, Key, VERIFY};
use super::kind::Kind;
use super::report::{Place, Trouble, nearest};
use super::values::quoted;
use super::{connection, secret, timing};
use crate::model::backup::ProofLevel;
use crate::model::dump::DumpShape;
use crate::model::project::{Check, Connection, Drill, PasswordSource, Schedule, Verify};
use crate::model::proving;
use crate::schedule::{Cron, Timing};

/// What `verify` says.
pub(super) fn verify(item: &Item<'_>) -> Option<Verify> {
    let mut verify = Verify::default();
    walk(&VERIFY, item.table()?, &item.place, |key, item| match key.name {
        "after_backup" => {
            let levels = [None, Some(ProofLevel::Checksum), Some(ProofLevel::Read)];
            set(&mut verify.after_backup, item.word().and_then(|word| levels.get(word).copied()));
        }
        "recheck_every" => item.duration_or_none(&mut verify.recheck_every),
        _ => super::unread(key, item),
    });
    Some(verify)
}

/// A drill as far as it has been read.
#[derive(Debug, Clone)]
pub(super) struct DrillDraft {
    pub(super) place: Place,
    cron: Option<Cron>,
    on: Option<connection::Read>,
    pub(super) password: Option<secret::Named>,
    older: u32,
}

/// What `drill` says.
pub(super) fn drill(item: &Item<'_>) -> Option<DrillDraft> {
    let mut draft = DrillDraft { place: item.place.clone(), cron: None, on: None, password: None, older: 1 };
    if let DeValue::String(_) = item.value {
        draft.cron = timing::cron(item);
        return Some(draft);
    }
    let table = item.table()?;
    defaults(&DRILL, &item.place, |key, item| draft.apply(key, item));
    walk(&DRILL, table, &item.place, |key, item| draft.apply(key, item));
    if !table.contains_key("cron") {
        item.place.problem(Trouble::new("says no time").hint("add cron = \"@weekly\""));
    }
    if let Some((name, _)) = table.get_key_value("password").filter(|_| !table.contains_key("on")) {
        let place = item.place.key("password").at(&name.span());
        place.problem(Trouble::new("has no effect on a throwaway cluster").hint("say which server with on"));
    }
    draft.take_password();
    Some(draft)
}

impl DrillDraft {
    /// A password that stood in `on` becomes the drill's, unless another is named.
    fn take_password(&mut self) {
        let Some(on) = &mut self.on else { return };
        let Some(secret) = on.password.take() else { return };
        if self.password.is_some() {
            on.place.problem(Trouble::new("holds a password, and the key password names another").hint("remove one of them"));
        }
        self.password = Some(secret::Named { place: on.place.clone(), source: PasswordSource::Inline(secret) });
    }

    fn apply(&mut self, key: &Key, item: &Item<'_>) {
        match key.name {
            "cron" => set(&mut self.cron, timing::cron(item).map(Some)),
            "on" => set(&mut self.on, connection::read(item).map(Some)),
            "password" => set(&mut self.password, secret::source(item).map(Some)),
            "older" => set(&mut self.older, item.count()),
            _ => super::unread(key, item),
        }
    }

    /// The drill, where its time could be read.
    pub(super) fn finish(&self, zone: Tz, spread: Duration) -> Option<Drill> {
        let timing = Timing::Cron(self.cron.clone()?);
        let plan =
            Schedule { name: String::from(proving::DRILL), enabled: true, timing, time_zone: zone, shape: DumpShape::default(), spread };
        let on = self.on.as_ref().map(|on| {
            let password = self.password.as_ref().map(|named| named.source.clone()).unwrap_or_default();
            Connection { target: on.target.clone(), password }
        });
        Some(Drill { plan, on, older: self.older })
    }
}

/// A check, and where it names databases.
#[derive(Debug, Clone)]
pub(super) struct CheckDraft {
    pub(super) check: Check,
    databases_at: Option<Place>,
}

impl CheckDraft {
    /// A check of a database that the project hasn't would never be asked.
    pub(super) fn tell_unknown(&self, known: &[String]) {
        let Some(place) = &self.databases_at else { return };
        for name in self.check.databases.iter().filter(|name| !known.contains(name)) {
            let trouble = Trouble::new(format!("the project has no database {}", quoted(name)));
            place.problem(match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => trouble.suggest(Some(near)),
                None => trouble.hint(format!("databases names {}", known.join(", "))),
            });
        }
    }
}

/// The checks of one list.
pub(super) fn checks(item: &Item<'_>) -> Option<Vec<CheckDraft>> {
    let DeValue::Array(array) = item.value else { return item.wrong_type() };
    let mut checks: Vec<CheckDraft> = Vec::new();
    for (at, value) in array.iter().enumerate() {
        let element = Item { place: item.place.at(&value.span()), value: value.get_ref(), kind: Kind::Checks };
        let Some(table) = element.table() else { continue };
        let (mut name, mut sql, mut databases, mut databases_at) = (None, None, Vec::new(), None);
        let place = element.place.within(&format!("check {}", at + 1));
        walk(&CHECK, table, &place, |key, item| match key.name {
            "name" => name = item.name(),
            "sql" => sql = query(item),
            "database" => {
                set(&mut databases, names(item));
                databases_at = Some(item.place.clone());
            }
            _ => super::unread(key, item),
        });
        if !table.contains_key("sql") {
            place.problem(Trouble::new("sql is missing"));
        }
        let by_its_sql = || sql.as_deref().filter(|_| !table.contains_key("name")).map(title);
        let (Some(name), Some(sql)) = (name.or_else(by_its_sql), sql.clone()) else { continue };
        if checks.iter().any(|known| known.check.name == name) {
            place.problem(Trouble::new(format!("a second check {}", quoted(&name))).hint("checks of a project need different names"));
        }
        checks.push(CheckDraft { check: Check { name, sql, databases, inherited: false }, databases_at });
    }
    Some(checks)
}

/// A query on one line, and no longer than a name should be.
fn title(sql: &str) -> String {
    let words = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}

/// One name, or several.
fn names(item: &Item<'_>) -> Option<Vec<String>> {
    if let DeValue::String(_) = item.value {
        return item.name().map(|name| vec![name]);
    }
    let names = item.names()?;
    if names.is_empty() {
        item.wrong("is empty");
    }
    Some(names)
}

/// A query may take several lines, unlike other texts; what psql would take for a command of its own is none.
fn query(item: &Item<'_>) -> Option<String> {
    let DeValue::String(text) = item.value else { return item.wrong_type() };
    let sql = text.trim().trim_end_matches(';').trim_end();
    if sql.is_empty() || sql.contains(['\0', '\\']) {
        item.wrong("is no query, or has a backslash in it");
        return None;
    }
    Some(sql.to_owned())
}
