//! Delivers the outbox: every message until it is accepted, or refused for good, which is shown and never forgotten silently.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::{Letter, Take, Writer};
use crate::error::Result;
use crate::notify::{Delivered as Accepted, Message, Refusal, Undelivered, email};

use super::{World, secret};

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
    // In the order they were written, so that nobody reads of an end before its beginning: once one is due, those that wait for another try go
    // before it, until one of them shows that the way is still shut.
    let (mut after, mut which) = (0, Take::Any);
    if !world.catalog.read(|reader| reader.next_letter())?.is_some_and(|at| is_due(at, world.clock.now())) {
        return Ok(done);
    }
    while let Some(letter) = world.catalog.write(|writer| writer.take_letter::<Message>(after, which, LEASE))? {
        after = letter.id;
        let answer = match &password {
            Ok(password) => email::deliver(smtp, password.as_ref(), &hostname, &letter.message),
            Err(failure) => Err(Undelivered::Later(failure.clone())),
        };
        if matches!(answer, Err(Undelivered::Later(_))) {
            which = Take::Due;
        }
        settle(world, &letter, answer, &mut done)?;
    }
    Ok(done)
}

/// A time far ahead was set by a clock that was wrong.
fn is_due(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    at <= now || at > now + TimeDelta::days(1)
}

/// A mail that the outbox can't take.
#[derive(Debug)]
pub struct Direct {
    /// The mail.
    pub message: Message,
    /// The server's answer, where it was refused for good: then it only waits to be shown.
    pub refused: Option<String>,
}

/// Sends mails past the outbox; returns what could not be sent, or not to everybody.
#[must_use]
pub fn directly(world: &World, letters: Vec<Direct>) -> Vec<Direct> {
    let Some(smtp) = &world.smtp else { return letters };
    let password = secret(&smtp.password);
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut left = Vec::new();
    for Direct { message, .. } in letters {
        let (to, subject) = (message.to.join(", "), &message.subject);
        let answer = match &password {
            Ok(password) => email::deliver(smtp, password.as_ref(), &hostname, &message),
            Err(failure) => Err(Undelivered::Later(failure.clone())),
        };
        match answer {
            Ok(accepted) => {
                tracing::info!(to = message.for_accepted(&accepted).to.join(", "), subject, "mail sent past the outbox");
                complain(&accepted);
                left.extend(message.for_deferred(&accepted).map(|message| Direct { message, refused: None }));
                left.extend(message.for_refused(&accepted).map(|message| Direct { message, refused: Some(refused(&accepted.refused)) }));
            }
            Err(Undelivered::Later(failure)) => {
                tracing::warn!(to, subject, "mail not sent yet, nor can it be queued: {failure}");
                left.push(Direct { message, refused: None });
            }
            Err(Undelivered::Refused(failure)) => {
                tracing::error!(to, subject, "mail refused for good: {failure}");
                left.push(Direct { message, refused: Some(failure.message) });
            }
        }
    }
    left
}

/// Puts such a mail into the outbox, once that can be.
pub fn queue(writer: &Writer, letter: &Direct) -> Result<()> {
    let id = writer.enqueue(&letter.message)?;
    letter.refused.as_ref().map_or(Ok(()), |answer| writer.refuse_letter(id, answer))
}

fn complain(accepted: &Accepted) {
    for refusal in accepted.refused.iter().chain(&accepted.deferred) {
        tracing::error!(address = refusal.address, "a recipient was not accepted: {}", refusal.answer);
    }
}

fn settle(world: &World, letter: &Letter<Message>, answer: Result<Accepted, Undelivered>, done: &mut Delivered) -> Result<()> {
    let (to, subject) = (letter.message.to.join(", "), &letter.message.subject);
    match answer {
        Ok(accepted) => {
            let had = letter.message.for_accepted(&accepted);
            tracing::info!(to = had.to.join(", "), subject, "mail sent");
            complain(&accepted);
            done.sent += 1;
            done.refused += usize::from(!accepted.refused.is_empty());
            world.catalog.write(|writer| {
                writer.letter_delivered(letter.id, &had)?;
                // Those that were put off (greylisting, a full mailbox) get it later, alone; of those that were refused somebody must know.
                letter.message.for_deferred(&accepted).iter().try_for_each(|rest| writer.enqueue(rest).map(drop))?;
                letter.message.for_refused(&accepted).iter().try_for_each(|rest| {
                    let lost = writer.enqueue(rest)?;
                    writer.refuse_letter(lost, &refused(&accepted.refused))
                })
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

fn refused(refusals: &[Refusal]) -> String {
    let each: Vec<String> = refusals.iter().map(|refusal| format!("{}: {}", refusal.address, refusal.answer)).collect();
    format!("a recipient was not accepted, though others were: {}", each.join("; "))
}
