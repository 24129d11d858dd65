//! What waits before it is tried again: noted when the wait begins, forgotten when it is over.

use rusqlite::params;

use super::value::Json;
use super::{Reader, Writer};
use crate::catalog::Wait;
use crate::error::Result;

impl Reader {
    /// Everything that waits, by project.
    pub fn waits(&self) -> Result<Vec<Wait>> {
        self.ask("listing what waits", |db| {
            let mut statement = db.prepare_cached("SELECT state FROM waits ORDER BY project, what")?;
            statement.query_map([], |row| row.get::<_, Json<_>>(0).map(|json| json.0))?.collect()
        })
    }
}

impl Writer {
    /// Notes that this waits from now on.
    pub fn put_wait(&self, wait: &Wait) -> Result<()> {
        self.ask("recording a wait", |db| {
            let mut statement = db.prepare_cached("INSERT OR REPLACE INTO waits VALUES (?1, ?2, ?3)")?;
            statement.execute(params![wait.project, wait.what, Json(wait)]).map(drop)
        })
    }

    /// Forgets a wait; `what` as in [`Wait::what`].
    pub fn end_wait(&self, project: &str, what: &str) -> Result<()> {
        self.ask("recording a wait's end", |db| {
            db.prepare_cached("DELETE FROM waits WHERE project = ?1 AND what = ?2")?.execute([project, what]).map(drop)
        })
    }
}
