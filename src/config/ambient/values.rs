//! A variable's text written as the TOML value that a file would hold. What doesn't fit the form stays text, which the key's own reader
//! then calls wrong in its own words.

use super::super::kind::Kind;
use super::variables::Form;
use crate::units;

/// The TOML text of a value.
pub(super) fn toml(form: Form, text: &str) -> String {
    match form {
        Form::Plain(kind) => plain(kind, text),
        Form::Names if text.trim() == "all" => quoted("all"),
        Form::Names => list(text.split([',', ' ', '\t'])),
        Form::Words => list(text.split_whitespace()),
        Form::Number("") => number(text),
        Form::Number(unit) if text.trim().parse::<u64>().is_ok() => quoted(&format!("{}{unit}", text.trim())),
        Form::Number(_) | Form::When | Form::Query => quoted(text),
        Form::Pause => format!("{{ pause_replay = {} }}", quoted(text)),
        Form::Compression => match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "on" => quoted("zstd"),
            "false" | "no" | "off" => quoted("none"),
            _ => quoted(text),
        },
        Form::Cluster => flag(text),
    }
}

fn plain(kind: Kind, text: &str) -> String {
    match kind {
        Kind::Durations if ["none", "[]"].contains(&text.trim()) => String::from("[]"),
        Kind::Texts | Kind::Emails | Kind::Durations => list(text.split(',')),
        Kind::Databases => list(std::iter::once(text)),
        Kind::Count(..) => number(text),
        Kind::Flag => flag(text),
        Kind::Percent if text.trim().parse::<u64>().is_ok() => quoted(&format!("{}%", text.trim())),
        // The C library's own way to say that a name follows.
        Kind::Zone => quoted(text.strip_prefix(':').unwrap_or(text)),
        _ => quoted(text),
    }
}

fn number(text: &str) -> String {
    let text = text.trim();
    text.parse::<u64>().map_or_else(|_| quoted(text), |number| number.to_string())
}

/// Whether the text means yes; `None` where it means neither yes nor no.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn flag(text: &str) -> String {
    truth(text).map_or_else(|| quoted(text), |truth| truth.to_string())
}

fn list<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let parts: Vec<String> = parts.map(str::trim).filter(|part| !part.is_empty()).map(quoted).collect();
    format!("[{}]", parts.join(", "))
}

/// A TOML basic string on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut toml = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => toml.extend(['\\', letter]),
            letter if letter.is_control() => toml.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => toml.push(letter),
        }
    }
    toml.push('"');
    toml
}

/// The key and the value of a schedule: an interval where it is written as one, else a crontab line.
pub(super) fn when(text: &str) -> (&'static str, String) {
    let text = text.trim();
    if let Some(interval) = text.strip_prefix("@every ") {
        return ("every", quoted(interval.trim()));
    }
    if units::parse_duration(text).is_ok() { ("every", quoted(text)) } else { ("cron", quoted(text)) }
}
