//! Telling people: what a mail says, what it must not say, and how it reaches a mail server.
//!
//! Owns [`Message`] as the outbox keeps it and the answer [`Undelivered`]. Nothing here decides whether to mail; `alert` does, and the
//! jobs and the daemon's outbox call.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::shell::turns;

pub mod email;
pub mod group;
pub mod letter;
pub mod probe;
pub mod redact;

mod conversation;
mod reply;
mod tls;
mod walk;
mod wire;

/// A finished mail as it waits in the outbox. Everything in it is already free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Recipients' addresses, `oncall@example.org` or `On call <oncall@example.org>`.
    pub to: Vec<String>,
    /// One line; a line break or control character in it is sent as a space.
    pub subject: String,
    /// Plain text, lines ended by `\n`.
    pub body: String,
    /// `<…@host>`; stays the same over all attempts, so that a mail delivered twice is seen as one.
    pub message_id: String,
    /// When it was written, which is what its `Date` says however late it arrives.
    pub written_at: DateTime<Utc>,
    /// The mail this one answers, by its Message-ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The incident's mails, by their Message-IDs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// What it is about, for mail filters: `X-Pgdumpd-Event: failing`.
    pub event: String,
    /// Whom it is about, for mail filters: `X-Pgdumpd-Project: shop`, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<String>,
    /// Who has it already, of a mail that is kept for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub had: Vec<String>,
}

impl Message {
    /// The mail as it was delivered: to those who were accepted.
    #[must_use]
    pub fn for_accepted(&self, delivered: &Delivered) -> Self {
        let left_out = |text: &String| {
            let address = address(text);
            delivered.refused.iter().chain(&delivered.deferred).any(|refusal| refusal.address == address || refusal.address == *text)
        };
        Self { to: self.to.iter().filter(|text| !left_out(text)).cloned().collect(), ..self.clone() }
    }

    /// The mail to keep for the recipients that were put off, if any; those who have it don't get it again.
    #[must_use]
    pub fn for_deferred(&self, delivered: &Delivered) -> Option<Self> {
        self.rest(delivered, &delivered.deferred)
    }

    /// The mail that never reached the recipients who were refused, if any.
    #[must_use]
    pub fn for_refused(&self, delivered: &Delivered) -> Option<Self> {
        self.rest(delivered, &delivered.refused)
    }

    fn rest(&self, delivered: &Delivered, without: &[Refusal]) -> Option<Self> {
        let to: Vec<String> = without.iter().map(|refusal| refusal.address.clone()).collect();
        let had = || self.had.iter().cloned().chain(self.for_accepted(delivered).to).collect();
        (!to.is_empty()).then(|| Self { to, had: had(), ..self.clone() })
    }
}

/// The address itself in `On call <oncall@example.org>`; what is none stays as it is.
#[must_use]
pub fn address(text: &str) -> String {
    text.parse::<lettre::message::Mailbox>().map_or_else(|_| single_line(text), |mailbox| mailbox.email.to_string())
}

/// A recipient that the server did not take, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The address.
    pub address: String,
    /// The server's words, with its code: `550 5.1.1 no such user`.
    pub answer: String,
}

/// A mail that the server took for at least one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Recipients refused for good; they get nothing, and someone should be told.
    pub refused: Vec<Refusal>,
    /// Recipients to try again later, alone (greylisting, a full mailbox).
    pub deferred: Vec<Refusal>,
}

/// A mail that reached nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// Keep it and try again: the server is away or busy, or the settings are wrong and a person can mend them.
    Later(Failure),
    /// The server refused this very message, or all its recipients, for good.
    Refused(Failure),
}

impl Undelivered {
    /// What to tell, whichever it is.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Later(failure) | Self::Refused(failure) => failure,
        }
    }
}

/// Text on one line: each run of line breaks, control characters, marks of direction and blanks becomes one space, so that no name can begin
/// a header, nor turn what stands beside it.
#[must_use]
pub fn single_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control() || turns(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::single_line;

    #[test]
    fn a_name_cannot_break_a_line() {
        assert_eq!(single_line("shop\r\nBcc: thief@example.org\u{0}\u{2028}x "), "shop Bcc: thief@example.org x");
        assert_eq!(single_line("FAILED evil\u{202e}gpj: \u{2067}no"), "FAILED evil gpj: no");
    }
}
