//! The bytes between us and a mail server: lines in, lines out, plain or in TLS, every wait bounded.
//!
//! Owns [`Wire`]. A deadline holds for a step as a whole, so a server that drips one byte at a time gains nothing by it. It knows
//! replies but no commands; `conversation` does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::reply::{Fault, Reply};
use super::tls;

/// A reply longer than this is not a mail server's.
const LONGEST_REPLY: usize = 64 * 1024;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// One step.
    pub(super) step: Duration,
    /// The whole conversation.
    pub(super) total: Duration,
    /// When the whole conversation must be over.
    end: Instant,
}

/// How many times the longest step the whole conversation may take.
const STEPS: u32 = 4;

impl Bounds {
    /// Bounds of a conversation that begins now.
    pub(super) fn starting_now(step: Duration) -> Self {
        let total = step.saturating_mul(STEPS);
        Self { step, total, end: Instant::now() + total }
    }

    /// When a step that begins now must be over.
    pub(super) fn deadline(&self) -> Instant {
        (Instant::now() + self.step).min(self.end)
    }

    /// Which of the two bounds was broken.
    pub(super) fn broken(&self) -> Fault {
        if Instant::now() >= self.end { Fault::Tarpit(self.total) } else { Fault::Slow(self.step) }
    }

    /// An I/O error as a fault.
    pub(super) fn fault(&self, error: &io::Error) -> Fault {
        use io::ErrorKind as K;
        match error.kind() {
            K::TimedOut | K::WouldBlock => self.broken(),
            K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => Fault::Closed,
            _ => Fault::Network(plain(error)),
        }
    }
}

/// The system's words without Rust's `(os error 111)`.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A socket whose reads and writes all end at `until`.
struct Bounded {
    tcp: TcpStream,
    until: Instant,
}

impl Bounded {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(self.left()?)?;
        self.tcp.read(buffer)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(self.left()?)?;
        self.tcp.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

enum Stream {
    Plain(Bounded),
    Tls(Box<StreamOwned<ClientConnection, Bounded>>),
}

impl Stream {
    fn socket(&mut self) -> &mut Bounded {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    fn bytes(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.as_mut(),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// An open connection to a mail server.
pub(super) struct Wire {
    stream: Stream,
    /// Bytes that came and were not asked for yet.
    unread: Vec<u8>,
    bounds: Bounds,
}

impl Wire {
    /// Connects to the first address that answers; all of them share one step's time.
    pub(super) fn connect(addresses: &[SocketAddr], bounds: Bounds) -> Result<(Self, SocketAddr), Fault> {
        let until = bounds.deadline();
        let mut last = Fault::Network(String::from("the name has no address"));
        for (tried, address) in addresses.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
            if share.is_zero() {
                return Err(bounds.broken());
            }
            match TcpStream::connect_timeout(address, share) {
                Ok(tcp) => {
                    // Small commands shouldn't wait for each other's acknowledgement; where it can't be set, they do.
                    tcp.set_nodelay(true).ok();
                    return Ok((Self { stream: Stream::Plain(Bounded { tcp, until }), unread: Vec::new(), bounds }, *address));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => last = Fault::Slow(bounds.step),
                Err(error) => last = Fault::Network(plain(&error)),
            }
        }
        Err(last)
    }

    /// Wraps the connection in TLS, checking that the certificate is `host`'s. Says protocol and cipher.
    pub(super) fn secure(self, config: &Arc<ClientConfig>, host: &str) -> Result<(Self, String), Fault> {
        let Stream::Plain(mut socket) = self.stream else {
            return Err(Fault::Handshake(String::from("the conversation is in TLS already")));
        };
        if !self.unread.is_empty() {
            // RFC 3207, section 6, and CVE-2011-0411: what was sent in the clear must not count as said inside TLS.
            return Err(Fault::NotSmtp(String::from("bytes in the clear after its go-ahead for TLS, which only an attacker would send")));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            Fault::Settings(format!("{host:?} is not a host name"), String::from("set host in [smtp] to the mail server's name"))
        })?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(|error| Fault::Handshake(error.to_string()))?;
        socket.until = self.bounds.deadline();
        while session.is_handshaking() {
            session.complete_io(&mut socket).map_err(|error| handshake(&error, host, &self.bounds))?;
        }
        let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS").replace('_', ".");
        let stream = Stream::Tls(Box::new(StreamOwned::new(session, socket)));
        Ok((Self { stream, unread: Vec::new(), bounds: self.bounds }, version))
    }

    /// Sends a command or a message, as it is.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.socket().until = self.bounds.deadline();
        let bounds = self.bounds;
        let stream = self.stream.bytes();
        stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| bounds.fault(&error))
    }

    /// Waits for a whole reply, whatever it says.
    pub(super) fn reply(&mut self) -> Result<Reply, Fault> {
        self.stream.socket().until = self.bounds.deadline();
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let line = self.line()?;
            length += line.len();
            if length > LONGEST_REPLY {
                return Err(Fault::NotSmtp(String::from("a reply without end")));
            }
            let (code, text, more) = Reply::parse_line(&line).ok_or_else(|| Fault::NotSmtp(shown(&line)))?;
            lines.push(text.to_owned());
            if !more {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// The next line without its end, within the step that `reply` began.
    fn line(&mut self) -> Result<String, Fault> {
        let mut seen = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread[seen..]) {
                let line: Vec<u8> = self.unread.drain(..=seen + end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            seen = self.unread.len();
            if seen > LONGEST_REPLY {
                return Err(Fault::NotSmtp(String::from("a line without end")));
            }
            let bounds = self.bounds;
            let mut chunk = [0; 4096];
            match self.stream.bytes().read(&mut chunk) {
                Ok(0) => return Err(Fault::Closed),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(bounds.fault(&error)),
            }
        }
    }
}

fn handshake(error: &io::Error, host: &str, bounds: &Bounds) -> Fault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => tls::explain(inner, host),
        None => bounds.fault(error),
    }
}

/// What came instead of SMTP, bounded: `"HTTP/1.1 400 Bad Request"`.
fn shown(line: &str) -> String {
    format!("{:?}", super::single_line(line).chars().take(60).collect::<String>())
}
