//! libpq's keywords and its keyword strings (manual: 34.1.1.1 and 34.1.2, releases 12 to 18).

/// Every keyword of the manual's "Parameter Key Words".
pub(super) const KEYWORDS: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslmode",
    "requiressl",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
];

/// The values of `sslmode`.
pub(super) const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Whether the keyword's value is a secret other than the password.
pub(super) fn is_secret(keyword: &str) -> bool {
    matches!(keyword, "sslpassword" | "oauth_client_secret" | "scram_client_key" | "scram_server_key")
}

/// Whether each port of a list is one; an empty one means libpq's default.
pub(super) fn ports_are_good(list: &str) -> bool {
    list.split(',').all(|port| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Splits `host=db user='a b'` as libpq does: quotes around a value, backslashes before quotes and backslashes.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("a keyword without = and a value")?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(String::from("a keyword without = and a value"));
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// One value and what follows it.
fn value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, next)| next)),
            '\'' if quoted => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            _ if !quoted && letter.is_whitespace() => return Ok((value, text.get(at..).unwrap_or_default())),
            _ => value.push(letter),
        }
    }
    if quoted { Err(String::from("a quoted value without its closing quote")) } else { Ok((value, "")) }
}
