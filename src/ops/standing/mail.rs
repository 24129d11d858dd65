//! Mail on its way, and mail that was refused for good.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::World;
use crate::catalog::{Letter, LetterState, Page, Reader};
use crate::error::Result;
use crate::notify::{Message, address};

/// Mail that has not been delivered yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// How many messages wait, counted up to a hundred.
    pub queued: usize,
    /// Why the last attempt failed, where there was one.
    pub error: Option<String>,
}

/// Where the last test mail is noted that was accepted.
const MAIL_ACCEPTED: &str = "mail-accepted";

#[derive(Serialize, Deserialize)]
struct Accepted {
    at: DateTime<Utc>,
    to: Vec<String>,
}

/// Notes that a test mail to these people was accepted: what was refused before is settled.
pub fn mail_accepted(world: &World, to: &[String]) -> Result<()> {
    let accepted = Accepted { at: world.clock.now(), to: to.to_vec() };
    world.catalog.write(|writer| writer.put_meta(MAIL_ACCEPTED, &serde_json::to_string(&accepted).unwrap_or_default()))
}

/// Why mails were refused for good, as long as no later mail to the same people was accepted.
pub(super) fn refused(reader: &Reader) -> Result<Vec<String>> {
    let mut reasons: Vec<String> = unmended(reader)?.into_iter().filter_map(|letter| letter.error).collect();
    reasons.dedup();
    Ok(reasons)
}

/// The mails that were refused for good, the oldest first, as long as no later mail to the same people was accepted.
pub(in crate::ops) fn unmended(reader: &Reader) -> Result<Vec<Letter<Message>>> {
    let mut refused = reader.letters::<Message>(Some(LetterState::Refused), Page::first(50))?;
    let accepted =
        if refused.is_empty() { Vec::new() } else { reader.letters::<Message>(Some(LetterState::Delivered), Page::first(50))? };
    let tested: Option<Accepted> = reader.meta(MAIL_ACCEPTED)?.and_then(|text| serde_json::from_str(&text).ok());
    refused.retain(|letter| {
        let since = letter.queued_at;
        let has = |to: &[String], one: &str| to.iter().any(|other| address(other) == address(one));
        let is_mended = |one: &String| {
            tested.as_ref().is_some_and(|tested| tested.at > since && has(&tested.to, one))
                || accepted.iter().any(|later| later.queued_at > since && has(&later.message.to, one))
        };
        !letter.message.to.iter().all(is_mended)
    });
    refused.reverse();
    Ok(refused)
}

pub(super) fn waiting(reader: &Reader) -> Result<Waiting> {
    let queued = reader.letters::<serde_json::Value>(Some(LetterState::Queued), Page::first(100))?;
    Ok(Waiting { queued: queued.len(), error: queued.iter().find_map(|letter| letter.error.clone()) })
}
