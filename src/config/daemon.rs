//! Reads `[daemon]`, `[storage.NAME]` and `[smtp]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeTable;

use super::item::{Item, defaults, set, shown, walk};
use super::keys::{DAEMON, Key, SMTP, STORAGE};
use super::report::{Place, Report, Trouble};
use super::{env, secret, timing};
use crate::model::project::PasswordSource;
use crate::model::settings::{Daemon, LogFormat, Smtp, SmtpSecurity, StorageSettings};

/// A storage with the place of its path, for the checks across the file.
#[derive(Debug)]
pub(super) struct StorageDraft {
    pub(super) settings: StorageSettings,
    pub(super) place: Place,
}

/// `[daemon]`: the table's defaults, then the file, then the environment.
pub(super) fn daemon(table: Option<&DeTable<'_>>, report: &Rc<Report>, env: env::Lookup<'_>) -> Daemon {
    let place = Place::whole(report).key("daemon");
    let mut daemon = blank();
    defaults(&DAEMON, &place, |key, item| apply_daemon(&mut daemon, key, item));
    if let Some(table) = table {
        walk(&DAEMON, table, &place, |key, item| apply_daemon(&mut daemon, key, item));
    }
    env::twins("DAEMON", &DAEMON, report, env, |key, item| apply_daemon(&mut daemon, key, item));
    daemon
}

/// Only the shape: every value comes from the table of keys.
fn blank() -> Daemon {
    Daemon {
        state_dir: PathBuf::new(),
        time_zone: Tz::UTC,
        max_parallel: 1,
        max_parallel_per_server: 1,
        drain: Duration::ZERO,
        grace: Duration::ZERO,
        heartbeat: Duration::ZERO,
        log_format: LogFormat::Text,
        weekly_summary: None,
        diary: Duration::ZERO,
    }
}

fn apply_daemon(daemon: &mut Daemon, key: &Key, item: &Item<'_>) {
    match key.name {
        "state_dir" => set(&mut daemon.state_dir, item.path()),
        "time_zone" => set(&mut daemon.time_zone, item.zone()),
        "max_parallel" => set(&mut daemon.max_parallel, item.count()),
        "max_parallel_per_server" => set(&mut daemon.max_parallel_per_server, item.count()),
        "drain" => set(&mut daemon.drain, item.duration()),
        "grace" => set(&mut daemon.grace, item.duration()),
        "heartbeat" => set(&mut daemon.heartbeat, item.duration()),
        "log_format" => set(&mut daemon.log_format, item.word().and_then(|at| [LogFormat::Text, LogFormat::Json].get(at).copied())),
        "weekly_summary" => set(&mut daemon.weekly_summary, timing::cron(item).map(|cron| Some(cron.text().to_owned()))),
        "diary" => set(&mut daemon.diary, item.duration()),
        _ => super::unread(key, item),
    }
}

/// All of `[storage.NAME]`.
pub(super) fn storages(item: Option<&Item<'_>>) -> BTreeMap<String, StorageDraft> {
    let mut storages = BTreeMap::new();
    let Some(item) = item else { return storages };
    let Some(table) = item.table() else { return storages };
    for (name, value) in table {
        let place = item.place.key(&shown(name.get_ref())).at(&name.span());
        let storage = Item { place, value: value.get_ref(), kind: item.kind };
        if STORAGE.key(name.get_ref()).is_some() && !matches!(storage.value, toml::de::DeValue::Table(_)) {
            let trouble = Trouble::new("stands in [storage] itself").expected("a table with a name of its own, such as [storage.main]");
            storage.place.problem(trouble);
            continue;
        }
        let Some(table) = storage.table() else { continue };
        if name.get_ref().is_empty() || name.get_ref().chars().any(char::is_control) {
            storage.place.problem(Trouble::new("a storage's name must not be empty or hold control characters"));
        }
        if let Some(draft) = storage_of(table, &storage.place) {
            storages.insert(name.get_ref().to_string(), draft);
        }
    }
    storages
}

fn storage_of(table: &DeTable<'_>, place: &Place) -> Option<StorageDraft> {
    let (mut path, mut reserve, mut at) = (None, 0, place.clone());
    let mut told = false;
    let mut apply = |key: &Key, item: &Item<'_>| match key.name {
        "type" => {
            item.word();
        }
        "path" => {
            path = item.path();
            told = path.is_none();
            at = item.place.clone();
        }
        "reserve" => set(&mut reserve, item.size()),
        _ => super::unread(key, item),
    };
    defaults(&STORAGE, place, &mut apply);
    walk(&STORAGE, table, place, &mut apply);
    if path.is_none() && !told {
        place.problem(Trouble::new("path is missing").hint("name the folder that backups go to: path = \"/var/backups/pgdumpd\""));
    }
    path.map(|path| StorageDraft { settings: StorageSettings::Local { path, reserve }, place: at })
}

/// `[smtp]` as far as it could be read, and where its password comes from.
#[derive(Debug, Default)]
pub(super) struct SmtpDraft {
    host: Option<String>,
    port: Option<u16>,
    security: Option<SmtpSecurity>,
    ca_file: Option<PathBuf>,
    username: Option<String>,
    pub(super) password: Option<secret::Named>,
    from: Option<String>,
    to: Option<Vec<String>>,
    timeout: Duration,
}

/// `[smtp]` and its variables; `None` where neither is there.
pub(super) fn smtp(item: Option<&Item<'_>>, report: &Rc<Report>, env: env::Lookup<'_>) -> Option<SmtpDraft> {
    let table = item.and_then(Item::table);
    let place = item.map_or_else(|| Place::whole(report).key("smtp"), |item| item.place.clone());
    let mut draft = SmtpDraft::default();
    let mut set_here: Vec<&'static str> = Vec::new();
    defaults(&SMTP, &place, |key, item| apply_smtp(&mut draft, key, item));
    if let Some(table) = table {
        walk(&SMTP, table, &place, |key, item| {
            set_here.push(key.name);
            apply_smtp(&mut draft, key, item);
        });
    }
    env::twins("SMTP", &SMTP, report, env, |key, item| {
        set_here.push(key.name);
        apply_smtp(&mut draft, key, item);
    });
    if table.is_none() && set_here.is_empty() {
        return None;
    }
    for required in ["host", "from", "to"] {
        if !set_here.contains(&required) {
            place.problem(Trouble::new(format!("{required} is missing")));
        }
    }
    if set_here.contains(&"password") && !set_here.contains(&"username") {
        place.problem(Trouble::new("a password without a username").hint("set username, or remove password"));
    }
    Some(draft)
}

fn apply_smtp(draft: &mut SmtpDraft, key: &Key, item: &Item<'_>) {
    let securities = [SmtpSecurity::StartTls, SmtpSecurity::Tls, SmtpSecurity::None];
    match key.name {
        "host" => set(&mut draft.host, item.name().map(Some)),
        "port" => set(&mut draft.port, item.count().map(Some)),
        "security" => set(&mut draft.security, item.word().map(|at| securities.get(at).copied())),
        "ca_file" => set(&mut draft.ca_file, item.path().map(Some)),
        "username" => set(&mut draft.username, item.name().map(Some)),
        "password" => set(&mut draft.password, secret::source(item).map(Some)),
        "from" => set(&mut draft.from, item.email().map(Some)),
        "to" => set(&mut draft.to, recipients(item).map(Some)),
        "timeout" => set(&mut draft.timeout, item.duration()),
        _ => super::unread(key, item),
    }
}

/// Addresses, at least one.
fn recipients(item: &Item<'_>) -> Option<Vec<String>> {
    let list = item.emails()?;
    if let toml::de::DeValue::Array(array) = item.value
        && array.is_empty()
    {
        item.wrong("names nobody");
    }
    Some(list)
}

impl SmtpDraft {
    /// The settings, where nothing that is required is missing.
    pub(super) fn settings(&self) -> Option<Smtp> {
        let security = self.security?;
        let port = match security {
            SmtpSecurity::StartTls => 587,
            SmtpSecurity::Tls => 465,
            SmtpSecurity::None => 25,
        };
        Some(Smtp {
            host: self.host.clone()?,
            port: self.port.unwrap_or(port),
            security,
            ca_file: self.ca_file.clone(),
            username: self.username.clone(),
            password: self.password.as_ref().map_or(PasswordSource::Libpq, |named| named.source.clone()),
            from: self.from.clone()?,
            to: self.to.clone()?,
            timeout: self.timeout,
        })
    }
}
