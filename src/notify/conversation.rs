//! SMTP as a client speaks it (RFC 5321), one method a step.
//!
//! Owns the commands and what the server offered; whether to go on after an answer is `walk`'s work. lettre's own connection is not used
//! because it can't bound a slow drip, refuse one recipient of several, or say at which step it failed; its commands and addresses are.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::{ClientId, MailParameter};
use secrecy::{ExposeSecret, SecretString};

use super::reply::{Fault, Reply};
use super::tls;
use super::wire::{Bounds, Wire, plain};

/// The addresses of `host`, within one step's time.
///
/// The system's resolver can't be interrupted. It works on a thread of its own, which ends with the resolver's own limit (resolv.conf,
/// `timeout` and `attempts`) and holds nothing that anyone waits for.
pub(super) fn resolve(host: &str, port: u16, bounds: Bounds) -> Result<Vec<SocketAddr>, Fault> {
    let (answer, found) = mpsc::channel();
    let name = host.to_owned();
    let resolver = std::thread::Builder::new().name(String::from("resolve-mail")).spawn(move || {
        // Nobody listens any more where the step has timed out.
        answer.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect)).ok();
    });
    resolver.map_err(|error| Fault::Network(plain(&error)))?;
    match found.recv_timeout(bounds.step) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Fault::Network(plain(&error))),
        Err(_) => Err(bounds.broken()),
    }
}

/// A conversation with a mail server.
pub(super) struct Conversation {
    wire: Wire,
    /// What the last EHLO brought, in capitals: `AUTH PLAIN LOGIN`.
    offers: Vec<String>,
}

impl Conversation {
    /// Begins on an open connection.
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, offers: Vec::new() }
    }

    /// The server's first words.
    pub(super) fn greeting(&mut self) -> Result<Reply, Fault> {
        let reply = self.wire.reply()?;
        if reply.is_positive() { Ok(reply) } else { Err(Fault::Reply(reply)) }
    }

    /// Says who we are and learns what the server offers.
    pub(super) fn hello(&mut self, hostname: &str) -> Result<Reply, Fault> {
        let reply = self.command(Ehlo::new(client_id(hostname)))?;
        self.offers = reply.lines.iter().skip(1).map(|line| line.to_uppercase()).collect();
        Ok(reply)
    }

    /// Asks for TLS; a server that doesn't offer it, or an attacker who took the offer out, gets nothing further.
    pub(super) fn start_tls(&mut self) -> Result<Reply, Fault> {
        if !self.offers("STARTTLS") {
            return Err(Fault::NotOffered(String::from("STARTTLS")));
        }
        self.command(Starttls)
    }

    /// Makes the connection a TLS one. What was offered before counts no more.
    pub(super) fn secure(self, ca_file: Option<&Path>, host: &str) -> Result<(Self, String), Fault> {
        let (wire, version) = self.wire.secure(&tls::client_config(ca_file)?, host)?;
        Ok((Self::new(wire), version))
    }

    /// Logs in, PLAIN before LOGIN.
    pub(super) fn authenticate(&mut self, user: &str, password: &SecretString) -> Result<&'static str, Fault> {
        let credentials = Credentials::new(user.to_owned(), password.expose_secret().to_owned());
        let wrong = |error: lettre::transport::smtp::Error| Fault::NotSmtp(error.to_string());
        if self.mechanism("PLAIN") {
            self.command(Auth::new(Mechanism::Plain, credentials, None).map_err(wrong)?)?;
            return Ok("PLAIN");
        }
        if self.mechanism("LOGIN") {
            self.command(Auth::new(Mechanism::Login, credentials.clone(), None).map_err(wrong)?)?;
            for prompt in ["Username:", "Password:"] {
                self.command(Auth::new(Mechanism::Login, credentials.clone(), Some(prompt.to_owned())).map_err(wrong)?)?;
            }
            return Ok("LOGIN");
        }
        Err(Fault::NotOffered(String::from("a login by PLAIN or LOGIN")))
    }

    /// Names the sender; `utf8` where any address of this mail has letters beyond ASCII (RFC 6531).
    pub(super) fn sender(&mut self, from: &Address, utf8: bool) -> Result<Reply, Fault> {
        if utf8 && !self.offers("SMTPUTF8") {
            return Err(Fault::NotOffered(String::from("SMTPUTF8, which an address with letters beyond ASCII needs")));
        }
        let parameters = if utf8 { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
        self.command(Mail::new(Some(from.clone()), parameters))
    }

    /// Names a recipient.
    pub(super) fn recipient(&mut self, to: &Address) -> Result<Reply, Fault> {
        self.command(Rcpt::new(to.clone(), Vec::new()))
    }

    /// Sends the message; after `Ok` the server answers for it.
    pub(super) fn content(&mut self, message: &[u8]) -> Result<Reply, Fault> {
        let reply = self.command(Data)?;
        if reply.code != 354 {
            return Err(Fault::NotSmtp(format!("{} in answer to DATA", reply.text())));
        }
        self.wire.send(&stuffed(message))?;
        let reply = self.wire.reply()?;
        if reply.code / 100 == 2 { Ok(reply) } else { Err(Fault::Reply(reply)) }
    }

    /// Takes leave. The mail is delivered or not by now, so the answer doesn't matter.
    pub(super) fn quit(mut self) {
        self.command(Quit).ok();
    }

    fn command(&mut self, command: impl std::fmt::Display) -> Result<Reply, Fault> {
        self.wire.send(command.to_string().as_bytes())?;
        let reply = self.wire.reply()?;
        if reply.is_positive() { Ok(reply) } else { Err(Fault::Reply(reply)) }
    }

    fn offers(&self, keyword: &str) -> bool {
        self.offers.iter().any(|offer| offer.split(' ').next() == Some(keyword))
    }

    /// `AUTH PLAIN LOGIN`, or `AUTH=PLAIN` as old servers write it.
    fn mechanism(&self, name: &str) -> bool {
        self.offers.iter().filter_map(|offer| offer.strip_prefix("AUTH")).any(|rest| rest.split([' ', '=']).any(|word| word == name))
    }
}

/// The name to greet with; a host name that isn't one on the network becomes an address literal (RFC 5321, section 4.1.4).
fn client_id(hostname: &str) -> ClientId {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if hostname.is_empty() || hostname.len() > 255 || !hostname.chars().all(usable) {
        ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST)
    } else {
        ClientId::Domain(hostname.to_owned())
    }
}

/// The message with its dots doubled and its end marked (RFC 5321, section 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_on_its_own_does_not_end_the_message() {
        assert_eq!(stuffed(b"a\r\n.\r\n..b"), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed(b".x\r\n"), b"..x\r\n.\r\n");
    }

    #[test]
    fn odd_host_names_become_an_address() {
        for odd in ["", "back up", "x\r\nMAIL FROM:<a@b>", "büro"] {
            assert_eq!(client_id(odd).to_string(), "[127.0.0.1]");
        }
        assert_eq!(client_id("backup1.example.org").to_string(), "backup1.example.org");
    }
}
