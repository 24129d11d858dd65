//! Who holds up a restore into tables that are in use: it waits for their locks, without a word of its own, and others wait for those that it
//! has already. Longer than `lock_wait` it waits for nobody.

use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::process::{Cancel, CancelReason};
use crate::units::show_duration;

use super::{Means, Recipe};

/// A wait this short is worth no question.
const FIRST: Duration = Duration::from_secs(2);
/// How often the server is asked.
const ASK: Duration = Duration::from_secs(5);

/// Does the work, lets the gauge say who holds it up, and ends it where that takes too long.
pub(super) fn told<T>(means: Means<'_>, recipe: &Recipe, database: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let over = Cancel::new();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(means, recipe, database, &over));
        let done = work();
        over.cancel(CancelReason::Cancelled);
        let too_long = watching.join().ok().flatten();
        done.map_err(|failure| too_long.unwrap_or(failure))
    })
}

/// What to tell where it was ended for having waited too long.
fn watch(means: Means<'_>, recipe: &Recipe, database: &str, over: &Cancel) -> Option<Failure> {
    if over.wait_timeout(FIRST).is_some() {
        return None;
    }
    // Without a connection to spare nobody is asked; the restore goes on.
    let mut session = Session::open(&recipe.client, means.access, Some(database), &beside(means.run), means.limits, over).ok()?;
    let limit = means.limits.lock_wait;
    let mut since = None;
    while let Ok(found) = session.watch(means.run) {
        let holder = found.blocked_by.first().map(ToString::to_string);
        since = holder.as_ref().map(|_| since.unwrap_or_else(Instant::now));
        means.gauge.held_up_by(holder.clone());
        if let (Some(holder), Some(_)) = (holder, since.filter(|since: &Instant| since.elapsed() >= limit)) {
            means.gauge.held_up_by(None);
            // The work's end ends this question, too; where it could not be ended it goes on, and what comes of it is told.
            let _ended = session.terminate(means.run);
            let words = format!("the restore waited {} for a lock held by {holder}", show_duration(limit));
            return Some(Failure::new(Cause::LockTimeout, words).hint(
                "the target is as it was; end or wait for that session (a prepared transaction: COMMIT or ROLLBACK PREPARED, see \
                 pg_prepared_xacts), raise limits.lock_wait, or restore with --replace, which waits for nobody",
            ));
        }
        if over.wait_timeout(ASK.min(limit.max(Duration::from_millis(100)))).is_some() {
            break;
        }
    }
    means.gauge.held_up_by(None);
    None
}
