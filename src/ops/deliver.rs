//! Delivers the outbox: every message until it is accepted, or refused for good, which is shown and never forgotten silently.

use std::time::Duration;

use chrono::TimeDelta;

use crate::catalog::Letter;
use crate::error::Result;
use crate::notify::{Delivered as Accepted, Message, Undelivered, email};

use super::{World, secret};

/// Messages taken at once.
const BATCH: u32 = 20;

/// How long a message that was taken is nobody else's; longer than any conversation lasts.
const LEASE: Duration = Duration::from_secs(600);

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
    let password = secret(&smtp.password);
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    loop {
        let batch = world.catalog.write(|writer| writer.take_letters::<Message>(BATCH, LEASE))?;
        if batch.is_empty() {
            return Ok(done);
        }
        for letter in batch {
            let answer = match &password {
                Ok(password) => email::deliver(smtp, password.as_ref(), &hostname, &letter.message),
                Err(failure) => Err(Undelivered::Later(failure.clone())),
            };
            settle(world, &letter, answer, &mut done)?;
        }
    }
}

/// Sends messages that the outbox could not take, once; what fails is lost but for the log.
pub fn directly(world: &World, messages: &[Message]) -> Result<()> {
    let Some(smtp) = &world.smtp else { return Ok(()) };
    let password = secret(&smtp.password)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for message in messages {
        let (to, subject) = (message.to.join(", "), &message.subject);
        match email::deliver(smtp, password.as_ref(), &hostname, message) {
            Ok(_) => tracing::info!(to, subject, "mail sent past the outbox"),
            Err(Undelivered::Later(failure) | Undelivered::Refused(failure)) => {
                tracing::error!(to, subject, "mail could be neither queued nor sent: {failure}");
            }
        }
    }
    Ok(())
}

fn settle(world: &World, letter: &Letter<Message>, answer: Result<Accepted, Undelivered>, done: &mut Delivered) -> Result<()> {
    let (to, subject) = (letter.message.to.join(", "), &letter.message.subject);
    match answer {
        Ok(accepted) => {
            tracing::info!(to, subject, "mail sent");
            for refusal in accepted.refused.iter().chain(&accepted.deferred) {
                tracing::error!(address = refusal.address, "a recipient was not accepted: {}", refusal.answer);
            }
            done.sent += 1;
            // Those that were put off (greylisting, a full mailbox) get it later, alone.
            let rest = letter.message.for_deferred(&accepted);
            world.catalog.write(|writer| {
                writer.letter_delivered(letter.id)?;
                rest.iter().try_for_each(|rest| writer.enqueue(rest).map(drop))
            })
        }
        Err(Undelivered::Later(failure)) => {
            tracing::warn!(to, subject, "mail not sent yet: {failure}");
            done.deferred += 1;
            let next = world.clock.now() + TimeDelta::from_std(email::retry_delay(letter.attempts)).unwrap_or(TimeDelta::hours(1));
            world.catalog.write(|writer| writer.defer_letter(letter.id, next, &failure.message))
        }
        Err(Undelivered::Refused(failure)) => {
            tracing::error!(to, subject, "mail refused for good: {failure}");
            done.refused += 1;
            world.catalog.write(|writer| writer.refuse_letter(letter.id, &failure.message))
        }
    }
}
