//! The sample file and the generated reference keep step with the table of keys.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::{settings, told};
use crate::config::item::defaults;
use crate::config::keys::{ANOMALY, CHECK, DAEMON, DRILL, LIMITS, PROJECT, RETENTION, SCHEDULE, SECTIONS, SMTP, STORAGE, Section, VERIFY};
use crate::config::reference;
use crate::config::report::{Place, Report};

const SAMPLE: &str = include_str!("../../../config/pgdumpd.toml");

/// The sample with every commented key in force: `#` without a blank begins one, `# ` begins prose.
fn uncommented() -> String {
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_is_right_as_it_is() {
    let settings = settings(SAMPLE);
    assert_eq!(settings.warnings, []);
    assert_eq!(settings.projects[0].schedules.len(), 1);
}

#[test]
fn the_sample_is_right_with_every_key_in_force() {
    assert_eq!(told(&uncommented()), "accepted");
}

#[test]
fn the_sample_has_every_key_and_no_other() {
    let text = uncommented();
    let table = DeTable::parse(&text).unwrap().into_inner();
    let root = DeValue::Table(table);
    let mut found: BTreeSet<(&str, String)> = BTreeSet::new();
    let mut take = |section: &'static Section, value: &DeValue<'_>| {
        let table = value.as_table().unwrap();
        found.extend(table.keys().map(|name| (section.header, name.get_ref().to_string())));
    };
    take(&DAEMON, root["daemon"].get_ref());
    take(&STORAGE, root["storage"].get_ref()["main"].get_ref());
    take(&SMTP, root["smtp"].get_ref());
    take(&PROJECT, root["defaults"].get_ref());
    take(&LIMITS, root["defaults"].get_ref()["limits"].get_ref());
    take(&VERIFY, root["defaults"].get_ref()["verify"].get_ref());
    take(&DRILL, root["project"].get_ref()[0].get_ref()["drill"].get_ref());
    take(&CHECK, root["project"].get_ref()[0].get_ref()["check"].get_ref()[0].get_ref());
    take(&ANOMALY, root["defaults"].get_ref()["anomaly"].get_ref());
    take(&PROJECT, root["project"].get_ref()[0].get_ref());
    take(&RETENTION, root["project"].get_ref()[0].get_ref()["retention"].get_ref());
    for schedule in root["project"].get_ref()[0].get_ref()["schedule"].get_ref().as_array().unwrap() {
        take(&SCHEDULE, schedule.get_ref());
    }
    let schedule_keys: Vec<&str> = SCHEDULE.keys().map(|key| key.name).collect();
    for section in SECTIONS.iter().filter(|section| section.header != "password") {
        for key in section.keys() {
            // What shapes a dump stands once, with the project or with its schedule.
            let shared = section.header == PROJECT.header && schedule_keys.contains(&key.name);
            let there = found.contains(&(section.header, key.name.to_owned()));
            let elsewhere = shared && found.contains(&(SCHEDULE.header, key.name.to_owned()))
                || section.header == SCHEDULE.header && found.contains(&(PROJECT.header, key.name.to_owned()));
            assert!(there || elsewhere, "config/pgdumpd.toml lacks {} of {}", key.name, section.header);
        }
    }
    for (header, name) in found {
        let section = SECTIONS.iter().find(|section| section.header == header).unwrap();
        assert!(section.key(&name).is_some(), "config/pgdumpd.toml has {name} in {header}");
    }
}

#[test]
fn commented_defaults_of_the_sample_are_the_real_ones() {
    for line in SAMPLE.lines() {
        let Some((name, value)) = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).and_then(|rest| rest.split_once(" = "))
        else {
            continue;
        };
        let real: Vec<&str> = SECTIONS.iter().filter_map(|section| section.key(name)).map(|key| key.default).collect();
        let example = ["name", "content", "exclude_table_data", "options"].contains(&name);
        assert!(example || real.contains(&"") || real.contains(&value), "{name} = {value}, but the default is {real:?}");
    }
}

#[test]
fn every_default_is_a_value() {
    let report = Report::new("defaults", "");
    for section in SECTIONS {
        let with: Vec<&str> = section.keys().filter(|key| !key.default.is_empty()).map(|key| key.name).collect();
        let mut read = Vec::new();
        defaults(section, &Place::whole(&report), |key, _| read.push(key.name));
        assert_eq!(with, read, "{}", section.header);
    }
    assert!(told("").starts_with("accepted"));
}

#[test]
fn every_key_is_read_by_its_section() {
    // A value of a type that no key takes: each key must answer for it, and none may be unknown or unread.
    for (section, open) in [
        (&DAEMON, "[daemon]"),
        (&STORAGE, "[storage.a]"),
        (&SMTP, "[smtp]"),
        (&PROJECT, "[[project]]"),
        (&SCHEDULE, "[[project]]\n[[project.schedule]]"),
        (&RETENTION, "[defaults.retention]"),
        (&ANOMALY, "[defaults.anomaly]"),
        (&LIMITS, "[defaults.limits]"),
        (&VERIFY, "[defaults.verify]"),
        (&DRILL, "[defaults.drill]"),
        (&CHECK, "[[defaults.check]]"),
    ] {
        for key in section.keys() {
            let told = told(&format!("{open}\n{} = 1979-05-27\n", key.name));
            let line = told.lines().find(|line| line.contains(&format!("{}: wrong type", key.name)));
            assert!(line.is_some(), "{} of {}: {told}", key.name, section.header);
        }
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("PGDUMPD_WRITE_REFERENCE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), reference(), "run the test once with PGDUMPD_WRITE_REFERENCE=1");
}
