//! Mail by SMTP: a [`Message`] becomes bytes, and the bytes a mail server's.
//!
//! One call is one attempt, bounded by four times the settings' `timeout`; the outbox keeps what was not delivered and calls again after
//! [`retry_delay`].

use std::time::Duration;

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, MessageBuilder};
use secrecy::SecretString;

use super::walk::Walk;
use super::{Delivered, Message, Refusal, Undelivered, single_line};
use crate::error::{Cause, Failure};
use crate::model::settings::Smtp;

/// Tries to deliver `message` once. `hostname` is this machine's name, said in EHLO; `password` has been read for this attempt.
///
/// A step may take the settings' `timeout`, all of them together four times that, however the server behaves.
pub fn deliver(smtp: &Smtp, password: Option<&SecretString>, hostname: &str, message: &Message) -> Result<Delivered, Undelivered> {
    let parcel = Parcel::pack(smtp, message)?;
    Walk { smtp, password, hostname, steps: Vec::new() }.deliver(&parcel)
}

/// How long to wait after the given number of failed attempts (1, 2, …): 1, 5 and 15 minutes, then an hour each time.
#[must_use]
pub fn retry_delay(failed: u32) -> Duration {
    let minutes = match failed {
        0 | 1 => 1,
        2 => 5,
        3 => 15,
        _ => 60,
    };
    Duration::from_secs(minutes * 60)
}

/// A mail ready for the wire.
pub(super) struct Parcel {
    pub(super) from: Address,
    pub(super) to: Vec<Address>,
    /// Recipients that are no addresses at all.
    pub(super) unusable: Vec<Refusal>,
    pub(super) bytes: Vec<u8>,
}

impl Parcel {
    /// Headers, encodings and addresses.
    pub(super) fn pack(smtp: &Smtp, message: &Message) -> Result<Self, Undelivered> {
        let from: Mailbox = smtp.from.parse().map_err(|error| {
            let failure = Failure::new(Cause::Mail, format!("the sender {:?} is not a mail address: {error}", smtp.from));
            Undelivered::Later(failure.hint("set `from` in [smtp] to an address like pgdumpd@example.org"))
        })?;
        let mut to: Vec<Mailbox> = Vec::new();
        let mut unusable = Vec::new();
        for text in &message.to {
            match text.parse::<Mailbox>() {
                Ok(mailbox) if to.iter().all(|known| known.email != mailbox.email) => to.push(mailbox),
                Ok(_) => {}
                Err(error) => unusable.push(Refusal { address: single_line(text), answer: format!("not a mail address: {error}") }),
            }
        }
        if to.is_empty() {
            let failure = Failure::new(Cause::Mail, format!("there is nobody to mail to: {:?} holds no mail address", message.to));
            return Err(Undelivered::Refused(failure.hint("set `to` in [smtp] or under the project's notify")));
        }
        let bytes = bytes(&from, &to, message).map_err(|why| {
            Undelivered::Refused(Failure::new(Cause::Mail, format!("the mail {:?} can't be written: {why}", message.subject)))
        })?;
        Ok(Self { from: from.email, to: to.into_iter().map(|mailbox| mailbox.email).collect(), unusable, bytes })
    }
}

fn bytes(from: &Mailbox, to: &[Mailbox], message: &Message) -> Result<Vec<u8>, String> {
    let envelope = Envelope::new(Some(from.email.clone()), to.iter().map(|mailbox| mailbox.email.clone()).collect())
        .map_err(|error| error.to_string())?;
    let mut builder = to.iter().fold(MessageBuilder::new().from(from.clone()), |builder, mailbox| builder.to(mailbox.clone()));
    builder = builder
        .envelope(envelope)
        .date(message.written_at.into())
        .message_id(Some(single_line(&message.message_id)))
        .subject(single_line(&message.subject))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN);
    if let Some(first) = &message.in_reply_to {
        builder = builder.in_reply_to(single_line(first));
    }
    if !message.references.is_empty() {
        builder = builder.references(single_line(&message.references.join(" ")));
    }
    // RFC 3834, section 5: no out-of-office answers to a machine.
    builder = header(builder, "Auto-Submitted", "auto-generated")?;
    builder = header(builder, "X-Pgdumpd-Version", env!("CARGO_PKG_VERSION"))?;
    builder = header(builder, "X-Pgdumpd-Event", &message.event)?;
    if !message.projects.is_empty() {
        builder = header(builder, "X-Pgdumpd-Projects", &message.projects.join(", "))?;
    }
    Ok(builder.body(message.body.clone()).map_err(|error| error.to_string())?.formatted())
}

fn header(builder: MessageBuilder, name: &str, value: &str) -> Result<MessageBuilder, String> {
    let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|error| error.to_string())?;
    Ok(builder.raw_header(HeaderValue::new(name, single_line(value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::project::PasswordSource;
    use crate::model::settings::SmtpSecurity;
    use chrono::{TimeZone, Utc};

    fn smtp() -> Smtp {
        Smtp {
            host: String::from("mail.example.org"),
            port: 587,
            security: SmtpSecurity::StartTls,
            ca_file: None,
            username: None,
            password: PasswordSource::Libpq,
            from: String::from("pgdumpd <pgdumpd@example.org>"),
            to: Vec::new(),
            timeout: Duration::from_secs(1),
        }
    }

    fn message() -> Message {
        Message {
            to: vec![String::from("oncall@example.org")],
            subject: String::from("[pgdumpd] FAILED shop"),
            body: String::from("one\n.\ntwo\n"),
            message_id: String::from("<1@backup1>"),
            written_at: Utc.with_ymd_and_hms(2026, 11, 21, 1, 15, 0).unwrap(),
            in_reply_to: Some(String::from("<0@backup1>")),
            references: vec![String::from("<0@backup1>")],
            event: String::from("failing"),
            projects: vec![String::from("shop")],
            had: Vec::new(),
        }
    }

    fn packed(message: &Message) -> String {
        String::from_utf8(Parcel::pack(&smtp(), message).map_err(|why| why.failure().clone()).unwrap().bytes).unwrap()
    }

    #[test]
    fn headers_are_those_of_a_machine_mail() {
        insta::assert_snapshot!(packed(&message()).replace('\r', ""), @r"
    From: pgdumpd <pgdumpd@example.org>
    To: oncall@example.org
    Date: Sat, 21 Nov 2026 01:15:00 +0000
    Message-ID: <1@backup1>
    Subject: [pgdumpd] FAILED shop
    MIME-Version: 1.0
    Content-Type: text/plain; charset=utf-8
    In-Reply-To: <0@backup1>
    References: <0@backup1>
    Auto-Submitted: auto-generated
    X-Pgdumpd-Version: 0.1.0
    X-Pgdumpd-Event: failing
    X-Pgdumpd-Projects: shop
    Content-Transfer-Encoding: 7bit

    one
    .
    two
    ");
    }

    #[test]
    fn a_project_name_cannot_add_headers() {
        let mut message = message();
        let evil = "x\r\nBcc: thief@example.org\r\n\r\nbody";
        message.subject = format!("[pgdumpd] FAILED {evil}");
        message.projects = vec![String::from(evil)];
        message.event = String::from(evil);
        message.message_id = format!("<1@{evil}>");
        message.references = vec![String::from(evil)];
        let text = packed(&message);
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        assert!(head.contains("Subject: [pgdumpd] FAILED x Bcc: thief@example.org body\r\n"), "{head}");
        assert!(text.ends_with("one\r\n.\r\ntwo\r\n"), "{text}");
    }

    #[test]
    fn letters_beyond_ascii_are_encoded() {
        let mut message = message();
        message.subject = String::from("[pgdumpd] FAILED Büro-Datenbank: größer als erwartet");
        message.body = String::from("Zürich – ✓\n");
        let text = packed(&message);
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("Subject: [pgdumpd] FAILED =?utf-8?"), "{text}");
    }

    #[test]
    fn a_bad_recipient_is_told_and_the_others_stay() {
        let mut message = message();
        message.to = vec![String::from("nobody"), String::from("On call <oncall@example.org>"), String::from("oncall@example.org")];
        let parcel = Parcel::pack(&smtp(), &message).map_err(|why| why.failure().clone()).unwrap();
        assert_eq!(parcel.to.len(), 1);
        assert_eq!(parcel.unusable[0].address, "nobody");
    }

    #[test]
    fn retries_become_hourly() {
        let minutes: Vec<u64> = (1..=6).map(|failed| retry_delay(failed).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 5, 15, 60, 60, 60]);
        assert_eq!(retry_delay(u32::MAX).as_secs(), 3600);
    }
}
