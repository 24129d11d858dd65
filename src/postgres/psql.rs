//! One psql child as a conversation: a statement in, its rows as text out, every wait bounded.
//!
//! Owns the framing (a random marker, `:ERROR`, `:SQLSTATE`) and the mapping from SQLSTATE to [`Cause`]. It knows no statement of its own
//! and never reads the wording of an error. `session` and `replay` call it.

mod rows;

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::connection::{OWN_PASSWORD, said};
use super::merge::Feed;
use crate::error::{Cause, Failure, Result};
use crate::process::{self, Cancel, Child, Exit, Input, Output, Spec};
use rows::Rows;

/// Longest wait between two looks at whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Longest answer, bytes; ours are bounded by their statements.
const ANSWER: usize = 32 << 20;

/// psql's exit status where it has no connection, at the start or later (manual: psql, Exit Status).
const NO_CONNECTION: Exit = Exit::Code(2);

/// A running psql.
#[derive(Debug)]
pub(super) struct Psql {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Option<Receiver<String>>,
    reader: Option<JoinHandle<()>>,
    marker: String,
    cancel: Cancel,
    place: String,
    connected: bool,
    /// Set when an answer was not waited for to its end: what comes next could belong to it.
    broken: bool,
}

impl Psql {
    /// Starts psql; it connects before it answers its first question. `place` names the server in messages.
    pub(super) fn start(mut spec: Spec, place: String, cancel: &Cancel) -> Result<Self> {
        spec.args.splice(0..0, ["-X", "-w", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"].map(Into::into));
        spec.stdin = Input::Piped;
        spec.stdout = Output::Piped;
        let mut child = process::spawn(&spec)?;
        let (sender, lines) = bounded(64);
        let reader = child.take_stdout().map(|stdout| reader(stdout, sender)).transpose()?;
        let marker = format!("{:032x}", rand::random::<u128>());
        let stdin = child.take_stdin();
        Ok(Self { child, stdin, lines: Some(lines), reader, marker, cancel: cancel.clone(), place, connected: false, broken: false })
    }

    /// The child's process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Asks one statement and returns its output without blank lines. In an open transaction give `guard`: the statement then runs in a
    /// savepoint that is rolled back, so that neither an error nor a catalog lock stays.
    pub(super) fn ask(&mut self, statement: &str, guard: bool, limit: Duration) -> Result<String> {
        if let Some(reason) = self.cancel.reason() {
            return Err(reason.failure());
        }
        if self.broken {
            return Err(self.lost("the session had been given up"));
        }
        let (before, after) = if guard { ("savepoint pgdumpd;\n", "rollback to savepoint pgdumpd;\n") } else { ("", "") };
        let marker = &self.marker;
        let text =
            format!("{before}{statement}\n;\n\\echo {marker} :ERROR :SQLSTATE\n\\echo :LAST_ERROR_MESSAGE\n{after}\\echo {marker} end\n");
        let written = self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).is_ok());
        self.broken = true;
        let answer = if written { self.answer(limit)? } else { return Err(self.ended()) };
        self.broken = false;
        self.connected = true;
        answer
    }

    /// Runs `COPY … FROM STDIN` and gives it what `feed` writes: COPY text without its end mark. Anything that goes wrong ends psql, so that
    /// no row is ever taken for a statement.
    pub(super) fn copy_in(&mut self, statement: &str, feed: Feed<'_>, limit: Duration) -> Result<()> {
        if self.broken {
            return Err(self.lost("the session had been given up"));
        }
        self.broken = true;
        let Some(stdin) = self.stdin.take() else { return Err(self.ended()) };
        let mut rows = Rows::new(stdin, self.cancel.clone());
        let begun = rows.stdin.write_all(format!("\\set ON_ERROR_STOP on\n{statement};\n").as_bytes());
        let written = if begun.is_ok() { feed(&mut rows) } else { Ok(()) };
        let whole = begun.is_ok() && !rows.closed && rows.is_whole();
        if whole && written.is_ok() {
            let marker = &self.marker;
            let end = format!("\\.\n\\set ON_ERROR_STOP off\n\\echo {marker} :ERROR :SQLSTATE\n\\echo {marker} end\n");
            // Where psql is gone already, the answer says so.
            drop(rows.stdin.write_all(end.as_bytes()));
            self.stdin = Some(rows.stdin);
            let answer = self.answer(limit);
            if self.child.wait_timeout(Duration::from_millis(1)).is_some() {
                return Err(self.refused_rows());
            }
            answer??;
            self.broken = false;
            return Ok(());
        }
        // The end of its input would end the rows as well, but nothing is committed that isn't asked for.
        let closed = rows.closed || begun.is_err();
        self.child.terminate(Duration::ZERO);
        match written {
            Err(failure) if !closed => Err(failure),
            _ if closed => Err(self.refused_rows()),
            _ => Err(Failure::new(Cause::Damaged, "the backup's rows end in the middle of a line")),
        }
    }

    /// Why psql ended before it had taken all rows: the server's own words, with its code.
    fn refused_rows(&mut self) -> Failure {
        let exit = self.child.wait_timeout(Duration::from_secs(5));
        let stderr = said(&self.child.stderr_tail());
        let said = stderr.lines().rev().find(|line| line.split(": ").next().is_some_and(|word| word.trim_end_matches(':') == "ERROR"));
        match (exit, said.and_then(|line| line.split_once("ERROR:"))) {
            (Some(Exit::Code(3)), Some((_, words))) => {
                let cause = sqlstate_in(&stderr).map_or(Cause::Query, cause_of);
                Failure::new(cause, format!("the server refused the rows: {}", words.trim())).detail(stderr.clone())
            }
            _ => self.ended(),
        }
    }

    /// Reads one framed answer: the outer error is the conversation's, the inner one the statement's.
    fn answer(&mut self, limit: Duration) -> Result<Result<String>> {
        let deadline = Instant::now() + limit;
        let (end, verdict) = (format!("{} end", self.marker), format!("{} ", self.marker));
        let (mut rows, mut message, mut state) = (String::new(), String::new(), None);
        loop {
            let line = self.line(deadline, limit)?;
            if line == end {
                break;
            } else if let Some(found) = line.strip_prefix(&verdict) {
                state = found.strip_prefix("true ").map(str::to_owned).or(Some(String::new()));
            } else if state.is_some() {
                message.push_str(&line);
            } else if !line.is_empty() {
                rows.push_str(&line);
                rows.push('\n');
            }
            if rows.len() + message.len() > ANSWER {
                return Err(Failure::new(Cause::Query, "the server's answer is too long to be one"));
            }
        }
        Ok(match state {
            Some(sqlstate) if sqlstate.is_empty() => Ok(rows),
            Some(sqlstate) => Err(Failure::new(cause_of(&sqlstate), format!("{message}{} (SQLSTATE {sqlstate})", self.which(&sqlstate)))),
            None => Err(Failure::new(Cause::Query, "psql gave no verdict on a statement")),
        })
    }

    /// Which key broke a constraint, where one did: the message names the constraint alone.
    fn which(&self, sqlstate: &str) -> String {
        let said = if sqlstate.starts_with("23") { self.child.stderr_soon() } else { String::new() };
        let detail = said.lines().rev().find_map(|line| line.split_once("DETAIL:"));
        detail.map_or_else(String::new, |(_, detail)| format!(": {}", detail.trim().trim_end_matches('.')))
    }

    fn line(&mut self, deadline: Instant, limit: Duration) -> Result<String> {
        loop {
            if let Some(reason) = self.cancel.reason() {
                return Err(reason.failure());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.silent(limit));
            }
            let received = self.lines.as_ref().map_or(Err(RecvTimeoutError::Disconnected), |lines| lines.recv_timeout(left.min(LOOK)));
            match received {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// The failure of a psql that has not answered in time.
    fn silent(&mut self, limit: Duration) -> Failure {
        let cause = if self.connected { Cause::ConnectionLost } else { Cause::Connection };
        let what = if self.connected { "no answer from" } else { "no connection to" };
        Failure::new(cause, format!("{what} {} within {} s", self.place, limit.as_secs()))
            .hint("look at the network, a firewall that drops packets, and the server's load")
            .detail(said(&self.child.stderr_tail()))
    }

    /// The failure of a psql that has ended, by its exit status and, once it was connected, by the SQLSTATE it printed.
    fn ended(&mut self) -> Failure {
        let exit = self.child.wait_timeout(Duration::from_secs(5)).unwrap_or_else(|| self.child.terminate(Duration::from_secs(1)));
        let stderr = said(&self.child.stderr_tail());
        if exit != NO_CONNECTION {
            let message = format!("{} ended with {exit}: {}", self.child.name(), last_line(&stderr));
            return Failure::new(Cause::ClientMissing, message).hint("run it by hand to see what it lacks").detail(stderr);
        }
        if !self.connected {
            let message = format!("no connection to {}: {}", self.place, told_of(&self.place, reason(&stderr)));
            return Failure::new(Cause::Connection, message).detail(stderr);
        }
        self.lost(last_line(&stderr)).detail(stderr)
    }

    /// Ends its input and gives it this long to carry out what it was told to do after it.
    pub(super) fn finish(mut self, grace: Duration) {
        self.end(grace);
    }

    /// The end of its input ends psql; one that hangs in a dead network doesn't notice and is ended.
    fn end(&mut self, grace: Duration) {
        drop(self.stdin.take());
        drop(self.lines.take());
        if self.child.wait_timeout(grace).is_none() {
            self.child.terminate(Duration::from_millis(500));
        }
    }

    fn lost(&self, why: &str) -> Failure {
        let stderr = said(&self.child.stderr_tail());
        let cause = match sqlstate_in(&stderr).map(cause_of) {
            Some(Cause::ServerShutdown) => Cause::ServerShutdown,
            _ => Cause::ConnectionLost,
        };
        Failure::new(cause, format!("the connection to {} broke: {why}", self.place))
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        let given_up = self.broken && self.cancel.is_cancelled();
        if given_up {
            // The server would go on with what nobody waits for any more; at this psql asks it to leave that.
            self.child.interrupt();
        }
        self.end(match (given_up, self.broken) {
            (true, _) => Duration::from_millis(500),
            (false, true) => Duration::from_millis(50),
            (false, false) => Duration::from_secs(2),
        });
        if let Some(reader) = self.reader.take() {
            drop(reader.join());
        }
    }
}

/// Passes psql's output on, line by line, until either side ends.
fn reader(stdout: ChildStdout, sender: Sender<String>) -> Result<JoinHandle<()>> {
    let work = move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while matches!(stdout.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches('\n').to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    };
    let builder = std::thread::Builder::new().name(String::from("psql")).stack_size(256 * 1024);
    builder.spawn(work).map_err(|error| Failure::new(Cause::System, format!("psql can't be read: no thread could be started: {error}")))
}

/// The cause behind a SQLSTATE (manual: Appendix A).
#[must_use]
pub(crate) fn cause_of(sqlstate: &str) -> Cause {
    match sqlstate {
        "57014" => Cause::Query,
        "42501" => Cause::Permission,
        "55P03" => Cause::LockTimeout,
        "3D000" | "3F000" | "42P01" | "42704" => Cause::NotFound,
        _ if sqlstate.starts_with("57") => Cause::ServerShutdown,
        _ if sqlstate.starts_with("08") => Cause::ConnectionLost,
        _ if sqlstate.starts_with("40") => Cause::ReplayConflict,
        _ => Cause::Query,
    }
}

/// The last SQLSTATE in a verbose message of psql: `FATAL:  57P01: terminating connection…`, whatever the severity's language.
fn sqlstate_in(stderr: &str) -> Option<&str> {
    let is_state = |text: &&str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    stderr.lines().rev().find_map(|line| line.split(':').map(str::trim).nth(1).filter(is_state))
}

/// Why no connection was had. libpq tells one attempt after another, each from its naming of the place on; what stands below the first line
/// of the last one is advice.
fn reason(stderr: &str) -> &str {
    let begins = |line: &&str| line.starts_with("psql: error: ") || line.starts_with("connection to server ");
    stderr.lines().rev().find(begins).map_or_else(|| last_line(stderr), plain)
}

/// A line without psql's own name in front.
fn plain(line: &str) -> &str {
    line.trim().trim_start_matches("psql: ").trim_start_matches("error: ")
}

/// The last line that says something: libpq indents the advice that follows it, and names what the server adds.
fn last_line(stderr: &str) -> &str {
    const ADDED: [&str; 4] = [OWN_PASSWORD, "DETAIL:", "HINT:", "CONTEXT:"];
    let says =
        |line: &&str| !line.trim().is_empty() && !line.starts_with(['\t', ' ']) && !ADDED.iter().any(|added| line.starts_with(added));
    stderr.lines().rev().find(says).map_or("no reason given", plain)
}

/// libpq's reason without its own naming of the place, where `place` has named the only host already; for people, never for decisions.
fn told_of(place: &str, line: &str) -> String {
    let reason = match line.split_once(" failed: ") {
        Some((doing, reason)) if doing.starts_with("connection to server ") && !place.contains(',') => reason,
        _ => line,
    };
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_is_the_reason_not_its_file() {
        let stderr =
            "psql: error: FATAL:  password authentication failed for user \"b\"\npassword retrieved from file \"/proc/self/fd/9\"\n";
        assert_eq!(reason(stderr), "FATAL:  password authentication failed for user \"b\"");
        let stderr = &said(stderr);
        assert!(stderr.ends_with("the password is the one that pgdumpd was given\n"), "{stderr}");
        assert_eq!(last_line(stderr), "FATAL:  password authentication failed for user \"b\"");
        assert_eq!(last_line("psql: error: FATAL:  not yet\nDETAIL:  Recovery.\n"), "FATAL:  not yet");
    }

    #[test]
    fn of_several_attempts_the_last_one_is_told_without_its_advice() {
        let missing = "root certificate file \"/x/ca.crt\" does not exist\nEither provide the file or change sslmode to disable server certificate verification.\n";
        let text = format!(
            "psql: error: connection to server at \"a\", port 1 failed: Connection refused\n\tIs the server running?\n\
             connection to server at \"b\" (10.0.0.2), port 2 failed: {missing}"
        );
        assert_eq!(
            reason(&text),
            "connection to server at \"b\" (10.0.0.2), port 2 failed: root certificate file \"/x/ca.crt\" does not exist"
        );
        assert_eq!(reason("psql: error: invalid port number: \"x\"\n"), "invalid port number: \"x\"");
    }

    #[test]
    fn the_place_is_named_once() {
        let line = "connection to server at \"db\" (10.0.0.1), port 5432 failed: FATAL:  database \"x\" does not exist";
        assert_eq!(told_of("db port 5432", line), "FATAL: database \"x\" does not exist");
        assert_eq!(
            told_of("a port 1, b port 2", "connection to server at \"b\", port 2 failed: no"),
            "connection to server at \"b\", port 2 failed: no"
        );
        assert_eq!(told_of("db", "fe_sendauth: no password supplied"), "fe_sendauth: no password supplied");
    }

    #[test]
    fn the_sqlstate_is_found_in_any_language() {
        assert_eq!(sqlstate_in("FATAL:  57P01: terminating connection\nLOCATION:  x, y.c:1\n"), Some("57P01"));
        assert_eq!(sqlstate_in("SCHWERWIEGEND:  57P02: Verbindung\nserver closed\n"), Some("57P02"));
        assert_eq!(sqlstate_in("server closed the connection: again\n"), None);
    }

    #[test]
    fn a_connections_reason_is_the_line_before_the_advice() {
        let text = "psql: error: connection to server at \"x\", port 1 failed: Connection refused\n\tIs the server running?\n";
        assert_eq!(last_line(text), "connection to server at \"x\", port 1 failed: Connection refused");
        assert_eq!(last_line(""), "no reason given");
    }
}
