//! Takes a connection URL apart as libpq does (`conninfo_uri_parse_options`), far enough to check it and to take the password out.
//!
//! Nothing of the URL appears in a message: in a mistyped one, the password may stand anywhere.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;

use super::keywords::ports_are_good;
use super::report::Trouble;

/// A URL's parts, as far as they are of interest here.
pub(super) struct Parts {
    /// The URL without its password.
    pub(super) url: String,
    /// The password, decoded.
    pub(super) password: Option<SecretString>,
    /// Whether the path names a database.
    pub(super) names_database: bool,
    /// The parameters after `?`, decoded, without the password.
    pub(super) parameters: Vec<(String, String)>,
}

/// Splits `postgresql://[user[:password]@][hosts][/database][?parameters]`.
pub(super) fn split(text: &str) -> Result<Parts, Trouble> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| Trouble::new("not a URL"))?;
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Trouble::new("the URL contains a blank or a control character").hint("write a blank as %20"));
    }
    // As in libpq, the user's part ends at the first @ before any slash.
    let head = rest.find(['@', '/']).filter(|at| rest.as_bytes().get(*at) == Some(&b'@'));
    let (login, rest) = match head {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let (user, mut password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, secret)) => (Some(user), secret_of(secret)?),
        None => (None, None),
    };
    if let Some(user) = user {
        decode(user)?;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (hosts, rest) = rest.split_at(end);
    check_hosts(hosts)?;
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    let database = path.strip_prefix('/').unwrap_or(path);
    if database.contains(['@', '/']) {
        return Err(Trouble::new("the database's name contains @ or /").hint("write @ as %40 and / as %2F, also in the password"));
    }
    decode(database)?;

    let (mut parameters, mut kept) = (Vec::new(), Vec::new());
    for pair in query.iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| Trouble::new("a parameter after ? lacks = and a value"))?;
        let name = decode(name)?;
        if name == "password" {
            password = secret_of(value)?;
        } else {
            parameters.push((name, decode(value)?));
            kept.push(pair);
        }
    }
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    let url = format!("{scheme}://{user}{hosts}{path}{query}");
    Ok(Parts { url, password, names_database: !database.is_empty(), parameters })
}

/// A decoded password; libpq takes an empty one for none.
fn secret_of(text: &str) -> Result<Option<SecretString>, Trouble> {
    let password = decode(text)?;
    Ok((!password.is_empty()).then(|| SecretString::from(password)))
}

/// Each host, and its port if it has one.
fn check_hosts(hosts: &str) -> Result<(), Trouble> {
    for host in hosts.split(',') {
        let after_bracket = host.strip_prefix('[').map(|address| address.split_once(']'));
        let port = match after_bracket {
            Some(None) => return Err(Trouble::new("an IPv6 address lacks its closing ]")),
            Some(Some((_, after))) => after.strip_prefix(':'),
            None => host.split_once(':').map(|(_, port)| port),
        };
        if host.contains('@') || !port.is_none_or(ports_are_good) {
            return Err(Trouble::new("the part after the host's : is not a port")
                .hint("special characters of a password are percent-encoded: / as %2F, @ as %40, : as %3A"));
        }
        decode(host)?;
    }
    Ok(())
}

/// Percent-decodes strictly, as libpq does.
fn decode(text: &str) -> Result<String, Trouble> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if !rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(encoding());
        }
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| Trouble::new("a percent-encoded part is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(Trouble::new("the URL contains a zero byte (%00)"));
    }
    Ok(decoded.into_owned())
}

fn encoding() -> Trouble {
    Trouble::new("a % is not followed by two hexadecimal digits").hint("write % as %25")
}
