//! Who holds up a restore into tables that are in use: it waits for their locks, without a word of its own, for as long as it takes.

use std::time::Duration;

use crate::postgres::dump::beside;
use crate::postgres::session::Session;
use crate::process::{Cancel, CancelReason};

use super::{Means, Recipe};

/// A wait this short is worth no question.
const FIRST: Duration = Duration::from_secs(2);
/// How often the server is asked.
const ASK: Duration = Duration::from_secs(5);

/// Does the work, and lets the gauge say who holds it up.
pub(super) fn told<T>(means: Means<'_>, recipe: &Recipe, database: &str, work: impl FnOnce() -> T) -> T {
    let over = Cancel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| watch(means, recipe, database, &over));
        let done = work();
        over.cancel(CancelReason::Cancelled);
        done
    })
}

fn watch(means: Means<'_>, recipe: &Recipe, database: &str, over: &Cancel) {
    if over.wait_timeout(FIRST).is_some() {
        return;
    }
    // Without a connection to spare nobody is asked; the restore goes on.
    let Ok(mut session) = Session::open(&recipe.client, means.access, Some(database), &beside(means.run), means.limits, over) else {
        return;
    };
    while let Ok(found) = session.watch(means.run) {
        means.gauge.held_up_by(found.blocked_by.first().map(ToString::to_string));
        if over.wait_timeout(ASK).is_some() {
            break;
        }
    }
    means.gauge.held_up_by(None);
}
