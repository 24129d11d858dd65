//! Reads `[[project.schedule]]`: when, and what differs from the project.

use std::time::Duration;

use chrono_tz::Tz;
use toml::de::{DeTable, DeValue};

use super::item::{Item, set, walk};
use super::keys::{Key, SCHEDULE};
use super::kind::Kind;
use super::report::{Place, Trouble};
use super::values::quoted;
use super::{shape, timing};
use crate::model::dump::DumpShape;
use crate::model::project::Schedule;
use crate::schedule::Timing;

/// A schedule's own keys; the shape it changes is known when the project is.
#[derive(Debug, Clone)]
pub(super) struct ScheduleDraft {
    place: Place,
    name: Option<String>,
    enabled: bool,
    timing: Option<Timing>,
    time_zone: Option<Tz>,
    spread: Option<Duration>,
    /// The shaping keys over an empty shape, and which of them were written.
    shape: DumpShape,
    shaped: Vec<(&'static str, Place)>,
}

/// The schedules of one list.
pub(super) fn drafts(item: &Item<'_>, project: &Place) -> Option<Vec<ScheduleDraft>> {
    let DeValue::Array(array) = item.value else { return item.wrong_type() };
    let mut drafts = Vec::new();
    for (at, value) in array.iter().enumerate() {
        let element = Item { place: item.place.at(&value.span()), value: value.get_ref(), kind: Kind::Schedules };
        if let Some(table) = element.table() {
            drafts.push(draft(table, &project.at(&value.span()), at + 1));
        }
    }
    Some(drafts)
}

fn draft(table: &DeTable<'_>, project: &Place, number: usize) -> ScheduleDraft {
    let name = table.get("name").and_then(|name| name.get_ref().as_str());
    let title = name.map_or_else(|| format!("schedule {number}"), |name| format!("schedule {}", quoted(name)));
    let mut draft = ScheduleDraft {
        place: project.within(&title),
        name: None,
        enabled: true,
        timing: None,
        time_zone: None,
        spread: None,
        shape: DumpShape::default(),
        shaped: Vec::new(),
    };
    let place = draft.place.clone();
    walk(&SCHEDULE, table, &place, |key, item| draft.apply(key, item));
    match (table.contains_key("cron"), table.contains_key("every")) {
        (false, false) => place.problem(Trouble::new("says no time").hint("add cron = \"15 2 * * *\" or every = \"6h\"")),
        (true, true) => place.problem(Trouble::new("has both cron and every").hint("remove one of them")),
        _ => {}
    }
    draft
}

impl ScheduleDraft {
    fn apply(&mut self, key: &'static Key, item: &Item<'_>) {
        match key.name {
            "name" => set(&mut self.name, item.name().map(Some)),
            "enabled" => set(&mut self.enabled, item.flag()),
            "cron" => set(&mut self.timing, timing::cron(item).map(|cron| Some(Timing::Cron(cron)))),
            "every" => set(&mut self.timing, item.duration().map(|span| Some(Timing::Every(span)))),
            "time_zone" => set(&mut self.time_zone, item.zone().map(Some)),
            "spread" => set(&mut self.spread, item.duration().map(Some)),
            _ if shape::apply(&mut self.shape, key, item) => self.shaped.push((key.name, item.place.clone())),
            _ => super::unread(key, item),
        }
    }

    /// The project's shape with this schedule's keys over it.
    fn shape_over(&self, project: &DumpShape) -> DumpShape {
        let mut shape = project.clone();
        let own = &self.shape;
        for (name, _) in &self.shaped {
            match *name {
                "content" => shape.content = own.content,
                "format" => shape.format = own.format,
                "compression" => shape.compression = own.compression,
                "jobs" => shape.jobs = own.jobs,
                "tables" => shape.include_tables.clone_from(&own.include_tables),
                "exclude_tables" => shape.exclude_tables.clone_from(&own.exclude_tables),
                "schemas" => shape.include_schemas.clone_from(&own.include_schemas),
                "exclude_schemas" => shape.exclude_schemas.clone_from(&own.exclude_schemas),
                "exclude_table_data" => shape.exclude_table_data.clone_from(&own.exclude_table_data),
                _ => shape.options.clone_from(&own.options),
            }
        }
        shape
    }
}

/// The project's schedules, where their times could be read.
pub(super) fn finish(drafts: &[ScheduleDraft], base: &DumpShape, zone: Tz, spread: Duration) -> Vec<Schedule> {
    let mut schedules: Vec<Schedule> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for draft in drafts {
        let name = draft.name.clone().unwrap_or_else(|| String::from("default"));
        if names.contains(&name) {
            let hint = if draft.name.is_some() { "schedules of a project need different names" } else { "give each schedule a name" };
            draft.place.problem(Trouble::new(format!("a second schedule {}", quoted(&name))).hint(hint));
        }
        names.push(name.clone());
        let shape = draft.shape_over(base);
        if !draft.shaped.is_empty() {
            shape::check(&shape, &draft.place, &draft.shaped, &[]);
        }
        let Some(timing) = draft.timing.clone() else { continue };
        schedules.push(Schedule {
            name,
            enabled: draft.enabled,
            timing,
            time_zone: draft.time_zone.unwrap_or(zone),
            shape,
            spread: draft.spread.unwrap_or(spread),
        });
    }
    schedules
}
