//! What a mail server answers (RFC 5321, section 4.2), and everything that can go wrong while waiting for it.
//!
//! Owns [`Reply`] and [`Fault`]; it judges neither. `wire` makes them, `walk` turns them into failures.

use std::time::Duration;

use super::single_line;

/// The longest part of a reply that is shown, in characters.
const SHOWN: usize = 300;

/// A whole reply, all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// Three digits.
    pub(super) code: u16,
    /// The text of each line.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// Reads one line, `250-SIZE 1000`: its code, its text, and whether more lines follow. Anything else is not SMTP.
    pub(super) fn parse_line(line: &str) -> Option<(u16, &str, bool)> {
        let code = line.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let rest = line.get(3..)?;
        match rest.chars().next() {
            None => Some((code, "", false)),
            Some(' ') => Some((code, &rest[1..], false)),
            Some('-') => Some((code, &rest[1..], true)),
            Some(_) => None,
        }
    }

    /// 2xx, or 3xx where the server waits for more.
    pub(super) fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// 5xx: the same command would be refused again.
    pub(super) fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Whether the server wants a login first, or doesn't accept the one it got (RFC 4954, section 6).
    pub(super) fn wants_login(&self) -> bool {
        matches!(self.code, 530 | 534 | 535 | 538)
    }

    /// `550 5.1.1 no such user`, on one line and bounded.
    pub(super) fn text(&self) -> String {
        let text = single_line(&format!("{} {}", self.code, self.lines.join(" ")));
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// Why a step of the conversation did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server said no.
    Reply(Reply),
    /// The step took longer than this.
    Slow(Duration),
    /// The whole conversation took longer than this, though no step did.
    Tarpit(Duration),
    /// The server hung up.
    Closed,
    /// The network said no.
    Network(String),
    /// The certificate does not hold: why, and what to do.
    Certificate(String, String),
    /// The TLS handshake failed otherwise.
    Handshake(String),
    /// The server does not offer what the settings ask for.
    NotOffered(String),
    /// What came is not SMTP.
    NotSmtp(String),
    /// The settings themselves are wrong: what, and what to do.
    Settings(String, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_rfc_has_them() {
        assert_eq!(Reply::parse_line("250-SIZE 10"), Some((250, "SIZE 10", true)));
        assert_eq!(Reply::parse_line("250 ok"), Some((250, "ok", false)));
        assert_eq!(Reply::parse_line("354"), Some((354, "", false)));
        for wrong in ["", "25", "HTTP/1.1 400 Bad Request", "250_x", "+OK", "2é0 x", "25é"] {
            assert_eq!(Reply::parse_line(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_long_reply_is_cut() {
        let reply = Reply { code: 550, lines: vec!["é".repeat(2000)] };
        assert_eq!(reply.text().chars().count(), SHOWN + 1);
    }
}
