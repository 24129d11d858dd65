//! Whether a standby follows its primary, or only goes on answering with what it had.
//!
//! Replaying everything that a living stream has brought is following, however long the primary has been idle. Without a stream nothing but
//! the age of the last commit can be known: an archive that has stopped looks like a primary that does nothing.

use std::time::Duration;

use serde::Deserialize;

use super::session::Session;
use crate::error::{Cause, Result};

/// A standby of which nothing shows that it keeps up with its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// How old the newest change is that it has replayed.
    pub age: Duration,
    /// Whether it is fed from an archive alone, by `restore_command`.
    pub by_archive: bool,
}

/// What it says of itself.
#[derive(Debug, Deserialize)]
struct Said {
    streams: bool,
    replayed: bool,
    by_archive: bool,
    age: f64,
}

/// Whenever something comes, what is replayed is behind what was received for a moment, and a stream may be begun anew: so often is looked.
const LOOKS: u32 = 4;
/// The wait before another look.
const AGAIN: Duration = Duration::from_millis(300);
/// So far behind is nobody's business, seconds.
const SOON: f64 = 60.0;

impl Session {
    /// How far a standby may be behind its primary; `None` where it follows, or where that can't be asked.
    pub fn behind(&mut self) -> Result<Option<Behind>> {
        let mut looks = 1;
        loop {
            // Hidden settings have no row for a role that may not read them; an end of WAL taken from the archive may lie before the stream's.
            let asked = self.ask::<Said>(
                "select json_build_object('streams', streams, 'replayed', coalesce(replayed, false), 'by_archive', not streams and archive,
                   'age', greatest(0, age)) from (select exists (select from pg_stat_wal_receiver) as streams,
                   pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn() as replayed,
                   exists (select from pg_settings where name = 'restore_command' and setting <> '')
                     and not exists (select from pg_settings where name = 'primary_conninfo' and setting <> '') as archive,
                   extract(epoch from clock_timestamp() - coalesce(pg_last_xact_replay_timestamp(),
                     (select checkpoint_time from pg_control_checkpoint())))::float8 as age) as standby",
            );
            let said = match asked {
                Ok(said) => said,
                Err(failure) if matches!(failure.cause, Cause::Permission | Cause::Query) => return Ok(None),
                Err(failure) => return Err(failure),
            };
            if said.streams && (said.replayed || said.age < SOON) {
                return Ok(None);
            }
            if said.by_archive || looks == LOOKS {
                let age = Duration::try_from_secs_f64(said.age).ok();
                return Ok(age.map(|age| Behind { age, by_archive: said.by_archive }));
            }
            looks += 1;
            std::thread::sleep(AGAIN);
        }
    }
}
