//! The way of one mail through the conversation, step by step, noting each.
//!
//! Owns [`Stage`] and the judgement of what a fault at a stage means for the mail. `email` wants only the end, `probe` the steps.

use lettre::Address;
use secrecy::SecretString;

use super::conversation::{Conversation, resolve};
use super::email::Parcel;
use super::probe::Step;
use super::redact::Redactor;
use super::reply::Fault;
use super::wire::{Bounds, Wire};
use super::{Delivered, Refusal, Undelivered};
use crate::error::{Cause, Failure};
use crate::model::settings::{Smtp, SmtpSecurity};

/// A step of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Settings,
    Resolve,
    Connect,
    Greeting,
    Hello,
    StartTls,
    Certificate,
    Login,
    Sender,
    Recipient,
    Content,
}

impl Stage {
    /// The name that `notify test` prints.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Resolve => "resolve name",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Certificate => "certificate",
            Self::Login => "authentication",
            Self::Sender => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Content => "DATA",
        }
    }
}

/// One walk: the settings it goes by and the steps it has made.
pub(super) struct Walk<'a> {
    pub(super) smtp: &'a Smtp,
    pub(super) password: Option<&'a SecretString>,
    pub(super) hostname: &'a str,
    pub(super) steps: Vec<Step>,
}

impl Walk<'_> {
    /// Goes all the way, or as far as the server lets it.
    pub(super) fn deliver(&mut self, parcel: &Parcel) -> Result<Delivered, Undelivered> {
        let mut talk = self.open()?;
        self.log_in(&mut talk)?;
        let utf8 = !parcel.from.to_string().is_ascii() || parcel.to.iter().any(|address| !address.to_string().is_ascii());
        let sender = talk.sender(&parcel.from, utf8).map(|reply| ((), reply.text()));
        self.note(Stage::Sender, sender)?;
        let mut delivered = Delivered { refused: parcel.unusable.clone(), deferred: Vec::new() };
        let accepted = self.recipients(&mut talk, &parcel.to, &mut delivered)?;
        if accepted == 0 {
            talk.quit();
            return Err(self.nobody(&delivered));
        }
        let content = talk.content(&parcel.bytes).map(|reply| ((), reply.text()));
        self.note(Stage::Content, content)?;
        talk.quit();
        Ok(delivered)
    }

    /// As far as one can go without a mail: to the end of the authentication, then QUIT.
    pub(super) fn knock(&mut self) -> Result<(), Undelivered> {
        let mut talk = self.open()?;
        self.log_in(&mut talk)?;
        talk.quit();
        Ok(())
    }

    /// From the name to a greeted server, in TLS where the settings say so.
    fn open(&mut self) -> Result<Conversation, Undelivered> {
        let smtp = self.smtp;
        let bounds = Bounds::starting_now(smtp.timeout);
        let found = resolve(&smtp.host, smtp.port, bounds).map(|found| {
            let text = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
            (found, text)
        });
        let addresses = self.note(Stage::Resolve, found)?;
        let wire = Wire::connect(&addresses, bounds).map(|(wire, address)| (wire, address.to_string()));
        let mut talk = Conversation::new(self.note(Stage::Connect, wire)?);
        if smtp.security == SmtpSecurity::Tls {
            talk = self.secure(talk)?;
        }
        let greeting = talk.greeting().map(|reply| ((), reply.text()));
        self.note(Stage::Greeting, greeting)?;
        self.hello(&mut talk)?;
        if smtp.security == SmtpSecurity::StartTls {
            let go_ahead = talk.start_tls().map(|reply| ((), reply.text()));
            self.note(Stage::StartTls, go_ahead)?;
            talk = self.secure(talk)?;
            self.hello(&mut talk)?;
        }
        Ok(talk)
    }

    fn hello(&mut self, talk: &mut Conversation) -> Result<(), Undelivered> {
        let hello = talk.hello(self.hostname).map(|reply| ((), reply.text()));
        self.note(Stage::Hello, hello)
    }

    fn secure(&mut self, talk: Conversation) -> Result<Conversation, Undelivered> {
        let secured = talk
            .secure(self.smtp.ca_file.as_deref(), &self.smtp.host)
            .map(|(talk, version)| (talk, format!("{version}, the certificate is good for {}", self.smtp.host)));
        self.note(Stage::Certificate, secured)
    }

    fn log_in(&mut self, talk: &mut Conversation) -> Result<(), Undelivered> {
        let Some(user) = self.smtp.username.as_deref() else { return Ok(()) };
        let Some(password) = self.password else {
            let missing = Fault::Settings(
                format!("there is no password for the mail account {user}"),
                String::from("set password in [smtp]: { file = \"…\" }, or remove username"),
            );
            return self.note(Stage::Settings, Err::<((), String), _>(missing));
        };
        let login = talk.authenticate(user, password).map(|mechanism| ((), format!("{user}, by {mechanism}")));
        self.note(Stage::Login, login)
    }

    /// Names every recipient; one that is refused doesn't keep the others from their mail. Returns how many were taken.
    fn recipients(&mut self, talk: &mut Conversation, to: &[Address], delivered: &mut Delivered) -> Result<usize, Undelivered> {
        let mut accepted = 0;
        for address in to {
            let answer = talk.recipient(address);
            if let Err(Fault::Reply(reply)) = &answer
                && reply.code != 421
                && !reply.wants_login()
            {
                let refusal = Refusal { address: address.to_string(), answer: self.clean(&reply.text()) };
                self.steps.push(Step { name: Stage::Recipient.name(), ok: false, detail: format!("{address}: {}", refusal.answer) });
                let list = if reply.is_permanent() { &mut delivered.refused } else { &mut delivered.deferred };
                list.push(refusal);
                continue;
            }
            self.note(Stage::Recipient, answer.map(|reply| ((), format!("{address}: {}", reply.text()))))?;
            accepted += 1;
        }
        Ok(accepted)
    }

    /// What to say when no recipient was taken; as long as one was only put off, the mail is worth keeping.
    fn nobody(&self, delivered: &Delivered) -> Undelivered {
        let all: Vec<String> =
            delivered.deferred.iter().chain(&delivered.refused).map(|refusal| format!("{}: {}", refusal.address, refusal.answer)).collect();
        let failure = Failure::new(Cause::Mail, format!("mail server {} took no recipient: {}", self.server(), all.join("; ")));
        if delivered.deferred.is_empty() {
            Undelivered::Refused(failure.hint("check the addresses under `to`; if relaying is denied, [smtp] needs a username"))
        } else {
            Undelivered::Later(failure)
        }
    }

    /// Notes how a step went and turns a fault into what it means for the mail.
    fn note<T>(&mut self, stage: Stage, result: Result<(T, String), Fault>) -> Result<T, Undelivered> {
        match result {
            Ok((value, detail)) => {
                self.steps.push(Step { name: stage.name(), ok: true, detail: self.clean(&detail) });
                Ok(value)
            }
            Err(fault) => {
                let failure = self.failure(stage, &fault);
                let detail = failure.hint.as_ref().map_or_else(|| failure.message.clone(), |hint| format!("{}; {hint}", failure.message));
                self.steps.push(Step { name: stage.name(), ok: false, detail });
                Err(judge(stage, &fault, failure))
            }
        }
    }

    fn failure(&self, stage: Stage, fault: &Fault) -> Failure {
        let server = self.server();
        let name = stage.name();
        let message = match fault {
            Fault::Reply(reply) => format!("mail server {server} refused {}: {}", self.refused(stage), reply.text()),
            Fault::Slow(limit) => format!("mail server {server} took longer than {} for {name}", humantime::format_duration(*limit)),
            Fault::Tarpit(limit) => {
                format!("mail server {server} answered so slowly that {} passed before {name} was done", humantime::format_duration(*limit))
            }
            Fault::Closed => format!("mail server {server} closed the connection during {name}"),
            Fault::Network(why) if stage == Stage::Resolve => format!("mail server {} was not found: {why}", self.smtp.host),
            Fault::Network(why) => format!("mail server {server} can't be reached ({name}): {why}"),
            Fault::Certificate(why, _) => format!("the certificate of mail server {server} does not hold: {why}"),
            Fault::Handshake(why) => format!("TLS with mail server {server} failed: {why}"),
            Fault::NotOffered(what) => format!("mail server {server} does not offer {what}"),
            Fault::NotSmtp(what) => format!("mail server {server} does not speak SMTP during {name}: {what}"),
            Fault::Settings(what, _) => what.clone(),
        };
        let failure = Failure::new(Cause::Mail, self.clean(&message));
        match self.hint(stage, fault) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn refused(&self, stage: Stage) -> String {
        match stage {
            Stage::Login => format!("the login of {}", self.smtp.username.as_deref().unwrap_or_default()),
            Stage::Sender => format!("the sender {}", self.smtp.from),
            Stage::Content => String::from("the message"),
            Stage::Greeting | Stage::Connect => String::from("the connection"),
            other => other.name().to_owned(),
        }
    }

    fn hint(&self, stage: Stage, fault: &Fault) -> Option<String> {
        let smtp = self.smtp;
        let text = match (stage, fault) {
            (_, Fault::Certificate(_, hint) | Fault::Settings(_, hint)) => hint.clone(),
            (Stage::StartTls, Fault::NotOffered(_)) => String::from(
                "nothing was sent; if the server speaks TLS from the start, set security = \"tls\"; if it never offered STARTTLS, ask why",
            ),
            (Stage::Login, Fault::NotOffered(_)) if smtp.security == SmtpSecurity::None => {
                String::from("many servers take a login only in TLS: set security = \"starttls\"")
            }
            (Stage::Login, Fault::Reply(reply)) if reply.is_permanent() => String::from("check username and password in [smtp]"),
            (_, Fault::Reply(reply)) if reply.wants_login() => String::from("set username and password in [smtp]"),
            (Stage::Sender, Fault::Reply(reply)) if reply.is_permanent() => String::from("check `from` in [smtp]"),
            (Stage::Greeting | Stage::Hello, Fault::Reply(reply)) if reply.is_permanent() => {
                format!("{} may not accept this machine: ask its administrator", smtp.host)
            }
            (Stage::Resolve, _) => String::from("check host in [smtp] and this machine's name servers"),
            (Stage::Connect, _) => format!("check host and port in [smtp], and that a firewall lets this machine reach port {}", smtp.port),
            (Stage::Greeting, Fault::Slow(_) | Fault::NotSmtp(_)) if smtp.security != SmtpSecurity::Tls => {
                String::from("if the server speaks TLS from the start (port 465), set security = \"tls\"")
            }
            _ => return None,
        };
        Some(text)
    }

    fn server(&self) -> String {
        format!("{}:{}", self.smtp.host, self.smtp.port)
    }

    /// A server may echo what it was told; the password must not come back that way.
    fn clean(&self, text: &str) -> String {
        Redactor::new(self.password).clean(text)
    }
}

/// Only a permanent answer about this very message is final; everything else can pass, or be mended by a person.
fn judge(stage: Stage, fault: &Fault, failure: Failure) -> Undelivered {
    match fault {
        Fault::Reply(reply) if stage == Stage::Content && reply.is_permanent() && !reply.wants_login() => Undelivered::Refused(failure),
        _ => Undelivered::Later(failure),
    }
}
