//! Finds a secret by its value, in whatever mixture of quoting and percent-encoding it stands.
//!
//! Each byte of the secret may stand as itself, percent-encoded, behind a backslash, doubled (quotes), as `+` (a blank), or as a JSON
//! escape. Matching follows all readings at once, so its time is bounded by text × secret.

use super::HIDDEN;

/// `text` with every appearance of `secret` hidden.
pub(super) fn hide(text: &str, secret: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if let Some(end) = appearance(text.as_bytes(), at, secret) {
            out.push_str(HIDDEN);
            at = end;
            // A reading may end inside a character only if the text's own bytes did; step to the next whole one.
            while !text.is_char_boundary(at) {
                at += 1;
            }
        } else {
            let next = text[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[at..at + next]);
            at += next;
        }
    }
    out
}

/// Where the secret that begins at `start` ends, by its longest reading.
fn appearance(text: &[u8], start: usize, secret: &str) -> Option<usize> {
    let mut ends = vec![start];
    let mut next = Vec::new();
    let mut bytes = [0; 4];
    for character in secret.chars() {
        for &at in &ends {
            escaped(text, at, character, &mut next);
        }
        let mut partial = ends;
        for &byte in character.encode_utf8(&mut bytes).as_bytes() {
            let mut further = Vec::new();
            for &at in &partial {
                readings(text, at, byte, &mut further);
            }
            further.sort_unstable();
            further.dedup();
            partial = further;
        }
        next.append(&mut partial);
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return None;
        }
        ends = std::mem::take(&mut next);
    }
    ends.last().copied()
}

/// Where `text` goes on after one byte of the secret, in each way it can be written at `at`.
fn readings(text: &[u8], at: usize, byte: u8, ends: &mut Vec<usize>) {
    let rest = text.get(at..).unwrap_or_default();
    let hex = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
    if rest.first() == Some(&byte) || (byte == b' ' && rest.first() == Some(&b'+')) {
        ends.push(at + 1);
    }
    if rest.len() >= 3 && rest[0] == b'%' && rest[1].is_ascii_hexdigit() && hex(&rest[1..3]) == Some(byte) {
        ends.push(at + 3);
    }
    if rest.starts_with(&[b'\\', byte]) {
        ends.push(at + 2);
    }
    if matches!(byte, b'\'' | b'"') && rest.starts_with(&[byte, byte]) {
        ends.push(at + 2);
    }
    // A single quote within single quotes, as shells have it.
    if byte == b'\'' {
        for dress in [&b"'\\''"[..], b"'\"'\"'"] {
            if rest.starts_with(dress) {
                ends.push(at + dress.len());
            }
        }
    }
}

/// JSON's and C's escapes of a whole character: `\n`, `\u00e9`, `\ud83d\ude00`.
fn escaped(text: &[u8], at: usize, character: char, ends: &mut Vec<usize>) {
    let rest = text.get(at..).unwrap_or_default();
    let short = match character {
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\u{8}' => Some(b'b'),
        '\u{c}' => Some(b'f'),
        _ => None,
    };
    if short.is_some_and(|letter| rest.starts_with(&[b'\\', letter])) {
        ends.push(at + 2);
    }
    let mut units = [0; 2];
    let long = character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
    if rest.get(..long.len()).is_some_and(|written| written.eq_ignore_ascii_case(long.as_bytes())) {
        ends.push(at + long.len());
    }
}
