//! Reads the variables into the text that a file with the same meaning would hold, each line with the variable it came from, and tells
//! what no such text could show: contradictions, unknown names, files that can't be read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::percent_decode_str;

use super::super::kind::Kind;
use super::super::report::{Trouble, nearest};
use super::super::secret;
use super::Variables;
use super::values::{quoted, toml, truth, when};
use super::variables::{ALWAYS, APART, Form, Part, REFUSED, Variable, WATCHED, WITHOUT_EFFECT, all, check};
use crate::error::{Cause, Failure, Result};

/// Where backups go unless `BACKUP_DIR` says otherwise.
const USUAL_STORAGE: &str = "/var/backups/pgdumpd";

/// The tables of a project that variables may fill.
const TABLES: [(&str, Part); 6] = [
    ("[project.connection]", Part::Connection),
    ("[project.retention]", Part::Retention),
    ("[project.anomaly]", Part::Anomaly),
    ("[project.limits]", Part::Limits),
    ("[project.verify]", Part::Verify),
    ("[project.drill]", Part::Drill),
];

/// The project's name unless `PGDUMPD_NAME` says otherwise.
const USUAL_NAME: &str = "main";

/// What came of the variables.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// TOML.
    pub(super) text: String,
    /// The variable behind each of its lines.
    pub(super) origins: Vec<Option<String>>,
    /// Problems, each with its variable.
    pub(super) troubles: Vec<(String, Trouble)>,
    /// Warnings, each with its variable.
    pub(super) doubts: Vec<(String, Trouble)>,
}

/// A value and the variable that it came from.
struct Value {
    variable: String,
    toml: String,
    /// What another variable for the same must equal; for a secret its value, which never gets into a message.
    same: String,
}

type Key = (Part, Cow<'static, str>);

type Values = BTreeMap<Key, Value>;

fn at(part: Part, key: &'static str) -> Key {
    (part, Cow::Borrowed(key))
}

pub(super) fn gather(variables: &Variables) -> Gathered {
    let mut gathered = Gathered::default();
    let mut known = all();
    // A check and the file for it are one variable.
    let checks: BTreeMap<String, Variable> =
        variables.keys().filter_map(|name| check(name)).map(|check| (check.name.clone(), check)).collect();
    known.extend(checks.into_values());
    let mut values = Values::new();
    for variable in &known {
        gathered.take(variable, variables, &mut values);
    }
    gathered.connection(&mut values);
    gathered.anomaly(&mut values);
    gathered.strangers(&known, variables);
    gathered.write(&values);
    gathered
}

/// What Kubernetes (and Docker's old links) set for each service of the namespace.
pub(in super::super) fn of_a_service(name: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let service = name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    let detail = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        number && parts.next().is_some_and(|part| ["TCP", "UDP", "SCTP"].contains(&part))
    });
    service || detail || (address && name.ends_with("_PORT"))
}

/// A variable's value; an empty one counts as unset.
fn set<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
    variables.get(name).map(String::as_str).filter(|value| !value.is_empty() && !of_a_service(name, value))
}

/// What a file that a variable names holds: its first line; where names are listed, one on each line; of a query, all of it.
fn content(path: &str, form: Form) -> Result<String> {
    let text = secret::mounted(Path::new(path))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let found = match form {
        Form::Names => lines.collect::<Vec<_>>().join(","),
        Form::Query => text.trim().to_owned(),
        _ => text.lines().next().unwrap_or_default().to_owned(),
    };
    if found.is_empty() {
        return Err(Failure::new(Cause::Secret, format!("secret {path} is empty")));
    }
    Ok(found)
}

impl Gathered {
    fn trouble(&mut self, variable: &str, trouble: Trouble) {
        self.troubles.push((variable.to_owned(), trouble));
    }

    /// Reads one variable, or the file that its `_FILE` names.
    fn take(&mut self, variable: &Variable, variables: &Variables, values: &mut Values) {
        let name = &variable.name;
        let file = format!("{name}_FILE");
        match (set(variables, name), set(variables, &file)) {
            (None, None) => {}
            (Some(_), Some(_)) => self.trouble(name, Trouble::new(format!("{file} is set too")).hint("unset one of them")),
            (Some(text), None) => self.put(variable, name, text, values),
            (None, Some(path)) if !Path::new(path).is_absolute() => {
                self.trouble(&file, Trouble::new("is not an absolute path"));
            }
            (None, Some(path)) if variable.form == Form::Plain(Kind::Secret) => {
                let toml = format!("{{ file = {} }}", quoted(path));
                self.add((variable.part, variable.key.clone()), Value { variable: file, same: toml.clone(), toml }, values);
            }
            (None, Some(path)) => match content(path, variable.form) {
                Ok(text) => self.put(variable, &file, &text, values),
                Err(failure) => {
                    let trouble = Trouble::new(failure.message.replace("secret ", ""));
                    self.trouble(&file, trouble.hint("mount the file, with the value as its first line"));
                }
            },
        }
    }

    fn put(&mut self, variable: &Variable, name: &str, text: &str, values: &mut Values) {
        let value = |toml: String| Value { variable: name.to_owned(), same: toml.clone(), toml };
        match variable.form {
            Form::Plain(Kind::Secret) => {
                let secret = Value { variable: name.to_owned(), toml: format!("{{ env = {} }}", quoted(name)), same: text.to_owned() };
                self.add((variable.part, variable.key.clone()), secret, values);
            }
            Form::When => {
                let (key, toml) = when(text);
                self.add(at(variable.part, "when"), value(format!("{key} = {toml}")), values);
            }
            Form::Cluster if truth(text) == Some(false) => {}
            Form::Cluster => {
                // Popular images want a database's name as well then, which means nothing more.
                if let Some(list) = values.insert(at(Part::Project, "databases"), value(quoted("all")))
                    && list.toml != quoted("all")
                {
                    let doubt = Trouble::new(format!("has no effect, as {name} says that every database is dumped"));
                    self.doubts.push((list.variable, doubt.hint("unset one of them")));
                }
                self.add((variable.part, variable.key.clone()), value(toml(variable.form, text)), values);
            }
            form => self.add((variable.part, variable.key.clone()), value(toml(form, text)), values),
        }
    }

    fn add(&mut self, place: Key, value: Value, values: &mut Values) {
        match values.get(&place) {
            None => drop(values.insert(place, value)),
            Some(there) if there.same == value.same => {}
            Some(there) => {
                let trouble = Trouble::new(format!("says something else than {}", there.variable)).hint("unset one of them");
                self.trouble(&value.variable, trouble);
            }
        }
    }

    /// One way to say where the server is, and no two.
    fn connection(&mut self, values: &mut Values) {
        let parts: Vec<String> =
            values.iter().filter(|((part, _), _)| *part == Part::Connection).map(|(_, value)| value.variable.clone()).collect();
        let Some(whole) = values.get(&at(Part::Project, "connection")) else {
            let where_it_is = ["host", "hostaddr", "service"].map(|key| values.contains_key(&at(Part::Connection, key)));
            if !where_it_is.contains(&true) {
                self.trouble("POSTGRES_HOST", Trouble::new("nothing says where the server is").hint("set POSTGRES_HOST or DATABASE_URL"));
                values.retain(|(part, _), _| *part != Part::Connection);
                for word in ["host", "dbname"] {
                    let dummy = Value { variable: String::new(), toml: quoted("localhost"), same: String::new() };
                    values.insert(at(Part::Connection, word), dummy);
                }
            }
            return;
        };
        let url = whole.variable.clone();
        for part in parts {
            let trouble = Trouble::new(format!("{url} says already how the server is reached")).hint("unset one of them");
            self.trouble(&part, trouble);
        }
        values.retain(|(part, _), _| *part != Part::Connection);
        let Some(database) = values.get(&at(Part::Project, "connection")).and_then(|whole| database_of(&whole.toml)) else { return };
        if let Some(list) = values.get(&at(Part::Project, "databases"))
            && list.toml != quoted("all")
            && !list.toml.contains(&quoted(&database))
        {
            let trouble = Trouble::new(format!("doesn't hold the database that {url} names"));
            let variable = list.variable.clone();
            self.trouble(&variable, trouble.hint("add it, or leave it out of the URL"));
        }
    }

    /// The gate is off, or it has its figures.
    fn anomaly(&mut self, values: &mut Values) {
        let Some(switch) = values.remove(&at(Part::Project, "anomaly")) else { return };
        let figures: Vec<Key> = values.keys().filter(|(part, _)| *part == Part::Anomaly).cloned().collect();
        match switch.toml.as_str() {
            "true" => {}
            "false" => {
                for value in figures.iter().filter_map(|figure| values.remove(figure)) {
                    let trouble = Trouble::new(format!("has no effect, as {} switches the gate off", switch.variable));
                    self.trouble(&value.variable, trouble.hint("unset one of them"));
                }
                values.insert(at(Part::Project, "anomaly"), switch);
            }
            _ => self.trouble(&switch.variable, Trouble::new("wrong value").expected("true or false")),
        }
    }

    /// Names that nobody knows, and those that popular images know and pgdumpd doesn't.
    fn strangers(&mut self, known: &[Variable], variables: &Variables) {
        let names: Vec<&str> = known.iter().map(|variable| variable.name.as_str()).collect();
        for (name, value) in variables {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            if names.contains(&plain) || names.contains(&name.as_str()) || APART.contains(&name.as_str()) || of_a_service(name, value) {
                continue;
            }
            if let Some((_, why, hint)) = REFUSED.iter().find(|refused| refused.0 == plain) {
                if !value.is_empty() && truth(value) != Some(false) {
                    self.trouble(name, Trouble::new(*why).hint(*hint));
                }
            } else if let Some((_, hint)) = WITHOUT_EFFECT.iter().find(|useless| useless.0 == plain) {
                if !value.is_empty() && truth(value) != Some(false) {
                    self.doubts.push((name.clone(), Trouble::new("has no effect here").hint(*hint)));
                }
            } else if let Some((_, hint)) = ALWAYS.iter().find(|always| always.0 == plain) {
                if truth(value) == Some(false) {
                    self.doubts.push((name.clone(), Trouble::new("has no effect here").hint(*hint)));
                }
            } else if WATCHED.iter().any(|beginning| name.starts_with(beginning)) {
                let trouble = Trouble::new("unknown variable");
                self.trouble(
                    name,
                    match nearest(name, names.iter().copied()) {
                        Some(near) => trouble.suggest(Some(near)),
                        None => trouble.hint("docs/configuration.md lists them, under \"Without a file\""),
                    },
                );
            }
        }
    }

    fn write(&mut self, values: &Values) {
        self.section("[daemon]", Part::Daemon, values);
        self.section("[storage.main]", Part::Storage, values);
        if !values.contains_key(&at(Part::Storage, "path")) {
            self.line(&format!("path = {}", quoted(USUAL_STORAGE)), None);
        }
        if values.keys().any(|(part, _)| *part == Part::Smtp) {
            self.section("[smtp]", Part::Smtp, values);
        }
        self.section("[[project]]", Part::Project, values);
        if !values.contains_key(&at(Part::Project, "name")) {
            self.line(&format!("name = {}", quoted(USUAL_NAME)), None);
        }
        for (header, part) in TABLES {
            if let Some(first) = values.iter().find(|((of, _), value)| *of == part && !value.variable.is_empty()) {
                self.line(header, Some(&first.1.variable));
                self.values(part, values);
            } else if part == Part::Connection && values.contains_key(&at(part, "host")) {
                self.section(header, part, values);
            }
        }
        for ((_, name), query) in values.iter().filter(|((part, _), _)| *part == Part::Check) {
            self.line("[[project.check]]", Some(&query.variable));
            self.line(&format!("name = {}", quoted(name)), Some(&query.variable));
            self.line(&format!("sql = {}", query.toml), Some(&query.variable));
        }
        let schedule = values.get(&at(Part::Schedule, "when"));
        self.line("[[project.schedule]]", schedule.map(|value| value.variable.as_str()));
        self.line(schedule.map_or("cron = \"@daily\"", |value| value.toml.as_str()), schedule.map(|value| value.variable.as_str()));
    }

    fn section(&mut self, header: &str, part: Part, values: &Values) {
        self.line(header, None);
        self.values(part, values);
    }

    fn values(&mut self, part: Part, values: &Values) {
        for ((_, key), value) in values.iter().filter(|((of, _), _)| *of == part) {
            let origin = Some(value.variable.as_str()).filter(|name| !name.is_empty());
            self.line(&format!("{key} = {}", value.toml), origin);
        }
    }

    fn line(&mut self, line: &str, origin: Option<&str>) {
        self.text.push_str(line);
        self.text.push('\n');
        self.origins.push(origin.map(str::to_owned));
    }
}

/// The database in a URL's path, as far as it can be told from the TOML text.
fn database_of(toml: &str) -> Option<String> {
    let (_, rest) = toml.trim_matches('"').split_once("://")?;
    let path = rest.split('?').next()?.split_once('/')?.1;
    let name = percent_decode_str(path).decode_utf8().ok()?.into_owned();
    (!name.is_empty()).then_some(name)
}
