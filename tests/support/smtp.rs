//! A mail server for tests: real TCP, real TLS, and a script of what it does wrong.
//!
//! One thread accepts, one serves each connection. It ends when it is dropped, together with the connections it holds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server does instead of its duty, by the stage it happens at: `greeting`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, an address
/// (`bob@example.org`), `DATA` or `.` (the message's end).
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Answers with this line.
    Answer(&'static str),
    /// Says nothing and keeps the connection.
    Silence,
    /// Sends its answer one byte at a time, with this pause.
    Drip(Duration),
    /// Answers, but only after this.
    Late(Duration),
    /// Hangs up.
    Drop,
    /// Answers as it should and adds these bytes in the same packet.
    Inject(&'static str),
}

/// Which certificate it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    Good,
    WrongName,
    Expired,
    SelfSigned,
}

/// How the server is set up.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// TLS from the first byte.
    pub(crate) implicit_tls: bool,
    /// Whether STARTTLS is offered.
    pub(crate) offer_starttls: bool,
    pub(crate) certificate: Certificate,
    /// `AUTH` mechanisms offered; empty for none.
    pub(crate) auth: &'static str,
    /// Whether MAIL is refused without a login.
    pub(crate) require_auth: bool,
    pub(crate) deeds: HashMap<&'static str, Deed>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            implicit_tls: false,
            offer_starttls: true,
            certificate: Certificate::Good,
            auth: "PLAIN LOGIN",
            require_auth: false,
            deeds: HashMap::new(),
        }
    }
}

impl Script {
    pub(crate) fn with(mut self, stage: &'static str, deed: Deed) -> Self {
        self.deeds.insert(stage, deed);
        self
    }
}

/// What the server has seen.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    /// Every command line, marked `tls:` where it came inside TLS.
    pub(crate) commands: Vec<String>,
    /// `user password` of each accepted login.
    pub(crate) logins: Vec<String>,
    /// Each accepted message: recipients and bytes as sent, dots undone.
    pub(crate) mails: Vec<(Vec<String>, String)>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = certificate(script.certificate, &folder.path().join("ca.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop, open) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let shared = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&open));
        let thread = std::thread::spawn(move || {
            let (seen, stop, open) = shared;
            let mut sessions = Vec::new();
            for tcp in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let tcp = tcp.unwrap();
                open.lock().unwrap().push(tcp.try_clone().unwrap());
                let session = Session { script: script.clone(), tls: Arc::clone(&tls), seen: Arc::clone(&seen), secure: false };
                sessions.push(std::thread::spawn(move || {
                    session.serve(tcp.try_clone().unwrap());
                    // The list of open connections holds a copy, so dropping this one would not hang up.
                    tcp.shutdown(Shutdown::Both).ok();
                }));
            }
            for session in sessions {
                session.join().unwrap();
            }
        });
        Self { address, seen, stop, open, thread: Some(thread), folder }
    }

    /// The authority to trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn look<T>(&self, at: impl FnOnce(&Seen) -> T) -> T {
        at(&self.seen.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(self.address).ok();
        for tcp in self.open.lock().unwrap().drain(..) {
            tcp.shutdown(Shutdown::Both).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A server's TLS set-up; the authority's certificate is written to `ca_file`.
fn certificate(kind: Certificate, ca_file: &Path) -> Arc<ServerConfig> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "test authority");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca_file, issuer.pem()).unwrap();
    let name = if kind == Certificate::WrongName { "elsewhere.example" } else { "localhost" };
    let mut server = CertificateParams::new(vec![String::from(name)]).unwrap();
    if kind == Certificate::Expired {
        server.not_before = rcgen::date_time_ymd(2020, 1, 1);
        server.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let signed = if kind == Certificate::SelfSigned { server.self_signed(&key) } else { server.signed_by(&key, &issuer) }.unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.der().clone()], key)
        .unwrap();
    Arc::new(config)
}

trait Line: Read + Write + Send {}
impl<T: Read + Write + Send> Line for T {}

struct Session {
    script: Script,
    tls: Arc<ServerConfig>,
    seen: Arc<Mutex<Seen>>,
    secure: bool,
}

/// The connection is over.
struct Over;

impl Session {
    fn serve(mut self, tcp: TcpStream) {
        if self.script.implicit_tls {
            self.secure = true;
            let session = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
            let mut line: BufReader<Box<dyn Line>> = BufReader::new(Box::new(StreamOwned::new(session, tcp)));
            self.talk(&mut line, true).ok();
            return;
        }
        let plain = tcp.try_clone().unwrap();
        let mut line: BufReader<Box<dyn Line>> = BufReader::new(Box::new(plain));
        if let Ok(true) = self.talk(&mut line, true) {
            self.secure = true;
            let session = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
            let mut line: BufReader<Box<dyn Line>> = BufReader::new(Box::new(StreamOwned::new(session, tcp)));
            self.talk(&mut line, false).ok();
        }
    }

    /// Speaks until the client quits (`false`) or wants TLS (`true`).
    fn talk(&mut self, line: &mut BufReader<Box<dyn Line>>, greet: bool) -> Result<bool, Over> {
        if greet {
            self.answer(line, "greeting", "220 test ready")?;
        }
        let (mut logged_in, mut recipients) = (false, Vec::new());
        loop {
            let command = self.read(line)?;
            let verb = command.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            match verb.as_str() {
                "EHLO" => self.answer(line, "EHLO", &self.offers())?,
                "STARTTLS" => return self.answer(line, "STARTTLS", "220 go ahead"),
                "AUTH" => {
                    logged_in |= self.login(line, &command)?;
                    logged_in
                }
                "MAIL" if self.script.require_auth && !logged_in => self.answer(line, "-", "530 5.7.0 authentication required")?,
                "MAIL" => self.answer(line, "MAIL", "250 sender ok")?,
                "RCPT" => {
                    let address = command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    let own = self.script.deeds.keys().copied().find(|stage| *stage == address);
                    let taken = self.answer(line, own.unwrap_or("RCPT"), "250 recipient ok")?;
                    if taken {
                        recipients.push(address);
                    }
                    taken
                }
                "DATA" => self.data(line, &mut recipients)?,
                "QUIT" => {
                    self.answer(line, "QUIT", "221 bye").ok();
                    return Ok(false);
                }
                _ => self.answer(line, "-", "500 what?")?,
            };
        }
    }

    fn offers(&self) -> String {
        let mut offers = vec!["250-test"];
        let auth = format!("250-AUTH {}", self.script.auth);
        if self.script.offer_starttls && !self.secure {
            offers.push("250-STARTTLS");
        }
        if !self.script.auth.is_empty() {
            offers.push(&auth);
        }
        offers.push("250 8BITMIME");
        offers.join("\r\n")
    }

    fn login(&mut self, line: &mut BufReader<Box<dyn Line>>, command: &str) -> Result<bool, Over> {
        let given = if let Some(response) = command.strip_prefix("AUTH PLAIN ") {
            let bytes = unbase64(response);
            bytes.split('\0').skip(1).collect::<Vec<_>>().join(" ")
        } else {
            say(line, "334 VXNlcm5hbWU6\r\n")?;
            let user = unbase64(&self.read(line)?);
            say(line, "334 UGFzc3dvcmQ6\r\n")?;
            format!("{user} {}", unbase64(&self.read(line)?))
        };
        let taken = self.answer(line, "AUTH", "235 welcome")?;
        if taken {
            self.seen.lock().unwrap().logins.push(given);
        }
        Ok(taken)
    }

    fn data(&mut self, line: &mut BufReader<Box<dyn Line>>, recipients: &mut Vec<String>) -> Result<bool, Over> {
        if !self.answer(line, "DATA", "354 go on")? {
            return Ok(false);
        }
        let mut mail = String::new();
        loop {
            let text = read_raw(line)?;
            if text == ".\r\n" {
                break;
            }
            mail.push_str(text.strip_prefix('.').unwrap_or(&text));
        }
        let taken = self.answer(line, ".", "250 2.0.0 queued as 42")?;
        if taken {
            self.seen.lock().unwrap().mails.push((std::mem::take(recipients), mail));
        }
        Ok(taken)
    }

    fn read(&mut self, line: &mut BufReader<Box<dyn Line>>) -> Result<String, Over> {
        let text = read_raw(line)?.trim_end().to_owned();
        let mark = if self.secure { "tls:" } else { "" };
        self.seen.lock().unwrap().commands.push(format!("{mark}{text}"));
        Ok(text)
    }

    /// Answers as it should, or as the script says. Returns whether the answer was a yes.
    fn answer(&mut self, line: &mut BufReader<Box<dyn Line>>, stage: &str, right: &str) -> Result<bool, Over> {
        let right = format!("{right}\r\n");
        match self.script.deeds.get(stage).cloned() {
            None => say(line, &right)?,
            Some(Deed::Answer(text)) => {
                say(line, &format!("{text}\r\n"))?;
                return Ok(text.starts_with(['2', '3']));
            }
            Some(Deed::Silence) => {
                // Until the client gives up.
                line.get_mut().read_to_end(&mut Vec::new()).ok();
                return Err(Over);
            }
            Some(Deed::Drip(pause)) => {
                for byte in right.bytes() {
                    std::thread::sleep(pause);
                    say(line, &char::from(byte).to_string())?;
                }
            }
            Some(Deed::Late(pause)) => {
                std::thread::sleep(pause);
                say(line, &right)?;
            }
            Some(Deed::Drop) => return Err(Over),
            Some(Deed::Inject(more)) => say(line, &format!("{right}{more}"))?,
        }
        Ok(true)
    }
}

fn read_raw(line: &mut BufReader<Box<dyn Line>>) -> Result<String, Over> {
    let mut bytes = Vec::new();
    match line.read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => Err(Over),
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

fn say(line: &mut BufReader<Box<dyn Line>>, text: &str) -> Result<(), Over> {
    let out = line.get_mut();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|_| Over)
}

fn unbase64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut have = 0;
    let mut out = Vec::new();
    for byte in text.bytes() {
        let Some(value) = LETTERS.iter().position(|&letter| letter == byte) else { break };
        bits = bits << 6 | value as u32;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
            bits &= (1 << have) - 1;
        }
    }
    String::from_utf8(out).unwrap()
}
