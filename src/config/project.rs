//! Reads `[defaults]` and `[[project]]`: a project starts as a copy of the defaults, then its own keys overrule them.

use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeTable;

use super::item::{Item, defaults, set, shown, walk};
use super::keys::{ANOMALY, Key, LIMITS, PROJECT};
use super::kind::Kind;
use super::proving::{self, CheckDraft, DrillDraft};
use super::report::{Place, Trouble, nearest};
use super::schedule::{self, ScheduleDraft};
use super::values::{Anomaly, databases, globs, project_name, quoted, retention, standby, storage};
use super::{connection, secret, shape};
use crate::model::dump::DumpShape;
use crate::model::project::{Check, Connection, Databases, Drill, Limits, Notify, PasswordSource, Project, Schedule, Standby, Verify};
use crate::model::proving::DRILL;
use crate::retention::Policy;

/// A project as far as it has been read, with the places that later checks tell of.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) place: Place,
    pub(super) name: Option<String>,
    description: Option<String>,
    enabled: bool,
    connection: Option<connection::Read>,
    pub(super) password: Option<secret::Named>,
    databases: Option<Databases>,
    exclude: Vec<String>,
    exclude_at: Option<Place>,
    globals: bool,
    storage: Option<(String, Place)>,
    retention: Policy,
    anomaly: Anomaly,
    max_backup_age: Option<Duration>,
    pub(super) age_at: Option<Place>,
    limits: Limits,
    to: Vec<String>,
    reminder: Duration,
    catch_up: Duration,
    server_lock: bool,
    standby: Standby,
    pg_bin_dir: Option<std::path::PathBuf>,
    compression_workers: u32,
    time_zone: Option<Tz>,
    spread: Duration,
    pub(super) shape: DumpShape,
    /// Where this table itself shapes the dump.
    shaped: Vec<(&'static str, Place)>,
    /// Where the defaults do.
    inherited: Vec<(&'static str, Place)>,
    /// Where the defaults limit the age.
    pub(super) default_age_at: Option<Place>,
    schedules: Vec<ScheduleDraft>,
    verify: Verify,
    pub(super) drill: Option<DrillDraft>,
    checks: Vec<CheckDraft>,
    /// The keys of this table itself, without those that came from the defaults.
    own: Vec<&'static str>,
}

impl Draft {
    /// What the table of keys says, and `[defaults]` over it.
    pub(super) fn base(file: &Place, table: Option<&DeTable<'_>>) -> Self {
        let place = file.key("defaults");
        let mut draft = Self::blank(place.clone());
        defaults(&PROJECT, &place, |key, item| draft.apply(key, item));
        defaults(&LIMITS, &place.key("limits"), |key, item| draft.apply_limit(key, item));
        defaults(&ANOMALY, &place.key("anomaly"), |key, item| draft.anomaly.apply(key, item));
        // What nobody wrote has no place.
        (draft.shaped, draft.exclude_at, draft.age_at) = (Vec::new(), None, None);
        if let Some(table) = table {
            draft.read(table);
            if let Some((name, _)) = table.get_key_value("name") {
                place.key("name").at(&name.span()).problem(Trouble::new("a name belongs in [[project]]"));
                draft.name = None;
            }
        }
        draft
    }

    /// One `[[project]]` over the defaults.
    pub(super) fn project(base: &Self, table: &DeTable<'_>, file: &Place, number: usize) -> Self {
        let name = table.get("name").and_then(|name| name.get_ref().as_str());
        let title = name.map_or_else(|| format!("project {number}"), |name| format!("project {}", quoted(name)));
        let mut draft = Self {
            place: file.within(&title),
            own: Vec::new(),
            shaped: Vec::new(),
            inherited: base.shaped.clone(),
            exclude_at: None,
            age_at: None,
            default_age_at: base.age_at.clone(),
            ..base.clone()
        };
        draft.read(table);
        draft
    }

    /// Whether this table itself says when.
    pub(super) fn has_own_schedules(&self) -> bool {
        self.own.contains(&"schedule")
    }

    fn read(&mut self, table: &DeTable<'_>) {
        let place = self.place.clone();
        self.own.extend(PROJECT.keys().filter(|key| table.contains_key(key.name)).map(|key| key.name));
        walk(&PROJECT, table, &place, |key, item| self.apply(key, item));
        self.take_password();
    }

    /// A password that stood in the connection becomes the project's, unless the same table names another.
    fn take_password(&mut self) {
        if !self.own.contains(&"connection") {
            return;
        }
        let Some(connection) = &mut self.connection else { return };
        let Some(secret) = connection.password.take() else { return };
        if self.own.contains(&"password") {
            connection.place.problem(Trouble::new("holds a password, and the key password names another").hint("remove one of them"));
        }
        self.password = Some(secret::Named { place: connection.place.clone(), source: PasswordSource::Inline(secret) });
    }

    fn apply(&mut self, key: &'static Key, item: &Item<'_>) {
        match key.name {
            "name" => self.name = project_name(item),
            "description" => set(&mut self.description, item.text().map(|text| Some(text.to_owned()))),
            "enabled" => set(&mut self.enabled, item.flag()),
            "connection" => set(&mut self.connection, connection::read(item).map(Some)),
            "password" => set(&mut self.password, secret::source(item).map(Some)),
            "databases" => set(&mut self.databases, databases(item).map(Some)),
            "exclude_databases" => {
                set(&mut self.exclude, globs(item));
                self.exclude_at = Some(item.place.clone());
            }
            "globals" => set(&mut self.globals, item.flag()),
            "storage" => set(&mut self.storage, storage(item).map(Some)),
            "retention" => set(&mut self.retention, retention(item)),
            "anomaly" => self.anomaly.read(item),
            "max_backup_age" => {
                item.duration_or_none(&mut self.max_backup_age);
                self.age_at = Some(item.place.clone());
            }
            "limits" => {
                if let Some(table) = item.table() {
                    walk(&LIMITS, table, &item.place, |key, item| self.apply_limit(key, item));
                }
            }
            "to" => set(&mut self.to, item.emails()),
            "reminder" => set(&mut self.reminder, item.duration()),
            "catch_up" => set(&mut self.catch_up, item.duration()),
            "server_lock" => set(&mut self.server_lock, item.flag()),
            "standby" => set(&mut self.standby, standby(item)),
            "pg_bin_dir" => set(&mut self.pg_bin_dir, item.path().map(Some)),
            "compression_workers" => set(&mut self.compression_workers, item.count()),
            "time_zone" => set(&mut self.time_zone, item.zone().map(Some)),
            "spread" => set(&mut self.spread, item.duration()),
            "verify" => set(&mut self.verify, proving::verify(item)),
            "drill" => set(&mut self.drill, proving::drill(item).map(Some)),
            "check" => set(&mut self.checks, proving::checks(item)),
            "schedule" => set(&mut self.schedules, schedule::drafts(item, &self.place)),
            _ => {
                if !shape::apply(&mut self.shape, key, item) {
                    super::unread(key, item);
                }
                self.shaped.push((key.name, item.place.clone()));
            }
        }
    }

    fn apply_limit(&mut self, key: &Key, item: &Item<'_>) {
        match key.name {
            "lock_wait" => set(&mut self.limits.lock_wait, item.duration()),
            "no_progress" => set(&mut self.limits.no_progress, item.duration()),
            "total" => item.duration_or_none(&mut self.limits.total),
            "connect" => set(&mut self.limits.connect, item.duration()),
            "retries" => set(&mut self.limits.retries, item.list(Kind::Interval, Item::duration)),
            _ => super::unread(key, item),
        }
    }

    /// Only the shape: values come from the table of keys.
    fn blank(place: Place) -> Self {
        let notify = Notify::default();
        Self {
            place,
            name: None,
            description: None,
            enabled: true,
            connection: None,
            password: None,
            databases: None,
            exclude: Vec::new(),
            exclude_at: None,
            globals: false,
            storage: None,
            retention: Policy::default(),
            anomaly: Anomaly::default(),
            max_backup_age: None,
            age_at: None,
            limits: Limits::default(),
            to: notify.to,
            reminder: notify.reminder,
            catch_up: Duration::ZERO,
            server_lock: true,
            standby: Standby::AsIs,
            pg_bin_dir: None,
            compression_workers: 1,
            time_zone: None,
            spread: Duration::ZERO,
            shape: DumpShape::default(),
            shaped: Vec::new(),
            inherited: Vec::new(),
            default_age_at: None,
            schedules: Vec::new(),
            verify: Verify::default(),
            drill: None,
            checks: Vec::new(),
            own: Vec::new(),
        }
    }
}

/// What a finished project needs to know of the rest of the file.
pub(super) struct Around<'a> {
    /// Names of all storages, also of those that were wrong in themselves.
    pub(super) storages: &'a [&'a str],
    /// `[daemon]`'s zone.
    pub(super) time_zone: Tz,
}

impl Draft {
    /// The project, where nothing that it requires is missing.
    pub(super) fn finish(&self, around: &Around<'_>) -> Option<Project> {
        if !self.own.contains(&"name") {
            self.place.problem(Trouble::new("name is missing"));
        }
        if self.connection.is_none() && !self.own.contains(&"connection") {
            self.place.problem(
                Trouble::new("connection is missing")
                    .hint("say how the server is reached: connection = \"postgresql://user@host/database\""),
            );
        }
        shape::check(&self.shape, &self.place, &self.shaped, &self.inherited);
        if self.schedules.is_empty() && self.enabled {
            self.place.warning(Trouble::new("has no schedule, so it is backed up by hand only").hint("add a [[project.schedule]]"));
        }
        let databases = self.databases_of();
        let storage = self.storage_of(around);
        let time_zone = self.time_zone.unwrap_or(around.time_zone);
        let schedules = schedule::finish(&self.schedules, &self.shape, time_zone, self.spread);
        let connection = self.connection.as_ref()?;
        let password = self.password.as_ref().map(|named| named.source.clone()).unwrap_or_default();
        Some(Project {
            name: self.name.clone()?,
            enabled: self.enabled,
            description: self.description.clone(),
            connection: Connection { target: connection.target.clone(), password },
            checks: self.checks_of(&databases),
            databases,
            globals: self.globals,
            storage: storage?,
            time_zone,
            shape: self.shape.clone(),
            retention: self.retention.clone(),
            anomaly: self.anomaly.rule(),
            max_backup_age: self.max_backup_age,
            limits: self.limits.clone(),
            catch_up: self.catch_up,
            spread: self.spread,
            notify: Notify { to: self.to.clone(), reminder: self.reminder },
            pg_bin_dir: self.pg_bin_dir.clone(),
            server_lock: self.server_lock,
            standby: self.standby,
            compression_workers: self.compression_workers,
            verify: self.verify,
            drill: self.drill_of(&schedules, time_zone),
            schedules,
        })
    }

    /// Its slots stand among those of the schedules, by their names.
    fn drill_of(&self, schedules: &[Schedule], zone: Tz) -> Option<Drill> {
        let draft = self.drill.as_ref()?;
        if schedules.iter().any(|plan| plan.name == DRILL) {
            draft.place.problem(Trouble::new("there is a schedule of that name, too").hint("call the schedule something else"));
        }
        draft.finish(zone, self.spread)
    }

    /// Checks of the defaults may name another project's databases.
    fn checks_of(&self, databases: &Databases) -> Vec<Check> {
        if let (Databases::Named(known), true) = (databases, self.own.contains(&"check")) {
            self.checks.iter().for_each(|draft| draft.tell_unknown(known));
        }
        let inherited = !self.own.contains(&"check");
        self.checks.iter().map(|draft| Check { inherited, ..draft.check.clone() }).collect()
    }

    fn databases_of(&self) -> Databases {
        match &self.databases {
            Some(Databases::All { .. }) => return Databases::All { exclude: self.exclude.clone() },
            Some(named) => {
                self.tell_useless_exclude();
                return named.clone();
            }
            None => self.tell_useless_exclude(),
        }
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.names_database) {
            // libpq would take the one that is called like the user, which on many servers is there and empty.
            connection.place.problem(Trouble::new("no database is named, neither here nor in databases").hint("set databases"));
        }
        Databases::FromConnection
    }

    fn tell_useless_exclude(&self) {
        if let Some(place) = &self.exclude_at {
            place.problem(Trouble::new("has no effect without databases = \"all\""));
        }
    }

    fn storage_of(&self, around: &Around<'_>) -> Option<String> {
        match (&self.storage, around.storages) {
            (Some((name, _)), known) if known.contains(&name.as_str()) => Some(name.clone()),
            (Some((name, place)), known) => {
                let trouble = Trouble::new(format!("no storage is named {}", shown(name)));
                place.problem(match nearest(name, known.iter().copied()) {
                    Some(near) => trouble.suggest(Some(near)),
                    None => trouble.hint(format!("add [storage.{}]", shown(name))),
                });
                None
            }
            (None, [only]) => Some((*only).to_owned()),
            (None, _) if self.own.contains(&"storage") => None,
            (None, []) => {
                self.place.problem(Trouble::new("there is no storage").hint("add [storage.main] with a path"));
                None
            }
            (None, several) => {
                self.place.problem(Trouble::new(format!("storage is missing, and there are several: {}", several.join(", "))));
                None
            }
        }
    }
}
