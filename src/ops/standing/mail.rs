//! Mail on its way, and mail that was refused for good.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::World;
use crate::catalog::{Letter, LetterState, Page, Reader};
use crate::error::Result;

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
    let letters = |state| reader.letters::<serde_json::Value>(Some(state), Page::first(50));
    let refused = letters(LetterState::Refused)?;
    let accepted = if refused.is_empty() { Vec::new() } else { letters(LetterState::Delivered)? };
    let tested: Option<Accepted> = reader.meta(MAIL_ACCEPTED)?.and_then(|text| serde_json::from_str(&text).ok());
    let mended = |letter: &Letter<serde_json::Value>| {
        let to = |to: &Vec<String>| letter.message.get("to") == serde_json::to_value(to).ok().as_ref();
        tested.as_ref().is_some_and(|tested| tested.at > letter.queued_at && to(&tested.to))
            || accepted.iter().any(|later| later.queued_at > letter.queued_at && later.message.get("to") == letter.message.get("to"))
    };
    let mut reasons: Vec<String> = refused.iter().filter(|letter| !mended(letter)).filter_map(|letter| letter.error.clone()).collect();
    reasons.dedup();
    Ok(reasons)
}

pub(super) fn waiting(reader: &Reader) -> Result<Waiting> {
    let queued = reader.letters::<serde_json::Value>(Some(LetterState::Queued), Page::first(100))?;
    Ok(Waiting { queued: queued.len(), error: queued.iter().find_map(|letter| letter.error.clone()) })
}
