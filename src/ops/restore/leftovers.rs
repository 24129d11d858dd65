//! What a restore left behind that was ended by force: a database under a temporary name, with nobody at work on it.

use crate::error::{Failure, Result};
use crate::postgres::session::Session;

use super::{Means, before};

/// What the names of databases begin with that a restore is filling; the rest is its run.
pub(super) const PREFIX: &str = "pgdumpd_restore_";

/// Drops what earlier restores of the project have left on that server; returns the names.
pub fn clear(means: Means<'_>) -> Result<Vec<String>> {
    let mut session = before::maintenance(means, "")?;
    sweep(&mut session, &means.manifest.project)
}

/// The same from a session that is open.
pub(super) fn sweep(session: &mut Session, project: &str) -> Result<Vec<String>> {
    let abandoned = session.abandoned(PREFIX, project)?;
    for name in &abandoned {
        session.drop_database(name)?;
        tracing::warn!(project, database = name, "removed what an earlier restore has left behind");
    }
    Ok(abandoned)
}

/// Drops a database that was being filled. One that can't be dropped now is told, and cleared away by the next restore.
pub(super) fn give_up(means: Means<'_>, name: &str, failure: Failure) -> Failure {
    let fresh = crate::process::Cancel::new();
    let calm = Means { cancel: &fresh, ..means };
    match before::maintenance(calm, name).and_then(|mut session| session.drop_database(name)) {
        Ok(()) => failure,
        Err(why) => {
            tracing::warn!(run = %means.run, database = name, "the unfinished database could not be dropped: {why}");
            let also = format!("the unfinished database {name:?} could not be dropped ({why}); the next restore of this project does so");
            let hint = failure.hint.as_ref().map_or_else(|| also.clone(), |hint| format!("{hint}\n{also}"));
            failure.hint(hint)
        }
    }
}
