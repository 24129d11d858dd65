//! Runs: started, followed through their stages, finished.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, named_params, params};

use super::value::{Json, Time, Word, bind, bind_page, collect, conditions, count, int};
use super::{Reader, Writer};
use crate::catalog::{Page, RunFilter, SlotKey, Stage, UnfinishedRun};
use crate::error::Result;
use crate::model::backup::{BackupRow, Manifest, Marks, RunId};
use crate::model::dump::Selection;
use crate::model::run::{Run, RunStatus};
use crate::process::{Identity, own_identity};

const COLUMNS: &str = "id, project, database, content, selection, trigger, schedule, slot, started_at, finished_at, status, attempts, \
                       failure, size, rows";

impl Reader {
    /// The run of that id.
    pub fn run(&self, id: &RunId) -> Result<Option<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ?1");
        self.ask("reading a run", |db| db.prepare_cached(&sql)?.query_row([id.as_str()], run).optional())
    }

    /// Runs, the latest first.
    pub fn runs(&self, filter: &RunFilter, page: Page) -> Result<Vec<Run>> {
        let possible = [
            ("project = :project", filter.project.is_some()),
            ("database = :database", filter.database.is_some()),
            ("selection = :selection", filter.selection.is_some()),
            ("status = :status", filter.status.is_some()),
        ];
        let asked = conditions(&possible);
        let sql = format!("SELECT {COLUMNS} FROM runs {asked} ORDER BY started_at DESC, rowid DESC LIMIT :limit OFFSET :offset");
        let selection = filter.selection.as_ref().map(|selection| &selection.0);
        self.ask("listing runs", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            bind(&mut statement, ":project", &filter.project)?;
            bind(&mut statement, ":database", &filter.database)?;
            bind(&mut statement, ":selection", &selection)?;
            bind(&mut statement, ":status", &filter.status.map(Word))?;
            bind_page(&mut statement, page)?;
            collect(&mut statement, run)
        })
    }

    /// The latest run of a selection.
    pub fn last_run(&self, project: &str, database: &str, selection: &Selection) -> Result<Option<Run>> {
        let filter = RunFilter {
            project: Some(project.to_owned()),
            database: Some(database.to_owned()),
            selection: Some(selection.clone()),
            status: None,
        };
        Ok(self.runs(&filter, Page::first(1))?.pop())
    }

    /// When the first run of a project began that is known still.
    pub fn first_tried(&self, project: &str) -> Result<Option<DateTime<Utc>>> {
        self.ask("looking for the first run of a project", |db| {
            let sql = "SELECT min(started_at) FROM runs WHERE project = ?1";
            db.prepare_cached(sql)?.query_row([project], |row| row.get::<_, Option<Time>>(0)).map(|time| time.map(|time| time.0))
        })
    }

    /// The runs that a slot's job has begun, in order.
    pub fn runs_of_slot(&self, slot: &SlotKey) -> Result<Vec<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE project = ?1 AND schedule = ?2 AND slot = ?3 ORDER BY started_at, rowid");
        self.ask("listing a slot's runs", |db| {
            db.prepare_cached(&sql)?.query_map(params![slot.project, slot.schedule, Time(slot.due_at)], run)?.collect()
        })
    }

    /// Finished runs that no notice has been made of yet, in the order in which they ended.
    pub fn untold_runs(&self) -> Result<Vec<Run>> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id IN (SELECT run FROM untold) ORDER BY finished_at, rowid");
        self.ask("listing untold runs", |db| {
            let mut statement = db.prepare_cached(&sql)?;
            collect(&mut statement, run)
        })
    }

    /// Runs that have not been finished, the oldest first.
    pub fn unfinished_runs(&self) -> Result<Vec<UnfinishedRun>> {
        let sql = format!("SELECT {COLUMNS}, stage, owner, child FROM runs WHERE status = 'running' ORDER BY started_at");
        self.ask("listing unfinished runs", |db| {
            let unfinished = |row: &Row<'_>| {
                Ok(UnfinishedRun {
                    run: run(row)?,
                    stage: row.get::<_, Option<Word<Stage>>>(15)?.map_or(Stage::Begun, |stage| stage.0),
                    owner: row.get::<_, Option<Json<Identity>>>(16)?.map(|json| json.0),
                    child: row.get::<_, Option<Json<Identity>>>(17)?.map(|json| json.0),
                })
            };
            db.prepare_cached(&sql)?.query_map([], unfinished)?.collect()
        })
    }

    /// The manifest that was recorded before its artifact got its name; gone once the run is finished.
    pub fn staged_manifest(&self, id: &RunId) -> Result<Option<Manifest>> {
        self.ask("reading a recorded manifest", |db| {
            let sql = "SELECT manifest FROM staged WHERE run = ?1";
            db.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get::<_, Json<_>>(0)).optional().map(|json| json.map(|json| json.0))
        })
    }
}

impl Writer {
    /// Records that a run begins, and that this process is at it.
    pub fn start_run(&self, run: &Run) -> Result<()> {
        self.put_run(run)?;
        self.ask("recording a run's start", |db| {
            let sql = "UPDATE runs SET stage = ?2, owner = ?3, child = NULL WHERE id = ?1";
            db.prepare_cached(sql)?.execute(params![run.id.as_str(), Word(Stage::Begun), own_identity().map(Json)]).map(drop)
        })
    }

    /// Records how far a run has come.
    pub fn set_stage(&self, id: &RunId, stage: Stage) -> Result<()> {
        self.ask("recording a run's stage", |db| {
            db.prepare_cached("UPDATE runs SET stage = ?2 WHERE id = ?1")?.execute(params![id.as_str(), Word(stage)]).map(drop)
        })
    }

    /// Records a run's child, or that it has none any more.
    pub fn set_child(&self, id: &RunId, child: Option<Identity>) -> Result<()> {
        self.ask("recording a run's child", |db| {
            db.prepare_cached("UPDATE runs SET child = ?2 WHERE id = ?1")?.execute(params![id.as_str(), child.map(Json)]).map(drop)
        })
    }

    /// Records the manifest of an artifact that is about to get its name in this storage, so that repair can complete it.
    pub fn stage_manifest(&self, id: &RunId, storage: &str, manifest: &Manifest) -> Result<()> {
        let storage = self.storage_in_rows(storage)?;
        self.ask("recording a manifest", |db| {
            let sql = "INSERT OR REPLACE INTO staged (run, manifest, storage) VALUES (?1, ?2, ?3)";
            db.prepare_cached(sql)?.execute(params![id.as_str(), Json(manifest), storage])?;
            db.prepare_cached("UPDATE runs SET stage = ?2 WHERE id = ?1")?.execute(params![id.as_str(), Word(Stage::Storing)]).map(drop)
        })
    }

    /// Records how a run ended, also of one whose start was lost with an earlier catalog. A backup that could not be indexed when it was
    /// made is indexed now: a run that made one never counts as completed without it.
    pub fn finish_run(&self, run: &Run) -> Result<()> {
        self.put_run(run)?;
        if run.status == RunStatus::Completed {
            self.index_staged(&run.id)?;
        }
        self.ask("recording a run's end", |db| {
            db.prepare_cached("UPDATE runs SET stage = NULL, owner = NULL, child = NULL WHERE id = ?1")?.execute([run.id.as_str()])?;
            db.prepare_cached("DELETE FROM staged WHERE run = ?1")?.execute([run.id.as_str()])?;
            db.prepare_cached("INSERT OR IGNORE INTO untold VALUES (?1)")?.execute([run.id.as_str()]).map(drop)
        })
    }

    fn index_staged(&self, id: &RunId) -> Result<()> {
        let staged: Option<(Json<Manifest>, String)> = self.ask("reading a recorded manifest", |db| {
            let sql = "SELECT manifest, storage FROM staged WHERE run = ?1 AND storage IS NOT NULL";
            db.prepare_cached(sql)?.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        match staged {
            Some((manifest, storage)) if self.backup(id)?.is_none() => {
                self.put_backup(&BackupRow::from_manifest(&storage, &manifest.0, None, Marks::default()))
            }
            _ => Ok(()),
        }
    }

    /// Records that these runs have become alerts and mail, as far as they had to.
    pub fn mark_told(&self, ids: &[RunId]) -> Result<()> {
        self.ask("recording what was told", |db| {
            let mut statement = db.prepare_cached("DELETE FROM untold WHERE run = ?1")?;
            ids.iter().try_for_each(|id| statement.execute([id.as_str()]).map(drop))
        })
    }

    fn put_run(&self, run: &Run) -> Result<()> {
        let sql = "INSERT INTO runs (id, project, database, content, selection, trigger, schedule, slot, started_at, finished_at, status, \
                   attempts, failure, size, rows) VALUES (:id, :project, :database, :content, :selection, :trigger, :schedule, :slot, \
                   :started_at, :finished_at, :status, :attempts, :failure, :size, :rows) ON CONFLICT (id) DO UPDATE SET finished_at = \
                   :finished_at, status = :status, attempts = :attempts, failure = :failure, size = :size, rows = :rows";
        self.ask("recording a run", |db| {
            db.prepare_cached(sql)?
                .execute(named_params! {
                    ":id": run.id.as_str(), ":project": run.project, ":database": run.database, ":content": Word(run.content),
                    ":selection": run.selection.0, ":trigger": Word(run.trigger), ":schedule": run.schedule, ":slot": run.slot.map(Time),
                    ":started_at": Time(run.started_at), ":finished_at": run.finished_at.map(Time), ":status": Word(run.status),
                    ":attempts": run.attempts, ":failure": run.failure.as_ref().map(Json), ":size": run.size.map(int),
                    ":rows": run.rows.map(int),
                })
                .map(drop)
        })
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(row.get(0)?),
        project: row.get(1)?,
        database: row.get(2)?,
        content: row.get::<_, Word<_>>(3)?.0,
        selection: Selection(row.get(4)?),
        trigger: row.get::<_, Word<_>>(5)?.0,
        schedule: row.get(6)?,
        slot: row.get::<_, Option<Time>>(7)?.map(|time| time.0),
        started_at: row.get::<_, Time>(8)?.0,
        finished_at: row.get::<_, Option<Time>>(9)?.map(|time| time.0),
        status: row.get::<_, Word<_>>(10)?.0,
        attempts: row.get(11)?,
        failure: row.get::<_, Option<Json<_>>>(12)?.map(|json| json.0),
        size: row.get::<_, Option<i64>>(13)?.map(count),
        rows: row.get::<_, Option<i64>>(14)?.map(count),
    })
}
