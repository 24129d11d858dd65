//! Files of `NAME=value` as web applications keep them: `.env.local` before `.env`, and the environment before both. Pure.

use std::collections::BTreeMap;

/// What a text says, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// The values by their names; of several for one name the last.
    pub values: BTreeMap<String, String>,
    /// What is neither blank, a comment nor an assignment.
    pub unread: Vec<Unread>,
}

/// A line that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its number, counted from 1.
    pub line: usize,
    /// The name that it begins with, where it does.
    pub name: Option<String>,
}

/// What begins at the start of a text.
enum Entry {
    Nothing,
    /// A name, its value, and where that ends.
    Value(String, String, usize),
    Unread(Option<String>),
}

/// Reads a text. A value in quotes may go on over several lines, as it may for the programs that read such files; where its quotes are
/// never closed, or something follows them, that line alone counts as unreadable, and the next one is read by itself.
#[must_use]
pub fn parse(text: &str) -> Values {
    let mut found = Values::default();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let mut end = rest.find('\n').unwrap_or(rest.len());
        match entry(rest) {
            Entry::Nothing => {}
            Entry::Unread(name) => found.unread.push(Unread { line, name }),
            Entry::Value(name, value, at) => {
                found.values.insert(name, value);
                end = at;
            }
        }
        let (read, after) = rest.split_at((end + 1).min(rest.len()));
        line += read.matches('\n').count();
        rest = after;
    }
    found
}

fn entry(rest: &str) -> Entry {
    let line = rest.lines().next().unwrap_or_default();
    let words = line.trim_start();
    if words.trim_end().is_empty() || words.starts_with('#') {
        return Entry::Nothing;
    }
    let words = words.strip_prefix("export ").map_or(words, str::trim_start);
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let name = &words[..words.find(|c| !plain(c)).unwrap_or(words.len())];
    let unread = || Entry::Unread(Some(name).filter(|name| !name.is_empty()).map(str::to_owned));
    // `NAME: value` and `NAME value` may well be meant for whoever looks for that name.
    let after = words[name.len()..].trim_start_matches([' ', '\t']);
    if name.is_empty() || !after.starts_with('=') {
        return unread();
    }
    let value = rest[line.len() - after.len() + 1..].trim_start_matches([' ', '\t']);
    match value_of(value) {
        // What was no UTF-8 in the file.
        Some((text, _)) if text.contains('\u{fffd}') => unread(),
        Some((text, length)) => Entry::Value(name.to_owned(), text, rest.len() - value.len() + length),
        None => unread(),
    }
}

/// A value, and where its last line ends: in single quotes or backquotes as it is, in double quotes with escapes, else up to a comment.
fn value_of(text: &str) -> Option<(String, usize)> {
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at);
    let mut letters = text.char_indices();
    let Some((_, quote @ ('\'' | '"' | '`'))) = letters.next() else {
        let line = &text[..line_end(0)];
        let end = line.find(" #").unwrap_or(line.len());
        return Some((line[..end].trim_end().to_owned(), line.len()));
    };
    let mut value = String::new();
    while let Some((at, letter)) = letters.next() {
        match letter {
            letter if letter == quote => {
                let end = line_end(at);
                return is_over(&text[at + 1..end]).then_some((value, end));
            }
            '\\' if quote == '"' => match letters.next()?.1 {
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

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).values.into_iter().collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_read_as_they_are_meant() {
        let text = "\u{feff}# a comment\n\nA=1\nexport B = two words \nC='it#s $x' # why\nD=\"a\\\"b\\\\ #\"\nE=p#w # comment\nF=\nG=a=b\r\nH=`x'\"`";
        let expected =
            [("A", "1"), ("B", "two words"), ("C", "it#s $x"), ("D", "a\"b\\ #"), ("E", "p#w"), ("F", ""), ("G", "a=b"), ("H", "x'\"")];
        assert_eq!(pairs(text), owned(&expected));
        assert!(parse(text).unread.is_empty());
    }

    #[test]
    fn a_value_in_quotes_goes_on_over_lines() {
        let text = "KEY=\"-----BEGIN\nabc=\n\n-----END\" # a key\nDB_NAME=shop\nB='x\r\ny'\r\nC=z";
        let expected = [("B", "x\r\ny"), ("C", "z"), ("DB_NAME", "shop"), ("KEY", "-----BEGIN\nabc=\n\n-----END")];
        assert_eq!(pairs(text), owned(&expected));
        assert!(parse(text).unread.is_empty());
    }

    /// Quotes that are never closed, or swallow what stands in quotes below, cost their own line alone.
    #[test]
    fn a_line_that_says_nothing_is_told_and_costs_no_other() {
        for (text, line, name) in [
            ("A=1\nwords\nZ=2", 2, Some("words")),
            ("  A: 1\nZ=2", 1, Some("A")),
            ("export A 1=2\nZ=2", 1, Some("A")),
            ("A=p\u{fffd}\nZ=2", 1, Some("A")),
            ("=1\nZ=2", 1, None),
            ("\n\nA='open\nZ=2", 3, Some("A")),
            ("A=\"open\\\nZ=2", 1, Some("A")),
            ("A='x'y\nZ=2", 1, Some("A")),
            ("a b=1\nZ=2", 1, Some("a")),
            ("A=\"open\nZ=\"2\"", 1, Some("A")),
            ("M=\"1\n2\"\nwords\nZ=2", 3, Some("words")),
        ] {
            let found = parse(text);
            assert_eq!(found.unread, [Unread { line, name: name.map(str::to_owned) }], "{text}");
            assert_eq!(found.values.get("Z").map(String::as_str), Some("2"), "{text}");
        }
    }
}
