//! What to do where no connection could be made: libpq gives no SQLSTATE before there is a session, so its words choose the hint, and tell
//! a connection that is turned away from one that isn't had.
//!
//! Owns [`advise`] and nothing else; `session` calls it. Both causes count as ones that may pass: words decide only whether someone who types
//! waits for another try.

use std::path::Path;
use std::time::Duration;

use super::connection::Access;
use super::version::Client;
use crate::error::{Cause, Failure};
use crate::process::{self, Exit};

/// What libpq says where TLS fails.
const TLS: [&str; 3] = ["SSL", "TLS", "certificate"];

/// What a server, or libpq before it sends a password, says where the same attempt fails again.
const TURNED_AWAY: [&str; 8] = [
    "authentication failed for user",
    "no password supplied",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "does not exist",
    "not permitted to log in",
    "permission denied for database",
    "is not currently accepting connections",
];

const IT_ANSWERS: &str = "the server answers: check role, password, database name, TLS settings, pg_hba.conf and its connection limits";

/// What libpq says of its own files before it asks a server for anything, and what to do; each is wrong until a person mends it.
const FILES: [(&[&str], &str); 3] = [
    (
        &["root certificate file"],
        "the file that sslrootcert names (without it ~/.postgresql/root.crt) has to be there, and the user that runs pgdumpd has to be able \
         to read it; sslmode=require does without, and doesn't check who answers",
    ),
    (
        &["private key"],
        "the file that sslkey names (without it ~/.postgresql/postgresql.key) has to belong to the user that runs pgdumpd, with mode 0600 or \
         less, and to fit the certificate that sslcert names",
    ),
    (
        &["could not read certificate file", "could not open certificate file"],
        "the file that sslcert names (without it ~/.postgresql/postgresql.crt) has to be a certificate that the user that runs pgdumpd can read",
    ),
];

/// What libpq says of parameters that can't be meant.
const PARAMETERS: [&str; 6] = [
    "URI query parameter",
    "invalid integer value",
    "invalid port number",
    "invalid connection option",
    "invalid channel_binding value",
    "unrecognized configuration parameter",
];

/// What a server says of a name that it doesn't have, and what to do.
const UNKNOWN: [(&str, &str); 2] = [
    ("database \"", "the server answers, and has no database of that name: `psql -l` lists those that it has, and capitals count"),
    ("role \"", "the server answers, and has no role of that name: `\\du` in psql lists those that it has, and capitals count"),
];

/// What libpq says where each server was reached and none is of the kind that is asked for.
const WRONG_KIND: [&str; 4] =
    ["session is not read-only", "session is read-only", "server is not in hot standby mode", "server is in hot standby mode"];

/// Adds what to look at, by libpq's words and by whether the server answers at all (`pg_isready`'s exit status), and tells a connection
/// that is turned away from one that isn't had. Where a server answers in another language its words are not understood, and the failure
/// stays one that may pass.
pub(super) fn advise(failure: Failure, client: &Client, access: &Access, database: Option<&str>) -> Failure {
    if failure.cause != Cause::Connection || failure.hint.is_some() {
        return failure;
    }
    let program = client.dir().join("pg_isready");
    let says = |words: &[&str]| words.iter().any(|word| failure.message.contains(word));
    if let Some((_, hint)) = FILES.iter().find(|(words, _)| says(words)) {
        return Failure { cause: Cause::Login, ..failure }.hint(*hint);
    }
    if says(&PARAMETERS) {
        return Failure { cause: Cause::Login, ..failure }.hint("correct the connection's parameters; psql takes the same ones");
    }
    if says(&WRONG_KIND) {
        return failure.hint(
            "the server answers, and is not what target_session_attrs asks for: name a server that is (the primary for read-write, a standby for \
             read-only or standby), or change target_session_attrs; after a failover it passes by itself once one is promoted",
        );
    }
    let unknown = UNKNOWN.iter().find(|(what, _)| says(&["does not exist"]) && says(&[*what])).map(|(_, hint)| *hint);
    let (is_refused, hint) = match answers(client, access, database, &program) {
        Some(Exit::Code(0)) => (says(&TURNED_AWAY) || says(&TLS), unknown.unwrap_or(IT_ANSWERS)),
        // Where that program isn't installed, what only a server says tells as much.
        None if says(&["FATAL: "]) && says(&TURNED_AWAY) => (true, unknown.unwrap_or(IT_ANSWERS)),
        Some(Exit::Code(1)) => (false, "the server answers but takes no connections now: it is starting, stopping or recovering"),
        // pg_isready fails where TLS does; libpq's words tell the two apart.
        Some(Exit::Code(2)) if says(&TLS) => {
            (true, "TLS failed, not the network: check sslmode, the certificates it names, and whether the server has ssl = on")
        }
        Some(Exit::Code(2)) => (false, "nothing answers there: check host, port, DNS and firewall, and whether the server runs"),
        // No attempt was made: the parameters themselves are wrong.
        Some(Exit::Code(3)) => (true, "check the connection's parameters, and try them with psql"),
        _ => (false, "check the connection's parameters, and try them with psql"),
    };
    let cause = if is_refused { Cause::Login } else { failure.cause };
    Failure { cause, ..failure }.hint(hint)
}

fn answers(client: &Client, access: &Access, database: Option<&str>, program: &Path) -> Option<Exit> {
    let mut spec = access.spec(client, program, database, "pgdumpd", None);
    spec.args.extend(["-q", "-t", "3"].map(Into::into));
    process::run(&spec, &[], Duration::from_secs(10), 4096).ok().map(|finished| finished.exit)
}
