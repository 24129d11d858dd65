//! Hides what stands where secrets usually stand, whatever it is.
//!
//! `password=…` in connection strings, environments and JSON, `user:password@` in URLs, `PASSWORD '…'` in SQL, and stored verifiers.

use super::HIDDEN;

/// `text` with those places blanked.
pub(super) fn hide(text: &str) -> String {
    let text = rewrite(text, url);
    let text = rewrite(&text, keyword);
    rewrite(&text, verifier)
}

/// A secret found: where it begins and ends, from the place that was looked at.
struct Span {
    begin: usize,
    end: usize,
}

/// Looks at each character's place with `find` and hides what it finds.
fn rewrite(text: &str, find: fn(&str, Option<char>) -> Option<Span>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(character) = rest.chars().next() {
        let step = if let Some(span) = find(rest, before) {
            out.push_str(&rest[..span.begin]);
            out.push_str(HIDDEN);
            span.end
        } else {
            out.push(character);
            character.len_utf8()
        };
        before = rest[..step].chars().next_back();
        rest = &rest[step..];
    }
    out
}

/// `://user:SECRET@host`, up to the last `@` of the word, because a careless password holds one itself.
fn url(rest: &str, _before: Option<char>) -> Option<Span> {
    let authority = rest.strip_prefix("://")?;
    let word = authority.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')).next()?;
    let query = word.find('?').unwrap_or(word.len());
    let at = word[..query].rfind('@').or_else(|| word.rfind('@'))?;
    let colon = word[..at].find(':')?;
    Some(Span { begin: 3 + colon + 1, end: 3 + at })
}

/// `password = SECRET`, `PGPASSWORD=SECRET`, `"password": "SECRET"`, `PASSWORD 'SECRET'`.
fn keyword(rest: &str, _before: Option<char>) -> Option<Span> {
    let name = ["password", "passwd", "passphrase"].into_iter().find(|name| starts_with(rest, name))?;
    let after = &rest[name.len()..];
    // The closing quote of a JSON key.
    let key = after.strip_prefix(['"', '\'']).unwrap_or(after);
    let trimmed = key.trim_start();
    if let Some(value) = trimmed.strip_prefix(['=', ':']) {
        let value = value.trim_start_matches([' ', '\t']);
        let begin = rest.len() - value.len();
        // libpq's own words, "password: " at the end of a line or a prompt, hide nothing.
        let length = if trimmed.starts_with('=') || key.len() != after.len() { value_length(value) } else { quoted(value)? };
        return (length > 0 && !value.starts_with(HIDDEN)).then_some(Span { begin, end: begin + length });
    }
    if trimmed.len() == after.len() {
        return None;
    }
    let begin = rest.len() - trimmed.len();
    Some(Span { begin, end: begin + sql_literal(trimmed)? })
}

/// Length of a quoted string or a bare word.
fn value_length(value: &str) -> usize {
    quoted(value)
        .unwrap_or_else(|| value.find(|c: char| c.is_whitespace() || matches!(c, '&' | '"' | ',' | ';' | '}')).unwrap_or(value.len()))
}

/// Length of a string in single or double quotes, with backslashes and doubled quotes in it; to the end where it isn't closed.
fn quoted(value: &str) -> Option<usize> {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut characters = value.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|&(_, next)| next == quote) {
                characters.next();
            } else {
                return Some(at + 1);
            }
        }
    }
    Some(value.len())
}

/// Length of an SQL string: `'…'`, `E'…'`, `U&'…'` or `$tag$…$tag$` (manual: Lexical Structure, String Constants).
fn sql_literal(text: &str) -> Option<usize> {
    let prefix = ["E'", "e'", "U&'", "u&'"].into_iter().find(|prefix| text.starts_with(prefix)).map_or(0, |prefix| prefix.len() - 1);
    if text[prefix..].starts_with('\'') {
        return quoted(&text[prefix..]).map(|length| prefix + length);
    }
    let tag_end = text.strip_prefix('$')?.find('$')? + 2;
    let tag = &text[..tag_end];
    if !tag.trim_matches('$').chars().all(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    Some(text[tag_end..].find(tag).map_or(text.len(), |body| tag_end + body + tag_end))
}

/// `SCRAM-SHA-256$…` and `md5` with 32 hexadecimal digits: as good as passwords to whoever has time.
fn verifier(rest: &str, before: Option<char>) -> Option<Span> {
    const SCRAM: &str = "SCRAM-SHA-256$";
    if let Some(value) = rest.strip_prefix(SCRAM) {
        let length = value.find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',' | ';')).unwrap_or(value.len());
        return (length > 0 && !value.starts_with(HIDDEN)).then_some(Span { begin: SCRAM.len(), end: SCRAM.len() + length });
    }
    let value = rest.strip_prefix("md5").filter(|_| !before.is_some_and(char::is_alphanumeric))?;
    let length = value.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(value.len());
    (length == 32).then_some(Span { begin: 3, end: 3 + length })
}

fn starts_with(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}
