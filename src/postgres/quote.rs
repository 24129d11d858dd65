//! Writing SQL: names and values quoted so that they stay names and values, whatever they hold. Pure.

/// SQL text of a string, whatever it holds; PostgreSQL text has no zero byte.
#[must_use]
pub fn literal(text: &str) -> String {
    let text = text.replace('\0', "\u{fffd}").replace('\\', "\\\\").replace('\'', "''");
    format!("E'{text}'")
}

/// A name as SQL takes it, always quoted.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "\u{fffd}").replace('"', "\"\""))
}

/// The name that a text begins with, as PostgreSQL's tools write names, and what follows it.
#[must_use]
pub fn unquoted(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let end = text.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$')).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = inner;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, after)),
        }
    }
}

/// A name within a schema.
#[must_use]
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Values as an SQL array of text.
#[must_use]
pub fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(literal).collect();
    format!("array[{}]::text[]", values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_keep_quotes_and_backslashes_inside() {
        assert_eq!(literal(r"a'b\c"), r"E'a''b\\c'");
        assert_eq!(literal("'; drop table x; --"), "E'''; drop table x; --'");
    }

    #[test]
    fn written_names_are_read_back() {
        assert_eq!(unquoted("shop WITH LOGIN;"), Some(("shop".into(), " WITH LOGIN;")));
        assert_eq!(unquoted("\"a \"\"b\"\"; x\";"), Some(("a \"b\"; x".into(), ";")));
        assert_eq!(unquoted("\"open"), None);
        assert_eq!(unquoted(";"), None);
    }

    #[test]
    fn names_keep_their_quotes_inside() {
        assert_eq!(qualified("a\"b", "x.y"), "\"a\"\"b\".\"x.y\"");
        assert_eq!(texts(["a", "b'"]), "array[E'a', E'b''']::text[]");
        assert_eq!(texts([]), "array[]::text[]");
    }
}
