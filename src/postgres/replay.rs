//! Pausing a standby's replay for the time of a dump, so that no conflict cancels it (manual: Handling Query Conflicts).
//!
//! Owns [`ReplayPause`]. The resume stands as psql's last order, after its input: it runs when this process lets go of the input, and
//! also when this process is killed. Verbs call it, and only where the project asks for it.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::connection::Access;
use super::psql::Psql;
use super::session::Server;
use super::version::Client;
use crate::error::{Cause, Failure, Result};
use crate::process::Cancel;

/// Longest wait for each answer.
const ANSWER: Duration = Duration::from_secs(30);

/// How long replay may take to come to its pause.
const SETTLE: Duration = Duration::from_secs(10);

/// Longest wait for the resume.
const RESUME: Duration = Duration::from_secs(20);

/// A paused replay. Dropping it resumes.
#[derive(Debug)]
pub struct ReplayPause {
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl ReplayPause {
    /// Pauses replay on the standby that the session reached, for at most `most`. `None` where somebody has paused it already: then
    /// resuming is theirs.
    pub fn begin(client: &Client, access: &Access, server: &Server, name: &str, most: Duration) -> Result<Option<Self>> {
        let mut spec = access.spec(client, client.psql(), Some(&server.database), name, Some(&server.reached));
        let look = spec.clone();
        // Only a fresh token: a cancelled run must still resume.
        let cancel = Cancel::new();
        let place = server.reached.to_string();
        if Psql::start(look, place.clone(), &cancel)?.ask("select pg_catalog.pg_is_wal_replay_paused()", false, ANSWER)?.trim() == "t" {
            return Ok(None);
        }
        spec.args.extend(["-f", "-", "-c", "select pg_catalog.pg_wal_replay_resume()"].map(Into::into));
        let mut psql = Psql::start(spec, place, &cancel)?;
        psql.ask("set statement_timeout = '25s'", false, ANSWER)?;
        if let Err(failure) = psql.ask("select pg_catalog.pg_wal_replay_pause()", false, ANSWER) {
            return Err(not_paused(failure, server));
        }
        settle(&mut psql, server)?;
        let (stop, stopped) = bounded(0);
        let keeper = std::thread::Builder::new().name(String::from("replay")).stack_size(128 * 1024);
        let keeper = keeper
            .spawn(move || keep(psql, &stopped, most))
            .map_err(|error| Failure::new(Cause::System, format!("pausing replay: no thread could be started: {error}")))?;
        Ok(Some(Self { stop: Some(stop), keeper: Some(keeper) }))
    }

    /// Whether replay is still paused; afterwards the maximum has passed, or the connection broke.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| !keeper.is_finished())
    }
}

impl Drop for ReplayPause {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            drop(keeper.join());
        }
    }
}

/// Holds psql's input open until told to stop, or for the longest time allowed.
fn keep(psql: Psql, stopped: &Receiver<()>, most: Duration) {
    if stopped.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
        tracing::warn!(minutes = most.as_secs() / 60, "the longest pause of replay has passed; replay goes on during the dump");
    }
    psql.finish(RESUME);
}

/// A pause is a request at first; from release 14 on the server tells when it has come true.
fn settle(psql: &mut Psql, server: &Server) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    while server.version_num >= 140_000 && Instant::now() < deadline {
        if psql.ask("select pg_catalog.pg_get_wal_replay_pause_state()", false, ANSWER)?.trim() == "paused" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn not_paused(failure: Failure, server: &Server) -> Failure {
    let failure = failure.context("pausing replay on the standby");
    if failure.cause != Cause::Permission {
        return failure;
    }
    let role = server.role.replace('"', "\"\"");
    failure.hint(format!(
        "GRANT EXECUTE ON FUNCTION pg_wal_replay_pause(), pg_wal_replay_resume(), pg_is_wal_replay_paused(), \
         pg_get_wal_replay_pause_state() TO \"{role}\";"
    ))
}
