//! The state of each (project, database, selection)'s alert. What the state holds is the alert's own business.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::value::Json;
use super::{Reader, Writer};
use crate::error::Result;
use crate::model::dump::Selection;

impl Reader {
    /// The state of one alert.
    pub fn alert<T: DeserializeOwned>(&self, project: &str, database: &str, selection: &Selection) -> Result<Option<T>> {
        self.ask("reading an alert", |db| {
            let sql = "SELECT state FROM alerts WHERE project = ?1 AND database = ?2 AND selection = ?3";
            let mut statement = db.prepare_cached(sql)?;
            statement
                .query_row([project, database, &selection.0], |row| row.get::<_, Json<T>>(0))
                .optional()
                .map(|json| json.map(|json| json.0))
        })
    }

    /// The states of one project's alerts, by database and selection.
    pub fn alerts_of<T: DeserializeOwned>(&self, project: &str) -> Result<Vec<T>> {
        self.ask("listing alerts", |db| {
            let mut statement = db.prepare_cached("SELECT state FROM alerts WHERE project = ?1 ORDER BY database, selection")?;
            statement.query_map([project], |row| row.get::<_, Json<T>>(0).map(|json| json.0))?.collect()
        })
    }

    /// The states of all alerts, by project, database and selection.
    pub fn alerts<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        self.ask("listing alerts", |db| {
            let mut statement = db.prepare_cached("SELECT state FROM alerts ORDER BY project, database, selection")?;
            statement.query_map([], |row| row.get::<_, Json<T>>(0).map(|json| json.0))?.collect()
        })
    }
}

impl Writer {
    /// Records the state of one alert.
    pub fn put_alert<T: Serialize>(&self, project: &str, database: &str, selection: &Selection, state: &T) -> Result<()> {
        self.ask("recording an alert", |db| {
            let mut statement = db.prepare_cached("INSERT OR REPLACE INTO alerts VALUES (?1, ?2, ?3, ?4)")?;
            statement.execute(params![project, database, selection.0, Json(state)]).map(drop)
        })
    }

    /// Forgets one alert.
    pub fn remove_alert(&self, project: &str, database: &str, selection: &Selection) -> Result<()> {
        self.ask("removing an alert", |db| {
            let mut statement = db.prepare_cached("DELETE FROM alerts WHERE project = ?1 AND database = ?2 AND selection = ?3")?;
            statement.execute([project, database, &selection.0]).map(drop)
        })
    }
}
