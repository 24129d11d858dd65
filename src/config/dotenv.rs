//! Files of `NAME=value` lines as web applications keep them: `.env.local` before `.env`, and the environment before both. Pure.

use std::collections::BTreeMap;

/// The values of a text. Lines that are neither blank, a comment nor an assignment are told by their number.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut values = BTreeMap::new();
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or(number + 1)?;
        let name = name.trim_end();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(number + 1);
        }
        values.insert(name.to_owned(), value_of(value.trim_start()).ok_or(number + 1)?);
    }
    Ok(values)
}

/// A value: in single quotes as it is, in double quotes with escapes, else up to a comment.
fn value_of(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (value, after) = rest.split_once('\'')?;
        return is_over(after).then(|| value.to_owned());
    }
    let Some(rest) = text.strip_prefix('"') else {
        let end = text.find(" #").unwrap_or(text.len());
        return Some(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return is_over(letters.as_str()).then_some(value),
            '\\' => match letters.next()? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            letter => value.push(letter),
        }
    }
    None
}

fn is_over(after: &str) -> bool {
    let after = after.trim();
    after.is_empty() || after.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_meant() {
        let text =
            "\u{feff}# a comment\n\nA=1\nexport B = two words \nC='it#s $x' # why\nD=\"a\\\"b\\\\ #\"\nE=p#w # comment\nF=\nG=a=b\r\n";
        let values = parse(text).unwrap();
        let expected = [("A", "1"), ("B", "two words"), ("C", "it#s $x"), ("D", "a\"b\\ #"), ("E", "p#w"), ("F", ""), ("G", "a=b")];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_line_that_says_nothing_is_told_by_its_number() {
        for (text, line) in [("A=1\nwords", 2), ("=1", 1), ("A='open", 1), ("A=\"open\\", 1), ("A='x'y", 1), ("a b=1", 1)] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }
}
