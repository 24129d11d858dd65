//! The configuration: a TOML file and the environment, read into [`Settings`] with every default filled in, or all their problems at once.
//!
//! Owns the file's syntax, the table of keys and where secrets come from. It never connects, starts or writes anything.

pub mod adhoc;
mod ambient;
mod check;
mod connection;
mod daemon;
pub mod dotenv;
pub mod env;
mod item;
mod keys;
mod keywords;
mod kind;
mod project;
mod proving;
mod reference;
mod report;
mod schedule;
pub mod secret;
mod shape;
mod timing;
mod url;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

pub use crate::model::settings::{Problem, Settings};
use ambient::Variables;
use env::Lookup;
use item::{Item, shown};
use keys::Key;
use kind::Kind;
pub use reference::reference;
use report::{Place, Report, Trouble, nearest};

/// A file for 10 000 projects has about 5 MB; what is larger is not a configuration.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Reads and checks the file, and looks at the secrets it names (that they are there and private; their values aren't kept).
pub fn load(path: &Path, env: Lookup<'_>) -> Result<Settings, Vec<Problem>> {
    strictly(load_at_hand(path, env, &Variables::new())?)
}

/// The same among these variables, of which some may be mistyped, and where a secret that can't be read stops nothing else.
fn load_at_hand(path: &Path, env: Lookup<'_>, variables: &Variables) -> Result<Settings, Vec<Problem>> {
    let file = path.display().to_string();
    let (text, mode) = read(path).map_err(|trouble| {
        let report = Report::new(&file, "");
        Place::whole(&report).problem(trouble);
        report.finish().0
    })?;
    let reading = Reading::new(&file, &text, env);
    check::private(&reading, mode, path);
    check::real_paths(&reading);
    check::ssl_mode(&reading, variables, Place::warning);
    env::strangers(&reading.report, variables);
    reading.finish_with_secrets(env)
}

/// A secret that can't be read is a problem like any other.
fn strictly(settings: Settings) -> Result<Settings, Vec<Problem>> {
    if settings.unread.is_empty() { Ok(settings) } else { Err(settings.unread) }
}

/// The configuration in force here: the file; or, where none is named and the usual one doesn't exist, this process's variables.
pub fn here(path: &Path) -> Result<Settings, Vec<Problem>> {
    strictly(at_hand(path)?)
}

/// The same for what goes on without a secret that can't be read here, as all but one project's server do: such a secret stands in
/// [`Settings::unread`].
pub fn at_hand(path: &Path) -> Result<Settings, Vec<Problem>> {
    let variables = ambient::variables();
    if ambient::apply(path, &variables) {
        ambient::load(&variables)
    } else {
        load_at_hand(path, &|name| variables.get(name).cloned(), &variables)
    }
}

/// What could be read of a broken file, to look at what it is about: nothing may be done by it. `None` where there is no text to read.
#[must_use]
pub fn as_far_as_read(path: &Path) -> Option<Settings> {
    if is_ambient(path) {
        return None;
    }
    let (text, _) = read(path).ok()?;
    Some(Reading::new(&path.display().to_string(), &text, &|name| std::env::var(name).ok()).settings)
}

/// Whether [`here`] reads variables alone.
#[must_use]
pub fn is_ambient(path: &Path) -> bool {
    ambient::apply(path, &ambient::variables())
}

/// Whether variables alone say where backups are kept: `backup` without a project's name then means the one they describe.
#[must_use]
pub fn keeps_backups(path: &Path) -> bool {
    let variables = ambient::variables();
    let said = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    ambient::apply(path, &variables)
        && ["BACKUP_DIR", "BACKUP_DIR_FILE", "PGDUMPD_STORAGE_PATH", "PGDUMPD_STORAGE_PATH_FILE"].into_iter().any(said)
}

/// Whether a variable says when backups are made.
#[must_use]
pub fn says_when() -> bool {
    ambient::says_when(&ambient::variables())
}

/// Where the file is looked for unless someone says otherwise.
pub const USUAL_FILE: &str = "/etc/pgdumpd/pgdumpd.toml";

/// The file's path where it isn't the usual one: then it belongs into every line to type.
#[must_use]
pub fn unusual(file: &Path) -> Option<PathBuf> {
    (file != Path::new(USUAL_FILE)).then(|| std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf()))
}

/// Reads and checks a text as if it were the file of that name; touches no other file.
pub fn parse(text: &str, file: &str, env: Lookup<'_>) -> Result<Settings, Vec<Problem>> {
    Reading::new(file, text, env).finish()
}

/// The text, and the mode of the file it is from.
fn read(path: &Path) -> Result<(String, u32), Trouble> {
    let failed = |error: std::io::Error| {
        Trouble::new(format!("can't be read: {error}"))
            .hint("name another file with --config or PGDUMPD_CONFIG, or set DATABASE_URL and name none, to do without one")
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Trouble::new(format!("is larger than {LONGEST} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, mode)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
            Err(Trouble::new(format!("line {line} is not UTF-8")))
        }
    }
}

/// A text read as far as possible, with everything that is wrong with it.
struct Reading {
    report: Rc<Report>,
    settings: Settings,
    storages: BTreeMap<String, daemon::StorageDraft>,
    secrets: Vec<secret::Named>,
    /// Set where a section is so wrong that `settings` lacks it; a problem has then been told.
    broken: bool,
}

impl Reading {
    fn new(file: &str, text: &str, env: Lookup<'_>) -> Self {
        Self::of(&Report::new(file, text), text, env)
    }

    /// Reads a text whose report is there already.
    fn of(report: &Rc<Report>, text: &str, env: Lookup<'_>) -> Self {
        let place = Place::whole(report);
        let (table, errors) = DeTable::parse_recoverable(text);
        let reading = Self::walk(Rc::clone(report), table.get_ref(), env);
        // What was read from a broken line is guessed: only the syntax is told of it.
        report.forget_lines(errors.iter().filter_map(toml::de::Error::span));
        for error in &errors {
            // Only the message: the error's own display would quote the line, and with it perhaps a password.
            let place = error.span().map_or_else(|| place.clone(), |span| place.at(&span));
            place.problem(Trouble::new(format!("not TOML: {}", error.message().trim())));
        }
        reading
    }

    fn walk(report: Rc<Report>, table: &DeTable<'_>, env: Lookup<'_>) -> Self {
        let place = Place::whole(&report);
        let sections = sections(table, &place);
        let section = |name: &str| sections.iter().find(|item| item.0 == name).map(|item| &item.1);
        let daemon = daemon::daemon(section("daemon").and_then(Item::table), &report, env);
        let storages = daemon::storages(section("storage"));
        let smtp = daemon::smtp(section("smtp"), &report, env);
        let base = project::Draft::base(&place, section("defaults").and_then(Item::table));
        let drafts = projects(section("project"), &base, &place);

        let names: Vec<&str> = match section("storage").map(|item| item.value) {
            Some(DeValue::Table(table)) => {
                let tables = table.iter().filter(|(_, value)| matches!(value.get_ref(), DeValue::Table(_)));
                tables.map(|(name, _)| name.get_ref().as_ref()).collect()
            }
            _ => Vec::new(),
        };
        let around = project::Around { storages: &names, time_zone: daemon.time_zone };
        let finished: Vec<_> = drafts.iter().map(|draft| draft.finish(&around)).collect();
        let mut secrets: Vec<secret::Named> = drafts.iter().filter_map(|draft| draft.password.clone()).collect();
        secrets.extend(drafts.iter().filter_map(|draft| draft.drill.as_ref()?.password.clone()));
        secrets.extend(smtp.as_ref().and_then(|draft| draft.password.clone()));
        check::across(&place, &daemon, &storages, &drafts, &finished);
        if smtp.is_none() && section("smtp").is_none() {
            place.warning(Trouble::new("there is no [smtp], so nobody is told when a backup fails").hint("add [smtp]"));
        }
        let broken = finished.iter().any(Option::is_none);
        let settings = Settings {
            daemon,
            storages: storages.iter().map(|(name, draft)| (name.clone(), draft.settings.clone())).collect(),
            smtp: smtp.and_then(|draft| draft.settings()),
            projects: finished.into_iter().flatten().map(Arc::new).collect(),
            warnings: Vec::new(),
            unread: Vec::new(),
        };
        Self { report, settings, storages, secrets, broken }
    }

    /// The same, once the secrets were looked at: where all else is right, those that can't be read stand beside it.
    fn finish_with_secrets(self, env: Lookup<'_>) -> Result<Settings, Vec<Problem>> {
        let is_right = !self.report.has_problems();
        check::secrets(&self, env);
        if !is_right {
            return self.finish();
        }
        let (unread, warnings) = self.report.finish();
        self.finish().map(|settings| Settings { warnings, unread, ..settings })
    }

    fn finish(self) -> Result<Settings, Vec<Problem>> {
        let (mut problems, warnings) = self.report.finish();
        if problems.is_empty() && self.broken {
            // Can't happen: whatever drops a project tells why. If it did, a silent loss would be worse than this.
            Place::whole(&self.report).problem(Trouble::new("a project could not be read"));
            problems = self.report.finish().0;
        }
        if problems.is_empty() { Ok(Settings { warnings, ..self.settings }) } else { Err(problems) }
    }
}

/// The top-level tables, the unknown ones told.
fn sections<'v>(table: &'v DeTable<'v>, place: &Place) -> Vec<(&'v str, Item<'v>)> {
    const KNOWN: [&str; 5] = ["daemon", "storage", "smtp", "defaults", "project"];
    let mut sections = Vec::new();
    for (name, value) in table {
        let text: &str = name.get_ref();
        let here = place.key(&shown(text)).at(&name.span());
        if KNOWN.contains(&text) {
            sections.push((text, Item { place: here, value: value.get_ref(), kind: Kind::Section }));
        } else {
            here.problem(match nearest(text, KNOWN.into_iter()) {
                Some(near) => Trouble::new("unknown section").suggest(Some(near)),
                None => Trouble::new("unknown section").hint("there are [daemon], [storage.NAME], [smtp], [defaults] and [[project]]"),
            });
        }
    }
    sections
}

fn projects(item: Option<&Item<'_>>, base: &project::Draft, place: &Place) -> Vec<project::Draft> {
    let Some(item) = item else { return Vec::new() };
    let DeValue::Array(array) = item.value else {
        item.place.problem(Trouble::new("is one table, and a list of them is expected").hint("write [[project]] with two brackets"));
        return Vec::new();
    };
    let mut drafts = Vec::new();
    for (at, value) in array.iter().enumerate() {
        let element = Item { place: place.key("project").at(&value.span()), value: value.get_ref(), kind: Kind::Section };
        if let Some(table) = element.table() {
            drafts.push(project::Draft::project(base, table, &place.at(&value.span()), at + 1));
        }
    }
    drafts
}

/// A key of the table that no reader took: a mistake of ours, told as one.
fn unread(key: &Key, item: &Item<'_>) {
    item.place.problem(Trouble::new(format!("pgdumpd knows {} but doesn't read it; please report this", key.name)));
}
