//! Delivers the outbox: every message until it is accepted, or refused for good, which is shown and never forgotten silently.

use chrono::TimeDelta;

use crate::config::secret;
use crate::error::Result;
use crate::notify::{Message, Undelivered, email};

use super::World;

/// What one round did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Accepted by the mail server.
    pub sent: usize,
    /// To be tried again later.
    pub deferred: usize,
    /// Refused for good.
    pub refused: usize,
}

/// Tries every message that is due. Without `[smtp]` messages wait.
pub fn deliver(world: &World) -> Result<Delivered> {
    let mut done = Delivered::default();
    let Some(smtp) = &world.smtp else { return Ok(done) };
    let due = world.catalog.outbox_due(world.clock.now())?;
    if due.is_empty() {
        return Ok(done);
    }
    let password = match secret::read(&smtp.password) {
        Ok(password) => password,
        Err(failure) => {
            tracing::error!("mail can't be sent: {failure}");
            for item in &due {
                let next = world.clock.now() + TimeDelta::seconds(60);
                world.catalog.outbox_defer(item.id, next, &failure.message)?;
            }
            return Ok(Delivered { deferred: due.len(), ..done });
        }
    };
    for item in due {
        let message: Message = item.message;
        match email::deliver(smtp, password.as_ref(), &message, world.clock.now()) {
            Ok(()) => {
                tracing::info!(to = message.to.join(", "), subject = message.subject, "mail sent");
                world.catalog.outbox_delivered(item.id, world.clock.now())?;
                done.sent += 1;
            }
            Err(Undelivered::Later(failure)) => {
                let wait = crate::notify::retry_delay(item.attempts + 1);
                tracing::warn!(subject = message.subject, "mail not sent yet: {failure}");
                world.catalog.outbox_defer(item.id, world.clock.now() + wait, &failure.message)?;
                done.deferred += 1;
            }
            Err(Undelivered::Refused(failure)) => {
                tracing::error!(subject = message.subject, "mail refused for good: {failure}");
                world.catalog.outbox_refuse(item.id, world.clock.now(), &failure.message)?;
                done.refused += 1;
            }
        }
    }
    Ok(done)
}
