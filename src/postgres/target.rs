//! Reading and extending a libpq target, URL or keywords, in libpq's own terms (manual: Connection Strings). Pure.
//!
//! Owns the few questions that have to be asked of one (does it name a key, has it a password) and the writing of the extended string.
//! Only `connection` calls it.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::SecretString;

use crate::model::project::Target;

/// What stays as it is in a URL's parameter (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A URL in its parts, each as written.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: &'a str,
    user: &'a str,
    password: Option<&'a str>,
    has_user_info: bool,
    hosts: &'a str,
    path: Option<&'a str>,
    query: Vec<&'a str>,
}

/// Cuts a URL the way libpq's `conninfo_uri_parse_options` does.
fn cut(url: &str) -> Url<'_> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgresql", url));
    let (info, rest) = match rest.find(['@', '/']) {
        Some(at) if rest.as_bytes()[at] == b'@' => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    let (user, password) = match info.map(|info| info.split_once(':')) {
        Some(Some((user, password))) => (user, Some(password)),
        Some(None) => (info.unwrap_or_default(), None),
        None => ("", None),
    };
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = match before.split_once('/') {
        Some((hosts, path)) => (hosts, Some(path)),
        None => (before, None),
    };
    let query = query.split('&').filter(|part| !part.is_empty()).collect();
    Url { scheme, user, password, has_user_info: info.is_some(), hosts, path, query }
}

impl Url<'_> {
    fn text(&self) -> String {
        let mut text = format!("{}://", self.scheme);
        if self.has_user_info {
            text.push_str(self.user);
            text.push('@');
        }
        text.push_str(self.hosts);
        if let Some(path) = self.path {
            text.push('/');
            text.push_str(path);
        }
        if !self.query.is_empty() {
            text.push('?');
            text.push_str(&self.query.join("&"));
        }
        text
    }

    /// The value of a parameter; the last one counts.
    fn parameter(&self, key: &str) -> Option<String> {
        let pairs = self.query.iter().rev().map(|part| part.split_once('=').unwrap_or((part, "")));
        pairs.into_iter().find(|(name, _)| decode(name) == key).map(|(_, value)| decode(value))
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The target without the password that stands in it, and that password.
pub(super) fn without_password(target: &Target) -> (Target, Option<SecretString>) {
    match target {
        Target::Keywords(keywords) => {
            let mut keywords = keywords.clone();
            let password = keywords.remove("password");
            (Target::Keywords(keywords), password.map(SecretString::from))
        }
        Target::Url(url) => {
            let mut parts = cut(url);
            let password = parts.parameter("password").or_else(|| parts.password.map(decode)).filter(|password| !password.is_empty());
            parts.password = None;
            parts.query.retain(|part| decode(part.split_once('=').map_or(part, |(name, _)| name)) != "password");
            (Target::Url(parts.text()), password.map(SecretString::from))
        }
    }
}

/// The target's own value for a key.
pub(super) fn value(target: &Target, key: &str) -> Option<String> {
    let value = match target {
        Target::Keywords(keywords) => keywords.get(key).cloned(),
        Target::Url(url) => {
            let parts = cut(url);
            parts.parameter(key).or_else(|| match key {
                "dbname" => parts.path.map(decode),
                "user" => Some(decode(parts.user)),
                "host" => Some(host_list(parts.hosts, |(host, _)| host)),
                "port" => Some(host_list(parts.hosts, |(_, port)| port)),
                _ => None,
            })
        }
    };
    value.filter(|value| !value.is_empty())
}

/// Whether the target sets a key, even to nothing.
pub(super) fn names(target: &Target, key: &str) -> bool {
    match target {
        Target::Keywords(keywords) => keywords.contains_key(key),
        Target::Url(url) => cut(url).parameter(key).is_some() || value(target, key).is_some(),
    }
}

/// One side of a URL's `host:port,host:port`, joined by commas; nothing where every part is empty.
fn host_list<'a>(hosts: &'a str, side: impl Fn((&'a str, &'a str)) -> &'a str) -> String {
    let parts: Vec<String> = hosts.split(',').map(|host| decode(side(host_and_port(host)))).collect();
    if parts.iter().all(String::is_empty) { String::new() } else { parts.join(",") }
}

/// `host:port`, where an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> (&str, &str) {
    match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or_default()),
        None => text.split_once(':').unwrap_or((text, "")),
    }
}

/// How many hosts libpq will try in turn, at least 1.
pub(super) fn hosts(target: &Target) -> u64 {
    let count = |key| value(target, key).map_or(1, |list| list.split(',').count() as u64);
    count("host").max(count("hostaddr"))
}

/// Where the target goes, for messages; `env` tells what libpq's own variables say, where it asks them.
pub(super) fn place(target: &Target, env: &dyn Fn(&str) -> Option<String>) -> String {
    let or_env = |key: &str, variable: &str| value(target, key).or_else(|| env(variable));
    let host = value(target, "host").or_else(|| value(target, "hostaddr"));
    let service = value(target, "service").or_else(|| env("PGSERVICE").filter(|_| host.is_none()));
    // What a service says comes before the variables.
    let host = host.or_else(|| env("PGHOST").or_else(|| env("PGHOSTADDR")).filter(|_| service.is_none()));
    match (host, service) {
        (Some(host), _) => match or_env("port", "PGPORT") {
            Some(port) if port != "5432" => format!("{host} port {port}"),
            _ => host,
        },
        (None, Some(service)) => format!("service {service}"),
        (None, None) => String::from("the local server"),
    }
}

/// The connection string of the target with these values set over its own.
pub(super) fn extend(target: &Target, extra: &BTreeMap<String, String>) -> String {
    match target {
        Target::Url(url) => {
            let mut text = url.clone();
            let mut mark = match cut(url).query.is_empty() {
                true if url.ends_with('?') => "",
                true => "?",
                false => "&",
            };
            for (key, value) in extra {
                text.push_str(mark);
                text.extend([key.as_str(), "="]);
                text.extend(utf8_percent_encode(value, ESCAPED));
                mark = "&";
            }
            text
        }
        Target::Keywords(keywords) => {
            let mut all = keywords.clone();
            all.extend(extra.clone());
            let quoted = all.iter().map(|(key, value)| format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")));
            quoted.collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn url(text: &str) -> Target {
        Target::Url(text.to_owned())
    }

    #[test]
    fn a_password_is_taken_out_of_every_place() {
        let cases = [
            ("postgresql://u:p%40s@h/d", "postgresql://u@h/d", Some("p@s")),
            ("postgresql://u:a?b&c#@h:1,[::1]:2/d?sslmode=require", "postgresql://u@h:1,[::1]:2/d?sslmode=require", Some("a?b&c#")),
            ("postgres://h/d?user=u&password=x%26y&application_name=z", "postgres://h/d?user=u&application_name=z", Some("x&y")),
            ("postgresql://u@/d?host=%2Frun", "postgresql://u@/d?host=%2Frun", None),
            ("postgresql://", "postgresql://", None),
            ("postgresql://u:@h", "postgresql://u@h", None),
            ("postgresql://h/d?p%61ssword=s", "postgresql://h/d", Some("s")),
        ];
        for (given, left, password) in cases {
            let (target, found) = without_password(&url(given));
            assert_eq!(target, url(left), "{given}");
            assert_eq!(found.as_ref().map(ExposeSecret::expose_secret), password, "{given}");
        }
    }

    #[test]
    fn values_are_found_where_libpq_finds_them() {
        let target = url("postgresql://me@a:1,[::1]:2/sh%6Fp?dbname=other&sslmode=verify-full");
        assert_eq!(value(&target, "dbname").as_deref(), Some("other"));
        assert_eq!(value(&target, "host").as_deref(), Some("a,::1"));
        assert_eq!(value(&target, "port").as_deref(), Some("1,2"));
        assert_eq!(hosts(&target), 2);
        assert_eq!(value(&url("postgresql:///"), "dbname"), None);
        assert_eq!(hosts(&url("postgresql:///?host=a,b,c")), 3);
        assert!(names(&target, "sslmode") && !names(&target, "keepalives"));
    }

    #[test]
    fn extending_keeps_what_was_written_and_escapes_the_rest() {
        let extra: BTreeMap<String, String> = [("dbname".into(), "a&b='ü\\ ".into())].into();
        assert_eq!(extend(&url("postgresql://h"), &extra), "postgresql://h?dbname=a%26b%3D%27%C3%BC%5C%20");
        assert_eq!(extend(&url("postgresql://h?"), &extra), "postgresql://h?dbname=a%26b%3D%27%C3%BC%5C%20");
        assert_eq!(extend(&url("postgresql://h/d?a=b"), &extra), "postgresql://h/d?a=b&dbname=a%26b%3D%27%C3%BC%5C%20");
        let keywords = Target::Keywords([("dbname".into(), "x".into()), ("host".into(), "h".into())].into());
        assert_eq!(extend(&keywords, &extra), "dbname='a&b=\\'ü\\\\ ' host='h'");
    }
}
